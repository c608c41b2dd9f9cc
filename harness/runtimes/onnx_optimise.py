"""The exported graph fused for ONNX Runtime: attention, layer normalisation, GELU and embeddings as one node each.

The fusions are those of ONNX Runtime's own transformers optimiser. For the CPU `ort_rewrite` goes on from there; for a GPU, whose kernels
for the fused nodes are the fast ones, it does not, and the graph may be FP16. Whatever comes out is checked against PyTorch again.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import onnx

from harness.cached import made_once
from harness.checkpoint import read_config
from harness.core import Model
from harness.errors import BackendError, MissingError
from harness.runtimes.onnx_check import HALF_LIMIT, Check, check
from harness.runtimes.onnx_export import Exported, silent
from harness.runtimes.onnx_graph_facts import operators
from harness.runtimes.ort_rewrite import for_cpu
from harness.runtimes.torch_model import open_model

VERSION = 2
"""Version of what this module writes: a higher number makes every cached graph anew."""

Target = Literal["cpu", "gpu"]


def optimised(
    source: Exported, model: Model, cache: Path, say: Callable[[str], None] = silent, *, target: Target = "cpu", half: bool = False
) -> Path:
    """The fused graph, from `cache` or made now; `half`: weights and arithmetic in FP16, inputs and outputs as before (GPU only).

    Raises MissingError without ONNX Runtime, and BackendError where the fused graph answers otherwise than PyTorch.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingError("fusing a graph for ONNX Runtime needs onnxruntime", "pip install onnxruntime") from error
    name = f"{target}{'-half' if half else ''}-{VERSION}-ort{onnxruntime.__version__}"
    folder = cache / "onnx" / f"{model.sha256[:16]}-{model.head}-fused-{name}-{source.sha256[:8]}"
    made_once(folder, lambda empty: _make(source, model, empty, target, half, say))
    return folder / "model.onnx"


def facts(path: Path) -> Mapping[str, Any]:
    """What `optimised` found out when it made the graph at `path`: operators by name, largest difference from PyTorch, seconds."""
    found: Mapping[str, Any] = json.loads((path.parent / "facts.json").read_text(encoding="utf-8"))
    return found


def _make(source: Exported, model: Model, folder: Path, target: Target, half: bool, say: Callable[[str], None]) -> None:
    """Writes model.onnx and facts.json into `folder`."""
    start = time.monotonic()
    say("fusing the ONNX graph for ONNX Runtime")
    fused = _fused(source.path, model, target, half)
    path = folder / "model.onnx"
    onnx.save(for_cpu(fused) if target == "cpu" else fused, str(path))
    found = _checked(path, source, model, half)
    facts = {
        "operators": operators(onnx.load(str(path)).graph),
        "largest_difference": None if found is None else found.largest_difference,
        "seconds": round(time.monotonic() - start, 2),
    }
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def _checked(path: Path, source: Exported, model: Model, half: bool) -> Check | None:
    """None for an FP16 graph where there is no GPU to run it on: the CPU has no kernels for its nodes."""
    import onnxruntime

    if not half:
        return check(path, open_model(model), model, source.inputs, optimise=True)
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return None
    return check(path, open_model(model), model, source.inputs, limit=HALF_LIMIT, providers=("CUDAExecutionProvider",), optimise=True)


def _fused(path: Path, model: Model, target: Target, half: bool) -> onnx.ModelProto:
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model

    heads, width = _sizes(model)
    try:
        with _quiet():
            found = optimize_model(
                str(path),
                model_type="bert",  # of every encoder: the patterns are those of the blocks
                num_heads=heads,
                hidden_size=width,
                optimization_options=FusionOptions("bert"),
                opt_level=0,  # nothing of this machine's runtime in the file
                use_gpu=target == "gpu",
            )
            if half:
                found.convert_float_to_float16(keep_io_types=True)
    except Exception as error:  # the optimiser raises whatever its patterns run into
        raise BackendError(
            f"ONNX Runtime cannot fuse {model.name}: {error}", "Please report the model; a pytorch backend runs it."
        ) from error
    fused: onnx.ModelProto = found.model
    return fused


def _sizes(model: Model) -> tuple[int, int]:
    """Attention heads and width, by either of transformers' names for them; 0 where the configuration has none: found in the graph."""
    config = read_config(model.folder)
    heads = config.get("num_attention_heads") or config.get("n_heads") or 0
    return int(heads), int(config.get("hidden_size") or config.get("dim") or 0)


@contextmanager
def _quiet() -> Iterator[None]:
    """The optimiser tells the root logger which pattern did not match; what counts is what the check and the facts say."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
