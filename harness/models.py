"""From what `--model` says to a verified folder on disk: embedded and registered names, local folders, hub ids."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import shutil
import sys
from pathlib import Path

from harness.cached import MANIFEST, made_once
from harness.checkpoint import VOCABULARIES, Head, check_head, count_parameters, fingerprint, read_config, weight_files
from harness.core import Model
from harness.embedded import merged_folder
from harness.errors import DataError, MissingError
from harness.hub import Say, hub_snapshot
from harness.registered_models import REGISTERED, Registered

_HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_GENERIC_LABEL = re.compile(r"LABEL_\d+")
_POSITIONS_FROM_PADDING = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "longformer", "data2vec-text", "ibert"}
"""Model types whose first position is pad_token_id + 1 (RobertaEmbeddings of transformers), so that many of them are never used. MPNet does
so from 1, whatever its pad_token_id (MPNetEmbeddings)."""


def default_cache() -> Path:
    """Assay's cache folder: $ASSAY_CACHE, else the user's cache folder of this system."""
    import platformdirs

    return Path(os.environ.get("ASSAY_CACHE") or platformdirs.user_cache_dir("assay")).expanduser()


def to_stderr(line: str) -> None:
    """Where `resolve` says what it fetches, unless told otherwise."""
    print(line, file=sys.stderr, flush=True)


def resolve(
    name_or_path: str, head: Head, *, cache: Path, offline: bool = False, allow_pickle: bool = False, say: Say = to_stderr
) -> Model:
    """The model that `name_or_path` means, on disk and verified, with the wanted head.

    In this order: a registered name, an existing folder, a hub id `owner/name` or `owner/name@revision`. Nothing is fetched when
    `offline`; `say` is given one line per attempt to fetch. Raises MissingError for what is nowhere and DataError for what is there
    but cannot be used.
    """
    if registered := REGISTERED.get(name_or_path):
        folder = _registered_folder(registered, head, cache, offline, allow_pickle, say)
        return _inspected(name_or_path, folder, head, cache, allow_pickle)
    if _is_folder(name_or_path):
        path = Path(name_or_path).expanduser().absolute()
        return _inspected(path.name, path, head, cache, allow_pickle)
    if match := _HUB_ID.fullmatch(name_or_path):
        folder = hub_snapshot(match["repo"], match["revision"], cache=cache, offline=offline, allow_pickle=allow_pickle, say=say)
        return _inspected(name_or_path, folder, head, cache, allow_pickle)
    raise _unknown(name_or_path)


def check_name(name_or_path: str, head: Head) -> None:
    """Refuse what `resolve` would refuse for its name, its folder or its head, without reading weights or asking the hub.

    Raises MissingError and DataError, as `resolve` does.
    """
    if registered := REGISTERED.get(name_or_path):
        _check_registered(registered, head)
    elif _is_folder(name_or_path):
        folder = Path(name_or_path).expanduser().absolute()
        check_head(folder, read_config(folder), head)
    elif not _HUB_ID.fullmatch(name_or_path):
        raise _unknown(name_or_path)


def labels(model: Model) -> list[str]:
    """Label names by id from config.json; empty where there are none but transformers' LABEL_0, LABEL_1 ... Raises DataError."""
    mapping = read_config(model.folder).get("id2label") or {}
    try:
        names = [str(name) for _, name in sorted((int(index), name) for index, name in mapping.items())]
    except (AttributeError, ValueError, TypeError) as error:
        raise DataError(f"{model.folder}/config.json: id2label is not a mapping from numbers to names", "Correct it by hand.") from error
    return [] if all(_GENERIC_LABEL.fullmatch(name) for name in names) else names


def max_positions(model: Model) -> int | None:
    """Longest input the model takes, in tokens; None where its configuration sets no limit."""
    config = read_config(model.folder)
    positions = config.get("max_position_embeddings")
    if not isinstance(positions, int) or positions <= 0:
        return None
    if config.get("model_type") == "mpnet":
        return positions - 2
    if config.get("model_type") in _POSITIONS_FROM_PADDING:
        padding = config.get("pad_token_id")
        return positions - 1 - (1 if padding is None else int(padding))  # 1 is the default of these configurations
    return positions


