"""A folder of files that is whole or not there: written beside its place, then moved into it in one step."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from harness.errors import MissingError, UsageError

Files = Mapping[str, bytes | Path]
"""Path below the tree, with `/`, to the content or to the file that is copied."""

Amendments = Mapping[str, Callable[[str], str]]
"""Path below the tree to a function from the text that is there ("" for none) to the new one ("" removes the file)."""

KNOWN = ("open", "closed", "network", "NOT_SUBMITTABLE.md")
"""What may lie at the root of a tree that is added to."""


def check(out: Path, files: Files, owned: Iterable[str], *, force: bool) -> None:
    """Raises UsageError if `out` is no tree of submissions, or if it has one of the folders in `owned` or another version of one of `files`
    and `force` is not given; MissingError if the folder it lies in is not there."""
    if not out.parent.is_dir():
        raise MissingError(f"--out: {out.parent} is not there", "make it, or name another folder")
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"--out: {out} is no folder", "name a new folder, or a tree of an earlier export")
    if strangers := sorted(entry.name for entry in out.iterdir() if entry.name not in KNOWN):
        raise UsageError(f"--out: {out} is no tree of submissions; it holds {', '.join(strangers[:3])}", "name a new folder")
    if force:
        return
    there = [folder for folder in owned if (out / folder).exists()]
    there += [name for name, content in files.items() if not _below(name, there) and _differs(out / name, content)]
    if there:
        raise UsageError(
            f"--out: {out} has already, and not the same: {', '.join(there)}", "name another --out, or replace them with --force"
        )


def _below(name: str, folders: Iterable[str]) -> bool:
    return any(name.startswith(folder + "/") for folder in folders)


def _differs(file: Path, content: bytes | Path) -> bool:
    if not file.exists():
        return False
    return not file.is_file() or file.read_bytes() != (content.read_bytes() if isinstance(content, Path) else content)


def write(out: Path, files: Files, owned: Iterable[str], amended: Amendments) -> None:
    """Put `files` into the tree, with what it holds already except for the folders in `owned`. Call `check` first. Raises MissingError if
    that cannot be written; the tree is then as it was."""
    try:
        beside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise MissingError(f"--out: {out.parent} cannot be written: {error.strerror}", "name another folder") from error
    try:
        _fill(beside / "new", out, files, owned, amended)
        _swap(beside, out)
    except OSError as error:
        reason = error.strerror or str(error)
        raise MissingError(f"--out: {out} cannot be written: {reason}", "free disk space, or name a folder that can be written") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _fill(new: Path, out: Path, files: Files, owned: Iterable[str], amended: Amendments) -> None:
    if out.exists():
        shutil.copytree(out, new, symlinks=True)
    else:
        new.mkdir()
    for folder in owned:
        if (new / folder).exists():
            shutil.rmtree(new / folder)
    for name, content in files.items():
        file = new / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, file)
        else:
            file.write_bytes(content)
    for name, change in amended.items():
        _amend(new / name, change)


def _amend(file: Path, change: Callable[[str], str]) -> None:
    text = change(file.read_text(encoding="utf-8") if file.is_file() else "")
    if text:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    else:
        file.unlink(missing_ok=True)


def _swap(beside: Path, out: Path) -> None:
    """The new tree in the place of the old one; if the second move fails, the old one goes back."""
    if not out.exists():
        (beside / "new").rename(out)
        return
    out.rename(beside / "old")
    try:
        (beside / "new").rename(out)
    except BaseException:
        with contextlib.suppress(OSError):
            (beside / "old").rename(out)
        raise
