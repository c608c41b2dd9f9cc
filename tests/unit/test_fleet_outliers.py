"""The rule by which one of several machines is not like the others."""

from __future__ import annotations

import math

import pytest

from harness.qualifying import outliers
from harness.qualifying.outliers import Metric, Place
from harness.qualifying.student_tail import above, beyond

EVEN = [100.0, 101.0, 99.0, 100.5, 99.5, 100.2, 99.8, 101.2, 98.8, 100.0]


def metric(values: list[float], better: str = "higher") -> Metric:
    return Metric("speed", "samples/s", better, {f"m{number}": value for number, value in enumerate(values)})  # type: ignore[arg-type]


def found(values: list[float], better: str = "higher", least: float = outliers.LEAST) -> list[str]:
    places = {unit: {"speed": place} for unit, place in outliers.places(metric(values, better), least).items()}
    return [each.unit for each in outliers.named(places, "worse")]


@pytest.mark.parametrize("freedom", [0.37, 1.11, 2.96, 10.0, 73.3])
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0, 4.2, 60.0, 1e4])
def test_tail_of_student(freedom: float, value: float) -> None:
    """The tail is scipy's to nine digits, near and far, for whole and broken degrees of freedom."""
    stats = pytest.importorskip("scipy.stats")
    assert above(value, freedom) == pytest.approx(stats.t.sf(value, freedom), rel=1e-9)


def test_tail_at_its_ends() -> None:
    """Nothing lies beyond infinity, everything beyond minus infinity, and the two tails of a value make one."""
    assert (above(math.inf, 3.0), above(-math.inf, 3.0)) == (0.0, 1.0)
    assert above(-1.5, 3.0) + above(1.5, 3.0) == pytest.approx(1.0)
    assert above(beyond(0.001, 5.5), 5.5) == pytest.approx(0.001, rel=1e-6)


def test_benjamini_hochberg_by_the_example_of_its_authors() -> None:
    """Of the 15 chances in section 3.2 of the paper four are named at 5 %."""
    chances = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.324, 0.4262, 0.5719, 0.6528, 0.759, 1.0]
    cut = outliers.benjamini_hochberg(chances, 0.05)
    assert cut == pytest.approx(0.05 * 4 / 15)
    assert sum(chance <= cut for chance in chances) == 4
    assert outliers.benjamini_hochberg([0.9, 0.8], 0.05) == -1.0
    assert outliers.benjamini_hochberg([], 0.05) == -1.0


def test_simes() -> None:
    """The least of K/k times the k-th chance: two that agree count for more than one."""
    assert outliers.simes([0.01]) == 0.01
    assert outliers.simes([0.04, 0.01, 0.5]) == pytest.approx(0.03)
    assert outliers.simes([0.012, 0.01, 0.012]) == pytest.approx(0.012)


def test_place_by_hand() -> None:
    """Distance is from the median of the others in their spreads, which the odd one does not widen."""
    place = outliers.places(metric([100.0, 101.0, 99.0, 102.0, 98.0, 80.0]))["m5"]
    away = math.log(0.8)
    spread = 1.4826 * math.log(1.01) * 1.0
    assert place.share == pytest.approx(-0.2)
    assert place.spreads == pytest.approx(-away / (spread * math.sqrt(1 + math.pi / 10)), rel=0.01)
    assert place.better == 1.0
    assert place.worse == pytest.approx(above(place.spreads or 0.0, 0.37 * 4))


@pytest.mark.parametrize(("better", "bad", "good"), [("higher", 70.0, 140.0), ("lower", 140.0, 70.0)])
def test_worse_is_to_the_bad_side(better: str, bad: float, good: float) -> None:
    """A rate that is low and a latency that is high are named; the other way round they are not worse."""
    assert found([*EVEN, bad], better) == ["m10"]
    assert found([*EVEN, good], better) == []


def test_equal_figures_are_bad_in_both_directions() -> None:
    """A figure that should be equal everywhere is named when it is more, and when it is less."""
    assert found([*EVEN, 140.0], "equal") == ["m10"]
    assert found([*EVEN, 70.0], "equal") == ["m10"]


def test_fewer_than_five_name_nothing() -> None:
    """Four machines, one of them at half the speed: too few to say so; with a fifth and sixth there are places at least."""
    assert outliers.places(metric([100.0, 100.0, 100.0, 50.0])) == {}
    assert len(outliers.places(metric([100.0, 100.0, 100.0, 50.0, 100.0]))) == 5
    assert outliers.ground(metric([100.0, 101.0, 99.0]), 0.01).finest == math.inf


def test_small_differences_do_not_count() -> None:
    """Ten machines that are equal to the digit, and one 2 % off: not named by default, named when one asks for less."""
    assert found([100.0] * 10 + [98.0]) == []
    assert found([100.0] * 10 + [98.0], least=0.01) == ["m10"]
    assert found([100.0] * 10 + [90.0]) == ["m10"]


def test_finest_is_where_naming_begins() -> None:
    """A machine a little further than `finest` is named, one a little nearer is not."""
    others = metric([*EVEN, 100.1])
    finest = outliers.ground(others, outliers.alone(len(others.values), 1)).finest
    assert 0.03 < finest < 0.2
    place = outliers.places(metric([*EVEN, 100.1 * (1 - 1.3 * finest)]))["m10"]
    assert place.worse < outliers.alone(11, 1) < outliers.places(metric([*EVEN, 100.1 * (1 - 0.7 * finest)]))["m10"].worse


def test_metrics_of_an_outlier_are_those_below_the_cut() -> None:
    """Of a unit with one bad figure that one is named and not the others, the furthest first."""
    bad, good = Place(-0.2, 12.0, 1e-9, 1.0), Place(0.0, 0.0, 0.5, 0.5)
    places = {"bad": {"a": good, "b": bad, "c": Place(-0.3, 9.0, 1e-8, 1.0)}} | {
        f"m{n}": {"a": good, "b": good, "c": good} for n in range(9)
    }
    assert outliers.named(places, "worse") == [outliers.Named("bad", "worse", ("c", "b"), pytest.approx(3e-9))]


def test_half_of_them_bad_still_leaves_the_good_ones_in_peace() -> None:
    """Four slow machines of eleven do not make the fast ones odd."""
    values = [*EVEN[:7], 70.0, 71.0, 69.0, 70.5]
    assert set(found(values)) <= {"m7", "m8", "m9", "m10"}
