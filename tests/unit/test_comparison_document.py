"""What a comparison's document says: the winner, ratios with words, who is struck out, and figures in which better is to the right."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.comparing import drawings, sentences, tables
from harness.comparing.document import document
from harness.comparing.results import LATENCIES, THROUGHPUT
from harness.document import Cell, Drawing, Table
from harness.store import as_json
from tests.example_documents import COMPARISON, MISSED, POLICY, candidate, comparison, record


def cells(name: str, made: Table) -> list[Cell]:
    """The row of a candidate."""
    (row,) = [row for row in made.rows if row[0].text == name]
    return list(row)


def test_the_winner_and_its_ratio_are_the_headline() -> None:
    """The fastest that counts, by the deciding figure, and how sure it is."""
    made = document(COMPARISON)
    assert (made.word, made.tone, made.headline) == ("DECIDED", "good", "pytorch:amp: 19.2 samples/s")
    assert made.note == "1.92x pytorch:fp32, 95 % interval 1.91 to 1.93, faster; 6 blocks"
    assert made.sentences[0] == "fastest with its accuracy met (f1 77.000, target 76.527): pytorch:amp"
    assert made.warnings == ("the machine was busy",)


def test_the_reference_may_win() -> None:
    """Then there is no ratio to tell."""
    made = document(record(comparison({"a": 20.0, "b": 10.0})))
    assert (made.headline, made.note) == ("a: 20.0 samples/s", "it is the reference; 6 blocks")


def test_those_that_cannot_be_told_apart_are_named() -> None:
    """A winner by less than what can be decided is said to be ahead only, and the word is no DECIDED."""
    made = document(record(comparison({"fp32": 10.0, "amp": 20.0, "int8": 20.01})))
    assert (made.word, made.tone) == ("UNDECIDED", "doubtful")
    assert made.sentences[0] == "int8 is ahead, but cannot be told from amp"
    assert cells("int8", tables.matrix(made.record))[0].note == "ahead"


def test_nobody_wins_where_nobody_counts() -> None:
    """With every accuracy missed nothing is recommended, and every speed is struck out."""
    made = document(record(comparison({"a": 10.0, "b": 20.0}, a=candidate("a", MISSED), b=candidate("b", MISSED))))
    assert (made.word, made.headline) == ("NO RESULT", "nothing is recommended")
    assert made.sentences[0] == "no candidate counts: nothing can be recommended"
    assert all(cell.struck for row in tables.matrix(made.record).rows for cell in row[1:4])


def test_nobody_is_recommended_after_an_interrupt() -> None:
    """What was measured is shown with its ratios, and there is no winner."""
    made = document(record(replace(comparison({"a": 10.0, "b": 20.0}), interrupted=True)))
    assert (made.word, made.headline) == ("INTERRUPTED", "nothing is recommended")
    assert made.sentences[0] == "interrupted: nothing is recommended"
    assert cells("b", tables.matrix(made.record))[1].note.endswith("faster")


def test_a_candidate_that_does_not_count_is_struck_out() -> None:
    """Its speeds are struck out without a word, its accuracy says why, and a file names what is struck."""
    row = cells("onnxruntime:int8", tables.matrix(COMPARISON))
    assert row[0].note == "does not count: f1 70.000 misses 76.527"
    assert [cell.struck for cell in row] == [False, True, True, True, False, False]
    assert row[1].note == "3.10x [3.09, 3.11]"
    assert row[4].note.startswith("90.6 % of FP32, MISSED, gap −7.30")
    failed = record(comparison({"a": 10.0, "b": 20.0}, b=candidate("b", None, problem="it crashed")))
    assert sentences.told(failed)[2] == "b does not count: it crashed"


def test_figures_are_kept_unrounded_for_files() -> None:
    """Median, ratio, both ends and the word of every figure."""
    cell = cells("pytorch:amp", tables.matrix(COMPARISON))[1]
    result = COMPARISON["candidates"][1]["results"]["samples_per_second"]
    assert cell.value == result["median"]
    ratio = result["ratio"]
    assert list(cell.more.values()) == [ratio["value"], ratio["low"], ratio["high"], "faster"]


def test_other_batching_rules_are_said() -> None:
    """Candidates with different policies are compared, and the report says that the ratio is of both."""
    wide = replace(candidate("wide"), policy={**POLICY, "kind": "fixed", "max_batch": 1})
    told = sentences.told(record(comparison({"fp32": 10.0, "wide": 20.0}, wide=wide)))
    assert any("wide batches otherwise than fp32 (batching fixed against sorted; max-batch 1 against 32" in line for line in told)


def test_percentiles_of_few_queries_are_marked() -> None:
    """A block of 200 queries carries a p90 and no p99 (662 are needed)."""
    told = record(comparison({"a": 10.0, "b": 20.0}, figures=LATENCIES))
    assert "? marks percentiles of too few queries a block (p99)" in sentences.how(told)
    assert [cell.text.endswith("?") for cell in cells("b", tables.matrix(told))[1:4]] == [False, False, True]


def test_versions_that_differ_are_a_table() -> None:
    """Only what differs, a column a candidate; no table where all are alike."""
    assert tables.versions(COMPARISON) is None
    other = candidate("b", conditions={"python": "3.12.1", "libraries": {"torch": "2.12.0", "onnxruntime": "1.31.1"}})
    made = tables.versions(record(comparison({"a": 10.0, "b": 20.0}, b=other)))
    assert made is not None
    assert [[cell.text for cell in row] for row in made.rows] == [["python", "3.11.7", "3.12.1"], ["torch", "2.13.0", "2.12.0"]]


def test_the_record_is_enough() -> None:
    """What was stored and read again makes the same document."""
    assert replace(document(json.loads(as_json(COMPARISON))), record={}) == replace(document(COMPARISON), record={})


# ------------------------------------------------------------------------------------------------------------------------ drawings


def drawing(told: Any, name: str) -> Drawing:
    (found,) = [each for each in drawings.of(told) if each.name == name]
    return found


def test_further_right_is_better_in_ratios() -> None:
    """A latency of half is twice as good, its interval turned round with it."""
    made = drawing(record(comparison({"a": 10.0, "b": 20.0}, figures=(THROUGHPUT, *LATENCIES))), "ratios")
    assert [trace["x"][0] for trace in made.traces] == pytest.approx([1.99, 1.99, 1.99, 1.99], abs=0.02)
    assert all(trace["error_x"][side][0] > 0 for trace in made.traces for side in ("array", "arrayminus"))


def test_what_does_not_count_is_hollow_and_not_on_the_front() -> None:
    """The front goes through those that count; the accuracy target is drawn."""
    made = drawing(COMPARISON, "pareto")
    assert [trace["name"] for trace in made.traces] == ["pytorch:fp32", "pytorch:amp", "onnxruntime:int8 (does not count)"]
    assert made.traces[2]["marker"]["symbol"] == "x-open"
    assert [shape["y0"] for shape in made.layout["shapes"]] == [76.527]
    symbols = [symbol for trace in drawing(COMPARISON, "ratios").traces for symbol in trace["marker"]["symbol"]]
    assert [symbol.endswith("-open") for symbol in symbols] == [False, True] * 3


@given(st.lists(st.tuples(st.floats(1, 100), st.floats(0, 100)), min_size=1, max_size=8), st.sampled_from(["higher", "lower"]))
def test_the_front_is_what_nobody_betters(points: list[tuple[float, float]], better: str) -> None:
    """A point is on the front exactly if no other is as good in both and better in one."""
    sign = 1 if better == "higher" else -1

    def bettered(one: tuple[float, float]) -> bool:
        return any(sign * x >= sign * one[0] and y >= one[1] and (x, y) != one for x, y in points)

    assert drawings.pareto_front(points, better) == sorted({point for point in points if not bettered(point)})


def test_blocks_show_each_candidate_against_its_own_median() -> None:
    """A line a candidate, a point a block, around 0 %; and from a record of the first schema, which keeps visits only, the same."""
    made = drawing(COMPARISON, "blocks")
    assert [len(trace["x"]) for trace in made.traces] == [6, 6, 6]
    assert max(abs(value) for trace in made.traces for value in trace["y"]) < 1
    older = {
        **COMPARISON,
        "candidates": [{key: value for key, value in each.items() if key != "values"} for each in COMPARISON["candidates"]],
    }
    assert drawing(older, "blocks") == made
