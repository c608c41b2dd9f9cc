"""Modes: what is played in which order, what is judged, how a ledger becomes LoadGen's phases. All served in simulated time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import modes, stages
from harness.batching import Policy
from harness.bench import Bench, _replaying, beside_the_round
from harness.blank import BlankTask
from harness.config import RunConfig
from harness.core import MS_NS, SECOND_NS, AccuracyLog, Columns, Limits, Reason, Seeds, Settings, Status, Traffic
from harness.ending import NATURAL, RAN_OUT
from harness.measure import Measured
from harness.modes import play
from harness.phases import Message
from harness.plugins import load
from harness.progress import Silent
from harness.responses import Keep
from harness.stage_phases import phases, rows_of
from harness.stages import Stage, generated_samples, meets_bound
from harness.testing import simulate
from harness.traffic_file import Recorded

SCENARIOS = ("single-stream", "multi-stream", "server", "offline")
SMALL = Settings(
    min_duration_ns=100 * MS_NS,
    min_queries=5,
    target_qps=1000.0,
    samples_per_query=4,
    performance_sample_count=8,
    accuracy_sample_count=20,
    seeds=Seeds(3, 5, 7),
)


def stage(scenario: str, settings: Settings, took_ns: int = MS_NS, **measured: Any) -> Stage:
    """A ledger served one call after another, `took_ns` each."""
    plugin = load("scenarios", scenario).create()
    traffic = plugin.traffic(settings, 20)

    def feed(columns: Columns) -> Traffic | None:
        wanted = plugin.wants_more(columns, settings) if settings.mode == "performance" else 0
        return traffic.more(wanted) if wanted and traffic.more else None

    columns = simulate(traffic, Policy("fifo", 1), lambda _: took_ns, feed=feed)
    return Stage(settings, traffic, Measured(columns, begun_ns=10**18, **measured), Keep(1), (Message("generic_message", "end"),))


# ------------------------------------------------------------------------------------------------------------------------------ phases


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_loaded_set_of_an_accuracy_run_is_a_phase(scenario: str) -> None:
    """Sets of 8, 8 and 4: query numbers and times count from the start of each, numbers of queries and samples go on, and what is said
    at the end is said after the last."""
    made = phases(stage(scenario, replace(SMALL, mode="accuracy")), "AccuracyOnly", 100, 1000)
    sizes = [8, 8, 4]
    per_query = {"multi-stream": 4, "offline": 8}.get(scenario, 1)
    assert [len(phase.columns.sample) for phase in made] == sizes
    assert [phase.mode for phase in made] == ["accuracy"] * 3
    assert [phase.first_sample for phase in made] == [1000, 1008, 1016]
    assert [phase.first_query for phase in made] == [100, 100 + 8 // per_query, 100 + 16 // per_query]
    assert [len(phase.messages) for phase in made] == [0, 0, 1]
    for phase in made:
        assert (phase.columns.query[0], phase.columns.due_ns[0]) == (0, 0)
        assert phase.part.queries == phase.columns.query[-1] + 1
        assert (phase.columns.done_ns > phase.columns.due_ns).all()
        assert set(phase.columns.sample.tolist()) <= set(phase.part.indices.tolist())
    starts = [phase.begun_ns - 10**18 for phase in made]
    assert starts[0] == 0
    assert starts == sorted(starts)


def test_rows_that_are_unknown_stay_unknown_in_a_later_phase() -> None:
    """-1 is "not yet" and is not shifted; phases of sets that were never begun do not exist."""
    whole = stage("single-stream", replace(SMALL, mode="accuracy"))
    columns = whole.measured.columns
    cut = rows_of(columns, 0, 12)
    cut = replace(cut, done_ns=np.where(np.arange(12) == 11, -1, cut.done_ns))
    made = phases(replace(whole, measured=Measured(cut)), "AccuracyOnly", 0, 0)
    assert [len(phase.columns.sample) for phase in made] == [8, 4]
    assert made[1].columns.done_ns.tolist() == [MS_NS * n for n in (1, 2, 3)] + [-1]
    assert made[1].messages != ()


@pytest.mark.parametrize(
    ("scenario", "queries", "width"), [("single-stream", 10_001, 1), ("multi-stream", 2501, 4), ("offline", 1, 20_000)]
)
def test_a_run_that_went_on_tells_what_it_asked(scenario: str, queries: int, width: int) -> None:
    """Ten times faster than expected and more: where LoadGen would have run out of queries, the phase counts those that were asked."""
    made = stage(scenario, replace(SMALL, target_qps=100.0), took_ns=10_000)
    planned = made.traffic.parts[0]
    (phase,) = phases(made, "PerformanceOnly", 0, 0)
    assert planned.queries * planned.samples_per_query < len(phase.columns.sample)
    assert phase.part.queries == queries
    assert phase.part.samples_per_query == width if scenario != "offline" else phase.part.samples_per_query >= 10_000
    assert phase.part.queries * phase.part.samples_per_query == len(phase.columns.sample)


def test_a_run_that_ended_early_tells_what_was_made() -> None:
    """LoadGen makes all queries beforehand and says how many, however many it asks."""
    made = stage("single-stream", replace(SMALL, max_queries=7))
    (phase,) = phases(made, "PerformanceOnly", 0, 0)
    assert len(phase.columns.sample) == 7
    assert phase.part.queries == made.traffic.parts[0].queries == 201
    assert generated_samples(made) == 201


def test_a_replayed_trace_loads_what_it_asks() -> None:
    """Samples in the order in which they are asked first; as many queries as it has."""
    traffic = Traffic(np.arange(5), np.array([7, 2, 7, 9, 2], np.int32), np.array([0, 10, 20, 30, 40]), Limits(0, 5))
    columns = simulate(traffic, Policy("fifo", 1), lambda _: 5)
    (phase,) = phases(Stage(SMALL, traffic, Measured(columns), Keep(1)), "PerformanceOnly", 0, 0)
    assert phase.part.indices.tolist() == [7, 2, 9]
    assert (phase.part.queries, phase.part.samples_per_query, phase.part.duration_ns) == (5, 1, 40)


def test_the_bound_is_that_of_the_target_percentile_alone() -> None:
    """Queries of 1 to 100 ns: the 90th percentile is the 91st value; no bound is always met, no query never."""
    due = np.arange(100) * 1000
    took = iter(range(1, 101))
    columns = simulate(Traffic(np.arange(100), np.zeros(100, np.int32), due, Limits(0, 1)), Policy("fifo", 1), lambda _: next(took))
    assert meets_bound(columns, replace(SMALL, percentile=0.9, latency_bound_ns=91))
    assert not meets_bound(columns, replace(SMALL, percentile=0.9, latency_bound_ns=90))
    assert meets_bound(columns, replace(SMALL, latency_bound_ns=0))
    assert not meets_bound(rows_of(columns, 0, 0), replace(SMALL, latency_bound_ns=0))


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("limit", [{}, {"max_queries": 2}, {"max_duration_ns": 3}, {"max_async": 1}])
def test_limits_of_a_performance_run_do_not_end_an_accuracy_run(scenario: str, limit: dict[str, int]) -> None:
    """LoadGen ignores them all in accuracy mode: every sample is asked, however soon the minima or a maximum are reached."""
    settings = replace(SMALL, mode="accuracy", min_duration_ns=0, min_queries=1, target_qps=1e6, **limit)
    columns = stage(scenario, settings).measured.columns
    assert sorted(columns.sample.tolist()) == list(range(20))
    assert (columns.status == Status.DONE).all()


# -------------------------------------------------------------------------------------------------------------------------------- play


@dataclass
class Played:
    """Stands for `run_stage`: serves in simulated time and notes what it was asked for."""

    takes_ns: Callable[[Settings], int] = lambda _: MS_NS
    change: Callable[[int, Measured], None] = lambda _number, _measured: None
    asked: list[tuple[Settings, str, int]] = field(default_factory=list)

    def __call__(self, bench: Bench, crew: Any, settings: Settings, name: str, before: int = 0) -> Stage:
        self.asked.append((settings, name, before))
        made = stage(bench.scenario.name, settings, self.takes_ns(settings))
        self.change(len(self.asked), made.measured)
        return made


def bench(scenario: str = "server", settings: Settings = SMALL, **config: Any) -> Bench:
    return Bench(
        RunConfig(scenario=scenario, **config),
        load("scenarios", scenario).create(),
        BlankTask("squad"),
        None,
        settings,
        Policy("fifo", 1),
        Silent(),
    )


def played(monkeypatch: pytest.MonkeyPatch, made: Bench, by: Played) -> modes.Outcome:
    monkeypatch.setattr(modes, "run_stage", by)
    return play(made, None, Path())  # type: ignore[arg-type]


def test_performance_is_one_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is judged, and nothing is scored."""
    made, by = bench(), Played()
    outcome = played(monkeypatch, made, by)
    assert [(name, before, settings.mode) for settings, name, before in by.asked] == [("run", 0, "performance")]
    assert (outcome.mode, outcome.scored, outcome.stages) == ("PerformanceOnly", None, [outcome.judged])


