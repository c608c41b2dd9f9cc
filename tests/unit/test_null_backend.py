"""The backend without a model."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from backends import null
from harness.core import BackendOptions
from harness.errors import UsageError


def make(precision: str, worker: int = 0) -> null.Null:
    backend = null.create(BackendOptions(precision=precision, worker=worker))
    assert isinstance(backend, null.Null)
    return backend


def test_plain_is_constant() -> None:
    """Plain null gives one and the same empty mapping, which nobody can fill."""
    backend = make("")
    assert backend.predict(None) is backend.predict(None)
    with pytest.raises(TypeError):
        backend.predict(None)["x"] = np.zeros(1)  # type: ignore[index]
    assert not backend.needs_inputs
    assert not backend.answers


@pytest.mark.parametrize(
    ("text", "mean_ns"), [("2ms", 2e6), ("250us", 2.5e5), ("250µs", 2.5e5), ("0.5s", 5e8), ("exp2ms", 2e6), ("800ns", 800)]
)
def test_service_times(text: str, mean_ns: float) -> None:
    """A service time is a number with its unit, `exp` before it for an exponential one; describe() says it in ns."""
    said = make(text).describe()
    assert said["service_mean_ns"] == mean_ns
    assert said["service"] == ("exponential" if text.startswith("exp") else "fixed")


@pytest.mark.parametrize("text", ["2", "ms", "-2ms", "0ms", "2 ms", "2h", "exp", "nan", "infs", "2ms2", "1e9s", "5000s", "fp32", "exp-1ms"])
def test_not_a_service_time(text: str) -> None:
    """What is no time, or not above zero, or over an hour is refused with an example."""
    with pytest.raises(UsageError, match="not a service time") as caught:
        make(text)
    assert "null:2ms" in caught.value.cure


def test_spends_the_time() -> None:
    """A call never returns before its service time is over."""
    backend = make("3ms")
    start = time.perf_counter_ns()
    backend.predict(None)
    assert time.perf_counter_ns() - start >= 3_000_000


def test_exponential_times() -> None:
    """Exponential times have the asked mean and standard deviation, repeat for a worker, and differ between workers."""
    first, again, other = (list(itertools.islice(make("exp2ms", worker=worker).times, 10_000)) for worker in (0, 0, 1))  # type: ignore[attr-defined]
    assert first == again
    assert first != other
    assert np.mean(first) == pytest.approx(2e6, rel=0.04)  # four standard errors
    assert np.std(first) == pytest.approx(2e6, rel=0.06)
