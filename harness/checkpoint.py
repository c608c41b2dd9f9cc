"""What is in a model folder in the layout of transformers, read without loading it: configuration, weights files, tokenizer."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any, Literal

from harness.cached import sha256_of
from harness.errors import DataError, MissingError

Head = Literal["question-answering", "sequence-classification"]
"""`head` of a task and of a model."""

ARCHITECTURE_ENDINGS: dict[Head, tuple[str, ...]] = {
    "question-answering": ("ForQuestionAnswering", "ForQuestionAnsweringSimple"),
    "sequence-classification": ("ForSequenceClassification",),
}
"""How transformers names the classes its Auto classes open with each head."""

VOCABULARIES = ("vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "spm.model", "tokenizer.model")
"""Files from which transformers can build the tokenizer.json that is missing."""

_FLOATING = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}
_HEADER_LIMIT = 100_000_000  # bytes; the limit of the safetensors format itself


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`. Raises DataError with file and line."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})", "Check that the file exists and that you may read it.") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON ({error.msg})", "The file is damaged: get the model again.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason})", "The file is damaged: get the model again.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: a JSON object is expected, this is a {type(content).__name__}", "Get the model again.")
    return content


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model folder. Raises MissingError where there is no folder and DataError where it holds no good config.json."""
    if not folder.is_dir():
        raise MissingError(f"{folder}: no such folder", "--model wants a registered name, a model folder, or a hub id (owner/name).")
    path = folder / "config.json"
    if not path.is_file():
        raise DataError(f"{folder}: no config.json, so this is no model folder", "Give the folder that save_pretrained wrote.")
    return read_json(path)


def check_head(folder: Path, config: dict[str, Any], head: Head) -> None:
    """Raises DataError unless an architecture of `config` has the wanted head."""
    found = config.get("architectures")
    names = [str(name) for name in found] if isinstance(found, list) else []
    if any(name.endswith(ARCHITECTURE_ENDINGS[head]) for name in names):
        return
    raise DataError(
        f"{folder}/config.json: no {head} head: architectures are {names or 'not given'}, a ...{ARCHITECTURE_ENDINGS[head][0]} is wanted",
        f"Give a model fine-tuned for {head}; an encoder or masked language model alone has no answers.",
    )


def weight_files(folder: Path, *, allow_pickle: bool) -> list[Path]:
    """Files of the weights: model.safetensors, or the shards of its index, or with `allow_pickle` pytorch_model.bin. Raises DataError."""
    for index in ("model.safetensors", "pytorch_model.bin") if allow_pickle else ("model.safetensors",):
        if (folder / index).is_file():
            return [folder / index]
        if (folder / f"{index}.index.json").is_file():
            return _shards(folder / f"{index}.index.json")
    if list(folder.glob("pytorch_model*.bin")):
        raise DataError(
            f"{folder}: weights are only there as pickle ({sorted(folder.glob('pytorch_model*.bin'))[0].name}), which can run code",
            "Convert them to model.safetensors, or trust them with --allow-pickle.",
        )
    others = sorted(path.name for pattern in ("*.h5", "*.msgpack", "*.onnx", "*.gguf") for path in folder.glob(pattern))
    raise DataError(
        f"{folder}: no weights (model.safetensors){', only ' + ', '.join(others) if others else ''}",
        "Give a folder that save_pretrained of transformers wrote.",
    )


def _shards(index: Path) -> list[Path]:
    mapping = read_json(index).get("weight_map")
    if not isinstance(mapping, dict) or not mapping:
        raise DataError(f"{index}: no weight_map", "The file is damaged: get the model again.")
    files = [index.parent / str(name) for name in sorted(set(mapping.values()))]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise DataError(f"{index.parent}: shards are missing: {', '.join(missing)}", "The download is incomplete: get the model again.")
    return files


def count_parameters(files: Sequence[Path]) -> int:
    """Floating-point numbers in the weights files, from their headers; pickles have none and are read with weights_only=True.

    Raises DataError where a file is damaged or cut off, or a pickle holds more than tensors.
    """
    return sum(_count_safetensors(file) if file.suffix == ".safetensors" else _count_pickled(file) for file in files)


def _count_safetensors(path: Path) -> int:
    """Format: 8 bytes little-endian header length, JSON header, then the data its offsets point into."""
    cure = "The file is damaged or cut off: get the model again."
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else _HEADER_LIMIT + 1
        if length > _HEADER_LIMIT:
            raise DataError(f"{path}: not a safetensors file", cure)
        try:
            tensors = json.loads(file.read(length))
            tensors.pop("__metadata__", None)
            end = max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
            count = sum(int(prod(entry["shape"])) for entry in tensors.values() if entry["dtype"] in _FLOATING)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise DataError(f"{path}: its header is damaged ({error!r})", cure) from error
    size = path.stat().st_size
    if size != 8 + length + end:
        raise DataError(f"{path}: {8 + length + end} bytes expected by its header, {size} found", cure)
    return count


def _count_pickled(path: Path) -> int:
    import pickle

    import torch

    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        return sum(int(values.numel()) for values in tensors.values() if values.is_floating_point())
    except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError, ValueError, KeyError) as error:
        raise DataError(
            f"{path}: not a plain dictionary of tensors ({(str(error).splitlines() or [''])[0][:200]})",
            "Convert it to model.safetensors where you trust it.",
        ) from error


def fingerprint(files: Sequence[Path]) -> str:
    """sha256 over names and sha256 of `files`: the same bytes under the same names, wherever they lie."""
    lines = "".join(f"{sha256_of(file)}  {file.name}\n" for file in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()