def _registered_folder(model: Registered, head: Head, cache: Path, offline: bool, allow_pickle: bool, say: Say) -> Path:
    _check_registered(model, head)
    if model.adapter:
        return merged_folder(model.name, model.adapter, head, model.labels, cache=cache, offline=offline, say=say)
    return hub_snapshot(model.hub, model.revision, cache=cache, offline=offline, allow_pickle=allow_pickle, say=say)


def _check_registered(model: Registered, head: Head) -> None:
    if model.head != head:
        fitting = ", ".join(other.name for other in REGISTERED.values() if other.head == head)
        raise DataError(f"{model.name} has a {model.head} head, the task needs {head}", f"Use one of {fitting}.")
    if not (model.adapter or model.hub):
        raise MissingError(f"{model.name} cannot be fetched automatically", model.by_hand)


def _inspected(name: str, folder: Path, head: Head, cache: Path, allow_pickle: bool) -> Model:
    config = read_config(folder)
    check_head(folder, config, head)
    files = weight_files(folder, allow_pickle=allow_pickle)
    sha256 = fingerprint([*files, folder / "config.json"])
    return Model(
        name=name,
        folder=_with_tokenizer(folder, sha256, cache),
        head=head,
        sha256=sha256,
        parameters=count_parameters(files),
        bytes=sum(file.stat().st_size for file in files),
        allow_pickle=allow_pickle,
    )


def _with_tokenizer(folder: Path, sha256: str, cache: Path) -> Path:
    """`folder`, or where it has a vocabulary but no tokenizer.json, a copy of it in the cache (weights linked) that has one.

    The copy belongs to the model with this `sha256`: two folders of one name, with other weights, never share it.
    """
    if (folder / "tokenizer.json").is_file():
        return folder
    vocabulary = [folder / name for name in VOCABULARIES if (folder / name).is_file()]
    if not vocabulary:
        raise DataError(f"{folder}: no tokenizer.json and no vocabulary", "Copy the tokenizer files of the model beside its weights.")
    settings = [path for name in _TOKENIZER_SETTINGS if (path := folder / name).is_file()]
    key = hashlib.sha256((sha256 + fingerprint([*vocabulary, *settings])).encode()).hexdigest()
    copy = cache / "tokenizers" / f"{folder.name}-{key[:12]}"
    made_once(copy, lambda into: _build_tokenizer(folder, into))
    return copy


def _build_tokenizer(folder: Path, into: Path) -> None:
    from transformers import AutoTokenizer

    try:
        AutoTokenizer.from_pretrained(str(folder), local_files_only=True).save_pretrained(str(into))
    except (OSError, ValueError, ImportError) as error:
        raise DataError(f"{folder}: no tokenizer.json, and transformers cannot build one ({error})", _SAVE_TOKENIZER) from error
    if not (into / "tokenizer.json").is_file():
        raise DataError(f"{folder}: no tokenizer.json, and transformers has only a slow tokenizer for it", _SAVE_TOKENIZER)
    for path in folder.iterdir():
        if path.is_file() and path.name != MANIFEST and not (into / path.name).exists():
            _link(path, into / path.name)


def _link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source.resolve())
    except OSError:  # Windows without the right to make links
        shutil.copyfile(source, target)


def _is_folder(text: str) -> bool:
    """Whether `text` means a folder: there is one, or it can be nothing else."""
    return Path(text).expanduser().exists() or text.startswith((".", "~", os.sep)) or text.endswith(os.sep) or Path(text).is_absolute()


def _unknown(name: str) -> MissingError:
    near = difflib.get_close_matches(name, REGISTERED, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    return MissingError(
        f"unknown model {name!r}: neither a registered name, nor a folder, nor a hub id",
        f"{hint}Registered: {', '.join(REGISTERED)}; or a folder, or owner/name on the hub.",
    )


_SAVE_TOKENIZER = "Save a fast tokenizer beside the weights: AutoTokenizer.from_pretrained(...).save_pretrained(folder)."
_TOKENIZER_SETTINGS = ("config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt")
