"""What a sweep asks, in which order, and what it says of what it measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import plugins
from harness.bench import prepare
from harness.commands import sweep as command
from harness.config import load
from harness.core import Accuracy, Metric, Reason
from harness.document import Table
from harness.errors import DataError, MissingError, UsageError
from harness.progress import Silent
from harness.store import RunFolder
from harness.sweeping import axes, drawings, files, overload, plan, tables, words
from harness.sweeping.courses import asked
from harness.sweeping.document import document
from harness.sweeping.results import Line, Point, Visit, word
from harness.sweeping.session import Swept

BOUND_NS = 10_000_000
MET = Accuracy("accuracy", 90.0, 90.5, 89.0, True, "accuracy pass", 100, {"accuracy": 90.0})
MISSED = Accuracy("accuracy", 70.0, 90.5, 89.0, False, "accuracy pass", 100, {"accuracy": 70.0})
SETTINGS = load({"backend": "null:2ms", "scenario": "server", "task": "sst2"}).model_dump(mode="json")
STARTED = datetime(2026, 11, 21, tzinfo=UTC)


# -------------------------------------------------------------------------------------------------------------------------- what is asked


@pytest.mark.parametrize(
    ("text", "setting", "values"),
    [
        ("max-batch=1, 2,4", "max_batch", ("1", "2", "4")),
        ("pad_to=8;64,128", "pad_to", ("8", "64,128")),
        ("backend=null", "backend", ("null",)),
    ],
)
def test_values_on_the_command_line(text: str, setting: str, values: tuple[str, ...]) -> None:
    """Separated by commas, or by semicolons where a value is a list."""
    found = axes.from_text(text)
    assert (found.setting, found.values, found.origin) == (setting, values, f"--over {text.partition('=')[0]}")


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ([1, 2], (1, 2)),
        (8, (8,)),
        ({"from": 1, "to": 64, "steps": 7, "scale": "log"}, (1, 2, 4, 8, 16, 32, 64)),
        ({"from": 0.5, "to": 2, "steps": 4}, (0.5, 1.0, 1.5, 2.0)),
        ({"from": 1, "to": 3, "steps": 9}, (1, 2, 3)),
    ],
)
def test_values_in_a_file(given: Any, values: tuple[Any, ...]) -> None:
    """A list, one value, or a range, whose whole numbers come once each."""
    assert axes.from_mapping({"max_batch": given}, "x.yaml:3: sweep")[0].values == values


@pytest.mark.parametrize(
    "given",
    [
        [],
        {"from": 1, "to": 2},
        {"from": 1, "to": 2, "steps": 1},
        {"from": 0, "to": 2, "steps": 3, "scale": "log"},
        {"from": 1, "to": 2, "steps": 2, "by": 1},
        {"from": 1, "to": 2, "steps": 1000},
        {"from": 1, "to": 2, "steps": 2, "scale": "cubic"},
    ],
)
def test_a_wrong_range_names_its_place(given: Any) -> None:
    """A UsageError with file, line and setting."""
    with pytest.raises(UsageError, match=r"x\.yaml:3: sweep\.max_batch: "):
        axes.from_mapping({"max_batch": given}, "x.yaml:3: sweep")


@pytest.mark.parametrize(
    ("over", "message"),
    [
        (["max_batch=0,1"], "--over max_batch: '0' should be greater"),
        (["max_bach=1"], "--over max_bach: there is no setting max_bach"),
        (["max_batch=1,1"], "1 is there twice"),
        (["max_batch"], "--over max_batch: no values"),
        (["out=a,b"], "--out cannot be swept"),
        (["backend=null,nul"], "--over backend"),
        (["backend=null:1ms"], "--backend is given as well"),
        (["scenario=offline", "target_qps=1,2"], "offline asks at no rate"),
        (["max_batch=1,2", "max-batch=4"], "swept twice"),
        ([f"max_batch={','.join(map(str, range(1, 102)))}"], "101 points"),
        (["task=glue"], "--task glue cannot be swept"),
    ],
)
def test_wrong_values_are_refused_before_anything_is_measured(over: list[str], message: str) -> None:
    """Each point is validated as a run would be; the error names the option and the value."""
    flags = {"backend": "null:2ms"} if over[0].startswith("backend=null:1") else {}
    with pytest.raises(UsageError, match=message):
        asked(flags, None, over, 12)


def test_rates_of_server_are_swept_where_nothing_else_is_said() -> None:
    """Without a scenario it is server, and its rates are searched for; a rate that is given is played."""
    (course,) = asked({"backend": "null:2ms"}, None, [], 12).courses
    assert (course.config.scenario, course.rates, course.values) == ("server", None, {})
    (course,) = asked({"backend": "null:2ms", "target_qps": 5}, None, [], 12).courses
    assert course.rates == (5.0,)
    found = asked({"backend": "null:2ms"}, None, ["target_qps=40,20"], 12)
    assert (found.courses[0].rates, found.swept) == ((20.0, 40.0), {"target_qps": [20.0, 40.0]})


def test_other_settings_are_swept_offline_unless_said() -> None:
    """A point each, typed as the schema has it; in server a curve each."""
    found = asked({"backend": "null:2ms"}, None, ["max_batch=1,2", "batch_wait=0,1"], 12)
    assert [course.values for course in found.courses] == [{"max_batch": m, "batch_wait": w} for m in (1, 2) for w in (0.0, 1.0)]
    assert {(course.config.scenario, course.rates) for course in found.courses} == {("offline", ())}
    curves = asked({"backend": "null:2ms", "scenario": "server"}, None, ["max_batch=1,2"], 12).courses
    assert [course.rates for course in curves] == [None, None]
    with pytest.raises(UsageError, match="up to 108 points"):
        asked({"scenario": "server"}, None, ["max_batch=1,2,3,4,5,6,7,8,9"], 12)


def test_points_of_one_crew_are_neighbours() -> None:
    """A batch limit needs other workers, a waiting time does not: each crew is loaded once a pass."""
    found = asked({"backend": "null:2ms"}, None, ["batch_wait=0,1", "max_batch=1,2"], 12).courses
    assert [course.config.max_batch for course in found] == [1, 1, 2, 2]


def test_a_file_says_what_is_swept(tmp_path: Path) -> None:
    """`sweep:` of the file, unless --over names the same setting; `run` does not know the key."""
    file = tmp_path / "s.yaml"
    file.write_text("backend: null:2ms\nsweep:\n  max_batch: [1, 2]\n  threads: {from: 1, to: 2, steps: 2}\n", encoding="utf-8")
    found = asked({}, file, ["max_batch=8"], 12)
    assert found.swept == {"max_batch": [8], "threads": [1, 2]}
    with pytest.raises(UsageError, match="there is no setting sweep"):
        load({}, file)
    file.write_text("sweep: [1]\n", encoding="utf-8")
    with pytest.raises(UsageError, match="not a mapping"):
        asked({}, file, [], 12)


def test_the_example_of_the_page_is_a_sweep(tmp_path: Path) -> None:
    """The YAML of docs/sweeps.md: a list and a range."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "sweeps.md").read_text(encoding="utf-8")
    file = tmp_path / "s.yaml"
    file.write_text(page.partition("```yml\n")[2].partition("```")[0], encoding="utf-8")
    assert asked({}, file, [], 12).swept == {"backend": ["pytorch:fp32", "pytorch:amp"], "max_batch": [1, 2, 4, 8, 16, 32, 64]}


