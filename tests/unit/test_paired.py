"""Pairs of answers: flips, McNemar's exact p, the interval of the gap, the 3-flip rule and the words."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import metrics, paired
from harness.paired import Held, Outcomes, Rescore

NONE = np.empty(0)
NO_RIGHTS = np.empty(0, np.bool_)
RIGHTS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


def labelled(right: list[int], count: int, answered: bool = True) -> Outcomes:
    """`count` examples of class 1, of which these were given class 1."""
    correct = np.isin(np.arange(count), right)
    return Outcomes(100.0 * correct, correct, correct.astype(np.float64) if answered else NONE)


def held(value: float, reference: float, target: float) -> Held:
    return Held(value, reference, target, target)


# ------------------------------------------------------------------------------------------------------------------------ flips


def test_flips_are_counted_in_both_directions() -> None:
    """Three of FP32's right answers became wrong, one wrong answer became right; the other way round the numbers change places."""
    fp32, here = np.array([1, 1, 1, 1, 0, 0], np.bool_), np.array([0, 0, 0, 1, 1, 0], np.bool_)
    assert paired.flips(fp32, here) == (3, 1)
    assert paired.flips(here, fp32) == (1, 3)
    assert paired.flips(NO_RIGHTS, NO_RIGHTS) is None


@given(RIGHTS)
def test_flips_explain_the_difference_of_the_scores(pairs: list[tuple[bool, bool]]) -> None:
    """Right here = right in FP32 - flips to wrong + flips to right."""
    fp32, here = (np.array(side, np.bool_) for side in zip(*pairs, strict=True))
    found = paired.flips(fp32, here)
    assert found is not None
    assert int(here.sum()) == int(fp32.sum()) - found[0] + found[1]


def test_changed_answers_are_those_that_did_not_flip() -> None:
    """Of four other answers two flipped; the two that are as wrong or as right as before are counted."""
    fp32 = Outcomes(NONE, np.array([1, 1, 0, 0, 1], np.bool_), np.array([1.0, 2, 3, 4, 5]))
    here = Outcomes(NONE, np.array([0, 1, 0, 1, 1], np.bool_), np.array([9.0, 9, 9, 9, 5]))
    assert paired.changed(fp32, here) == 2
    assert paired.changed(Outcomes(NONE, fp32.correct, NONE), here) is None


# ---------------------------------------------------------------------------------------------------------------------- McNemar


@pytest.mark.parametrize(
    ("to_wrong", "to_right", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),  # 2 * 1/2
        (3, 0, 0.25),  # 2 * 1/8
        (4, 1, 0.375),  # 2 * (1 + 5) / 32
        (5, 5, 1.0),
        (10, 2, 0.03857421875),  # 2 * (1 + 12 + 66) / 4096
        (0, 10, 0.001953125),  # 2 / 1024
    ],
)
def test_mcnemar_by_hand(to_wrong: int, to_right: int, p: float) -> None:
    """The two-sided sign test on the flips, as added up by hand."""
    assert paired.mcnemar(to_wrong, to_right) == p


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_twice_the_smaller_tail(to_wrong: int, to_right: int) -> None:
    """Twice the sum of binomial coefficients up to the smaller number, over 2^n, never above 1; the direction does not matter."""
    count = to_wrong + to_right
    tail = sum(comb(count, drawn) for drawn in range(min(to_wrong, to_right) + 1))
    expected = float(min(Fraction(1), Fraction(2 * tail, 2**count)))
    assert paired.mcnemar(to_wrong, to_right) == paired.mcnemar(to_right, to_wrong) == expected


@pytest.mark.parametrize(("to_wrong", "to_right"), [(0, 0), (7, 3), (120, 100), (1500, 1311), (3, 40)])
def test_mcnemar_is_that_of_scipy(to_wrong: int, to_right: int) -> None:
    """scipy's two-sided binomial test of the smaller number gives the same p."""
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(to_wrong, to_wrong + to_right).pvalue if to_wrong + to_right else 1.0
    assert paired.mcnemar(to_wrong, to_right) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_many_flips_is_a_number() -> None:
    """No overflow and no underflow error: 40,000 flips one way have p 0, as many each way have p 1."""
    assert paired.mcnemar(40_000, 0) == 0.0
    assert paired.mcnemar(5_000, 5_000) == 1.0
    with pytest.raises(ValueError, match="-1"):
        paired.mcnemar(-1, 3)


# --------------------------------------------------------------------------------------------------------------------- interval


def test_equal_answers_have_a_gap_of_exactly_zero() -> None:
    """However uncertain the score of 20 examples is, the gap of a pass to itself is not."""
    same = labelled(list(range(13)), 20)
    assert paired.gap_interval(same, same, None) == (0.0, 0.0)


