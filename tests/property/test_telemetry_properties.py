"""Telemetry's sums, for any readings."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from harness.telemetry.account import MOST_POINTS, thinned
from harness.telemetry.energy import energy
from harness.telemetry.recording import Recording
from harness.telemetry.throttling import stretches, throttled_share

SECOND = 1_000_000_000
READINGS = st.lists(st.one_of(st.none(), st.integers(0, 0x1FF)), min_size=2, max_size=60)


def recorded(name: str, unit: str, values: list[float | None]) -> Recording:
    return Recording(1.0, {name: unit}, [place * SECOND for place in range(len(values))], {name: values}, [0] * len(values))


@given(READINGS)
def test_stretches_of_one_gpu_are_in_order_and_apart(masks: list[float | None]) -> None:
    """None overlaps another, neighbours differ in their reason, and the share is what the masks say."""
    found = stretches(recorded("gpu0_throttle_reasons", "bit mask", masks))
    for one, other in itertools.pairwise(found):
        assert one.to_ns <= other.from_ns
        assert one.to_ns < other.from_ns or one.reason != other.reason
    held_back = sum(1 for mask in masks[:-1] if int(mask or 0) & 0xEC)
    share = throttled_share(found, "gpu0", 0, (len(masks) - 1) * SECOND)
    assert abs(share - held_back / (len(masks) - 1)) < 1e-9


@given(st.lists(st.floats(0, 1000), min_size=7, max_size=40), st.integers(1, 100))
def test_energy_of_two_halves_is_energy_of_the_whole(watts: list[float], part: int) -> None:
    """Summing power loses and invents nothing, wherever the time is cut."""
    made = recorded("gpu0_watts", "W", list(watts))
    end = (len(watts) - 1) * SECOND

    def joules(from_ns: int, to_ns: int) -> float:
        found, _ = energy(made, from_ns, to_ns, 1, "cuda:0")
        return 0.0 if found is None else float(found["joules"])

    middle = end * part // 101
    whole = joules(0, end)
    if min(middle, end - middle) >= 5 * SECOND:
        assert abs(joules(0, middle) + joules(middle, end) - whole) < 1e-6 * max(1.0, whole)
    assert min(watts) * end / SECOND - 1e-6 <= whole <= max(watts) * end / SECOND + 1e-6


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=2000))
def test_thinning_keeps_within_the_readings(values: list[float | None]) -> None:
    """No more points than allowed, each between the least and the most, in the order of time; no reading, no point."""
    found = thinned(recorded("cpu_celsius", "°C", values), 0)
    points = found["columns"]["cpu_celsius"]["values"]
    assert len(points) == len(found["at_s"]) <= MOST_POINTS
    assert found["at_s"] == sorted(found["at_s"])
    known = [value for value in values if value is not None]
    slack = 1e-5 * max((abs(value) for value in known), default=0.0) + 1e-9
    assert all(min(known) - slack <= point <= max(known) + slack for point in points if point is not None)
    assert known or set(points) == {None}
