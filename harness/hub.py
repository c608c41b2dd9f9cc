"""Models of the hub: fetched file by file, continued where the line was cut, and used only with the checksum that the hub states.

A model fetched here lies in Assay's cache, `hub/OWNER--NAME/COMMIT/`, with a manifest of sha256 that is checked on every use. Files that
are not whole yet wait beside it in `.COMMIT.parts/`. The cache of the hub's own library is read where it has the model, never written.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from harness.cached import disk_problem, intact, made_once, sha256_of
from harness.errors import DataError, MissingError, first_line

Say = Callable[[str], None]
T = TypeVar("T")

ANSWER_TIMEOUT_S = 5.0
"""For lists and headers; the library waits longer for the bytes of a file."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r"\w[\w.-]*")
_SHARD = re.compile(r"-\d+-of-(\d+)\.")
_BESIDE = {"config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt"}
_VOCABULARY = re.compile(r"tokenizer\.json|vocab\.(txt|json)|[\w.-]+\.model")
_AGAIN = "Try again; if it is wrong again, what lies between here and the hub (proxy, mirror) alters it."
_ONLINE = "Run it once without --offline: it is fetched again."

# ------------------------------------------------------------------------------------------------------------------------ model


def hub_snapshot(repo: str, revision: str | None, *, cache: Path, offline: bool, allow_pickle: bool, say: Say) -> Path:
    """Folder with configuration, weights and tokenizer of the model `repo` (owner/name), its files what the hub says they are.

    `revision` is a commit, branch or tag; None is the newest state. A commit that is on this machine is used without asking the hub. For
    the others the hub is asked where they stand; when it does not answer, what was fetched before is used. Pickled weights are taken with
    `allow_pickle`, and only where there are no others. Raises MissingError for what cannot be had, and DataError for a file that is not
    what it should be and cannot be fetched again.
    """
    here = _Here(repo, cache / "hub" / repo.replace("/", "--"), allow_pickle)
    if offline or hub_is_off():
        return here.folder(revision)
    if revision and _COMMIT.fullmatch(revision):
        found = _usable(here, revision, say)
        return found if found is not None else _fetch(here, listing(repo, revision), say)
    say(f"{repo}: looking it up on the hub")
    try:
        listed = listing(repo, revision)
    except MissingError as unreachable:
        try:
            return here.folder(revision)
        except MissingError:
            raise unreachable from None
    found = _usable(here, listed.commit, say)
    folder = found if found is not None else _fetch(here, listed, say)
    here.remember(revision, listed.commit)
    return folder


def _usable(here: _Here, commit: str, say: Say) -> Path | None:
    """The folder of `commit` if it is here and intact; a damaged one is named."""
    try:
        return here.folder(commit)
    except DataError as damaged:
        say(f"{damaged}; fetching it again")
    except MissingError:
        pass
    return None


def _fetch(here: _Here, listed: Listing, say: Say) -> Path:
    names = wanted(listed.names, allow_pickle=here.allow_pickle, repo=here.repo)
    folder = here.store / (listed.commit + ("-pickle" if any(_is_pickle(name) for name in names) else ""))
    fetch(folder, here.repo, listed.commit, names, say=say)
    return folder


@dataclass(frozen=True, slots=True)
class _Here:
    """What this machine has of a model: `store` in Assay's cache, and the cache of the hub's own library."""

    repo: str
    store: Path
    allow_pickle: bool

    def folder(self, revision: str | None) -> Path:
        """Complete and intact folder of `revision`. Raises DataError where a file is damaged, MissingError where there is none."""
        commit = revision if revision and _COMMIT.fullmatch(revision) else self._remembered(revision)
        own = [self.store / f"{commit}{kind}" for kind in ("", "-pickle")[: 1 + self.allow_pickle] if commit]
        for folder in own:
            if intact(folder) is not None:
                return folder
        found = cached_by_library(self.repo, commit or revision)
        if found is not None and _complete(found, self.allow_pickle):
            return undamaged(found)
        if there := [folder for folder in own if folder.exists()]:
            raise DataError(f"{there[0]}: its files are not those of its manifest", _ONLINE)
        raise MissingError(f"{self.repo} is not on this machine", "Fetch it once with a network (`prepare`).")

    def remember(self, revision: str | None, commit: str) -> None:
        """Where a branch or tag stood, for the time when the hub does not answer."""
        path = self._reference(revision)
        with contextlib.suppress(OSError):  # the model itself is there
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.partial")
            partial.write_text(commit, encoding="utf-8")
            partial.replace(path)

    def _remembered(self, revision: str | None) -> str:
        """The commit that a branch or tag had, empty where it is not known."""
        try:
            text = self._reference(revision).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return ""
        return text if _COMMIT.fullmatch(text) else ""

    def _reference(self, revision: str | None) -> Path:
        return self.store / "refs" / (revision or "main").replace("/", "--")