def test_interval_of_a_mean_is_that_of_its_differences() -> None:
    """40 flips to wrong and 10 to right of 1,000: gap -3 points, standard error 0.7 points, so about -4.37 to -1.63."""
    points = np.zeros(1000), np.zeros(1000)
    points[0][:40], points[1][40:50] = 100.0, 100.0
    fp32, here = (Outcomes(side, side > 0, NONE) for side in points)
    found = paired.gap_interval(fp32, here, None)
    error = 100 * np.sqrt((0.05 - 0.03**2) / 1000)
    assert found == pytest.approx((-3 - 1.96 * error, -3 + 1.96 * error), abs=0.15)
    assert found == paired.gap_interval(fp32, here, None)


def test_a_metric_that_is_no_mean_is_computed_on_each_resample() -> None:
    """Matthews is given the same examples of both passes, and its interval holds the gap; for accuracy it equals that of the points."""
    generator = np.random.default_rng(3)
    truths = generator.integers(0, 2, 400).astype(np.float64)
    answered = [np.where(generator.random(400) < share, truths, 1 - truths) for share in (0.9, 0.85)]
    fp32, here = (Outcomes(NONE, each == truths, each) for each in answered)
    found = paired.gap_interval(fp32, here, Rescore(truths, metrics.matthews))
    gap = metrics.matthews(truths, here.answered) - metrics.matthews(truths, fp32.answered)
    assert found is not None
    assert found[0] < gap < found[1]
    assert 5 < found[1] - found[0] < 30
    by_points = paired.gap_interval(*(Outcomes(100.0 * each.correct, each.correct, NONE) for each in (fp32, here)), None)
    assert by_points is not None
    assert paired.gap_interval(fp32, here, Rescore(truths, metrics.accuracy)) == pytest.approx(by_points, abs=0.5)


def test_no_interval_where_it_cannot_be_formed() -> None:
    """Without points and without a way to compute the metric, or where it is not finite on a resample, there is none."""
    some = Outcomes(NONE, NO_RIGHTS, np.arange(5.0))
    assert paired.gap_interval(some, some, None) is None
    assert paired.gap_interval(some, some, Rescore(np.arange(5.0), lambda truths, answered: float("nan"))) is None


# ------------------------------------------------------------------------------------------------------------------------- rule


@pytest.mark.parametrize(("lost", "passed"), [(0, True), (1, True), (3, True), (4, False)])
def test_three_flips_are_allowed_on_rte(lost: int, passed: bool) -> None:
    """277 examples, 183 right in FP32: 99 % would be a budget of one answer; three may be lost, four may not."""
    fp32, here = labelled(list(range(183)), 277), labelled(list(range(lost, 183)), 277)
    reference = float(fp32.points.mean())
    found = paired.hold(float(here.points.mean()), reference, 0.99, paired.floor(reference, here, fp32, None))
    assert found.passed is passed
    assert found.target == pytest.approx(100 * 180 / 277, abs=1e-8)
    assert found.share_target == pytest.approx(0.99 * 100 * 183 / 277)
    assert paired.allowed_flips(found, here) == 3


@given(st.integers(1, 400), st.data())
def test_three_flips_never_miss_and_four_need_the_share(count: int, data: st.DataObject) -> None:
    """On any set 3 lost answers pass; with more, the score must reach 99 % of the reference."""
    right = data.draw(st.integers(0, count))
    lost = data.draw(st.integers(0, right))
    fp32, here = labelled(list(range(right)), count), labelled(list(range(lost, right)), count)
    reference, value = float(np.mean(fp32.points)), float(np.mean(here.points))
    found = paired.hold(value, reference, 0.99, paired.floor(reference, here, fp32, None))
    assert found.passed is (lost <= 3 or value >= reference * 0.99)


def test_three_flips_pass_whatever_the_rounding() -> None:
    """The means of all sets of up to 59 examples are not exact numbers, and three lost answers pass on each of them."""
    for count in range(4, 60):
        for right in range(3, count + 1):
            fp32, here = labelled(list(range(right)), count), labelled(list(range(3, right)), count)
            reference = float(fp32.points.mean())
            assert paired.hold(float(here.points.mean()), reference, 0.99, paired.floor(reference, here, fp32, None)).passed


def test_on_a_large_set_the_share_alone_counts() -> None:
    """10,570 questions at 80 %: 99 % is 84 answers, and three change nothing."""
    here = labelled(list(range(8456)), 10570)
    found = paired.hold(80.0, 80.0, 0.99, paired.floor(80.0, here, None, None))
    assert found.target == found.share_target == pytest.approx(79.2)
    assert paired.allowed_flips(found, here) == 84


