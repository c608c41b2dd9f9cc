"""The certificate on disk: qualification.json, and from it the page, the report for reading, and JUnit for a CI service."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from harness import plugins
from harness.errors import MissingError
from harness.qualifying import state
from harness.qualifying.check import Qualification
from harness.qualifying.document import document
from harness.store import write_atomically

WRITTEN = {"report.md": "markdown", "report.html": "html", "junit.xml": "junit"}
"""Files, and the report that writes each."""


def save(folder: Path, found: Qualification) -> tuple[str, str]:
    """Write all of it, qualification.json first: what follows can be made again from it (`assay report`). What the terminal shows, and the
    sha256. Raises MissingError."""
    sha256 = state.finish(folder, found)
    made = document(json.loads((folder / state.FILE).read_text(encoding="utf-8")))
    for name, report in WRITTEN.items():
        text = plugins.load("reports", report).render_document(made)
        try:
            write_atomically(folder / name, text.encode())
        except OSError as error:
            raise MissingError(f"{folder / name} cannot be written: {error.strerror}", f"`assay report {folder}` makes it again") from error
    return plugins.load("reports", "terminal").render_document(made), sha256


def discard(folder: Path) -> None:
    """Take an empty folder away again: nothing was measured."""
    with contextlib.suppress(OSError):
        folder.rmdir()