def test_the_plan_names_points_and_time() -> None:
    """Every point, how many visits, and about how long."""
    text = plan.text(asked({"backend": "null:2ms", "duration": 1.0, "warmup": 0.0}, None, ["max_batch=1,2"], 12).courses, 2, 12)
    assert "offline · squad · max_batch 2" in text
    assert "2 points, 2 passes" in text
    assert "expected time 14 s" in text
    curve = plan.text(asked({"backend": "null:2ms", "duration": 1.0}, None, [], 8).courses, 2, 8)
    assert "20 %, 40 %, 60 %, 80 %, 90 %, 100 % of the offline rate, then closer around the bound, 8 rates at most" in curve


def test_a_point_is_given_up_by_its_queue() -> None:
    """Four times what can still meet the bound (rate x bound), may miss it (1 % of what is planned) and fits into a call."""
    bench = prepare(load({"backend": "null:2ms", "scenario": "server", "latency_bound": 100.0, "max_batch": 1, "target_qps": 50}), Silent())
    assert overload.limited(bench.settings, bench).max_async == 4 * (5 + 5 + 1)
    assert overload.problem([Reason("unanswered", "x", ""), Reason("backlog", "y", "")]) == ""
    assert overload.problem([Reason("unanswered", "x", ""), Reason("errors", "z", "")]) == "z"


