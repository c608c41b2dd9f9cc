"""Numbers with units: one formatter for each, and the parsers of times."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import units


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (85, "85 ns"),
        (1_240, "1.24 µs"),
        (98_200, "98.2 µs"),
        (151_230_000, "151 ms"),
        (1_500_000_000, "1.50 s"),
        (12_340_000_000, "12.3 s"),
    ],
)
def test_a_latency_is_scaled_to_its_unit(value: int, text: str) -> None:
    """Latencies are shown in ns, µs, ms or s with three significant digits."""
    assert units.time_ns(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0 s"), (0.25, "0.25 s"), (5.0, "5 s"), (20.4, "20 s"), (125, "2 min 05 s"), (4000, "66 min 40 s"), (8000, "2 h 13 min")],
)
def test_a_length_of_time_is_told_as_people_say_it(value: float, text: str) -> None:
    """Seconds become minutes and hours where that reads better."""
    assert units.seconds(value) == text


@pytest.mark.parametrize(("value", "text"), [(61.234, "61.2"), (1234.5, "1,234"), (0.01234, "0.0123"), (0, "0"), (math.nan, "unknown")])
def test_a_number_keeps_three_significant_digits(value: float, text: str) -> None:
    """Digits before the point are never rounded away, and what is no number says so."""
    assert units.number(value) == text


def test_sizes_counts_shares_and_scores() -> None:
    """Each unit has its own form."""
    assert units.size(90_900_000) == "90.9 MB"
    assert units.size(12) == "12 B"
    assert units.count(10_833) == "10,833"
    assert units.share(0.0512) == "5.1 %"
    assert units.score(90.8741) == "90.874"
    assert units.quantity(61.234, "samples/s") == "61.2 samples/s"
    assert units.quantity(151_230_000, "ns") == "151 ms"
    assert [units.plural(1, "query"), units.plural(1_234, "query"), units.plural(2, "sample")] == ["1 query", "1,234 queries", "2 samples"]


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90), ("90s", 90), ("2min", 120), ("1.5 h", 5400), ("500ms", 0.5), ("-5", -5), ("1e2", 100)]
)
def test_seconds_are_read_with_and_without_unit(text: str, value: float) -> None:
    """A duration may carry its unit."""
    assert units.parse_seconds(text) == value


@pytest.mark.parametrize(("text", "value"), [("130", 130), ("130ms", 130), ("0.13s", 130), ("500us", 0.5)])
def test_milliseconds_are_read_with_and_without_unit(text: str, value: float) -> None:
    """A latency may carry its unit."""
    assert units.parse_ms(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "fast", "10 parsecs", "nan", "inf", "1:30", "--"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """Text that is not a number with a known unit raises, nan and inf included."""
    with pytest.raises(ValueError, match="not a time"):
        units.parse_seconds(text)


@given(st.floats(min_value=1e-3, max_value=1e12))
def test_a_shown_number_is_within_half_a_percent(value: float) -> None:
    """Three significant digits lose less than 0.5 %."""
    assert float(units.number(value).replace(",", "")) == pytest.approx(value, rel=0.0051)


@pytest.mark.parametrize(("value", "text"), [(9_513_271_296, "9.51 G"), (22_566_146, "22.6 M"), (8.82e14, "882 T"), (950.0, "950")])
def test_a_large_number_has_the_prefix_of_its_power_of_ten(value: float, text: str) -> None:
    """Parameters and operations in k, M, G or T with three significant digits."""
    assert units.scaled(value) == text
