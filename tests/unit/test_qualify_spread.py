"""How far a figure may lie from what accepted machines measured."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.compare import student_quantile
from harness.qualifying import spread
from harness.qualifying.spread import FALSE_REJECTIONS, Sample, limits, standard_error


def samples(*values: float) -> list[Sample]:
    return [Sample(value) for value in values]


def test_a_single_figure_is_bounded_by_the_prediction_interval_of_its_own_measurements() -> None:
    """The limit of one figure is its median less t(0.99; n - 1) sqrt(1 + 1/n) standard deviations of the logarithms."""
    values = [100.0, 102.0, 98.0, 101.0]
    found = limits({"speed": samples(*values)}, {"speed": "higher"})["speed"]
    deviation = float(np.std(np.log(values), ddof=1))
    k = student_quantile(1 - FALSE_REJECTIONS, 3) * math.sqrt(1.25)
    assert found.low == pytest.approx(100.5 * math.exp(-k * deviation))
    assert (found.high, found.n, found.median, found.worst, found.freedom) == (None, 4, 100.5, 98.0, 3.0)


def test_two_measurements_draw_no_limit() -> None:
    """A spread needs three measurements."""
    assert limits({"speed": samples(1.0, 2.0)}, {"speed": "higher"}) == {}


def test_what_comes_out_the_same_each_time_is_exact() -> None:
    """A figure without any spread, such as an accuracy, may not be lower at all."""
    found = limits({"accuracy": samples(90.5, 90.5, 90.5)}, {"accuracy": "higher"})["accuracy"]
    assert (found.low, found.spread) == (90.5, 0.0)


def test_each_direction_has_its_own_limit() -> None:
    """Lower is better: only a high limit; equal: both, as far apart on a scale of ratios."""
    found = limits({"ms": samples(10, 11, 12), "bits": samples(10, 11, 12)}, {"ms": "lower", "bits": "equal"})
    assert found["ms"].low is None
    assert found["ms"].worst == 12
    both = found["bits"]
    assert both.low is not None
    assert both.high is not None
    assert both.high / 11 == pytest.approx(11 / both.low)


def test_figures_below_zero_are_held_on_their_own_scale() -> None:
    """Where a logarithm does not exist, the spread is in the figure's unit."""
    found = limits({"offset": samples(-1.0, 0.0, 1.0)}, {"offset": "equal"})["offset"]
    k = student_quantile(1 - FALSE_REJECTIONS, 2) * math.sqrt(4 / 3)
    assert (found.relative, found.spread, found.high) == (False, 1.0, pytest.approx(k))


def test_the_worst_accepted_machine_stays_accepted() -> None:
    """Repeats that agree can make a narrow limit; one that was accepted is never beyond it."""
    values = [100.0] * 9 + [50.0]
    found = limits({"speed": samples(*values)}, {"speed": "higher"})["speed"]
    assert found.low is not None
    assert found.low <= 50.0


def test_repeats_within_a_measurement_widen_a_spread_that_chance_made_small() -> None:
    """Three medians that happen to agree are not taken for exact when their own repeats scatter by 2 %."""
    found = limits({"speed": [Sample(100.0, 2.0), Sample(100.1, 2.0), Sample(99.9, 2.0)]}, {"speed": "higher"})["speed"]
    assert found.spread == pytest.approx(0.02, rel=0.01)


def test_figures_lend_each_other_what_they_know_of_spread() -> None:
    """Eight figures with equal spreads have the four degrees of freedom more that are most, and allow fewer deviations than one alone."""
    alike = {f"f{number}": samples(*(scale * value for value in (99.0, 100.0, 101.0))) for number, scale in enumerate(range(1, 9))}
    together, alone = limits(alike, dict.fromkeys(alike, "higher")), limits({"f0": alike["f0"]}, {"f0": "higher"})["f0"]
    assert {found.freedom for found in together.values()} == {6.0}
    assert alone.freedom == 2.0
    assert together["f0"].k < alone.k


def test_good_machines_pass_and_slow_ones_do_not() -> None:
    """From three measurements with spreads between 0.5 and 2 %: under 4 % of good machines are rejected by any of eight figures, and 85 %
    of the figures that are 10 % low are found."""
    rng, rejected, found, turns = np.random.default_rng(11), 0, 0, 150
    for _ in range(turns):
        sigma = np.exp(rng.uniform(math.log(0.005), math.log(0.02), 8))
        learned = {str(place): samples(*(100 * np.exp(rng.normal(0, sigma[place], 3)))) for place in range(8)}
        drawn = limits(learned, dict.fromkeys(learned, "higher"))
        good = 100 * np.exp(rng.normal(0, sigma))
        low = np.array([drawn[str(place)].low for place in range(8)])
        rejected += bool((good < low).any())
        found += int((0.9 * good < low).sum())
    assert rejected / turns < 0.04
    assert found / (8 * turns) > 0.85


@pytest.mark.parametrize("x", [0.25, 0.5, 1.0, 2.5, 7.0, 40.0])
def test_gamma_derivatives_are_those_of_scipy(x: float) -> None:
    """Digamma, trigamma and its inverse agree with scipy."""
    special = pytest.importorskip("scipy.special")
    assert spread._digamma(x) == pytest.approx(float(special.digamma(x)), abs=1e-9)
    assert spread._trigamma(x) == pytest.approx(float(special.polygamma(1, x)), abs=1e-8)
    assert spread._trigamma_inverse(spread._trigamma(x)) == pytest.approx(x, rel=1e-9)


def test_the_error_of_a_median_is_a_quarter_more_than_that_of_a_mean() -> None:
    """sqrt(pi / 2) standard errors of the mean; a single value has none."""
    assert standard_error([1.0, 3.0]) == pytest.approx(math.sqrt(math.pi / 2) * math.sqrt(2) / math.sqrt(2))
    assert standard_error([1.0]) == 0.0
