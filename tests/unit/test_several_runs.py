"""Several results together: what may be held against each other, what differs, and what is refused."""

from __future__ import annotations

import csv as standard
import io

import pytest

from harness import run_facts
from harness.document import Document, Table
from harness.reporting import differences, groups, several
from reports import csv
from tests import example_documents, example_runs

ENTRIES = example_documents.entries()


def tables(made: Document, name: str) -> list[Table]:
    return [each for each in made.parts if isinstance(each, Table) and each.name.startswith(name)]


def test_runs_are_grouped_by_questions_and_machine() -> None:
    """The same questions on another machine are another group, unless that was asked for."""
    assert [len(group.entries) for group in groups.groups(ENTRIES, across_machines=False)] == [3, 1]
    assert [len(group.entries) for group in groups.groups(ENTRIES, across_machines=True)] == [4]
    other = example_runs.changed(example_runs.VALID, conditions={"data": {"name": "SST-2 dev", "samples": 872, "comparable": True}})
    assert groups.asked(other) != groups.asked(example_runs.VALID)


def test_ratios_stay_on_one_machine() -> None:
    """To the first FP32 run that counts; none for itself, for what does not count, and none across machines."""
    (first, second) = tables(several.document(ENTRIES), "runs")
    assert [row[3].text for row in first.rows] == ["reference", "1.93x", "-"]
    assert [row[3].text for row in second.rows] == ["-"]
    said = several.document(ENTRIES).sentences
    assert "comparing across a difference is refused unless asked for; --across-machines shows them side by side" in said[0]
    assert not any(word in line for line in said for word in ("faster", "slower", "equivalent"))


def test_machines_side_by_side_where_asked_for() -> None:
    """One table with a column for the machine, and it is said what a ratio then compares."""
    made = several.document(ENTRIES, across_machines=True)
    (table,) = tables(made, "runs")
    assert [row[-1].text for row in table.rows][-2:] == ["AMD EPYC · 2 cores", "Intel Xeon · 8 cores"]
    assert table.caption.startswith("On 2 machines.")
    assert made.sentences[0].endswith("2 machines side by side; a ratio between them compares the machines as well")
    (alone,) = tables(several.document(ENTRIES[:1], across_machines=True), "runs")
    assert alone.caption == "On AMD EPYC · 2 cores."


def test_groups_of_one_run_compare_nothing() -> None:
    """Only groups of two runs or more are counted as such; on two machines the same questions make two groups."""
    assert several.document(ENTRIES[:1]).headline == "1 run"
    assert several.document([ENTRIES[0], ENTRIES[-1]]).headline == "no two of these runs can be compared"
    assert several.document(ENTRIES).headline == "1 group of runs that can be compared"


def test_what_is_no_result_is_struck_out_and_never_best() -> None:
    """A run below its accuracy target, however fast."""
    fast = example_runs.changed(
        ENTRIES[2].run,
        verdict={"metric": {"name": "completed_samples_per_second", "value": 999.0, "unit": "samples/s", "better": "higher"}},
    )
    entries = [*ENTRIES[:2], groups.Entry("fast", "results/fast", fast, None)]
    (table,) = tables(several.document(entries), "runs")
    assert [row[2].struck for row in table.rows] == [False, False, True]
    assert [row[0].note for row in table.rows] == ["", "best", ""]
    assert any(line.startswith("fast is no result (ACCURACY MISSED") for line in several.document(entries).sentences)


def test_one_run_is_best_of_nothing() -> None:
    """Nor are runs whose headlines are of different kinds held against each other."""
    (group,) = groups.groups(ENTRIES[:1], across_machines=False)
    assert groups.best(group) is None
    slow = example_runs.changed(example_runs.VALID, verdict={"metric": {"name": "p99", "value": 9, "unit": "ns", "better": "lower"}})
    (mixed,) = groups.groups([ENTRIES[0], groups.Entry("slow", "x", slow, None)], across_machines=False)
    assert groups.best(mixed) is None
    (table,) = tables(several.document(list(mixed.entries)), "runs")
    assert [row[3].text for row in table.rows] == ["reference", "-"]


def test_what_differs_is_listed() -> None:
    """Settings and conditions that are not alike, with who has which; what is measured anew each time is left out."""
    made = several.document(ENTRIES, across_machines=True)
    (conditions,) = tables(made, "conditions")
    assert [row[0].text for row in conditions.rows] == ["cpu.model", "cpu.usable_cores", "libraries.torch"]
    assert [cell.text for cell in conditions.rows[0]][-2:] == ["AMD EPYC", "Intel Xeon"]
    assert differences.table("x", "x", ["a", "b"], [{"load_average": [1], "k": 1}, {"load_average": [2], "k": 1}]) is None


def test_many_runs_share_a_column() -> None:
    """More than four runs would make a table too wide: values with who has them, at most four values."""
    found = differences.table("x", "x", list("abcdef"), [{"k": {"v": number % 5}} for number in range(6)])
    assert found is not None
    assert [cell.text for cell in found.rows[0]] == ["k.v", "0: a, f; 1: b; 2: c; 3: d; 1 more values"]


def test_other_results_have_a_line_each() -> None:
    """A comparison named beside runs is listed with its verdict, not mixed into them."""
    from harness.comparing.document import document

    made = several.document(ENTRIES[:1], [document(example_documents.COMPARISON)])
    assert made.title == "1 run and 1 other result"
    (table,) = tables(made, "others")
    assert [cell.text for cell in table.rows[0][:4]] == [
        "comparison",
        "offline · squad · sample set",
        "DECIDED",
        "pytorch:amp: 19.2 samples/s",
    ]


@pytest.mark.parametrize("name", ["VALID", "INVALID", "ACCURACY_MISSED", "INTERRUPTED", "NULL", "FAILED", "MINIMAL"])
def test_every_run_is_one_row_of_the_same_columns(name: str) -> None:
    """Units in the headings, values as stored, empty where there is none; `result` says whether the row is one."""
    run = getattr(example_runs, name)
    heading, row = standard.reader(io.StringIO(csv.render(run), newline=""))
    assert heading == list(run_facts.of(example_runs.VALID))
    read = dict(zip(heading, row, strict=True))
    assert read["result"] == ("yes" if name in ("VALID", "NULL", "MINIMAL") else "no")
    assert read["latency p99 (ns)"] == str(run.latency_ns.get("p99", "") or "")


def test_runs_of_any_kind_are_rows_of_one_table() -> None:
    """For programs nothing is grouped."""
    runs = [entry.run for entry in ENTRIES]
    rows = list(standard.reader(io.StringIO(csv.render_runs(runs, [None] * len(runs)), newline="")))
    assert [row[0] for row in rows] == ["run", *(run.run_id for run in runs)]