def test_three_flips_of_matthews_are_tried_in_both_classes() -> None:
    """The floor is the lowest of all ways to make up to three right answers wrong, so no three flips fall below it and some reach it."""
    truths = np.array([0.0] * 10 + [1.0] * 90)
    answered = truths.copy()
    answered[[0, 1, 50, 51, 52]] = 1 - answered[[0, 1, 50, 51, 52]]
    fp32 = Outcomes(NONE, answered == truths, answered)
    found = paired.floor(0.0, fp32, fp32, Rescore(truths, metrics.matthews))
    assert found is not None
    worst = answered.copy()
    worst[2:5] = 1.0  # the rare class: each of its answers weighs more
    best = answered.copy()
    best[60:63] = 0.0
    assert found == pytest.approx(metrics.matthews(truths, worst))
    assert found < metrics.matthews(truths, best) < metrics.matthews(truths, answered)


def test_no_rule_without_right_and_wrong() -> None:
    """A correlation has no flips, a mean without rightness neither, and three classes of a metric that is no mean are not tried."""
    values = Outcomes(NONE, NO_RIGHTS, np.array([0.1, 0.7, 0.9]))
    assert paired.floor(85.0, values, values, Rescore(np.array([0.0, 0.5, 1.0]), metrics.pearson)) is None
    assert paired.floor(85.0, Outcomes(np.array([90.0, 80.0]), NO_RIGHTS, NONE), None, None) is None
    classes = np.array([0.0, 1.0, 2.0])
    three = Outcomes(NONE, np.ones(3, np.bool_), classes)
    assert paired.floor(100.0, three, three, Rescore(classes, metrics.macro_f1)) is None


def test_a_reference_below_zero_can_be_reached() -> None:
    """Matthews may be negative: 99 % of it lies above it, so the same part of its size is allowed below."""
    assert paired.hold(-5.0, -5.0, 0.99, None).passed
    assert paired.hold(-5.06, -5.0, 0.99, None).passed is False


# ------------------------------------------------------------------------------------------------------------------------ words


@pytest.mark.parametrize(
    ("value", "interval", "expected"),
    [
        (89.5, (-0.8, 0.3), "passed"),
        (89.5, (-0.91, 0.3), "passed, within noise"),
        (89.1, (-0.9, -0.9), "passed"),  # the lower end is the target itself: not below it
        (89.0, (-1.8, -0.9), "missed, within noise"),  # the upper end reaches the target
        (89.0, (-1.8, -0.91), "missed"),
        (89.5, None, "passed"),
        (89.0, None, "missed"),
    ],
)
def test_words(value: float, interval: tuple[float, float] | None, expected: str) -> None:
    """Reference 90, target 89.1: the score decides, and the ends of the gap's interval say whether it could have been otherwise."""
    assert paired.word(held(value, 90.0, 90.0 - 0.9), interval) == expected


@given(RIGHTS)
def test_the_word_begins_with_the_verdict(pairs: list[tuple[bool, bool]]) -> None:
    """Whatever the interval, "passed" is said of a score that reaches its target and of no other."""
    fp32, here = (Outcomes(100.0 * side, side, NONE) for side in (np.array(side, np.bool_) for side in zip(*pairs, strict=True)))
    reference = float(fp32.points.mean())
    found = paired.hold(float(here.points.mean()), reference, 0.99, paired.floor(reference, here, fp32, None))
    made = paired.compare(fp32, here, found, None)
    assert made.word.startswith("passed") is found.passed
    assert made.gap == found.value - reference


def test_all_figures_of_a_pair() -> None:
    """90 of 100 right in FP32, five of them lost and one won: counts, p, gap and word together."""
    fp32, here = labelled(list(range(90)), 100), labelled([*range(5, 90), 95], 100)
    made = paired.compare(fp32, here, held(86.0, 90.0, 87.0), None)
    assert (made.flips_to_wrong, made.flips_to_right, made.changed, made.gap) == (5, 1, 0, -4.0)
    assert made.mcnemar_p == 2 * (1 + 6) / 64
    assert made.gap_interval is not None
    assert made.gap_interval[0] < -4.0 < made.gap_interval[1]
    assert made.word == "missed, within noise"
    assert made.allowed_flips == 3


def test_pairs_of_other_examples_are_refused() -> None:
    """Five answers cannot be held against those to four examples."""
    with pytest.raises(ValueError, match="4 examples against 5"):
        paired.compare(labelled([1], 5), labelled([1], 4), held(20.0, 20.0, 19.8), None)
