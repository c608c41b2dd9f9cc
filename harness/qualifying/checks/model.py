"""The model's files: those that were checked when they were made, and still those that this qualification began with."""

from __future__ import annotations

from harness import inputs, models, units
from harness.cached import MANIFEST, intact
from harness.core import Model
from harness.qualifying.check import Check, Context, Finding


def run(context: Context) -> Finding:
    """Hash the files again. Raises what reading them raises: a file that cannot be used is found when the qualification begins."""
    bench = context.keep.get("bench")
    if bench is None:
        known = inputs.find_model(context.config, cache=models.default_cache())
        return judged(known, known)
    if bench.model is None:
        return Finding("MODEL_WRONG", "model_files", "PASS", f"{context.backend} is no model", required=False)
    if (bench.model.folder / MANIFEST).is_file() and intact(bench.model.folder) is None:
        return _wrong(bench.model, f"files in {bench.model.folder} are not those of its {MANIFEST}")
    return judged(bench.model, inputs.find_model(context.config, cache=models.default_cache()))


def judged(before: Model, now: Model) -> Finding:
    """One model read twice."""
    if before.sha256 != now.sha256:
        return _wrong(now, f"the files of {now.name} changed since this qualification began ({before.sha256[:12]}, now {now.sha256[:12]})")
    text = f"{now.name}, {units.size(now.bytes)}, sha256 {now.sha256[:12]}"
    return Finding("MODEL_WRONG", "model_files", "PASS", text, details={"sha256": now.sha256})


def _wrong(model: Model, text: str) -> Finding:
    step = "fetch the model again (`assay prepare`), and look at the disk and who writes there"
    return Finding("MODEL_WRONG", "model_files", "FAIL", text, next_step=step, details={"folder": str(model.folder)})


MODEL = Check(
    code="MODEL_WRONG",
    name="model_files",
    title="files of the model",
    required=True,
    levels=("quick", "standard", "long", "mlperf"),
    seconds=1,
    run=run,
)
