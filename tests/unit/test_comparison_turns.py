"""Who is loaded when, and what candidates must have in common, with seats that only note what they are asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.bench import Bench
from harness.comparing import differences, here, room
from harness.comparing import session as comparing
from harness.comparing.blocks import Plan
from harness.comparing.candidates import Wanted
from harness.comparing.results import THROUGHPUT, Candidate, Comparison
from harness.comparing.seats import Facts, Ready, Scored, Stretch, Visited
from harness.comparing.turns import Place, Turns
from harness.config import load
from harness.errors import BackendError, UsageError
from harness.progress import Silent

CONFIG = load({"backend": "null"})
FACTS = Facts(
    settings=CONFIG.model_dump(mode="json"),
    scenario="offline",
    closed_loop=False,
    paced=False,
    data_name="made up",
    samples=100,
    fingerprint="f",
    comparable=True,
    policy={"max_batch": 32},
    model=None,
    conditions={"python": "3.11.2", "libraries": {"torch": "2.1"}, "git": None, "environment": {}},
)


class NotedSeat:
    """Says what it was asked; one visit of `rate` samples a second."""

    def __init__(self, name: str, log: list[str], rate: float = 100.0, needs: int = 0, fails: str = "") -> None:
        self.name, self.log, self.rate, self.needs, self.fails = name, log, rate, needs, fails
        self.facts = FACTS
        self.warnings: list[str] = []

    def ready(self) -> Ready:
        return Ready({"workers": 1, "threads": 1, "mode": "process", "search": None}, self.needs)

    def load(self) -> dict[str, Any]:
        loaded = sum(line.startswith("load") for line in self.log) - sum(line.startswith("close") for line in self.log)
        if self.fails and loaded:
            raise BackendError(self.fails)
        self.log.append(f"load {self.name}")
        return {"answers": False}

    def visit(self, stretch: Stretch) -> Visited:
        assert stretch.samples is not None
        self.log.append(f"visit {self.name}")
        count = len(stretch.samples)
        return Visited(count / self.rate, count, 0, np.arange(1, count + 1, dtype=np.int64))

    def score(self) -> Scored:
        raise AssertionError("a backend without answers is not scored")

    def close(self) -> None:
        self.log.append(f"close {self.name}")


def compared(seats: list[NotedSeat], monkeypatch: pytest.MonkeyPatch, *, alternate: bool = False) -> comparing.Compared:
    by_name = {seat.name: seat for seat in seats}
    monkeypatch.setattr(comparing, "HereSeat", lambda config, progress: by_name[config.name])
    wanted = [Wanted(seat.name, CONFIG.model_copy(update={"name": seat.name})) for seat in seats]
    return comparing.run(wanted, 0, Plan(fewest=2, budget_s=0), Silent(), alternate=alternate)


def test_all_are_loaded_once_where_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are loaded before the first visit and closed after the last."""
    log: list[str] = []
    found = compared([NotedSeat("a", log), NotedSeat("b", log, rate=200.0)], monkeypatch)
    assert log[:2] == ["load a", "load b"]
    assert log[-2:] == ["close a", "close b"]
    assert [line[:5] for line in log].count("visit") == 2 + 2 * 4
    assert found.comparison.alternated == ""
    assert found.comparison.ratios()[0].value == pytest.approx(2.0)


def test_whole_processes_alternate_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never two at once, no reload between two visits of one candidate in a row, longer visits, and it is said."""
    log: list[str] = []
    found = compared([NotedSeat("a", log), NotedSeat("b", log, rate=200.0)], monkeypatch, alternate=True)
    loaded: set[str] = set()
    for word, name in (line.split() for line in log):
        loaded = loaded | {name} if word == "load" else loaded - {name} if word == "close" else loaded
        assert len(loaded) <= 1
    turns = [line for line in log if not line.startswith("close")][4:]  # two trials before
    first = ["load a", "visit a", "load b", "visit b", "visit b", "load a", "visit a"]
    second = ["load b", "visit b", "load a", "visit a", "visit a", "load b", "visit b"]
    assert turns == [*first, *second]
    assert found.comparison.visits[0].samples == 1200  # half of 3 s, four times as long, on 200 samples/s
    assert found.comparison.alternated == "as asked"
    assert found.comparison.ratios()[0].value == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("needs", "fails", "why"),
    [
        (3_000_000, "", "b needs about 3.00 MB of memory, 1.00 MB are left beside the others"),
        (0, "CUDA out of memory", "b does not load beside the 1 candidate before it (b: CUDA out of memory)"),
        (0, "worker 0 was killed by SIGKILL before the run", "b does not load beside the 1 candidate"),
    ],
)
def test_they_alternate_where_memory_does_not_suffice(needs: int, fails: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what will probably be needed, or because loading failed for want of memory; the result says why."""
    monkeypatch.setattr(room, "available", lambda: 1_000_000)
    log: list[str] = []
    found = compared([NotedSeat("a", log), NotedSeat("b", log, needs=needs, fails=fails)], monkeypatch)
    assert found.comparison.alternated.startswith(why)
    assert any("whole processes alternated" in line for line in found.warnings)


