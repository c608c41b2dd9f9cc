"""Known answers with backends that are made up: what is compared, what is named, what is counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.batching import Policy
from harness.core import BackendOptions, Batch, Output, Samples
from harness.crew import form
from harness.errors import BackendError
from harness.qualifying import corruption, known_answers
from harness.qualifying.checks import answers as check
from harness.qualifying.corruption import Changed, Examination, Tally, tolerance_of
from harness.qualifying.known_answers import First, Inputs, Repeated
from harness.worker import Worker, WorkerSpec

LENGTHS = (5, 6, 7, 12, 20, 3)
POLICY = Policy(max_batch=2)
OUTPUTS = (Output("logits", per_token=True),)

Spoil = Callable[[int, Batch, NDArray[np.float32]], NDArray[np.float32]]


def _samples() -> Samples:
    offsets = np.concatenate([[0], np.cumsum(LENGTHS)]).astype(np.int64)
    ids = np.arange(offsets[-1], dtype=np.int32) + 10
    return Samples(ids, np.zeros(len(ids), np.int8), offsets, 0, 24)


class Backend:
    """Answers each token with its own number; `spoil` may change an answer, by the number of the call."""

    needs_inputs, answers = True, True

    def __init__(self, spoil: Spoil | None = None) -> None:
        self.spoil, self.calls = spoil, 0

    def predict(self, batch: Batch | None) -> Mapping[str, NDArray[Any]]:
        assert batch is not None
        self.calls += 1
        found = batch.input_ids.astype(np.float32)
        return {"logits": self.spoil(self.calls, batch, found) if self.spoil else found}

    def load(self, model: object) -> None: ...

    def close(self) -> None: ...

    def describe(self) -> dict[str, Any]:
        return {"runtime": "made up"}


class Weighing(Backend):
    """Shows weights, one of which changes after some calls."""

    def weights(self) -> dict[str, str]:
        return {"a": "1", "b": "2" if self.calls < 30 else "3"}


def _worker(backend: Backend) -> Worker:
    made = Worker(WorkerSpec(0, "made up", BackendOptions(), None, _samples(), OUTPUTS, POLICY, cores=(4, 5)))
    made.backend = backend
    return made


def _asked(backend: Backend, tolerance: float = 0.0) -> tuple[Inputs, First, Repeated]:
    """One round of every batch."""
    asked, worker = known_answers.inputs(_samples(), POLICY), _worker(backend)
    first = known_answers.first(worker, asked)
    return asked, first, known_answers.repeat(worker, asked, [first], 0.0, tolerance)


def test_known_inputs_are_full_batches_of_several_lengths_and_short_rows() -> None:
    """Full batches around the shortest, the middle and the longest sample; short rows are the beginnings of samples."""
    asked = known_answers.inputs(_samples(), POLICY)
    lengths = asked.samples.lengths
    assert [lengths[batch].tolist() for batch in asked.full] == [[3, 5], [6, 7], [12, 20]]
    assert [lengths[batch].max() for batch in asked.short] == [4, 4]
    assert [asked.origin[batch].tolist() for batch in asked.full] == [[5, 0], [1, 2], [3, 4]]
    row = int(asked.short[0][0])
    begin = asked.samples.offsets[row]
    assert asked.samples.input_ids[begin : begin + 4].tolist() == _samples().input_ids[:4].tolist()


def test_a_backend_that_repeats_itself_has_nothing_wrong() -> None:
    """All answers are compared, and each cycle of full batches is timed."""
    asked, first, found = _asked(Backend())
    assert (found.wrong, found.mismatches, first.refused) == (0, (), {})
    assert found.calls >= len(asked.batches)
    assert found.answers >= sum(map(len, asked.batches))
    assert found.full_rows == 6
    assert len(found.full_s) == 1


def test_one_flipped_bit_is_named_with_worker_cores_sample_and_time() -> None:
    """A single last bit of a single value, once: found, and told to be right when asked again."""

    def spoil(call: int, batch: Batch, values: NDArray[np.float32]) -> NDArray[np.float32]:
        del batch
        if call == 13:  # ten calls are the first answers; the third after them is the longest full batch
            values.view(np.int32)[1, 19] ^= 1
        return values

    _, _, found = _asked(Backend(spoil))
    (wrong,) = found.mismatches
    assert (wrong.worker, wrong.cores, wrong.sample, wrong.tokens, wrong.values, wrong.persistent) == (0, (4, 5), 4, 20, 1, False)
    assert 0 < wrong.largest < 1e-5
    assert wrong.at_ns > 0


def test_answers_at_padding_are_nobody_s() -> None:
    """What stands beyond the real tokens may be anything."""

    def spoil(call: int, batch: Batch, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.where(batch.attention_mask > 0, values, np.float32(call))

    assert _asked(Backend(spoil))[2].wrong == 0


def test_a_fault_that_stays_is_told_to_persist() -> None:
    """From some call on every answer is another one."""

    def spoil(call: int, batch: Batch, values: NDArray[np.float32]) -> NDArray[np.float32]:
        del batch
        return values + np.float32(call > 10)

    found = _asked(Backend(spoil))[2]
    assert found.wrong == found.answers
    assert all(each.persistent for each in found.mismatches)


def test_zero_and_minus_zero_are_two_answers_and_nan_equals_itself() -> None:
    """Bits are compared, not numbers."""
    zero = {"logits": np.zeros((1, 1), np.float32)}
    minus = {"logits": np.full((1, 1), -0.0, np.float32)}
    nan = {"logits": np.full((1, 1), np.nan, np.float32)}
    assert not known_answers._equal(zero, minus)
    assert known_answers._equal(nan, nan)
    assert known_answers._off(nan, zero, 1, 0.0) == [(1, np.inf)]


def test_a_backend_that_is_not_deterministic_is_compared_within_a_tolerance() -> None:
    """Small differences are none, large ones are."""

    def spoil(by: float) -> Spoil:
        return lambda call, batch, values: values + np.float32(by * (call > 10)) + 0 * batch.lengths.max().astype(np.float32)

    assert tolerance_of({"deterministic": False, "matmul_dtype": "float16"}) == 1e-2
    assert tolerance_of({}) == 0.0
    assert _asked(Backend(spoil(0.01)), 1e-2)[2].wrong == 0
    assert _asked(Backend(spoil(5.0)), 1e-2)[2].wrong > 0


def test_short_rows_that_a_backend_refuses_are_left_out() -> None:
    """A backend with fixed shapes is examined with full batches alone."""

    def spoil(call: int, batch: Batch, values: NDArray[np.float32]) -> NDArray[np.float32]:
        del call
        if int(batch.lengths.max()) == known_answers.SHORT_TOKENS:
            raise ValueError("no such shape")
        return values

    _, first, found = _asked(Backend(spoil))
    assert first.refused == dict.fromkeys((3, 4), "ValueError: no such shape")
    assert (found.calls, found.wrong) == (3, 0)


def test_full_batches_that_are_refused_end_the_check() -> None:
    """A backend that does not answer what a run asks has failed."""
    asked = known_answers.inputs(_samples(), POLICY)
    with pytest.raises(BackendError, match="known inputs are not answered: ValueError: broken"):
        corruption._refused([First((None,) * 5, {0: "ValueError: broken"}, ())], asked)


def _examined(backend: Backend, rounds: int) -> Examination:
    """An examination by a crew of one thread, whose backend is this one."""
    spec = _worker(backend).spec
    crew = form([spec], processes=False)
    crew._hands[0].worker.backend = backend  # type: ignore[attr-defined]
    bench = SimpleNamespace(task=SimpleNamespace(samples=_samples()), policy=POLICY, config=SimpleNamespace(hang_timeout=10.0))
    try:
        found = Examination(crew, bench, backend.describe(), 0.0)  # type: ignore[arg-type]
        for _ in range(rounds):
            found.repeat(0.0)
    finally:
        crew.close()
    return found


@pytest.mark.parametrize(("deterministic", "digests"), [(True, 1), (False, 0)])
def test_first_answers_have_a_digest_where_they_come_out_the_same(deterministic: bool, digests: int) -> None:
    """Equal for equal answers of another process; none of a backend that is not deterministic by design."""
    made = []
    for _ in range(2):
        backend = Backend()
        told = backend.describe() | {"deterministic": deterministic}
        backend.describe = lambda told=told: told  # type: ignore[method-assign, misc]
        made.append(_examined(backend, 0).digests)
    assert len(made[0]) == digests
    assert made[0] == made[1]


def test_a_weight_that_changes_is_found_once_and_named() -> None:
    """The tensor, the worker and the two moments it was hashed at; what it was changed to is then known."""
    found = _examined(Weighing(), 12)
    (changed,) = found.tally.changed
    assert (changed.worker, changed.tensors) == (0, ("b",))
    assert changed.from_utc <= changed.to_utc
    told = check.weights(found)
    assert (told.code, told.outcome, told.measured) == ("WEIGHTS_CHANGED", "FAIL", 1.0)
    assert "worker 0 held another b at" in told.text


def test_a_backend_that_hides_its_weights_says_so() -> None:
    """Skipped, not required, with the reason."""
    told = check.weights(_examined(Backend(), 1))
    assert (told.outcome, told.required) == ("SKIP", False)
    assert "made up does not show its weights" in told.text


def test_findings_about_answers_that_changed() -> None:
    """The code, how many of how many, and the first of them in words."""

    def spoil(call: int, batch: Batch, values: NDArray[np.float32]) -> NDArray[np.float32]:
        del batch
        if call == 13:
            values[0, 0] += 1
        return values

    found = _examined(Backend(spoil), 2)
    made = {each.name: each for each in check.findings(found)}
    told = made["answers_repeat"]
    assert (told.code, told.outcome, told.measured, told.required) == ("ANSWERS_CHANGED", "FAIL", 1.0, True)
    assert "worker 0 (cores 4, 5) at" in told.text
    assert "right when asked again" in told.text
    assert made["determinism"].outcome == "FAIL"
    assert (made["repeat_throughput"].expected, made["repeat_throughput"].n) == (None, 2)


def test_the_slowest_worker_at_its_fastest_is_held_against_the_baseline() -> None:
    """Others only take time away: of three cycles of each worker the fastest counts, and of the workers the slowest, by its number."""
    tally = Tally()
    cycles = {0: (1.0, 0.5, 0.8), 1: (2.0, 0.625, 0.7)}
    tally.add([Repeated(worker, 3, 60, 20, spent, 0) for worker, spent in cycles.items()], 3.0)
    made = {each.name: each for each in check._speed(SimpleNamespace(tally=tally))}  # type: ignore[arg-type]
    fastest = made["repeat_fastest"]
    assert (fastest.measured, fastest.code, fastest.better, fastest.expected, fastest.n) == (32.0, "THROUGHPUT_LOW", "higher", None, 6)
    assert "by worker 1, the slowest of 2: 32.0 samples/s" in fastest.text
    assert fastest.details["workers"] == {"0": 40.0, "1": 32.0}


def test_the_text_says_what_a_clean_result_excludes() -> None:
    """None in n: fewer than 3 in n with 95 % confidence."""
    tally = Tally(answers=30_000, seconds=9.0)
    found = SimpleNamespace(tally=tally, tolerance=0.0)
    told = check.answers(found)  # type: ignore[arg-type]
    assert told.outcome == "PASS"
    assert "30,000 answers in 9 s equal the first ones bit for bit: fewer than one in 10,000 is altered (95 %)" in told.text
    assert Changed(1, ("w",), "a", "b").tensors == ("w",)
