"""Reference scores: where they are looked for, how they are kept, and that what is damaged is never used."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness import references
from harness.core import Model, Task
from harness.paired import Outcomes
from harness.references import Reference

TASK: Task = SimpleNamespace(name="labels", metric="accuracy", fingerprint="f", data_name="made up")  # type: ignore[assignment]
ALL = np.arange(4)
MADE = {"backend": "pytorch:fp32", "samples": 4, "date": "2026-11-21", "machine": "a processor", "versions": {"torch": "2.13.0"}}
OUTCOMES = Outcomes(
    np.array([100.0, 0.0, 100.0, 200 / 3]), np.array([True, False, True, False]), np.array([1.0, 0.0, 1.5, 4_294_967_295.0])
)
SCORES = {"accuracy": float(OUTCOMES.points.mean()), "examples": 4.0}


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return Model("m", tmp_path, "sequence-classification", "abc", 1, 1)


@pytest.fixture(autouse=True)
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of shipped references of this test's own; not there yet."""
    monkeypatch.setattr(references, "SHIPPED", tmp_path / "references.json")
    return tmp_path / "references.json"


def computing(calls: list[int], scores: dict[str, float] = SCORES) -> Callable[[], Reference]:
    def compute() -> Reference:
        calls.append(1)
        return Reference(scores, "computed", MADE, OUTCOMES)

    return compute


def same(found: Outcomes | None) -> bool:
    return found is not None and all(
        np.array_equal(getattr(found, name), getattr(OUTCOMES, name)) for name in ("points", "correct", "answered")
    )


def test_a_reference_is_computed_once_and_read_back_to_the_bit(model: Model, tmp_path: Path) -> None:
    """The second run reads scores, examples and how they were made from the cache; other samples are another reference."""
    calls: list[int] = []
    first = references.find(model, TASK, ALL, tmp_path, computing(calls))
    second = references.find(model, TASK, ALL, tmp_path, computing(calls))
    assert (first.source, second.source, len(calls)) == ("computed", "cached", 1)
    assert second.scores == SCORES
    assert second.made == MADE
    assert same(second.outcomes)
    references.find(model, TASK, ALL[:3], tmp_path, computing(calls))
    assert len(calls) == 2
    assert len(list((tmp_path / "references").iterdir())) == 2


def test_every_change_of_a_cached_byte_costs_a_computation_and_no_more(model: Model, tmp_path: Path) -> None:
    """Whatever single character of the file is another, the reference is not read from it or is what was written."""
    references.find(model, TASK, ALL, tmp_path, computing([]))
    (file,) = (tmp_path / "references").iterdir()
    written = file.read_text()
    for position in range(len(written)):
        file.write_text(written[:position] + ("7" if written[position] != "7" else "8") + written[position + 1 :])
        found = references.find(model, TASK, ALL, tmp_path, computing([]))
        assert found.source == "computed" or (found.scores == SCORES and same(found.outcomes)), written[position - 20 : position + 20]


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"scores": {}}', '{"scores": {"accuracy": NaN}, "made": ""}', "\udcff"])
def test_a_damaged_store_is_not_trusted(model: Model, tmp_path: Path, damage: str) -> None:
    """Garbage in place of a reference is computed again and written anew."""
    references.find(model, TASK, ALL, tmp_path, computing([]))
    (file,) = (tmp_path / "references").iterdir()
    file.write_bytes(damage.encode(errors="surrogateescape"))
    assert references.find(model, TASK, ALL, tmp_path, computing([])).source == "computed"
    assert references.find(model, TASK, ALL, tmp_path, computing([])).source == "cached"


@pytest.mark.parametrize(
    "change",
    [
        {"scores": {"accuracy": 50.0, "examples": 4.0}},  # not the mean of the points
        {"scores": {"accuracy": SCORES["accuracy"], "examples": 5.0}},
        {"format": 3},
    ],
)
def test_what_contradicts_itself_is_not_read(model: Model, change: dict[str, Any]) -> None:
    """A record with a right checksum over points of another score or number, or of a later format, is refused."""
    content = references.record(Reference(SCORES, "computed", MADE, OUTCOMES), model, TASK) | change
    content["sha256"] = references._checksum({name: content[name] for name in content if name != "sha256"})
    with pytest.raises(ValueError, match=r"examples|points|format"):
        references.parse(content, "accuracy", "cached")


