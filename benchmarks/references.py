"""Makes the reference scores that come with the program: models/references.json.

    python benchmarks/references.py                      # what is missing or knows no examples; SQuAD v1.1 dev takes about 7 minutes
    python benchmarks/references.py --task sst2 --task cola
    python benchmarks/references.py --built-in           # the built-in sample sets only
    python benchmarks/references.py --all                # everything anew

Each embedded model is asked, with pytorch:fp32 on the CPU, the built-in sample set of its task and the official dev set where `--data`
has it (default: ASSAY_DATA, else ../shared/data). The file is written after each reference, so that nothing is lost when this is stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def make(model: str, task: str, data: Path | None, *, anew: bool) -> str:
    """Make one reference and store it; what came of it, in words."""
    from harness import config, gate, references
    from harness.bench import prepare
    from harness.errors import MissingError
    from harness.progress import PlainLines

    given: dict[str, Any] = {"task": task, "model": model, "backend": references.BACKEND, "device": "cpu", "scenario": "offline"}
    if data is not None:
        given["data"] = str(data)
    try:
        bench = prepare(config.load({**given, "progress": "none"}, origin=str), PlainLines(sys.stderr))
    except MissingError as error:
        return f"skipped: {error}"
    assert bench.model is not None
    if data is not None and not bench.task.comparable:
        return f"skipped: {bench.task.data_name} is not the official data"
    indices = np.arange(len(bench.task.samples), dtype=np.int64)
    key = references.key(bench.model, bench.task, indices)
    if not anew and has_examples(references.SHIPPED, key):
        return f"{bench.task.data_name}: there already"
    reference = gate.compute_reference(bench, indices)
    references.update(references.SHIPPED, {key: references.record(reference, bench.model, bench.task)})
    return f"{bench.task.data_name}: " + ", ".join(f"{name} {value:.4f}" for name, value in reference.scores.items())


def has_examples(file: Path, key: str) -> bool:
    """The file has a reference under this key that knows what became of each example."""
    stored = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return bool(stored.get(key, {}).get("examples"))


def official(given: Path | None) -> Path | None:
    """The folder with squad/ and glue/, if there is one."""
    if given is not None:
        return given
    folder = Path(os.environ.get("ASSAY_DATA") or ROOT.parent / "shared" / "data")
    return folder if folder.is_dir() else None


def main() -> None:
    from harness.registered_models import REGISTERED

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder with the official data")
    parser.add_argument("--task", action="append", help="only this task; may be given again")
    parser.add_argument("--built-in", action="store_true", help="only the built-in sample sets")
    parser.add_argument("--all", action="store_true", help="make those again that are there")
    arguments = parser.parse_args()
    folder = None if arguments.built_in else official(arguments.data)
    for model in REGISTERED.values():
        if not model.adapter or (arguments.task and model.task not in arguments.task):
            continue
        for data in (None, folder) if folder is not None else (None,):
            print(f"{model.name}: {make(model.name, model.task, data, anew=arguments.all)}", flush=True)


if __name__ == "__main__":
    main()
