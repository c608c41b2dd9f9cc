"""PyTorch eager, through transformers: FP32, or autocast (BF16 on CPU, FP16 on CUDA).

`amp` is autocast as PyTorch defines it, with two refinements that change no matrix product for the worse: the weights of linear layers
are cast once at load instead of on every call, and the head (the last layer, under 0.1 % of the work) stays in FP32. On two
Zen 4 cores this is within 3 % of a model converted to BF16 throughout, and its logits are nearer to FP32 (rms difference over 240 SQuAD
questions: 0.014; autocast with its head in BF16: 0.018; all BF16: 0.022).
"""

from __future__ import annotations

import inspect
import platform
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.core import Backend, BackendOptions, Batch, Model
from harness.errors import BackendError, DataError, MissingError, UsageError

REQUIRES: tuple[str, ...] = ("torch", "transformers")
PRECISIONS: tuple[str, ...] = ("fp32", "amp", "amp-bf16", "amp-fp16")

_OUTPUTS = {"question-answering": ("start_logits", "end_logits"), "sequence-classification": ("logits",)}


def create(options: BackendOptions) -> Backend:
    return PyTorch(options)


class PyTorch:
    """One model on one device. `load` sets PyTorch's intra-op threads, which are one number for the whole process."""

    needs_inputs = True
    answers = True

    def __init__(self, options: BackendOptions) -> None:
        self.options = options

    def load(self, model: Model | None) -> None:
        """Raises UsageError for a device that is none, MissingError for what this machine lacks, DataError for a model that does not
        open, and BackendError where the matrix products would not have the asked type."""
        if model is None:
            raise BackendError("pytorch needs a model", "Give one with --model, or use the null backend.")
        self.device = _device(self.options)
        self.dtype = _dtype(self.options.precision or PRECISIONS[0], self.device)
        torch.set_num_threads(self.options.threads)
        torch.backends.cuda.matmul.allow_tf32 = False  # FP32 means FP32
        torch.backends.cudnn.allow_tf32 = False
        self.outputs = _OUTPUTS[model.head]
        self.model = _moved(_open(model), self.device)
        self.takes_types = _takes_token_types(self.model)
        if self.dtype is not torch.float32:
            _prepare_autocast(self.model, self.dtype, self.device)
        self.stream = _stream(self.device)
        self.matmul_dtype = self._observed_dtype()

    def predict(self, batch: Batch | None) -> Mapping[str, NDArray[Any]]:
        """float32 outputs: start_logits and end_logits (batch, length), or logits (batch, labels)."""
        if batch is None:
            raise BackendError("pytorch was given no batch", "This is a bug in the caller: needs_inputs is True.")
        arrays = {"input_ids": batch.input_ids}
        if int(batch.lengths.min()) < batch.input_ids.shape[1]:  # a mask of ones changes nothing and costs a little
            arrays["attention_mask"] = batch.attention_mask
        if self.takes_types:
            arrays["token_type_ids"] = batch.token_type_ids
        with torch.inference_mode():
            return self._on_cpu(arrays) if self.stream is None else self._on_cuda(arrays, self.stream)

    def close(self) -> None:
        del self.model
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def describe(self) -> dict[str, Any]:
        import transformers

        cuda = self.device.type == "cuda"
        return {
            "runtime": "pytorch",
            "version": torch.__version__,
            "transformers": transformers.__version__,
            "precision": self.options.precision or PRECISIONS[0],
            "matmul_dtype": str(self.matmul_dtype).removeprefix("torch."),
            "head_dtype": "float32",
            "method": "eager" if self.dtype is torch.float32 else "eager autocast, linear weights cast at load, FP32 head",
            "device": str(self.device),
            "device_name": torch.cuda.get_device_name(self.device) if cuda else None,
            "threads": torch.get_num_threads(),
            "threads_scope": "process",
            "attention": str(getattr(self.model.config, "_attn_implementation", "unknown")),
            "instructions": "cuda" if cuda else torch.backends.cpu.get_cpu_capability(),
            "native_half": None if cuda else _native_bf16(),
            "tf32": False,
            "cuda": torch.version.cuda if cuda else None,
        }

    def _on_cpu(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        with self._autocast():
            found = self.model(**{name: torch.from_numpy(values) for name, values in arrays.items()})
        return {name: found[name].float().numpy() for name in self.outputs}

    def _on_cuda(self, arrays: Mapping[str, NDArray[Any]], stream: torch.cuda.Stream) -> dict[str, NDArray[Any]]:
        """Pinned host memory both ways and a stream of our own, so that workers of one process overlap copies and kernels."""
        with torch.cuda.device(self.device), torch.cuda.stream(stream):
            pinned = {name: torch.from_numpy(values).pin_memory() for name, values in arrays.items()}
            with self._autocast():
                found = self.model(**{name: values.to(self.device, non_blocking=True) for name, values in pinned.items()})
            results = {}
            for name in self.outputs:
                values = found[name].float()
                results[name] = torch.empty(values.shape, dtype=torch.float32, pin_memory=True).copy_(values, non_blocking=True)
            stream.synchronize()
        return {name: values.numpy().copy() for name, values in results.items()}  # pinned memory is scarce, answers are kept

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def _observed_dtype(self) -> torch.dtype:
        """Type of the first linear layer's result in a real call. Raises BackendError where it is not the asked one."""
        seen: list[torch.dtype] = []
        linear = next(module for module in self.model.modules() if isinstance(module, torch.nn.Linear))
        hook = linear.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
        ones = np.ones((1, 8), np.int64)
        self.predict(Batch(ones, ones, np.zeros_like(ones), np.array([8]), np.array([0])))
        hook.remove()
        if not seen or seen[0] is not self.dtype:
            raise BackendError(f"pytorch: {self.dtype} matrix products were asked for, {seen} is what runs", "Use pytorch:fp32.")
        return seen[0]


# ----------------------------------------------------------------------------------------------------------- device and precision


def _device(options: BackendOptions) -> torch.device:
    """`auto` is CUDA where there is one, workers spread over its devices in turn, else the CPU."""
    if options.device == "auto":
        return torch.device("cuda", options.worker % torch.cuda.device_count()) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(options.device)
    except RuntimeError as error:
        raise UsageError(f"--device {options.device}: no such kind of device", _DEVICES) from error
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type != "cuda":
        raise UsageError(f"--device {options.device}: pytorch runs on cpu and cuda here", _DEVICES)
    return torch.device("cuda", _cuda_index(device))


def _cuda_index(device: torch.device) -> int:
    if torch.version.cuda is None:
        cure = "Install a CUDA build of torch, or use --device cpu."
        raise MissingError(f"--device {device}: this build of PyTorch ({torch.__version__}) has no CUDA", cure)
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
        count = torch.cuda.device_count()
    except RuntimeError as error:
        raise MissingError(
            f"--device {device}: CUDA does not start: {_first_line(error)}", "Check nvidia-smi, or use --device cpu."
        ) from error
    index = device.index or 0
    if index >= count:
        raise MissingError(f"--device {device}: there are {count} CUDA devices", f"Use cuda:0 to cuda:{count - 1}, or --device cpu.")
    return index


def _stream(device: torch.device) -> torch.cuda.Stream | None:
    return torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    """Type of the matrix products. Raises MissingError where the device would only emulate it."""
    if precision == "fp32":
        return torch.float32
    cuda = device.type == "cuda"
    if precision == "amp-fp16" or (precision == "amp" and cuda):
        if cuda:
            return torch.float16
        raise MissingError("amp-fp16 needs a CUDA device; this CPU would emulate FP16", "Use pytorch:amp (BF16 on CPU) or pytorch:fp32.")
    if precision not in PRECISIONS:
        raise UsageError(f"pytorch has no precision {precision}", f"Use one of {', '.join(PRECISIONS)}.")
    if cuda and torch.cuda.get_device_capability(device) < (8, 0):
        raise MissingError(f"{torch.cuda.get_device_name(device)} has no BF16 (compute capability below 8.0)", "Use pytorch:amp-fp16.")
    if not cuda and _native_bf16() is None:
        raise MissingError("this CPU has no BF16 instructions; it would emulate them, slower than FP32", "Use pytorch:fp32.")
    return torch.bfloat16


def _native_bf16() -> str | None:
    """Instruction set that multiplies BF16 on this CPU, None if there is none that PyTorch uses.

    `torch.ops.mkldnn._is_mkldnn_bf16_supported()` is no answer: it is True wherever oneDNN can emulate (AVX-512 without BF16).
    """
    flags = _cpu_flags()
    found = next((name for name in ("amx_bf16", "avx512_bf16", "bf16") if name in flags), None)  # "bf16": ARMv8.6
    if found == "bf16" and platform.machine().lower() not in ("aarch64", "arm64"):
        found = None
    return found if found and _onednn_takes_bf16() else None


def _onednn_takes_bf16() -> bool:
    """False as well for a build of PyTorch without oneDNN, which has no fast BF16 on the CPU."""
    asked = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return asked is not None and bool(asked())


def _cpu_flags(path: Path = Path("/proc/cpuinfo")) -> set[str]:
    if path.exists():
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return next((set(line.split(":", 1)[1].split()) for line in lines if line.startswith(("flags", "Features"))), set())
    asked: dict[str, str] = {"avx512_bf16": "_is_avx512_bf16_supported"}  # no /proc: PyTorch's own look at the CPU, where it has one
    return {flag for flag, name in asked.items() if getattr(torch.cpu, name, lambda: False)()}


# ------------------------------------------------------------------------------------------------------------------------- model


def _open(model: Model) -> Any:
    """The model in FP32 and evaluation mode. Raises DataError where a weight the head or the body needs is not in the files, or has another
    shape than the configuration says: transformers would make it up."""
    from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    auto = AutoModelForQuestionAnswering if model.head == "question-answering" else AutoModelForSequenceClassification
    cure = "Give a model folder that save_pretrained wrote for this head."
    try:
        opened, report = auto.from_pretrained(
            str(model.folder),
            local_files_only=True,
            use_safetensors=None if model.allow_pickle else True,
            ignore_mismatched_sizes=True,  # its own error names no tensor; the report does
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise DataError(f"{model.folder}: transformers cannot open it for {model.head}: {_first_line(error)}", cure) from error
    if mismatched := sorted(report["mismatched_keys"]):
        wrong = "; ".join(
            f"{name} is {tuple(found)} in the file and {tuple(wanted)} by config.json" for name, found, wanted in mismatched[:5]
        )
        raise DataError(f"{model.folder}: weights do not fit: {wrong} ({len(mismatched)} in all)", cure)
    missing = sorted(report["missing_keys"])
    if missing:
        raise DataError(f"{model.folder}: weights are missing: {', '.join(missing[:5])} ({len(missing)} in all)", cure)
    return opened.float().eval()


def _moved(opened: Any, device: torch.device) -> Any:
    """The model on `device`, copies finished, so that any stream may use it."""
    try:
        opened.to(device)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    except RuntimeError as error:  # out of memory, driver trouble
        raise MissingError(f"the model does not fit on {device}: {_first_line(error)}", "Use another --device or fewer workers.") from error
    return opened


def _takes_token_types(opened: Any) -> bool:
    """RoBERTa's and DeBERTa's configurations say type_vocab_size 1 or 0: there is nothing to tell apart. DistilBERT has no such input."""
    takes = "token_type_ids" in inspect.signature(opened.forward).parameters
    return takes and int(getattr(opened.config, "type_vocab_size", 2) or 0) > 1


def _prepare_autocast(opened: Any, dtype: torch.dtype, device: torch.device) -> None:
    """Cast the weights of linear layers once (autocast casts them on every call) and keep what follows the encoder in FP32."""
    for name, child in opened.named_children():
        if name != opened.base_model_prefix:
            child.forward = _in_fp32(child.forward, device)
            continue
        for module in child.modules():
            if isinstance(module, torch.nn.Linear):
                module.to(dtype)


def _in_fp32(forward: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    def plain(*inputs: Any, **named: Any) -> Any:
        with torch.autocast(device.type, enabled=False):
            return forward(*(_widened(value) for value in inputs), **{key: _widened(value) for key, value in named.items()})

    return plain


def _widened(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


_DEVICES = "Use auto, cpu, cuda or cuda:N."
