"""Baselines on disk: whole, unchanged and, where that is asked for, signed by whom they should be."""

from __future__ import annotations

import json
from pathlib import Path

from harness.errors import MissingError, UsageError
from harness.qualifying import baseline, sealing, signing
from harness.qualifying.baseline import Baseline
from harness.qualifying.signing import Signer
from harness.store import as_json, write_atomically

_CURE = "take the file from where it was made, or learn it anew with --learn"


def read(file: Path, flag: str, signer: Signer | None = None) -> Baseline:
    """The baseline in a file. Raises MissingError where it cannot be read, UsageError where it is none, was changed, or is not signed as
    asked."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingError(f"{flag}: {file} cannot be read: {error.strerror}", "`assay qualify --learn FILE` makes one") from error
    except ValueError as error:
        raise UsageError(f"{flag}: {file} is no baseline: {error}", _CURE) from error
    if not isinstance(record, dict) or record.get("kind") != "qualification baseline":
        raise UsageError(f"{flag}: {file} is no baseline", "`assay qualify --learn FILE` makes one")
    if not sealing.intact(record):
        raise UsageError(f"{flag}: {file} was changed since it was learned: its sha256 is not that of its content", _CURE)
    if signer is not None:
        signing.check(file, signer)
    try:
        found = baseline.from_json(record)
    except ValueError as error:
        raise UsageError(f"{flag}: {file}: {error}", _CURE) from error
    return found


def write(file: Path, known: Baseline, signer: Signer | None = None) -> Baseline:
    """Whole or not at all, with its hash; signatures of the former content go. Raises MissingError."""
    record = sealing.sealed(json.loads(as_json(baseline.to_json(known))))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        signing.withdraw(file)
        write_atomically(file, as_json(record).encode())
    except OSError as error:
        raise MissingError(f"--learn: {file} cannot be written: {error.strerror}", "give a file in a folder that can be written") from error
    if signer is not None:
        signing.sign(file, signer)
    return baseline.from_json(record)