def wanted(names: Sequence[str], *, allow_pickle: bool, repo: str) -> list[str]:
    """The files of a repository that make a model: configuration, tokenizer and weights, one file or all shards.

    Raises DataError where there is no configuration, and where the weights are pickled and that is not allowed. A repository without any
    weights gives the other files; whoever opens the folder says what is missing.
    """
    if "config.json" not in names:
        raise DataError(f"{repo}: has no config.json, so this is no model of transformers", "Check the name and the revision.")
    weights = _weights(names, "model", ".safetensors")
    if not weights and (pickled := _weights(names, "pytorch_model", ".bin")):
        if not allow_pickle:
            raise DataError(
                f"{repo}: weights are only there as pickle ({pickled[0]}), which can run code",
                "Convert them to model.safetensors, or trust them with --allow-pickle.",
            )
        weights = pickled
    return [*(name for name in names if name in _BESIDE or _VOCABULARY.fullmatch(name)), *weights]


def _weights(names: Sequence[str], stem: str, ending: str) -> list[str]:
    if stem + ending in names:
        return [stem + ending]
    index = f"{stem}{ending}.index.json"
    return [index, *(name for name in names if name.startswith(f"{stem}-") and name.endswith(ending))] if index in names else []


def _is_pickle(name: str) -> bool:
    return name.startswith("pytorch_model")


def _complete(folder: Path, allow_pickle: bool) -> bool:
    """Whether a folder of the library's cache, filled by whomever, has a configuration, a vocabulary, and weights in all their shards."""
    names = [path.name for path in folder.iterdir()]
    weights = _weights(names, "model", ".safetensors") or (_weights(names, "pytorch_model", ".bin") if allow_pickle else [])
    shards = [match[1] for name in weights if (match := _SHARD.search(name))]
    whole = bool(weights) and (len(weights) == 1 or (bool(shards) and len(shards) == int(shards[0])))
    return whole and "config.json" in names and any(_VOCABULARY.fullmatch(name) for name in names)


# ------------------------------------------------------------------------------------------------------------- the library's cache


def cached_by_library(repo: str, revision: str | None) -> Path | None:
    """Folder of `repo` in the cache of the hub's own library, None where it has none; complete or not."""
    from huggingface_hub import constants, try_to_load_from_cache

    found = try_to_load_from_cache(repo, "config.json", cache_dir=constants.HF_HUB_CACHE, revision=revision)
    return Path(found).parent if isinstance(found, str) and Path(found).is_file() else None


def undamaged(folder: Path) -> Path:
    """`folder` if each of its files is what it is stored as. Raises DataError for the first that is not.

    The library stores a file under its checksum and links it into the folder by its name. Where it cannot make links (Windows without the
    right to) there is nothing to compare with.
    """
    for path in sorted(folder.iterdir()):
        if not path.is_symlink():
            continue
        if not path.is_file():
            raise DataError(f"{path}: leads nowhere", _ONLINE)
        checksum = path.resolve().name
        if problem := _difference(path, _File(checksum, None)):
            raise DataError(f"{path}: damaged: {problem}", _ONLINE)
    return folder


# ------------------------------------------------------------------------------------------------------------------------ files


@dataclass(frozen=True, slots=True)
class Listing:
    """Files in the top folder of a repository at a commit."""

    commit: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _File:
    """What the hub says of a file: its checksum (64 digits: sha256; 40: git's SHA-1; else none) and its size in bytes."""

    checksum: str
    size: int | None


def listing(repo: str, revision: str | None) -> Listing:
    """What the hub has of `repo`, asked once, without the library's half-minute of retries. Raises MissingError."""
    from huggingface_hub import HfApi

    info = from_hub(lambda: HfApi(endpoint=hub_endpoint()).model_info(repo, revision=revision, timeout=ANSWER_TIMEOUT_S), repo)
    names = tuple(file.rfilename for file in info.siblings or () if _NAME.fullmatch(file.rfilename))
    if not info.sha or not _COMMIT.fullmatch(info.sha):
        raise MissingError(f"{repo}: the hub names no commit", "Check HF_ENDPOINT: what answers does not speak the hub's protocol.")
    return Listing(info.sha, names)


def fetch(folder: Path, repo: str, commit: str, names: Sequence[str], *, say: Say, check: Callable[[Path], Any] | None = None) -> None:
    """Fill `folder` with `names` of `repo`, all or nothing, unless it is there and intact; `check` may refuse what came.

    A file that was cut off is continued by the next call. Raises MissingError where the hub or the disk refuses, DataError for a file
    with another size or checksum than the hub stated: it is removed.
    """
    parts = folder.parent / f".{folder.name}.parts"

    def make(into: Path) -> None:
        parts.mkdir(parents=True, exist_ok=True)
        for name in names:
            _fetch_file(repo, commit, name, parts / name, say)
        for name in names:
            (parts / name).replace(into / name)
        shutil.rmtree(parts, ignore_errors=True)
        if check is not None:
            check(into)

    made_once(folder, make)


