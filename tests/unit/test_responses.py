"""Which answers are kept."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.core import AccuracyLog, Batch, Output
from harness.mlperf.accuracy_log import selected
from harness.responses import KEEP_ALL, Keep, Responses, wanted_rows


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


@given(st.integers(0, 2**64 - 1), st.floats(0.01, 1), st.integers(0, 40), st.integers(1, 400))
def test_the_log_is_loadgens_selection_behind_the_samples_before(seed: int, share: float, first: int, rows: int) -> None:
    """`logged` is the rule of the accuracy log; all of an accuracy run, nothing where no log is asked for."""
    log = AccuracyLog(seed, share)
    assert (Keep(1, log=log, first=first).logged(rows) == selected(log, 1, rows, first)).all()
    assert Keep(1, every=True, log=log).logged(rows).all()
    assert not Keep(1).logged(rows).any()


def test_a_target_is_divided_by_what_is_expected() -> None:
    """About 100 of 50,000 expected answers, however many there are."""
    keep = Keep(1, log=AccuracyLog(5, 0.0, 100), expected=50_000)
    assert (keep.logged(50_000) == selected(AccuracyLog(5, 100 / 50_000), 1, 50_000)).all()
    assert 60 < keep.logged(50_000).sum() < 140


def test_logged_answers_are_kept_on_top_of_the_others() -> None:
    """A log changes nothing of what is kept without it, and what it logs is kept."""
    samples = np.zeros(20_000, np.int32)
    log = AccuracyLog(7, 0.05)
    plain, logged = wanted_rows(samples, 1, Keep(3)), wanted_rows(samples, 1, Keep(3, log=log))
    assert (logged == (plain | selected(log, 1, 20_000))).all()
    assert 650 < (logged & ~plain).sum() < 900


def test_an_accuracy_run_keeps_every_answer() -> None:
    """Also those beyond the first to each sample."""
    assert wanted_rows(np.zeros(5000, np.int32), 1, Keep(3, every=True)).all()


def test_what_is_kept_grows_with_the_ledger() -> None:
    """Rows that were appended while the run went on: the choice among the rows before stays as it was."""
    log = AccuracyLog(7, 0.05)
    early, late = (wanted_rows(np.arange(rows) % 10, 10, Keep(3, log=log)) for rows in (5000, 9000))
    assert (early == late[:5000]).all()


def outputs(batch: Batch) -> dict[str, np.ndarray]:
    return {"start": np.repeat(batch.samples[:, None], batch.input_ids.shape[1], 1).astype(np.float32)}


def batch_of(rows: np.ndarray) -> Batch:
    ids = np.zeros((len(rows), 4), np.int64)
    return Batch(ids, ids, ids, 1 + rows % 4, rows)


def test_logged_answers_come_back_by_row() -> None:
    """A worker that serves every row holds all answers that the log and the score need, cut to their real length."""
    log = AccuracyLog(7, 0.05)
    samples = np.zeros(5000, np.int32)
    kept = Responses((Output("start", per_token=True),), 1, Keep(3, log=log))
    for begin in range(0, 5000, 100):
        rows = np.arange(begin, begin + 100)
        assert kept.keep(rows, batch_of(rows), outputs(batch_of(rows)), samples) is None
    assert set(np.flatnonzero(selected(log, 1, 5000)).tolist()) < set(kept.by_row())
    assert sorted(kept.by_row()) == np.flatnonzero(wanted_rows(samples, 1, Keep(3, log=log))).tolist()
    assert all(answer["start"].tolist() == [row] * (1 + row % 4) for row, answer in kept.by_row().items())
