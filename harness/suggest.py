"""What somebody probably meant: the advice beside every unknown name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name` (case and `_` ignored), or None when nothing is near."""
    by_key = {_key(candidate): candidate for candidate in known}
    near = difflib.get_close_matches(_key(name), by_key, n=1, cutoff=0.6)
    return by_key[near[0]] if near else None


def advice(name: str, known: Iterable[str], what: str) -> str:
    """One sentence for a cure: "did you mean server? Scenarios: multi-stream, offline, server"."""
    names = sorted(known)
    listing = f"{what}: {', '.join(names)}" if names else f"{what}: none here"
    near = closest(name, names)
    return f"did you mean {near}? {listing}" if near else listing


def _key(name: str) -> str:
    return name.lower().replace("_", "-")
