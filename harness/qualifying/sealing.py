"""A hash over what a record says, kept in the record: whoever changes one figure by accident, or without thinking, is found out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.history.series_key import digest

FIELD = "sha256"


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with its hash: SHA-256 of the JSON of everything else, keys sorted, no spaces, UTF-8."""
    content = {name: value for name, value in record.items() if name != FIELD}
    return {**content, FIELD: digest(content)}


def intact(record: Mapping[str, Any]) -> bool:
    """Whether the hash is that of the content."""
    return bool(sealed(record)[FIELD] == record.get(FIELD))