def test_accuracy_is_one_stage_with_the_scores_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged and scored are the same; the bench says which settings were played."""
    made, by = bench(mode="accuracy"), Played()
    outcome = played(monkeypatch, made, by)
    assert [(name, settings.mode) for settings, name, _ in by.asked] == [("accuracy", "accuracy")]
    assert outcome.mode == "AccuracyOnly"
    assert outcome.scored is outcome.judged
    assert made.settings is outcome.judged.settings


def test_submission_is_accuracy_and_then_performance(monkeypatch: pytest.MonkeyPatch) -> None:
    """The samples of the first count towards the accuracy log of the second, which is judged."""
    made, by = bench(mode="submission"), Played()
    outcome = played(monkeypatch, made, by)
    assert [(name, before, settings.mode) for settings, name, before in by.asked] == [
        ("accuracy", 0, "accuracy"),
        ("run", 20, "performance"),
    ]
    assert outcome.mode == "SubmissionRun"
    assert outcome.stages == [outcome.scored, outcome.judged]
    assert made.settings is outcome.judged.settings


def test_a_submission_whose_answers_did_not_come_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one stage, and it is judged by its own settings: an accuracy run has no speed."""
    made = bench(mode="submission")
    by = Played(change=lambda _, measured: measured.reasons.append(Reason("errors", "it failed", "repair it")))
    outcome = played(monkeypatch, made, by)
    assert len(by.asked) == 1
    assert outcome.judged is outcome.scored
    assert made.settings.mode == "accuracy"


