"""PyTorch, through transformers: FP32, TF32, autocast (BF16 on CPU, FP16 on CUDA) or dynamic INT8; compiled or packed if asked.

`amp` is autocast as PyTorch defines it, with two refinements that change no matrix product for the worse: the weights of linear layers
are cast once at load instead of on every call, and the head (the last layer, under 0.1 % of the work) stays in FP32. On two
Zen 4 cores this is within 3 % of a model converted to BF16 throughout, and its logits are nearer to FP32 (rms difference over 240 SQuAD
questions: 0.014; autocast with its head in BF16: 0.018; all BF16: 0.022).

On a CPU the weights of linear layers are brought into oneDNN's order once, query, key and value are one product, and the activation of
the feed-forward layer is part of its product; `+eager` leaves transformers' module as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.core import Backend, BackendOptions, Batch, Model
from harness.errors import BackendError, UsageError
from harness.runtimes import torch_compiled, torch_graphs, torch_int8, torch_linear, torch_packed, torch_weights
from harness.runtimes.torch_device import device_of, instructions, native_bf16, stream_of
from harness.runtimes.torch_model import OUTPUTS, open_model, takes_token_types
from harness.runtimes.torch_observe import observe
from harness.runtimes.torch_precision import autocast_dtype, body_of, cast_linears, keep_head_in_fp32, moved, set_tf32
from harness.runtimes.torch_sparsity import sparsity_of

REQUIRES: tuple[str, ...] = ("torch", "transformers")
PRECISIONS: tuple[str, ...] = ("fp32", "tf32", "amp", "amp-bf16", "amp-fp16", "int8-dynamic")
OPTIONS: tuple[str, ...] = ("eager", "compile", "packed", "cuda-graphs")

INT8 = "int8-dynamic"
_CONFLICTS = (
    ("compile", "packed", "rows of changing lengths are no one graph"),
    ("compile", "eager", "they are opposites"),
    ("compile", "cuda-graphs", "each would record the other"),
    ("packed", "cuda-graphs", "a graph has fixed lengths"),
    (INT8, "compile", "the compiler cannot look into INT8 layers"),
    (INT8, "eager", "INT8 layers are what replaces transformers' own"),
)


def create(options: BackendOptions) -> Backend:
    """Raises UsageError for options that do not go together."""
    _check_words(options.precision or PRECISIONS[0], frozenset(options.options))
    return PyTorch(options)


class PyTorch:
    """One model on one device. `load` sets PyTorch's intra-op threads, which are one number for the whole process."""

    needs_inputs = True
    answers = True

    def __init__(self, options: BackendOptions) -> None:
        self.options = options
        self.precision = options.precision or PRECISIONS[0]
        self.words = frozenset(options.options)
        self.stream: torch.cuda.Stream | None = None
        self.graphs: torch_graphs.Graphs | None = None
        self.prepared = torch_linear.Prepared()
        self.facts: dict[str, Any] = {}
        self.packed = False
        self.always_masked = False
        self.compiled: torch_compiled.Compiled | None = None
        self.graphs_allowed: int | None = None  # None while loading

    def load(self, model: Model | None) -> None:
        """Raises UsageError for a device that is none and for options that do not go together, MissingError for what this machine lacks,
        DataError for a model that does not open, and BackendError where the matrix products would not have the asked type."""
        if model is None:
            raise BackendError("pytorch needs a model", "Give one with --model, or use the null backend.")
        _check_words(self.precision, self.words)
        self.device = device_of(self.options)
        self.dtype = autocast_dtype(self.precision, self.device)
        self._check_device()
        torch.set_num_threads(self.options.threads)
        set_tf32(self.precision == "tf32")
        self.outputs = OUTPUTS[model.head]
        self.model: Any = moved(open_model(model), self.device)
        self.takes_types = takes_token_types(self.model)
        self.sparsity = sparsity_of(body_of(self.model))
        if "packed" in self.words:
            self._pack()
        self._convert(body_of(self.model))
        self.stream = stream_of(self.device)
        self.observed = observe(lambda: self.predict(_ones(1, 8)))
        self._check_observed()
        if "compile" in self.words:
            self._compile()
        if "cuda-graphs" in self.words:
            self._record_graphs()

    def predict(self, batch: Batch | None) -> Mapping[str, NDArray[Any]]:
        """float32 outputs: start_logits and end_logits (batch, length), or logits (batch, labels)."""
        if batch is None:
            raise BackendError("pytorch was given no batch", "This is a bug in the caller: needs_inputs is True.")
        arrays = {"input_ids": batch.input_ids}
        padded = int(batch.lengths.min()) < batch.input_ids.shape[1]  # a mask of ones changes nothing and costs a little
        if self.always_masked or (padded and not self.packed):
            arrays["attention_mask"] = batch.attention_mask
        if self.takes_types:
            arrays["token_type_ids"] = batch.token_type_ids
        with torch.inference_mode(), self._rows(batch):
            return self._on_cpu(arrays) if self.stream is None else self._on_cuda(arrays, self.stream)

    def close(self) -> None:
        self.graphs = None
        opened = self.__dict__.pop("model", None)  # None where `load` failed before there was one
        if opened is not None and self.device.type == "cuda":
            del opened
            torch.cuda.empty_cache()

    def weights(self) -> dict[str, str]:
        """Digest of every tensor of the model as it is held now, by name."""
        return torch_weights.digests(self.model)

    def describe(self) -> dict[str, Any]:
        import transformers

        cuda = self.device.type == "cuda"
        kind = "tf32" if self.precision == "tf32" else self.observed.matmul_dtype
        return {
            "runtime": "pytorch",
            "version": torch.__version__,
            "transformers": transformers.__version__,
            "precision": self.precision,
            "options": sorted(self.words),
            "matmul_dtype": kind,
            "matmul_dtypes": dict(self.observed.dtypes),
            "head_dtype": "float32",
            "method": self._method(),
            "device": str(self.device),
            "device_name": torch.cuda.get_device_name(self.device) if cuda else None,
            "threads": torch.get_num_threads(),
            "threads_scope": "process",
            "attention": self.observed.attention_name,
            "packed": self.packed,
            "nodes": self.observed.nodes,
            "quantised_matmuls": self.observed.quantised,
            "prepared_weights": self.prepared.linears,
            "joint_projections": self.prepared.joint_projections,
            "fused_activations": self.prepared.fused_activations,
            "sparsity": self.sparsity,
            "instructions": instructions(self.device, kind),
            "native_half": None if cuda else native_bf16(),
            "tf32": self.precision == "tf32",
            "cuda": torch.version.cuda if cuda else None,
            **self.facts,
        }

    # ------------------------------------------------------------------------------------------------------------------- one call

    def _rows(self, batch: Batch) -> AbstractContextManager[None]:
        if not self.packed:
            return nullcontext()
        return torch_packed.running(torch_packed.rows_of(batch.lengths, batch.input_ids.shape[1], self.device))

    def _on_cpu(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        found = self._run({name: torch.from_numpy(values) for name, values in arrays.items()})
        return {name: values.numpy() for name, values in found.items()}

    def _on_cuda(self, arrays: Mapping[str, NDArray[Any]], stream: torch.cuda.Stream) -> dict[str, NDArray[Any]]:
        """Pinned host memory both ways and a stream of our own, so that workers of one process overlap copies and kernels."""
        with torch.cuda.device(self.device), torch.cuda.stream(stream):
            pinned = {name: torch.from_numpy(values).pin_memory() for name, values in arrays.items()}
            if self.graphs is None:
                found = self._run({name: values.to(self.device, non_blocking=True) for name, values in pinned.items()})
            else:
                found = self.graphs.replay(pinned)
            results = {
                name: torch.empty(values.shape, dtype=torch.float32, pin_memory=True).copy_(values, non_blocking=True)
                for name, values in found.items()
            }
            stream.synchronize()
        return {name: values.numpy().copy() for name, values in results.items()}  # pinned memory is scarce, answers are kept

    def _run(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """FP32 outputs on the device for inputs on the device."""
        with self._autocast():
            found = self.model(**inputs) if self.compiled is None else self._run_compiled(self.compiled, inputs)
        return {name: found[name].float() for name in self.outputs}

    def _run_compiled(self, compiled: torch_compiled.Compiled, inputs: Mapping[str, torch.Tensor]) -> Any:
        """Raises BackendError where the call compiled: its time would be the compiler's."""
        found = compiled(**inputs)
        if self.graphs_allowed is not None and compiled.graphs > self.graphs_allowed:
            self.graphs_allowed = compiled.graphs
            shape = tuple(inputs["input_ids"].shape)
            raise BackendError(f"+compile: a batch of {shape} compiled the model again", "Leave +compile out, or give --pad-to.")
        return found

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype, cache_enabled=False)  # all weights are cast already

    # ------------------------------------------------------------------------------------------------------------------- loading

    def _check_device(self) -> None:
        if self.precision == INT8:
            torch_int8.check(self.device)
        if "packed" in self.words:
            torch_packed.check(self.dtype, self.device)
        if "cuda-graphs" in self.words and self.device.type != "cuda":
            raise UsageError("+cuda-graphs needs a CUDA device", "Leave it out, or use --device cuda.")

    def _pack(self) -> None:
        torch_packed.pack(self.model, self.device, self.dtype)
        self.packed = True

    def _convert(self, body: torch.nn.Module) -> None:
        """Bring the model into the asked precision and, on a CPU, its linear layers into the order the kernels want."""
        if self.dtype is not torch.float32:
            keep_head_in_fp32(self.model, self.device)
        if self.precision == INT8:
            torch_int8.quantise(body)
        elif self.device.type == "cpu" and not self.words & {"eager", "compile"}:
            self.prepared = torch_linear.prepare(body, self.dtype)
        if self.dtype is not torch.float32:
            cast_linears(body, self.dtype)

    def _check_observed(self) -> None:
        """Raises BackendError where most matrix products of a real call are not of the asked type."""
        asked = "int8" if self.precision == INT8 else str(self.dtype).removeprefix("torch.")
        if self.observed.matmul_dtype != asked:
            found = dict(self.observed.dtypes)
            raise BackendError(f"pytorch: {asked} matrix products were asked for, {found} is what runs", "Use pytorch:fp32.")

    def _compile(self) -> None:
        self.compiled = torch_compiled.Compiled(self.model, self.device, per_token="start_logits" in self.outputs)
        self.always_masked = True  # a model with and without a mask would be two graphs
        longest = max((16, *self.options.shapes.lengths[-1:]))
        self.facts["compile"] = self.compiled.compile_now(lambda rows, length: self.predict(_ones(rows, length)), longest)
        self.graphs_allowed = self.compiled.graphs

    def _record_graphs(self) -> None:
        assert self.stream is not None
        self.always_masked = True
        shapes = torch_graphs.buckets(self.options.shapes)
        with torch.inference_mode(), torch.cuda.device(self.device):
            self.graphs = torch_graphs.Graphs(self._run, self._example, self.stream)
            self.graphs.record(shapes)
        self.facts["cuda_graphs"] = len(shapes)

    def _example(self, rows: int, length: int) -> dict[str, torch.Tensor]:
        names = ("input_ids", "attention_mask", *(("token_type_ids",) if self.takes_types else ()))
        return {name: torch.full((rows, length), int(name != "token_type_ids"), device=self.device) for name in names}

    def _method(self) -> str:
        """How it runs, in a sentence."""
        kinds = {"compile": "compiled by inductor", "cuda-graphs": "CUDA graphs"}
        how = next((text for word, text in kinds.items() if word in self.words), "eager")
        if self.precision == INT8:
            return f"{how}, dynamic INT8 linear layers (U8 activations by row, S8 weights by output), FP32 elsewhere"
        parts = [how] if self.dtype is torch.float32 else [f"{how} autocast", "linear weights cast at load", "FP32 head"]
        return ", ".join([*parts, *(["weights in oneDNN's order"] if self.prepared.linears else [])])


def _check_words(precision: str, words: frozenset[str]) -> None:
    if unknown := sorted(words - set(OPTIONS)):
        raise UsageError(f"pytorch has no option +{unknown[0]}", f"Use {', '.join('+' + word for word in OPTIONS)}.")
    asked = words | {precision}
    for first, second, reason in _CONFLICTS:
        if {first, second} <= asked:
            raise UsageError(f"pytorch: {first} and {second} do not go together: {reason}", f"Leave {second} out.")


def _ones(rows: int, length: int) -> Batch:
    """A made-up batch without padding."""
    ones = np.ones((rows, length), np.int64)
    return Batch(ones, ones, np.zeros_like(ones), np.full(rows, length), np.zeros(rows, np.int64))