def test_a_folder_that_cannot_be_written_only_costs_the_computation(model: Model, tmp_path: Path) -> None:
    """A file in place of the cache folder: the reference is computed each time."""
    (tmp_path / "cache").write_text("")
    calls: list[int] = []
    for _ in range(2):
        assert references.find(model, TASK, ALL, tmp_path / "cache", computing(calls)).scores == SCORES
    assert len(calls) == 2


def test_a_score_that_is_no_number_is_not_kept(model: Model, tmp_path: Path) -> None:
    """NaN is handed back and computed again the next time."""
    calls: list[int] = []
    for _ in range(2):
        references.find(model, TASK, ALL, tmp_path, computing(calls, {"accuracy": float("nan")}))
    assert len(calls) == 2


def test_a_shipped_reference_comes_before_the_cache_and_for_its_model_only(model: Model, tmp_path: Path, shipped: Path) -> None:
    """What comes with the program saves the pass; another model is computed."""
    key = references.key(model, TASK, ALL)
    references.find(model, TASK, ALL, tmp_path, computing([], {"accuracy": SCORES["accuracy"]}))
    references.update(shipped, {key: references.record(Reference(SCORES, "computed", MADE, OUTCOMES), model, TASK)})
    found = references.find(model, TASK, ALL, tmp_path, computing([]))
    assert found.source == "shipped"
    assert same(found.outcomes)
    assert references.find(replace(model, sha256="abd"), TASK, ALL, None, computing([])).source == "computed"


def test_references_of_format_1_are_scores_only_and_only_where_shipped(model: Model, tmp_path: Path, shipped: Path) -> None:
    """Shipped before examples were kept: the scores count and there are no pairs. In the cache it has no checksum: computed again."""
    key = references.key(model, TASK, ALL)
    old = {"model": "m", "data": "made up", "scores": {"accuracy": 77.0}, "made": "pytorch:fp32, before"}
    shipped.write_text(json.dumps({key: old}))
    found = references.find(model, TASK, ALL, None, computing([]))
    assert (found.scores, found.outcomes, found.told) == ({"accuracy": 77.0}, None, "shipped: pytorch:fp32, before")
    shipped.unlink()
    (tmp_path / "references").mkdir()
    (tmp_path / "references" / f"{key}.json").write_text(json.dumps(old))
    assert references.find(model, TASK, ALL, tmp_path, computing([])).source == "computed"


def test_an_update_keeps_other_references_and_drops_the_outdated(model: Model, shipped: Path) -> None:
    """A record under a new key takes the place of the same model, task and data; those of another task or data stay."""
    reference = Reference(SCORES, "computed", MADE, OUTCOMES)
    other: Any = SimpleNamespace(**{**vars(TASK), "name": "other"})
    shipped.write_text(json.dumps({"old": {"model": "m", "data": "made up", "scores": {}, "made": ""}}))
    references.update(shipped, {"a": references.record(reference, model, TASK), "b": references.record(reference, model, other)})
    assert set(json.loads(shipped.read_text())) == {"a", "b"}
    references.update(shipped, {"c": references.record(reference, model, TASK)})
    stored = json.loads(shipped.read_text())
    assert set(stored) == {"b", "c"}
    assert same(references.parse(stored["c"], "accuracy", "shipped").outcomes)
    assert stored["c"]["made"] == MADE


def test_how_a_reference_was_made_is_told_in_one_line() -> None:
    """Backend, samples, version, machine and date; a given one says so."""
    told = Reference(SCORES, "shipped", MADE).told
    assert told == "shipped: pytorch:fp32, 4 samples, torch 2.13.0, a processor, 2026-11-21"
    assert references.given("f1", 90.874) == Reference({"f1": 90.874}, "given")
    assert references.given("f1", 90.874).told == "given by --reference-score"


def test_what_is_recorded_of_this_machine() -> None:
    """Date, device, versions and processor are plain JSON values."""
    made = references.made_here(12, {"device": "cpu", "device_name": None})
    assert json.loads(json.dumps(made)) == made
    assert (made["backend"], made["samples"], made["device"]) == ("pytorch:fp32", 12, "cpu")
    assert "numpy" in made["versions"]