SEARCHED = replace(SMALL, latency_bound_ns=20 * MS_NS, percentile=0.9, target_qps=100.0, min_duration_ns=SECOND_NS, min_queries=1)


def test_the_search_judges_the_run_at_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """5 ms a query with a bound of 20 ms: the highest rate that passed is judged, each run restarts the seeds and goes on in the draw of
    logged answers, and LoadGen's words stand at their runs."""
    made = bench(settings=SEARCHED, find_peak="loadgen", find_peak_decimals=0)
    by = Played(lambda _: 5 * MS_NS)
    outcome = played(monkeypatch, made, by)
    tried = outcome.facts["find_peak"]["tried"]
    assert [(settings.target_qps, name) for settings, name, _ in by.asked] == [(each["target_qps"], "find-peak") for each in tried]
    assert all(settings.seeds == SEARCHED.seeds for settings, _, _ in by.asked)
    assert [before for _, _, before in by.asked] == np.cumsum([0, *map(generated_samples, outcome.stages)])[:-1].tolist()
    peak = max(each["target_qps"] for each in tried if each["met"])
    assert outcome.facts["find_peak"]["found_qps"] == outcome.judged.settings.target_qps == made.settings.target_qps == peak
    assert 100 <= peak < 200
    assert outcome.asked == SEARCHED
    assert outcome.mode == "FindPeakPerformance"
    assert meets_bound(outcome.judged.measured.columns, outcome.judged.settings)
    assert outcome.stages[0].messages[0].text.startswith("FindPeakPerformance: Check validity of the base settings field: 100.0")
    assert outcome.stages[-1].messages[-1].text == f"FindPeakPerformance: Found peak performance field: {peak:f}"
    assert {phase.mode for each in outcome.stages for phase in phases(each, outcome.mode, 0, 0)} == {"find-peak"}


def test_a_search_whose_base_fails_judges_that_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """30 ms a query meet a bound of 20 ms at no rate; LoadGen calls it an error."""
    made = bench(settings=SEARCHED, find_peak="loadgen")
    outcome = played(monkeypatch, made, Played(lambda _: 30 * MS_NS))
    assert len(outcome.stages) == 1
    assert outcome.facts["find_peak"] == {"algorithm": "loadgen", "found_qps": None, "tried": [{"target_qps": 100.0, "met": False}]}
    assert outcome.judged.messages[-1].key == "error_runtime"
    assert outcome.judged.messages[-1].text.startswith("FindPeakPerformance: Initial lower bound does not satisfy")


def test_a_run_with_errors_does_not_pass_in_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fast wrong answers are no rate: the third run fails for its reasons, though its latencies met the bound."""

    def spoil(number: int, measured: Measured) -> None:
        if number >= 3:
            measured.reasons.append(Reason("errors", "it failed", "repair it"))

    made = bench(settings=replace(SEARCHED, target_qps=10.0), find_peak="loadgen", find_peak_decimals=0)
    outcome = played(monkeypatch, made, Played(lambda _: MS_NS, spoil))
    assert outcome.facts["find_peak"]["found_qps"] == 20.0
    assert not outcome.judged.measured.reasons


def test_an_interrupted_search_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was measured last is what there is to tell; no peak is claimed."""

    def interrupt(number: int, measured: Measured) -> None:
        measured.interrupted = number == 2

    outcome = played(monkeypatch, bench(settings=SEARCHED, find_peak="loadgen"), Played(change=interrupt))
    assert len(outcome.stages) == 2
    assert outcome.judged is outcome.stages[-1]
    assert outcome.facts["find_peak"]["found_qps"] is None


