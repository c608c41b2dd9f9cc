"""mlperf_log_accuracy.json: bytes of answers, records, and what is refused on reading."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core import Output, Part, Status
from harness.errors import BackendError, DataError
from harness.mlperf.accuracy import Record, payload, read, records, render
from harness.phases import Phase
from tests.unit.test_mlperf_result import columns

SPAN = (Output("start_logits", per_token=True), Output("end_logits", per_token=True))


def text(*found: Record) -> str:
    return "".join(render(found))


def test_logits_per_token_lie_side_by_side() -> None:
    """Start and end logit of a token follow each other, float32 with the low byte first, as MLPerf's scorer reads (length, 2)."""
    answer = {"end_logits": np.array([3.0, 4.0], np.float16), "start_logits": np.array([1.0, 2.0])}
    data = payload(SPAN, answer)
    assert np.frombuffer(data, "<f4").reshape(-1, 2).tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert data[:4] == b"\x00\x00\x80\x3f"


def test_other_outputs_follow_one_after_another() -> None:
    """Per-token outputs first, then the rest in the order of the task."""
    outputs = (Output("logits", width=2), *SPAN[:1])
    data = payload(outputs, {"logits": np.array([7.0, 8.0]), "start_logits": np.array([1.0])})
    assert np.frombuffer(data, "<f4").tolist() == [1.0, 7.0, 8.0]


def test_an_answer_without_an_output_is_an_error() -> None:
    """The message names the output."""
    with pytest.raises(BackendError, match="end_logits"):
        payload(SPAN, {"start_logits": np.zeros(2)})


def test_records_come_in_the_order_of_completion() -> None:
    """Sequence ids go on from the phases before; rows that were not answered or not chosen have none."""
    rows = columns([0, 0, 0, 0], [30, 10, 20, 5])
    rows.sample[:] = [4, 5, 6, 7]
    rows.status[3] = Status.ERROR
    phase = Phase("accuracy", Part(rows.sample, 4, 1, 0), rows, 0, first_sample=100)
    found = list(records(phase, np.ones(4, np.bool_), lambda row: bytes([row])))
    assert found == [Record(101, 5, b"\x01"), Record(102, 6, b"\x02"), Record(100, 4, b"\x00")]
    chosen = np.array([True, False, False, False])
    assert [each.seq_id for each in records(replace(phase, first_sample=0), chosen, lambda row: b"")] == [0]


def test_the_file_has_loadgens_bytes() -> None:
    """Upper-case hexadecimal, a comma behind the brace, an empty list in two lines."""
    assert text() == "[\n]\n"
    assert text(Record(0, 5, b"\n\x1b"), Record(1, 2, b"")) == (
        '[\n{ "seq_id" : 0, "qsl_idx" : 5, "data" : "0A1B" },\n{ "seq_id" : 1, "qsl_idx" : 2, "data" : "" }\n]\n'
    )


def test_answers_are_rendered_one_at_a_time() -> None:
    """The third answer is not asked for before the second is written."""
    asked: list[int] = []

    def answers() -> object:
        for number in range(3):
            asked.append(number)
            yield Record(number, 0, b"")

    pieces = render(answers())  # type: ignore[arg-type]
    assert [next(pieces), next(pieces).count("seq_id"), asked] == ["[", 1, [0]]


@given(st.lists(st.builds(Record, st.integers(0, 2**63), st.integers(0, 2**31), st.binary(max_size=40)), max_size=6))
def test_what_is_written_is_read_again(found: list[Record]) -> None:
    """Also by any reader of JSON."""
    written = text(*found)
    assert read(written) == found
    assert [each["seq_id"] for each in json.loads(written)] == [each.seq_id for each in found]


def test_records_of_language_models_are_read() -> None:
    """Token data and counts are passed over."""
    line = '{ "seq_id" : 3, "qsl_idx" : 4, "token_data" : "0A", "data" : "FF", "token_count" : 11 }'
    assert read(f"[\n{line}\n]\n") == [Record(3, 4, b"\xff")]


GOOD = '{ "seq_id" : 0, "qsl_idx" : 5, "data" : "0A1B" }'


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        ("", "line 1: not a list"),
        ("[", "line 1: the list has no end"),
        (f"[\n{GOOD},\n", "line 2: the list has no end"),
        (f"[\n{GOOD}\n{GOOD}\n]\n", "line 2: a comma is missing"),
        (f"[\n{GOOD},\n]\n", "line 2: a comma too many"),
        (f"[\n{GOOD},\n{GOOD[:-20]}\n]\n", "line 3: not a record"),
        (f"[\n{GOOD.replace('0A1B', '0A1')}\n]\n", "line 2: data are not hexadecimal bytes"),
        (f"[\n{GOOD.replace('0A1B', 'XY')}\n]\n", "line 2: not a record"),
    ],
)
def test_damage_is_named_with_its_line(damaged: str, message: str) -> None:
    """Nothing of a damaged file is taken."""
    with pytest.raises(DataError, match=message) as caught:
        read(damaged)
    assert caught.value.cure
