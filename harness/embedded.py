"""The embedded default model: base and adapter merged once into an ordinary transformers folder in the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.cached import made_once, sha256_of
from harness.checkpoint import Head
from harness.downloads import BASE_FILES, Say, base_folder
from harness.errors import MissingError
from harness.lora import Weights, merge, read_adapter, read_weights

ADAPTERS = Path(__file__).resolve().parent.parent / "models" / "adapters"
LAYOUT = 1
"""Version of what is written below; part of the key, so that a change makes new folders. 1: first."""

_ARCHITECTURE: dict[Head, str] = {
    "question-answering": "BertForQuestionAnswering",
    "sequence-classification": "BertForSequenceClassification",
}


def merged_folder(name: str, adapter: str, head: Head, labels: Sequence[str], *, cache: Path, offline: bool, say: Say) -> Path:
    """Folder of the model `name`: the base with adapter `adapter` merged, as config.json, model.safetensors and tokenizer files.

    `labels` name the outputs by id; empty for spans, one name for a model that predicts a value.
    Made once and verified by sha256 on every use; a damaged copy is made again. Raises MissingError and DataError.
    """
    source = ADAPTERS / adapter
    folder = cache / "models" / f"{name}-{_key(source, head, labels)}"

    def make(into: Path) -> None:
        base = base_folder(cache, offline=offline, say=say)
        _write_weights(base, source, head, into)
        _write_config(base, head, labels, into)
        write_tokenizer(base, into)

    made_once(folder, make)
    return folder


def _key(adapter: Path, head: Head, labels: Sequence[str]) -> str:
    try:
        parts = [sha256_of(adapter / file) for file in ("adapter_config.json", "adapter_model.safetensors")]
    except OSError as error:
        raise MissingError(f"{error.filename}: {error.strerror}", "The adapters ship with Assay: install it again.") from error
    parts += [str(LAYOUT), head, *labels, *BASE_FILES.values()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _write_weights(base: Path, adapter: Path, head: Head, into: Path) -> None:
    from safetensors.numpy import save_file

    pooled = head == "sequence-classification"  # a question-answering head reads the tokens, there is no pooler
    weights: Weights = {
        f"bert.{name}": values
        for name, values in read_weights(base / "model.safetensors").items()
        if pooled or not name.startswith("pooler.")
    }
    merged = merge(weights, *read_adapter(adapter))
    save_file(merged, into / "model.safetensors", metadata={"format": "pt"})


def _write_config(base: Path, head: Head, labels: Sequence[str], into: Path) -> None:
    config = _read(base / "config.json")
    for key in ("_name_or_path", "gradient_checkpointing", "transformers_version"):
        config.pop(key, None)
    config["architectures"] = [_ARCHITECTURE[head]]
    if labels:
        config["id2label"] = {str(index): label for index, label in enumerate(labels)}
        config["label2id"] = {label: index for index, label in enumerate(labels)}
    if len(labels) == 1:
        config["problem_type"] = "regression"
    _write(into / "config.json", config)


def write_tokenizer(base: Path, into: Path) -> None:
    """Tokenizer files of the embedded base for a model folder.

    The base cuts and pads to 128 tokens, as suits sentence embeddings; tasks set their own lengths.
    """
    tokenizer = _read(base / "tokenizer.json")
    tokenizer["truncation"] = tokenizer["padding"] = None
    _write(into / "tokenizer.json", tokenizer)
    (into / "vocab.txt").write_bytes((base / "vocab.txt").read_bytes())
    special = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"}
    _write(into / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512, **special})


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