# ------------------------------------------------------------------------------------------------------------------ the stage's parts


def test_a_recorded_trace_is_played_in_place_of_the_schedule() -> None:
    """Its rows, samples and times; a maximum of queries cuts it; in Offline all of it is one query, due at once."""
    recorded = Recorded(np.arange(4), np.array([7, 2, 9, 2]), np.array([5, 10, 20, 40]))
    made = bench(traffic="t.json")
    made.recorded = recorded
    traffic = stages._traffic(made, SMALL)
    assert traffic.due_ns is not None
    assert (traffic.due_ns.tolist(), traffic.sample.tolist()) == ([0, 5, 15, 35], [7, 2, 9, 2])
    assert traffic.limits == Limits(0, 4)
    assert len(stages._traffic(made, replace(SMALL, max_queries=3)).sample) == 3
    assert len(stages._traffic(made, replace(SMALL, mode="accuracy")).sample) == 20
    made = bench("offline", traffic="t.json")
    made.recorded = recorded
    traffic = stages._traffic(made, SMALL)
    assert traffic.due_ns is not None
    assert traffic.due_ns.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("config", "scenario", "least_ns", "queries"),
    [
        ({}, "server", 35, 4),
        ({}, "single-stream", 0, 4),
        ({"duration": 3}, "server", 100 * MS_NS, 4),
        ({"min_queries": 5}, "server", 35, 5),
        ({"rules": "standard"}, "server", 100 * MS_NS, 5),
    ],
)
def test_a_trace_is_as_long_as_it_is(config: dict[str, Any], scenario: str, least_ns: int, queries: int) -> None:
    """Under the quick rules it need not be longer, where nothing else was asked for; the rate is always the trace's."""
    recorded = Recorded(np.arange(4), np.array([7, 2, 9, 2]), np.array([5, 10, 20, 40]))
    settings = _replaying(RunConfig(scenario=scenario, **config), SMALL, recorded, load("scenarios", scenario).create())
    assert settings == replace(SMALL, min_duration_ns=least_ns, min_queries=queries, target_qps=3 / 35e-9)


def test_kept_answers_follow_the_mode() -> None:
    """All of an accuracy run; of a performance run those that the log asks for, counted from the samples made before."""
    made = bench()
    assert stages.kept_answers(made, replace(SMALL, mode="accuracy"), 7).every
    assert stages.kept_answers(made, SMALL, 7).log is None
    log = AccuracyLog(1, 0.0, 30)
    keep = stages.kept_answers(made, replace(SMALL, accuracy_log=log), 7)
    assert (keep.log, keep.first, keep.expected, keep.every) == (log, 7, 100, False)


def test_the_rounds_table_is_shown_under_its_rules_only() -> None:
    """One line for each effective setting, beside what the round requires, with what is not met."""
    settings = replace(SMALL, library_sample_count=20)
    assert beside_the_round(RunConfig(), load("scenarios", "offline").create(), settings, 20) == ""
    table = beside_the_round(RunConfig(rules="mlperf"), load("scenarios", "offline").create(), settings, 20).splitlines()
    rows = {line.split()[0]: line for line in table}
    assert "NOT MET" in rows["min_duration_ms"]
    assert rows["scenario"].endswith("ok")
    assert "2085463073848966840" in rows["qsl_rng_seed"]
    assert len(rows) == len(table) > 20


def test_the_natural_end_is_told_by_its_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """`run_stage` measures and says how it ended; an accuracy stage says nothing."""
    done = stage("single-stream", SMALL).measured
    monkeypatch.setattr(stages, "measure", lambda *_: done)
    made = bench("single-stream")
    assert stages.run_stage(made, None, SMALL, "run").messages == (Message("generic_message", NATURAL),)  # type: ignore[arg-type]
    assert stages.run_stage(made, None, replace(SMALL, mode="accuracy"), "accuracy").messages == ()  # type: ignore[arg-type]
    assert set(made.timings) == {"run", "accuracy"}


def test_a_unique_run_that_was_stopped_did_not_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C before the set was used up is no fault of the expected latency; the whole set is."""
    settings = replace(SMALL, issue="unique")
    done = stage("single-stream", settings).measured
    made = bench("single-stream", issue="unique")
    monkeypatch.setattr(stages, "measure", lambda *_: done)
    assert stages.run_stage(made, None, settings, "run").messages == (Message("error_runtime", RAN_OUT),)  # type: ignore[arg-type]
    monkeypatch.setattr(stages, "measure", lambda *_: Measured(rows_of(done.columns, 0, 3), interrupted=True))
    assert stages.run_stage(made, None, settings, "run").messages == ()  # type: ignore[arg-type]
