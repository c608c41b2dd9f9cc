"""One exporter for every family of encoder and both heads: an FP32 ONNX graph with dynamic batch and length, checked against PyTorch.

The graph is traced with eager attention by the TorchScript exporter, whose pattern of attention ONNX Runtime, OpenVINO and TensorRT know
how to fuse (ONNX Runtime's optimiser finds 6 of 6 attention blocks of MiniLM in it, and none in the graph of torch.export). Where tracing
fails or that exporter is gone, torch.export makes the graph; `exporter` says which one did.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx
import torch

from harness.cached import made_once
from harness.core import Model
from harness.errors import BackendError, first_line
from harness.runtimes.onnx_check import Check, check
from harness.runtimes.torch_model import OUTPUTS, open_model, takes_token_types

EXPORTER = 1
"""Version of what this module writes: a higher number makes every cached graph anew."""

OPSET = 17
"""The first with LayerNormalization as one node; TensorRT 8.6 and ONNX Runtime 1.13 read it."""

_INLINE_LIMIT = 2_000_000_000  # bytes; one protobuf message ends at 2 GiB


@dataclass(frozen=True, slots=True)
class Exported:
    """A plain FP32 graph. Inputs `input_ids`, `attention_mask` and, where the model has segments, `token_type_ids`: (batch, length) int64.

    outputs             as the task names them: start_logits and end_logits (batch, length), or logits (batch, labels); float32
    largest_difference  from PyTorch, of any logit of a real token, over `samples` samples
    spread              standard deviation of those logits in PyTorch, to judge that difference by
    seconds             what export and check took when the graph was made
    """

    path: Path
    sha256: str
    bytes: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int
    exporter: str
    largest_difference: float
    spread: float
    samples: int
    checked_with: str
    seconds: float

    def facts(self) -> dict[str, Any]:
        """What `describe` shows under `export`."""
        kept = ("largest_difference", "spread", "samples", "checked_with", "opset", "exporter", "seconds")
        return {name: value for name, value in asdict(self).items() if name in kept}


def silent(_line: str) -> None:
    """Says nothing; what `say` is where nobody listens."""


def exported(model: Model, cache: Path, say: Callable[[str], None] = silent) -> Exported:
    """The ONNX graph of `model`, from `cache` or made now. Raises DataError for a model that does not open, and BackendError for one that
    no exporter can write or whose graph answers otherwise than PyTorch."""
    folder = cache / "onnx" / f"{model.sha256[:16]}-{model.head}-{EXPORTER}-torch{torch.__version__}-onnx{onnx.__version__}"
    hashes = made_once(folder, lambda empty: _make(model, empty, say))
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    facts |= {"inputs": tuple(facts["inputs"]), "outputs": tuple(facts["outputs"])}
    path = folder / "model.onnx"
    return Exported(path=path, sha256=hashes[path.name], bytes=path.stat().st_size, **facts)


def _make(model: Model, folder: Path, say: Callable[[str], None]) -> None:
    """Writes model.onnx and facts.json into `folder`."""
    start = time.monotonic()
    say(f"exporting {model.name} to ONNX")
    opened = open_model(model)
    if sum(values.numel() * values.element_size() for values in opened.parameters()) > _INLINE_LIMIT:
        raise BackendError(
            f"{model.name}: more than 2 GB of weights do not fit one ONNX file", "Use a pytorch backend, or a smaller model."
        )
    opened.set_attn_implementation("eager")  # type: ignore[operator] # what transformers adds to a module
    names = ("input_ids", "attention_mask", *(("token_type_ids",) if takes_token_types(opened) else ()))
    exporter = _export(_Positional(opened, names, OUTPUTS[model.head]), names, OUTPUTS[model.head], folder / "model.onnx", model.name)
    say("checking the ONNX graph against PyTorch")
    found = check(folder / "model.onnx", opened, model, names)
    say(f"{found.samples} samples of 1 to {found.longest} tokens: largest difference {found.largest_difference:.1e}")
    facts = _facts(found, exporter, names, OUTPUTS[model.head], time.monotonic() - start)
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def _facts(found: Check, exporter: str, inputs: Sequence[str], outputs: Sequence[str], seconds: float) -> dict[str, Any]:
    return {
        "inputs": inputs,
        "outputs": outputs,
        "opset": OPSET,
        "exporter": exporter,
        "largest_difference": found.largest_difference,
        "spread": found.spread,
        "samples": found.samples,
        "checked_with": found.runtime,
        "seconds": round(seconds, 2),
    }


class _Positional(torch.nn.Module):
    """A module of transformers with inputs by position and outputs as a tuple, which is what exporters take."""

    def __init__(self, opened: torch.nn.Module, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__()
        self.opened, self.inputs, self.outputs = opened, tuple(inputs), tuple(outputs)
        self.eval()  # exporters put a module back into the mode they found: dropout would come back to `opened`

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = self.opened(**dict(zip(self.inputs, values, strict=True)))
        return tuple(found[name] for name in self.outputs)


def _export(module: torch.nn.Module, inputs: Sequence[str], outputs: Sequence[str], path: Path, name: str) -> str:
    """Writes the graph and says which exporter did. Raises BackendError where none can, with the reason of the first."""
    failures: list[Exception] = []
    for exporter, run in (("torchscript", _by_tracing), ("torch.export", _by_torch_export)):
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter(
                    "ignore"
                )  # of the tracer about constants: the check decides; of its deprecation: the fallback is there
                run(module, inputs, outputs, path)
            return exporter
        except Exception as error:  # exporters raise whatever the library inside them raises
            failures.append(error)
    raise BackendError(f"{name} cannot be exported to ONNX: {first_line(failures[0])}", "Use a pytorch backend for it.") from failures[0]


def _by_tracing(module: torch.nn.Module, inputs: Sequence[str], outputs: Sequence[str], path: Path) -> None:
    torch.onnx.export(
        module,
        _example(inputs),
        path,
        input_names=list(inputs),
        output_names=list(outputs),
        dynamic_axes=_axes(inputs, outputs),
        opset_version=OPSET,
        dynamo=False,
    )


def _by_torch_export(module: torch.nn.Module, inputs: Sequence[str], outputs: Sequence[str], path: Path) -> None:
    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    torch.onnx.export(
        module,
        _example(inputs),
        path,
        input_names=list(inputs),
        output_names=list(outputs),
        dynamic_shapes=(tuple(free for _ in inputs),),
        opset_version=max(OPSET, 18),  # the least that torch.export writes
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def _example(inputs: Sequence[str]) -> tuple[torch.Tensor, ...]:
    """Two rows of five tokens, the second padded, so that nothing that all rows share is taken for a constant."""
    ids = torch.arange(5, 15).reshape(2, 5)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    values = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.tensor([[0, 0, 0, 1, 1], [0, 1, 1, 0, 0]])}
    return tuple(values[name] for name in inputs)


def _axes(inputs: Sequence[str], outputs: Sequence[str]) -> dict[str, dict[int, str]]:
    both = {0: "batch", 1: "length"}
    return dict.fromkeys(inputs, both) | {name: {0: "batch"} if name == "logits" else both for name in outputs}
