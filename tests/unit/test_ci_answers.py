"""Whether head answers worse than base, from both passes over the same examples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.ci.answers import Answers, judge
from harness.core import Accuracy, Paired
from harness.metrics import METRICS
from harness.paired import Outcomes

NONE = np.empty(0)
MET = Accuracy("accuracy", 90.0, 91.0, 90.0, True, "accuracy pass", 800, {"accuracy": 90.0})


def passed(right: np.ndarray, accuracy: Accuracy = MET) -> Answers:
    """A pass in which these examples were right."""
    points = 100.0 * right
    value = float(points.mean())
    return Answers(replace(accuracy, value=value), Outcomes(points, right, right.astype(np.float64)))


def with_wrong(*places: int) -> np.ndarray:
    right = np.ones(800, bool)
    right[list(places)] = False
    return right


def test_the_same_answers_are_unchanged() -> None:
    """No flip: nothing lost, an interval of nothing."""
    found = judge(passed(with_wrong(1, 2)), passed(with_wrong(1, 2)))
    assert (found.verdict, found.lost, found.low, found.high) == ("unchanged", 0.0, 0.0, 0.0)
    assert "0 answers became wrong and 0 right of 800 (McNemar p 1)" in found.text


def test_eight_flips_to_wrong_are_a_regression_and_seven_are_none() -> None:
    """McNemar's exact p of 8 to 0 is 0.8 %, of 7 to 0 1.6 %; the other way round it is an improvement."""
    base = passed(with_wrong())
    eight, seven = passed(with_wrong(*range(8))), passed(with_wrong(*range(7)))
    found = judge(base, eight)
    assert found.verdict == "regression"
    assert found.lost == pytest.approx(1.0)
    assert found.low is not None
    assert found.low > 0
    assert judge(base, seven).verdict == "unchanged"
    assert judge(eight, base).verdict == "improvement"


def test_flips_both_ways_cancel() -> None:
    """Twenty answers other than base's, ten each way, are no regression."""
    assert judge(passed(with_wrong(*range(10))), passed(with_wrong(*range(10, 20)))).verdict == "unchanged"


def test_points_between_right_and_wrong_are_compared_by_a_bootstrap() -> None:
    """F1 of each question: a loss on most of them is a regression, one on a few is chance."""
    generator = np.random.default_rng(1)
    points = 100 * generator.random(400)
    base = Answers(MET, Outcomes(points, points > 99, np.empty(0)))
    worse = points - np.where(generator.random(400) < 0.5, 4.0, 0.0)
    found = judge(base, Answers(replace(MET, value=MET.value - 2.0), Outcomes(worse, points > 99, np.empty(0))))
    assert found.verdict == "regression"
    assert found.lost == pytest.approx(2.0)
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < 2 < found.high
    few = points.copy()
    few[:2] -= 4.0
    assert judge(base, Answers(MET, Outcomes(few, points > 99, np.empty(0)))).verdict == "unchanged"


def test_a_missed_target_that_base_met_is_a_regression() -> None:
    """However few the flips: the verdict of MLPerf is the point value."""
    base, head = passed(with_wrong()), passed(with_wrong(1))
    missed = Answers(replace(head.accuracy, passed=False), head.outcomes)
    found = judge(base, missed)
    assert found.verdict == "regression"
    assert "misses the target of 90.00, which base meets" in found.text


def of_classes(truths: np.ndarray, answered: np.ndarray, metric: str) -> Answers:
    """A pass scored by a metric that is no mean."""
    value = METRICS[metric](truths, answered)
    return Answers(replace(MET, metric=metric, value=value), Outcomes(NONE, truths == answered, answered, truths))


def test_a_metric_that_is_no_mean_is_computed_again_on_resampled_examples() -> None:
    """Flips that split evenly between right and wrong cost Matthews and F1 much where classes are uneven: McNemar alone sees nothing."""
    truths = np.array([1.0] * 40 + [0.0] * 360)
    base, head = truths.copy(), truths.copy()
    base[100:130] = 1.0  # 30 false positives
    head[:30] = 0.0  # 30 of 40 true positives lost
    found = judge(of_classes(truths, base, "matthews"), of_classes(truths, head, "matthews"))
    assert found.verdict == "regression"
    assert found.lost == pytest.approx(METRICS["matthews"](truths, base) - METRICS["matthews"](truths, head))
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < found.lost < found.high
    same = judge(of_classes(truths, base, "f1"), of_classes(truths, base, "f1"))
    assert (same.verdict, same.low, same.high) == ("unchanged", 0.0, 0.0)
    assert same.text.startswith("400 examples, paired: +0.00 points lost, 99 % interval [+0.00, +0.00]")


def test_a_correlation_has_an_interval_of_the_same_examples() -> None:
    """Spearman of values: noise added to head's costs points; there is no right and wrong to count."""
    generator = np.random.default_rng(2)
    truths = 5 * generator.random(300)
    base = truths + generator.normal(0, 0.3, 300)
    sides = []
    for answered in (base, base + generator.normal(0, 1.0, 300)):
        value = METRICS["spearman"](truths, answered)
        outcomes = Outcomes(NONE, np.empty(0, np.bool_), answered, truths)
        sides.append(Answers(replace(MET, metric="spearman", value=value), outcomes))
    assert judge(sides[0], sides[1]).verdict == "regression"


def test_another_metric_of_the_same_name_is_not_computed_again() -> None:
    """Where Assay's own does not give the score, flips decide."""
    truths = np.array([1.0, 0.0] * 20)
    mine = replace(of_classes(truths, truths, "f1"), accuracy=replace(MET, metric="f1", value=55.0))
    assert "McNemar" in judge(mine, mine).text


def test_without_examples_the_gaps_to_fp32_decide() -> None:
    """Both gaps' intervals, as if independent; without them only a missed target would show."""
    paired = Paired(1, 0, 0, 1.0, -0.1, (-0.2, 0.2), None, "passed")
    base = Answers(replace(MET, value=90.0, paired=paired), None)
    near, far = (Answers(replace(MET, value=value, paired=paired), None) for value in (89.8, 89.0))
    assert judge(base, near).verdict == "unchanged"
    found = judge(base, far)
    assert found.verdict == "regression"
    assert (found.low, found.high) == (pytest.approx(1 - 0.2 * 2**0.5), pytest.approx(1 + 0.2 * 2**0.5))
    assert judge(Answers(MET, None), Answers(replace(MET, value=89.0), None)).verdict == "undecided"
