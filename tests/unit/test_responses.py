"""Which answers are kept."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.responses import KEEP_ALL, Keep, wanted_rows


@given(st.lists(st.integers(0, 49), min_size=1, max_size=300), st.integers(0, 2**32))
def test_the_first_answer_to_every_sample_is_kept(samples: list[int], seed: int) -> None:
    """However the traffic repeats itself, the first row of each sample is wanted."""
    wanted = wanted_rows(np.array(samples), 50, Keep(seed))
    assert all(wanted[samples.index(sample)] for sample in set(samples))


def test_a_short_run_keeps_everything_and_a_long_one_thins_out() -> None:
    """The first KEEP_ALL rows are all kept; of a million rows only about KEEP_ALL * (1 + ln(1e6 / KEEP_ALL)) are."""
    wanted = wanted_rows(np.zeros(1_000_000, np.int32), 1, Keep(3))
    assert wanted[:KEEP_ALL].all()
    expected = KEEP_ALL * (1 + np.log(1e6 / KEEP_ALL))
    assert abs(wanted.sum() - expected) < 5 * expected**0.5
    assert wanted[500_000:].sum() > KEEP_ALL / 2


def test_the_selection_is_the_same_in_every_process() -> None:
    """Same arguments, same rows; another seed, other rows."""
    samples = np.zeros(50_000, np.int32)
    assert (wanted_rows(samples, 1, Keep(1)) == wanted_rows(samples, 1, Keep(1))).all()
    assert (wanted_rows(samples, 1, Keep(1)) != wanted_rows(samples, 1, Keep(2))).any()
