"""The model that `finetune` trains: an encoder, a new head, LoRA weights in the encoder's linear layers; and the folders it ends up in."""

from __future__ import annotations

import inspect
import json
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.cached import sha256_of
from harness.checkpoint import VOCABULARIES, Head, read_config, weight_files
from harness.downloads import BASE_REPO, Say, base_folder
from harness.embedded import write_tokenizer
from harness.errors import DataError, MissingError
from harness.finetuning.checkpoint import write_whole
from harness.lora import Weights, merge, read_adapter

EMBEDDED = "embedded"
"""What `--base` calls the base of the embedded default models."""

ADAPTER = "adapter"
"""Folder with the adapter, below that of the model."""

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt", *VOCABULARIES)


@dataclass(frozen=True, slots=True)
class Base:
    """An encoder on disk. `name` is what the adapter calls it, `sha256` covers its weights and configuration."""

    name: str
    folder: Path
    sha256: str

    @property
    def embedded(self) -> bool:
        return self.name == BASE_REPO


@dataclass(frozen=True, slots=True)
class Shape:
    """What is trained. `labels` name the outputs: none for spans, one for a value, else the classes. `rank` 0 trains all weights."""

    head: Head
    labels: tuple[str, ...]
    rank: int
    alpha: int


@dataclass(frozen=True, slots=True)
class Net:
    """`module` is trained, `inner` is the plain model of transformers in it; `inputs` are the arrays of a batch that it takes."""

    module: Any
    inner: Any
    inputs: tuple[str, ...]
    start: Weights


def find_base(base: str, *, cache: Path, offline: bool, say: Say) -> Base:
    """The base that `--base` means: the embedded one, or a folder with config.json, safetensors weights and a tokenizer.

    Raises MissingError and DataError.
    """
    if base == EMBEDDED:
        folder, name = base_folder(cache, offline=offline, say=say), BASE_REPO
    else:
        folder = Path(base).expanduser()
        if not folder.is_dir():
            raise MissingError(f"--base: {base}: no such folder", f"Give {EMBEDDED}, or a folder with config.json and model.safetensors.")
        name = folder.resolve().name
    read_config(folder)
    files = [*weight_files(folder, allow_pickle=False), folder / "config.json"]
    return Base(name, folder, " ".join(sha256_of(file) for file in files))


def build(base: Base, shape: Shape, seed: int, device: str) -> Net:
    """The model to train, in float32 on `device`. A head that the base does not have is drawn with `seed`, and so are the LoRA weights.

    Raises MissingError without peft (if `shape.rank`) and DataError where transformers cannot open the base.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inner = _opened(base, shape)
        start = _numpy(inner.state_dict()) if shape.rank else {}
        module = _with_lora(inner, shape) if shape.rank else inner
    return Net(module.to(device), inner, _inputs(inner), start)


def _opened(base: Base, shape: Shape) -> Any:
    from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    auto = AutoModelForQuestionAnswering if shape.head == "question-answering" else AutoModelForSequenceClassification
    settings: dict[str, Any] = {}
    if shape.labels:
        settings["id2label"] = dict(enumerate(shape.labels))
        settings["label2id"] = {label: number for number, label in enumerate(shape.labels)}
        settings["problem_type"] = "regression" if len(shape.labels) == 1 else "single_label_classification"
    try:
        opened = auto.from_pretrained(
            str(base.folder), local_files_only=True, use_safetensors=True, ignore_mismatched_sizes=True, **settings
        ).float()
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise DataError(f"{base.folder}: transformers cannot open it for {shape.head}: {reason}", "Give another --base.") from error
    opened.config.architectures = [type(opened).__name__]
    return opened


def _with_lora(inner: Any, shape: Shape) -> Any:
    """Every linear layer of the encoder gets LoRA weights, and what is behind the encoder (the head) is trained whole."""
    import torch

    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingError("finetune needs peft", 'pip install "assay[finetune]", or train all weights with --full.') from error
    encoder = getattr(inner, inner.base_model_prefix)
    linear = [name for name, module in encoder.named_modules() if isinstance(module, torch.nn.Linear)]
    config = LoraConfig(
        r=shape.rank,
        lora_alpha=shape.alpha,
        lora_dropout=0.0,
        target_modules=sorted({_in_layer(name) for name in linear}),
        modules_to_save=sorted(_head(inner)),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by an old name whether memory is saved
        return get_peft_model(inner, config)


def _in_layer(name: str) -> str:
    """Name of a module within its layer: what follows the last number ("encoder.layer.0.output.dense": "output.dense")."""
    parts = name.split(".")
    numbers = [place for place, part in enumerate(parts) if part.isdecimal()]
    return ".".join(parts[numbers[-1] + 1 :] if numbers and numbers[-1] + 1 < len(parts) else parts)


def _head(inner: Any) -> list[str]:
    """Modules with weights behind the encoder."""
    return [name for name, child in inner.named_children() if name != inner.base_model_prefix and list(child.parameters())]


def _inputs(inner: Any) -> tuple[str, ...]:
    """RoBERTa's configuration has one token type: there is nothing to tell apart. DistilBERT has no such input."""
    takes = "token_type_ids" in inspect.signature(inner.forward).parameters
    types = takes and int(getattr(inner.config, "type_vocab_size", 2) or 0) > 1
    return ("input_ids", "attention_mask", "token_type_ids") if types else ("input_ids", "attention_mask")


