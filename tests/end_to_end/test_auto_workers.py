"""`--workers auto`: real crews of backends with known service times, and backends that do not always load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import conditions, session
from harness.audit import audit_config
from harness.bench import Bench, prepare
from harness.config import RunConfig, load
from harness.core import Model, Run
from harness.errors import ExitCode, MissingError
from harness.instances import auto as auto_workers
from harness.instances import cache as instances_cache
from harness.instances import yardstick as instances_yardstick
from harness.instances.rig import CrewRig
from harness.plan import make
from harness.progress import Silent
from harness.tournament import Candidate

CROWDED = str(Path(__file__).resolve().parents[1] / "faulty" / "crowded.py")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, and short turns."""
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(instances_yardstick, "TURN_S", 0.05)


def config(tmp_path: Path, **settings: Any) -> RunConfig:
    """Two threads to divide, on any machine: 1 x 2 or 2 x 1."""
    given = {"out": str(tmp_path / "out"), "progress": "none", "workers": "auto", "threads": 2, "duration": 0.2, "min_queries": 1}
    return load({**given, "backend": "null:2ms", "target_qps": 1000, **settings}, origin=str)


def run(tmp_path: Path, **settings: Any) -> Run:
    return session.run(config(tmp_path, **settings)).run


def bench(tmp_path: Path, **settings: Any) -> Bench:
    return prepare(config(tmp_path, **settings), Silent())


def test_two_processes_are_found_and_remembered(tmp_path: Path) -> None:
    """A backend that waits 2 ms a call serves twice as much in two processes: found by measuring, then read from the cache, and measured
    anew where the file is damaged."""
    first = run(tmp_path)
    found = first.conditions["instances"]
    assert (found["workers"], found["threads"], found["mode"]) == (2, 2, "process")
    assert first.exit_code == ExitCode.OK
    assert first.config["workers"] == "auto"
    search = found["search"]
    assert (search["source"], search["unit"]) == ("measured", "samples/s")
    assert [(each["workers"], each["error"]) for each in search["tried"]] == [(2, None), (1, None)]
    assert 0.3 < search["tried"][1]["share"] < 0.8
    again = run(tmp_path).conditions["instances"]["search"]
    assert again == search | {"source": "cached"}
    assert "auto: 2 x 1 thread, throughput" in (plan := make(config(tmp_path)).text())
    assert "cached, measured" in plan
    (file,) = (tmp_path / "cache" / auto_workers.FOLDER).glob("*.json")
    file.write_text("{")
    assert run(tmp_path).conditions["instances"]["search"]["source"] == "measured"


def test_what_is_given_is_not_searched(tmp_path: Path) -> None:
    """run.json tells the workers of any run; `search` is null."""
    found = run(tmp_path, workers=2, worker_mode="thread", threads=3).conditions["instances"]
    assert found == {"workers": 2, "threads": 3, "mode": "thread", "search": None}


def test_a_closed_loop_uses_one_worker(tmp_path: Path) -> None:
    """One query is open at a time: a second worker would rest."""
    found = run(tmp_path, scenario="single-stream").conditions["instances"]
    assert (found["workers"], found["threads"]) == (1, 2)
    assert [each["workers"] for each in found["search"]["tried"]] == [1]
    assert found["search"]["tried"][0]["value"] >= 2_000_000


@pytest.mark.parametrize(("variant", "error"), [("alone", "no memory left for worker 1"), ("killed", "killed by SIGKILL")])
def test_a_candidate_that_fails_is_dropped(tmp_path: Path, variant: str, error: str) -> None:
    """In load or while it is measured, by an error or by a signal: one worker is chosen, and the error is told."""
    done = run(tmp_path, backend=f"{CROWDED}:{variant}")
    tried = done.conditions["instances"]["search"]["tried"]
    assert done.exit_code == ExitCode.OK
    assert [(each["workers"], bool(each["error"])) for each in tried] == [(1, False), (2, True)]
    assert error in tried[1]["error"]