def _fetch_file(repo: str, commit: str, name: str, part: Path, say: Say) -> None:
    """`part` becomes the whole file. What an earlier attempt left is continued; where that does not give the file, it is fetched anew."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(repo, name, revision=commit, endpoint=hub_endpoint())
    metadata = from_hub(lambda: get_hf_file_metadata(url, timeout=ANSWER_TIMEOUT_S), repo)
    file = _File(metadata.etag or "", metadata.size)
    where = f"{repo}/{name}"
    if part.exists() and _continued(url, file, part, where, say) is None:
        return
    part.unlink(missing_ok=True)
    _say_fetching(where, 0, file, say)
    if problem := _download(url, file, part, where):
        part.unlink(missing_ok=True)
        raise DataError(f"{where}: {problem}; removed", _AGAIN)


def _continued(url: str, file: _File, part: Path, where: str, say: Say) -> str | None:
    """None if what is there, with the rest behind it, is the file; else what is wrong."""
    size = part.stat().st_size
    if file.size is not None and size >= file.size:
        return _difference(part, file)
    _say_fetching(where, size, file, say)
    return _download(url, file, part, where)


def _download(url: str, file: _File, part: Path, where: str) -> str | None:
    """Append what `part` lacks, by Range, or all of it where the server knows no ranges; what is wrong with the result, if anything."""
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented, not marked as exported

    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    with part.open("ab") as target:
        try:
            from_hub(lambda: http_get(url, target, resume_size=target.tell(), headers=headers), where)
        except _WrongSize as error:
            return str(error)
    return _difference(part, file)


def _difference(path: Path, file: _File) -> str | None:
    """How the file at `path` differs from `file`, None if it does not."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"{file.size} bytes expected, {size} found"
    if re.fullmatch(r"[0-9a-f]{64}", file.checksum):
        found = {sha256_of(path)}
    elif _COMMIT.fullmatch(file.checksum):
        found = _sha1s(path)
    else:
        return None if file.size is not None else "neither a checksum nor a size is known"
    return None if file.checksum in found else f"checksum does not match: {file.checksum} expected, {sorted(found)[0]} found"


def _sha1s(path: Path) -> set[str]:
    """SHA-1 as git makes it of a file (a header before the content), and of the content alone, which some mirrors state."""
    git, plain = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False), hashlib.sha1(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            git.update(block)
            plain.update(block)
    return {git.hexdigest(), plain.hexdigest()}


def _say_fetching(where: str, have: int, file: _File, say: Say) -> None:
    whole = f"{file.size:,} bytes" if file.size is not None else "size unknown"
    if have:
        say(f"{where}: continuing at byte {have:,} of {whole}")
    elif file.size is None or file.size >= 10_000_000:
        say(f"{where}: fetching {whole}")


# ----------------------------------------------------------------------------------------------------------------------- errors


class _WrongSize(Exception):
    """The library received another number of bytes than the server announced."""


def from_hub(ask: Callable[[], T], repo: str) -> T:
    """`ask()`, its errors translated: what the hub's library raises (of requests, httpx or httpx2) depends on its version."""
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        return ask()
    except GatedRepoError as error:
        raise MissingError(f"{repo}: its owner grants access by request", "Ask for access on the hub, then `hf auth login`.") from error
    except RepositoryNotFoundError as error:
        raise MissingError(
            f"{repo}: the hub knows no such model, or it is private", "Check the name; `hf auth login` if private."
        ) from error
    except RevisionNotFoundError as error:
        raise MissingError(f"{repo}: the hub has no such revision of it", "Check what stands behind @: a branch, tag or commit.") from error
    except EntryNotFoundError as error:
        raise MissingError(f"{repo}: a file is not there: {first_line(error)}", "Check the name and the revision.") from error
    except Exception as error:
        raise _translated(error, repo) from error


def _translated(error: Exception, repo: str) -> Exception:
    if problem := disk_problem(error):
        return MissingError(f"{repo}: the cache: {problem}", "Free some space, or set ASSAY_CACHE to a folder that has it.")
    if str(error).startswith("Consistency check failed"):
        return _WrongSize(first_line(error))
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in _REFUSALS:
        what, cure = _REFUSALS[status]
        return MissingError(f"{repo}: the hub answers {status}: {what}", cure)
    if isinstance(status, int) and status >= 500:
        return MissingError(
            f"{repo}: the hub answers {status}: it has trouble of its own", "Try again later, or give a folder with --model."
        )
    cure = "Check the network, HF_ENDPOINT and the proxy settings, or give a folder with --model."
    return MissingError(f"the hub cannot be reached for {repo} ({first_line(error)})", cure)


_REFUSALS = {
    401: ("the model is private, or your token is not accepted", "Check the name; `hf auth login` again, or unset HF_TOKEN."),
    403: ("your account may not read it", "Ask its owner for access, or check what your token may read."),
    429: ("too many requests", "Wait some minutes, or `hf auth login`: who is known may ask more often."),
}


def hub_endpoint() -> str | None:
    """$HF_ENDPOINT as it is now (the library reads it once, when imported)."""
    return os.environ.get("HF_ENDPOINT") or None


def hub_is_off() -> bool:
    """$HF_HUB_OFFLINE as it is now."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
