"""Signatures of a baseline, by the programs that people have their keys in: minisign or GnuPG. A detached file beside it.

`gpg`, `gpg:KEY` (a user id or fingerprint) or `minisign:KEYFILE`; for checking, minisign wants the public key.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.errors import MissingError, UsageError, first_line

SUFFIX = {"gpg": ".asc", "minisign": ".minisig"}
_TIMEOUT_S = 120.0
"""A person may have to type a passphrase."""


@dataclass(frozen=True, slots=True)
class Signer:
    """`program`: gpg or minisign; `key`: empty for gpg's default. `flag` asked for it."""

    program: str
    key: str
    flag: str


def parse(text: str, flag: str) -> Signer:
    """ "gpg", "gpg:KEY", "minisign:KEYFILE". Raises UsageError, and MissingError where the program or the key file is not there."""
    program, _, key = text.partition(":")
    if program not in SUFFIX or (program == "minisign" and not key):
        raise UsageError(f"{flag}: {text} is no signer", "give gpg, gpg:KEY or minisign:KEYFILE")
    if shutil.which(program) is None:
        raise MissingError(f"{flag}: {program} is not installed", f"install {program}, or leave {flag} out")
    if program == "minisign" and not Path(key).expanduser().is_file():
        raise MissingError(f"{flag}: the key {key} is not there", "`minisign -G` makes a pair of keys")
    return Signer(program, str(Path(key).expanduser()) if program == "minisign" else key, flag)


def signature(file: Path, program: str) -> Path:
    return file.with_name(file.name + SUFFIX[program])


def signed(file: Path) -> list[str]:
    """Programs that signed the file, by what lies beside it."""
    return [program for program in SUFFIX if signature(file, program).is_file()]


def withdraw(file: Path) -> list[Path]:
    """Remove the signatures of what the file said before; which they were."""
    gone = [signature(file, program) for program in signed(file)]
    for each in gone:
        each.unlink()
    return gone


def sign(file: Path, signer: Signer) -> Path:
    """Sign the file as it is. Raises MissingError where the program fails."""
    target = signature(file, signer.program)
    if signer.program == "gpg":
        key = ["--local-user", signer.key] if signer.key else []
        words = ["gpg", "--yes", "--armor", *key, "--output", str(target), "--detach-sign", "--", str(file)]
    else:
        words = ["minisign", "-S", "-s", signer.key, "-x", str(target), "-m", str(file)]
    code, said = _said(words)
    if code or not target.is_file():
        raise MissingError(f"{signer.flag}: {signer.program} did not sign: {said}", "see that the key is there and can be used")
    return target


def check(file: Path, signer: Signer) -> str:
    """Who signed, in words. Raises UsageError for a signature that is absent, bad, or of another key."""
    beside = signature(file, signer.program)
    if not beside.is_file():
        raise UsageError(f"{signer.flag}: {file} has no signature {beside.name}", f"sign it with --sign, or leave {signer.flag} out")
    if signer.program == "minisign":
        code, said = _said(["minisign", "-V", "-p", signer.key, "-x", str(beside), "-m", str(file)])
        if code:
            raise _bad(file, signer, said)
        return f"minisign, {Path(signer.key).name}"
    code, said = _said(["gpg", "--status-fd", "1", "--verify", "--", str(beside), str(file)], whole=True)
    found = re.search(r"^\[GNUPG:\] VALIDSIG (\S+)(?: \S+)* (\S+)$", said, re.MULTILINE)
    if code or found is None:
        raise _bad(file, signer, "BAD signature" if "BADSIG" in said else "no valid signature of a known key")
    if signer.key and not any(made.endswith(signer.key.replace(" ", "").upper()) for made in found.groups()):
        raise _bad(file, signer, f"it was signed by {found[2]}")
    return f"gpg, {found[2]}"


def _bad(file: Path, signer: Signer, why: str) -> UsageError:
    return UsageError(
        f"{signer.flag}: the signature of {file} does not hold: {why}", "take the file from where it was signed, or learn it anew"
    )


def _said(words: list[str], *, whole: bool = False) -> tuple[int, str]:
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return 1, first_line(error)
    text = done.stdout.decode(errors="replace").strip()
    return done.returncode, text if whole else (text.splitlines() or [f"exit code {done.returncode}"])[-1][:300]