def _numpy(state: Any) -> Weights:
    return {name: np.array(values.detach().cpu().numpy()) for name, values in state.items()}


# ---------------------------------------------------------------------------------------------------------------------- to disk


def write_model(net: Net, base: Base, shape: Shape, into: Path) -> None:
    """The trained model as a folder that `--model` opens; with LoRA also its adapter, in the folder `adapter` below.

    The adapter is stored as float16 in peft's format, and the model is the base with just that adapter merged, as for the embedded default
    models. Raises MissingError where the disk refuses.
    """
    from safetensors.numpy import save

    weights = merge(net.start, *_write_adapter(net, base, into / ADAPTER)) if shape.rank else _numpy(net.inner.state_dict())
    write_whole(into / "model.safetensors", save(_floats(weights), metadata={"format": "pt"}))
    config = json.loads(net.inner.config.to_json_string(use_diff=True))
    config.pop("_name_or_path", None)  # a path of this machine
    _write_json(into / "config.json", config)
    if base.embedded:
        write_tokenizer(base.folder, into)
        return
    for name in _TOKENIZER:
        if (base.folder / name).is_file():
            shutil.copyfile(base.folder / name, into / name)


def _floats(weights: Weights) -> Weights:
    """Weights without buffers such as position numbers, which transformers makes anew."""
    return {name: np.ascontiguousarray(values) for name, values in weights.items() if values.dtype.kind == "f"}


def _write_adapter(net: Net, base: Base, into: Path) -> tuple[Weights, float]:
    """The adapter, written and read again as whoever merges it will read it."""
    from peft import get_peft_model_state_dict
    from safetensors.numpy import save

    into.mkdir(parents=True, exist_ok=True)
    state = _numpy(get_peft_model_state_dict(net.module, save_embedding_layers=False))
    write_whole(into / "adapter_model.safetensors", save({name: values.astype(np.float16) for name, values in state.items()}))
    config = net.module.peft_config["default"].to_dict() | {"inference_mode": True, "base_model_name_or_path": base.name}
    _write_json(into / "adapter_config.json", {key: _plain(value) for key, value in config.items()})
    return read_adapter(into)


def _plain(value: Any) -> Any:
    """A value as JSON has it; the elements of a set in order."""
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value if isinstance(value, str | int | float | bool | list | None) else str(value)


def _write_json(path: Path, content: Any) -> None:
    write_whole(path, (json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode())


def trained(net: Net) -> tuple[int, int]:
    """Weights that are trained, and all weights."""
    sizes: Sequence[tuple[int, bool]] = [(weight.numel(), weight.requires_grad) for weight in net.module.parameters()]
    return sum(size for size, learns in sizes if learns), sum(size for size, _ in sizes)
