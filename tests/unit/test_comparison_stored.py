"""A comparison that is stored is the one that is read again."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from harness.comparing import stored
from harness.comparing.results import LATENCIES, THROUGHPUT, Candidate, Comparison, Visit
from harness.comparing.session import Compared
from harness.core import Accuracy, Paired
from harness.errors import DataError, MissingError
from harness.paired import Outcomes
from harness.store import as_json

PAIRED = Paired(3, 1, 0, 0.6, -0.5, (-1.5, 0.5), 4, "passed")
MET = Accuracy("f1", 77.0, 77.3, 76.5, True, "accuracy pass", 100, {"f1": 77.0}, (70.0, 80.0), paired=PAIRED)
OUTCOMES = Outcomes(np.ones(3), np.ones(3, np.bool_), np.zeros(3))


def made(blocks: int = 6) -> Comparison:
    """Two candidates, the second in a project of its own, with latencies of their own in every visit."""
    visits = []
    for block in range(blocks):
        for number, place in enumerate((0, 1, 1, 0)):
            latencies = np.arange(1, 101 + block + number, dtype=np.int64) * (10 + place)
            visits.append(Visit(block, place, 1.0 + place + block / 100, 100, 5000, latencies))
    first = Candidate("base", {"backend": "null"}, {"device": "cpu"}, {"max_batch": 32}, MET, 0.05, outcomes=OUTCOMES)
    second = replace(first, name="head", conditions={"python": "3.12.1"}, place={"python": None, "project": "head"}, problem="it fell over")
    return Comparison((first, second), 0, (THROUGHPUT, *LATENCIES), tuple(visits), floor=0.01, alternated="as asked")


def write(folder: Path, found: Comparison) -> dict[str, object]:
    record = stored.record(Compared(found, ["busy"], 0.1, ("head ran elsewhere",)), datetime.now(UTC), {"cpu": {}}, "title")
    (folder / stored.FILE).write_text(as_json(record))
    (folder / stored.VISITS_FILE).write_bytes(stored.visits_file(found.visits))
    return record


def test_what_is_stored_is_read_again(tmp_path: Path) -> None:
    """Every candidate, setting, figure and latency; the outcomes of examples alone are not kept."""
    found = made()
    write(tmp_path, found)
    read = stored.read(tmp_path)
    wanted = tuple(replace(each, outcomes=None) for each in found.candidates)
    assert (read.candidates, read.reference, read.figures) == (wanted, found.reference, found.figures)
    assert (read.floor, read.interrupted, read.alternated, read.blocks) == (0.01, False, "as asked", found.blocks)
    for one, other in zip(read.visits, found.visits, strict=True):
        assert (one.block, one.candidate, one.seconds, one.samples, one.tokens) == (
            other.block,
            other.candidate,
            other.seconds,
            other.samples,
            other.tokens,
        )
        assert one.latency_ns.tolist() == other.latency_ns.tolist()
    assert read.cell(0, THROUGHPUT) == found.cell(0, THROUGHPUT)


def test_a_record_has_what_a_report_needs() -> None:
    """Figures of each block, percentiles of each visit, and no list of latencies."""
    found = made()
    record = stored.record(Compared(found, ["busy"], 0.1, ("head ran elsewhere",)), datetime.now(UTC), {}, "title")
    assert record["candidates"][0]["values"]["samples_per_second"] == found.values(0, THROUGHPUT)
    assert record["visits"][0]["latency_ns"] == {
        "queries": 100,
        "min": 10,
        "mean": 505.0,
        "p50": 510,
        "p90": 910,
        "p99": 1000,
        "max": 1000,
    }
    assert (record["differences"], record["warnings"], record["title"]) == (["head ran elsewhere"], ["busy"], "title")
    assert "outcomes" not in record["candidates"][0]


def test_a_long_comparison_stays_small(tmp_path: Path) -> None:
    """comparison.json of 100 blocks has less than 1 kB a visit, however many queries there were."""
    write(tmp_path, made(blocks=100))
    assert (tmp_path / stored.FILE).stat().st_size < 1000 * 400


def test_a_comparison_without_visits_is_read(tmp_path: Path) -> None:
    """One that was interrupted before its first block."""
    write(tmp_path, replace(made(), visits=(), interrupted=True))
    read = stored.read(tmp_path)
    assert (read.visits, read.interrupted, read.best()) == ((), True, None)


def test_damage_is_an_error(tmp_path: Path) -> None:
    """No folder, a torn file, another schema, a missing key and a table that is gone are each named."""
    with pytest.raises(MissingError, match=r"no comparison\.json"):
        stored.read(tmp_path)
    record = write(tmp_path, made())
    for text, message in (("{", "cannot be read"), ("[]", "schema None"), (json.dumps({"schema": 1}), "schema 1, this Assay reads 2")):
        (tmp_path / stored.FILE).write_text(text)
        with pytest.raises(DataError, match=message):
            stored.read(tmp_path)
    (tmp_path / stored.FILE).write_text(as_json({**record, "reference": "nobody"}))
    with pytest.raises(DataError, match="not what a comparison writes"):
        stored.read(tmp_path)
    (tmp_path / stored.FILE).write_text(as_json(record))
    (tmp_path / stored.VISITS_FILE).unlink()
    with pytest.raises(DataError, match=r"visits\.parquet cannot be read"):
        stored.read(tmp_path)
