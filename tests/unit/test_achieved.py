"""What a run computed, from its ledger: operations, padding, and the time in calls; and which peak it is held against."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.achieved import achieved, busy_ns, peak_precision
from harness.batching import Policy
from harness.core import Columns, Samples, Status
from harness.errors import DataError
from harness.model_facts import operations

CONFIG = {"model_type": "bert", "num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 64}
LENGTHS = [10, 16, 30, 40]
SAMPLES = Samples(np.ones(96, np.int32), np.zeros(96, np.int8), np.array([0, 10, 26, 56, 96]), 0, 384)
SECOND = 1_000_000_000


def ledger(batch: list[int], taken: list[float], done: list[float], status: list[int] | None = None) -> Columns:
    """One row for each of the four samples; times in seconds."""
    stamps = [np.array([round(time * SECOND) for time in times]) for times in (taken, done)]
    return Columns(
        query=np.arange(4),
        sample=np.arange(4, dtype=np.int32),
        due_ns=np.zeros(4, np.int64),
        taken_ns=stamps[0],
        done_ns=stamps[1],
        batch=np.array(batch, np.int32),
        worker=np.zeros(4, np.int16),
        status=np.array(status or [Status.DONE] * 4, np.int8),
        end_ns=10 * SECOND,
    )


PAIRS = ledger([0, 0, 1, 1], [0, 0, 2, 2], [1, 1, 3, 3])


def test_operations_are_those_of_real_tokens_over_the_time_in_calls() -> None:
    """Two calls of one second with an idle one between them: the rate is over two seconds."""
    found = achieved(PAIRS, SAMPLES, Policy("fifo", 2), CONFIG, "question-answering")
    expected = sum(operations(CONFIG, length, "question-answering") for length in LENGTHS)
    assert found is not None
    assert (found.operations, found.busy_s, found.samples) == (expected, 2.0, 4)
    assert (found.per_second, found.per_sample) == (expected / 2, expected / 4)


def test_padding_is_what_the_calls_computed_beyond_that() -> None:
    """Rows of 10 and 16 tokens were computed as 16, rows of 30 and 40 as 40; a packed backend computes none of it."""
    found = achieved(PAIRS, SAMPLES, Policy("fifo", 2), CONFIG, "question-answering")
    packed = achieved(PAIRS, SAMPLES, Policy("fifo", 2), CONFIG, "question-answering", packed=True)
    assert found is not None
    assert packed is not None
    assert found.computed == sum(operations(CONFIG, length, "question-answering") for length in (16, 16, 40, 40))
    assert found.padding_share == 1 - found.operations / found.computed
    assert packed.padding_share == 0.0


def test_rows_with_an_error_count_for_nothing() -> None:
    """Neither their operations nor their time make a rate better."""
    broken = ledger([0, 0, 1, 1], [0, 0, 2, 2], [1, 1, 3, 3], [Status.ERROR, Status.ERROR, Status.DONE, Status.DONE])
    found = achieved(broken, SAMPLES, Policy("fifo", 2), CONFIG, "question-answering")
    assert found is not None
    assert (found.samples, found.busy_s) == (2, 1.0)
    assert found.operations == sum(operations(CONFIG, length, "question-answering") for length in (30, 40))
    nothing = ledger([0] * 4, [0] * 4, [1] * 4, [Status.LOST] * 4)
    assert achieved(nothing, SAMPLES, Policy(), CONFIG, "question-answering") is None


def test_a_model_without_a_formula_is_an_error() -> None:
    """No figure is made up for a kind of model that is not known."""
    with pytest.raises(DataError, match="t5"):
        achieved(PAIRS, SAMPLES, Policy(), {"model_type": "t5"}, "question-answering")


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), min_size=1, max_size=30))
def test_busy_time_is_the_union_of_the_calls(calls: list[tuple[int, int]]) -> None:
    """As many nanoseconds as lie in at least one call, however calls of several workers overlap."""
    start = np.array([begin for begin, _ in calls])
    end = np.array([begin + length for begin, length in calls])
    assert busy_ns(start, end) == len({moment for begin, length in calls for moment in range(begin, begin + length)})


@pytest.mark.parametrize(
    ("description", "precision"),
    [
        ({"matmul_dtype": "torch.bfloat16", "precision": "amp"}, "bf16"),
        ({"matmul_dtype": "float32", "precision": "fp32"}, "fp32"),
        ({"matmul_dtype": "float16"}, "fp16"),
        ({"matmul_dtype": "uint8 x int8"}, "int8"),
        ({"precision": "int8-static"}, "int8"),
        ({"precision": "amp-fp16"}, "fp16"),
        ({"precision": "tf32"}, "tf32"),
        ({"precision": "fp8"}, None),
        ({}, None),
    ],
)
def test_the_peak_is_that_of_the_matrix_products(description: dict[str, Any], precision: str | None) -> None:
    """By the type that the backend says its products have, else by the name of its precision."""
    assert peak_precision(description) == precision