def test_a_candidate_that_never_loads_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure that is not about memory ends the comparison with its reason, the candidate named, and nothing stays loaded."""
    log: list[str] = []
    with pytest.raises(BackendError, match="b: no such engine"):
        compared([NotedSeat("a", log), NotedSeat("b", log, fails="no such engine")], monkeypatch)
    assert log == ["load a", "close a"]


def test_turns_keep_who_is_loaded() -> None:
    """A candidate that is loaded is not loaded again; another one is closed first."""
    log: list[str] = []
    places = [Place(Wanted(name, CONFIG), NotedSeat(name, log)) for name in "ab"]
    turns = Turns(places, lambda line: None)
    for number in (0, 0, 1):
        turns.loaded(places[number])
    assert log == ["load a", "close a", "load b"]


def test_workers_auto_are_settled_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the search of a run, in a process of the candidate's own, and what it chose is among the settings from then on."""
    config = load({"backend": "null:1ms", "workers": "auto"})
    assert Wanted("a", config).elsewhere

    def settled(bench: Bench, conditions: object, load_s: float) -> tuple[Bench, dict[str, str]]:
        return replace(bench, config=bench.config.model_copy(update={"workers": 3, "threads": 3})), {"source": "cached"}

    monkeypatch.setattr(here, "settle", settled)
    seat = here.HereSeat(config, Silent())
    assert seat.ready().workers == {"workers": 3, "threads": 3, "mode": "process", "search": {"source": "cached"}}
    assert seat.facts.settings["workers"] == 3


# ------------------------------------------------------------------------------------------------------------------------ memory


def test_room_is_the_least_of_machine_and_control_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group's limit less its use counts on every level; file cache that can be dropped does not count as use."""
    monkeypatch.setattr(room, "memory", lambda: {"total": 10_000, "available": 9_000})
    inner = tmp_path / "jobs" / "mine"
    inner.mkdir(parents=True)
    membership = tmp_path / "cgroup"
    membership.write_text("0::/jobs/mine\n")
    assert room.available(tmp_path, membership) == 9_000
    for folder, limit, used in ((inner, "max", "800"), (inner.parent, "2000", "1500")):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(used)
        (folder / "memory.stat").write_text("anon 5\ninactive_file 300\n")
    assert room.available(tmp_path, membership) == 800
    assert room.needed(1000, 2) == 2 * (2000 + room.WORKER_BYTES)
    assert room.needed(None, 8) == 0


def test_the_first_version_of_control_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files have other names, and no limit is a huge number."""
    monkeypatch.setattr(room, "memory", lambda: {"total": 10_000, "available": None})
    folder = tmp_path / "memory"
    folder.mkdir()
    (folder / "memory.usage_in_bytes").write_text("700")
    (folder / "memory.stat").write_text("total_inactive_file 100")
    for limit, left in ((9223372036854771712, None), (1000, 400)):
        (folder / "memory.limit_in_bytes").write_text(str(limit))
        assert room.available(tmp_path, tmp_path / "nothing") == left


# -------------------------------------------------------------------------------------------------------------------- differences

MODEL = {"name": "m", "sha256": "1", "parameters": 1, "bytes": 1}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"samples": 90}, "b is asked 90 samples of made up, a 100 of made up"),
        ({"scenario": "server"}, "b: server, a plays offline"),
        ({"settings": {**FACTS.settings, "rules": "standard"}}, "b: --rules standard, a has quick"),
        ({"settings": {**FACTS.settings, "task": "another"}}, "b: --task another, a has "),
        ({"fingerprint": "g"}, "b is asked other questions than a"),
    ],
)
def test_candidates_that_are_asked_otherwise_are_refused(changed: dict[str, Any], message: str) -> None:
    """Another number of samples, scenario, rule, or other questions to the same model."""
    one = replace(FACTS, model=MODEL)
    with pytest.raises(UsageError, match=message):
        differences.refuse([("a", one), ("b", replace(one, **changed))])
    differences.refuse([("a", one), ("b", one)])


def test_models_with_other_tokenizers_may_be_compared() -> None:
    """Their questions are cut otherwise and so have another fingerprint; the number of samples is the same."""
    differences.refuse([("a", replace(FACTS, model=MODEL)), ("b", replace(FACTS, model={**MODEL, "sha256": "2"}, fingerprint="g"))])


def test_differences_between_environments_are_said() -> None:
    """Versions, commits and variables that differ from the reference's, and what a search for workers chose."""
    git = {"commit": "a" * 40, "dirty": False}
    base = Candidate("base", {}, {}, {}, conditions={**FACTS.conditions, "git": git})
    conditions = {
        "python": "3.12.1",
        "libraries": {"torch": "2.2"},
        "git": {"commit": "b" * 40, "dirty": True},
        "environment": {"OMP_NUM_THREADS": "1"},
    }
    workers = {"workers": 2, "threads": 4, "mode": "process", "search": {"source": "measured"}}
    head = Candidate("head", {}, {}, {}, conditions=conditions, workers=workers)
    assert list(differences.said(Comparison((base, head), 0, (THROUGHPUT,), ()))) == [
        "head ran in another environment than base: Python 3.12.1 against 3.11.2; torch 2.2 against 2.1; commit bbbbbbbbb with changes "
        "against aaaaaaaaa; OMP_NUM_THREADS 1 against absent",
        "head: workers auto, a search (measured) chose 2 processes with 4 CPU threads in all",
    ]
    assert list(differences.said(Comparison((base, replace(base, name="again")), 0, (THROUGHPUT,), ()))) == []