def test_the_error_is_raised_if_all_fail(tmp_path: Path) -> None:
    """With the exit code of its kind, and no folder of results."""
    with pytest.raises(MissingError, match="no memory left"):
        run(tmp_path, backend=f"{CROWDED}:none")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_gpu_is_given_streams(tmp_path: Path) -> None:
    """What says that it runs on a GPU is tried with 1, 2 and 4 threads of this process."""
    made, gpu = bench(tmp_path, backend=f"{CROWDED}:gpu"), {"name": "H100", "driver_version": "570", "memory.total": "81559"}
    crew = auto_workers.form_crew(made, conditions.collect() | {"gpus": [gpu]}, 60)
    crew.close()
    found = made.instances
    assert (found["workers"], found["mode"]) == (4, "thread")
    assert sorted((each["workers"], each["mode"]) for each in found["search"]["tried"]) == [(1, "thread"), (2, "thread"), (4, "thread")]


def test_a_candidate_that_does_not_fit_is_not_loaded(tmp_path: Path) -> None:
    """Weights of every worker against what is free: an exabyte is refused before anything is started."""
    made = bench(tmp_path)
    work = instances_yardstick.Work(made.scenario, made.settings, made.task.samples, made.policy)
    made.model = Model("huge", tmp_path, "question-answering", "0" * 64, 1, 10**18)
    rig = CrewRig(made, work, 60)
    with pytest.raises(MissingError, match="of memory"):
        rig.open(Candidate(2, 2))
    assert rig.crews == {}


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """The run goes on; the next one will search again."""
    (tmp_path / "cache").write_text("in the way")
    done = run(tmp_path)
    assert done.exit_code == ExitCode.OK
    assert any("--workers auto" in warning and "searches again" in warning for warning in done.warnings)


def test_the_plan_says_what_it_would_do(tmp_path: Path) -> None:
    """A search, with its candidates; nothing is measured for it, and no file made."""
    assert "a search of about 20 s and a load of each: 1 x 2 threads, 2 x 1 thread" in make(config(tmp_path)).text()
    assert not (tmp_path / "cache" / auto_workers.FOLDER).exists()


@pytest.mark.parametrize("settings", [{"worker_mode": "thread"}, {"scenario": "single-stream"}])
def test_threads_of_a_cpu_are_not_divided(tmp_path: Path, settings: dict[str, str]) -> None:
    """One process has one pool of threads: only a lone worker is considered, as in a single stream."""
    assert "a load of each: 1 x 2 threads\n" in make(config(tmp_path, **settings)).text()


def test_a_run_that_must_repeat_another_gets_its_workers(tmp_path: Path) -> None:
    """TEST01 after a submission run with --workers auto: the numbers that were found, not another search."""
    done = run(tmp_path, workers=2, worker_mode="process")
    repeated = audit_config(config(tmp_path), done)
    assert (repeated.workers, repeated.threads, repeated.worker_mode) == (2, 2, "process")
    given = config(tmp_path, workers=1)
    assert audit_config(given, done).workers == 1


def test_the_key_holds_what_a_finding_depends_on(tmp_path: Path) -> None:
    """Scenario, batching, threads and bound; how long a run lasts does not matter."""
    context = conditions.collect()

    def key(**settings: Any) -> Path:
        made = bench(tmp_path, **settings)
        case = auto_workers.Case(
            made.config,
            made.model,
            made.task,
            instances_yardstick.Work(made.scenario, made.settings, made.task.samples, made.policy),
            context,
        )
        return instances_cache.path(tmp_path, auto_workers.key(case))

    assert key() == key(duration=5, target_qps=7, latency_bound=3)
    different: list[dict[str, Any]] = [
        {},
        {"scenario": "server"},
        {"scenario": "server", "latency_bound": 3},
        {"max_batch": 4},
        {"threads": 1},
        {"backend": "null:3ms"},
    ]
    assert len({key(**settings) for settings in different}) == len(different)
