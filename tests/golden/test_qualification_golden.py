"""The certificate in Markdown, on a terminal and as JUnit, held against files that people read; ASSAY_WRITE_GOLDEN=1 writes them anew."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from harness import plugins
from harness.qualifying import judging, sealing
from harness.qualifying.baseline import learn
from harness.qualifying.check import Qualification, to_json
from harness.qualifying.document import document
from harness.store import as_json
from tests.qualifications import fact, figure, qualification

FOLDER = Path(__file__).parent / "qualification"


def _rejected() -> Qualification:
    """Slow against a baseline of three, one check skipped, one figure that only warns, an interruption."""
    known = None
    for number, value in enumerate((100.0, 101.0, 99.0)):
        known = learn(known, qualification(figure(value=value), figure("latency_p99", 5e6 + value, unit="ns", better="lower")), str(number))
    assert known is not None
    findings = [
        figure(value=88.0, n=3, next_step="look at clocks and power limits"),
        figure("latency_p99", 5e6 + 100, unit="ns", better="lower"),
        figure("ecc", 0.0, unit="errors", expected=0.0, tolerance=0.0, margin=0.0, better="lower", code="ECC_ERRORS"),
        fact("noise", "WARN", required=False, code="NOISY"),
        fact("temperature", "SKIP", required=False, code="SENSOR_MISSING"),
        fact("link", "SKIP", code="LINK_UNKNOWN"),
    ]
    gap = {"from_utc": "2026-11-21T10:01:00+00:00", "to_utc": "2026-11-21T10:05:00+00:00", "seconds": 240.0}
    held = {"file": "good.json", "sha256": "d" * 64, "measurements": 3}
    return qualification(*judging.judge(findings, known, "standard"), baseline=held, resumed=(gap,), warnings=("it was Friday",))


CASES = {"rejected": _rejected(), "accepted": qualification(), "nothing": qualification(fact("gpu", "SKIP"), complete=False, subject={})}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("form", "ending"), [("markdown", "md"), ("terminal", "txt"), ("junit", "xml")])
def test_a_certificate_is_as_recorded(name: str, form: str, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rejected machine, an accepted one without a baseline, and one of which nothing is known equal their golden files."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    record: dict[str, Any] = sealing.sealed(json.loads(as_json(to_json(CASES[name]))))
    text = plugins.load("reports", form).render_document(document(record))
    file = FOLDER / f"{name}.{ending}"
    if os.environ.get("ASSAY_WRITE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")