# ---------------------------------------------------------------------------------------------------------------------------- what is said


def visited(rate: float, over: int, turn: int = 0, **changed: Any) -> Visit:
    """A visit of 1,000 queries of which `over` took 20 ms and the rest 5."""
    latency = np.where(np.arange(1000) < over, 20_000_000, 5_000_000).astype(np.int64)
    blocks = np.array([[500, over // 2], [500, over - over // 2]], np.int64)
    figures = {"achieved_qps": rate, "samples_per_second": rate, "busy_share": 0.5, "in_flight": 1.0, "rate_times_latency": 1.0}
    given = {"reasons": (Reason("latency_bound", "over", ""),) if over >= 10 else ()} | changed
    return Visit(turn, turn * 10.0 + rate / 100, 1.0, latency, blocks, Metric("x", rate, "samples/s", "higher"), figures, 1000, **given)


def made(lines: list[Line], points: list[Point], swept: Mapping[str, Any], **changed: Any) -> dict[str, Any]:
    found = Swept(lines, points, seconds=20.0, **changed)
    stored = files.record(found, swept, 2, "id", STARTED)
    read: dict[str, Any] = json.loads(json.dumps(stored, default=float))  # as it is read again
    return read


def curve(line: Line, number: int = 0, factor: float = 1.0) -> list[Point]:
    """20, 40 and 60 queries/s with 0, 5 and 500 queries in 1,000 over the bound; 80 was given up."""
    points = []
    for rate, over in ((20.0, 0), (40.0, 5), (60.0, 500), (80.0, 900)):
        given = {"given_up": True} if over == 900 else {}
        visits = [visited(rate * factor, over, turn, **given) for turn in (0, 1)]
        points.append(Point(number, {**line.values, "target_qps": rate * factor}, rate * factor, visits))
    return points


def line(**changed: Any) -> Line:
    given: dict[str, Any] = {"values": {}, "settings": SETTINGS, "bound_ns": BOUND_NS, "offline": 100.0, "backend": {}} | changed
    return Line(**given)


def test_the_capacity_is_the_headline() -> None:
    """Between the highest rate that met and the lowest that missed, with its interval, what it is of the offline rate, and the doubling."""
    only = line()
    found = document(made([only], curve(only), {}))
    assert (found.word, found.tone, found.kind) == ("SWEPT", "good", "sweep")
    assert found.headline == "40.2 queries/s with p99 within 10.0 ms"
    assert found.note == "95 % interval 40.0 to 60.0"
    assert "highest rate measured that meets it 40.0, lowest that misses it 60.0; 40.2 % of the 100 samples/s" in found.sentences[0]
    assert "p99 doubles from the 5.00 ms of the lowest rate at about 50.0 queries/s (between 40.0 and 60.0)" in found.sentences[0]
    assert any("1 rate (80.0/s) given up early" in sentence for sentence in found.sentences)


def test_visits_too_short_for_a_queue_are_said() -> None:
    """Rates that meet their bound while answers fall behind by more than 5 % and chance; a rate that misses needs no such word."""
    only, points = line(), curve(line())
    found = made([only], points, {})
    assert not any("too short" in sentence for sentence in words.sentences(found))
    for point, achieved in zip(points, (19.0, 32.0, 30.0, 40.0), strict=True):
        point.visits[:] = [replace(visit, figures={**visit.figures, "achieved_qps": achieved}) for visit in point.visits]
    said = [sentence for sentence in words.sentences(made([only], points, {})) if "too short" in sentence]
    assert len(said) == 1
    assert "only 32.0 of 40.0 queries/s were answered in visits of 1 s" in said[0]


def test_every_rate_has_a_word() -> None:
    """met, missed and overloaded by all visits together; mixed where one visit alone missed; failed and not measured are rows too."""
    only = line()
    assert [word(point, only) for point in curve(only)] == ["met", "met", "missed", "overloaded"]
    mixed = Point(0, {}, 30.0, [visited(30.0, 0), visited(30.0, 12)])
    assert word(mixed, only) == "mixed"
    assert word(Point(0, {}, 30.0, problem="it broke"), only) == "failed"
    assert word(Point(0, {}, 30.0), only) == "not measured"
    shown = tables.points(made([only], [*curve(only), Point(0, {}, 90.0, problem="it broke"), Point(0, {}, 95.0)], {}))
    assert [row[-1].text for row in shown.rows] == ["met", "met", "missed", "overloaded", "failed", "not measured"]


def test_a_line_that_misses_its_accuracy_is_struck_out() -> None:
    """However fast: it is never the answer, and every figure of it is struck."""
    lines = [line(values={"backend": "slow"}, accuracy=MET), line(values={"backend": "fast"}, accuracy=MISSED)]
    record = made(lines, [*curve(lines[0]), *curve(lines[1], 1, factor=3.0)], {"backend": ["slow", "fast"]})
    found = document(record)
    assert found.headline.startswith("slow: 40.2 queries/s")
    assert found.word == "SWEPT, NOT ALL COUNT"
    assert "fast does not count: accuracy 70.000 misses 89.000" in found.sentences
    struck = [row for row in tables.points(record).rows if row[0].text.startswith("fast")]
    assert all(row[1].struck and row[-1].text == "accuracy missed" for row in struck)
    assert [each.name for each in drawings.of(record)] == ["curves", "capacities"]


def test_nothing_meets() -> None:
    """No rate within the bound is said as such, and there is no capacity."""
    only = line()
    found = document(made([only], [Point(0, {}, 20.0, [visited(20.0, 400)])], {}))
    assert (found.word, found.headline) == ("NO RESULT", "no rate that was measured meets the bound")
    assert "the lowest that misses it is 20.0 queries/s" in found.sentences[0]


def grid() -> dict[str, Any]:
    settings = SETTINGS | {"scenario": "offline"}
    values = [{"max_batch": batch, "backend": name} for batch in (1, 8) for name in ("a", "b")]
    lines = [Line(each, settings) for each in values]
    points = [
        Point(n, each, None, [visited(rate, 0), visited(rate + 2, 0)])
        for n, (each, rate) in enumerate(zip(values, (10, 20, 50, 51), strict=True))
    ]
    return made(lines, points, {"max_batch": [1, 8], "backend": ["a", "b"]})


def test_the_best_of_a_grid() -> None:
    """The highest mean is named, and what its visits overlap with; a line of the drawing for each value of the second setting."""
    found = document(grid())
    assert found.headline == "max_batch 8, b: 52.0 samples/s"
    assert (
        found.sentences[0] == "best: max_batch 8, b, but its visits overlap with those of max_batch 8, a; `assay compare` tells them apart"
    )
    (drawing,) = drawings.of(grid())
    assert [(trace["name"], trace["x"], trace["y"]) for trace in drawing.traces] == [("a", [1, 8], [11, 51]), ("b", [1, 8], [21, 52])]
    assert drawing.layout["xaxis"]["type"] == "log"


@pytest.mark.parametrize("report", ["terminal", "markdown", "html", "csv"])
def test_every_report_renders_a_sweep(report: str) -> None:
    """Of a curve with everything that can happen to a point, and of a grid."""
    only = line()
    record = made([only], [*curve(only), Point(0, {}, 90.0, problem="it broke"), Point(0, {}, 95.0)], {}, complete=False)
    assert document(record).word == "INCOMPLETE"
    for each in (record, grid()):
        assert "busy" in plugins.load("reports", report).render_document(document(each))


def test_a_sweep_is_stored_and_read(tmp_path: Path) -> None:
    """sweep.json comes back as it was; points.csv has a row a point with raw values; what is no sweep is an error."""
    only = line()
    record = made([only], curve(only), {})
    files.save(RunFolder(tmp_path), record)
    assert files.read(tmp_path) == record == files.read(tmp_path / "sweep.json")
    assert (tmp_path / "points.csv").read_text(encoding="utf-8").splitlines()[1].startswith("20.0,met,")
    (tmp_path / "sweep.json").write_text('{"schema": 1}', encoding="utf-8")
    with pytest.raises(DataError, match="is not a sweep"):
        files.read(tmp_path)
    with pytest.raises(MissingError, match=r"no sweep\.json"):
        files.read(tmp_path / "elsewhere")


def test_figures_have_units() -> None:
    """Every column of points.csv with a number has a unit, or is a count."""
    shown: Table = tables.figures(grid())
    assert {column.name for column in shown.columns if not column.unit} == {"max_batch", "backend", "verdict", "queries"}
    assert words.axes(grid()) == ["max_batch", "backend"]
    assert axes.KEY == "sweep"
    assert (command.REPEAT, command.RATES) == (2, 12)
