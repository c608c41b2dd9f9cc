"""The accuracy of a run in words: score, target, and answers against those of FP32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import units
from harness.core import Run
from harness.paired import ALLOWED_FLIPS


def score(run: Run) -> str:
    """The score with its interval, its target and the reference; empty where nothing was scored."""
    accuracy = run.accuracy
    if accuracy is None:
        return ""
    text = f"{accuracy['metric']} {units.score(accuracy['value'])}"
    if interval := accuracy.get("interval"):
        text += f" (95 % interval {units.score(interval[0])} to {units.score(interval[1])})"
    if accuracy.get("target") is not None:
        text += f", {'reaches' if accuracy['passed'] else 'below'} the target {units.score(accuracy['target'])}{_lowered(run, accuracy)}"
    if accuracy.get("reference") is not None:
        text += f" (FP32 reference {units.score(accuracy['reference'])}{_margin(accuracy)})"
    return f"{text}; from the {accuracy['source']}, n = {units.plural(accuracy['samples'], 'example')}"


def _margin(accuracy: Mapping[str, Any]) -> str:
    """How far it is from its target."""
    return f"; margin {_signed(accuracy['value'] - accuracy['target'])}" if accuracy.get("target") is not None else ""


def _lowered(run: Run, accuracy: Mapping[str, Any]) -> str:
    """Said where a small set allows more than the share that was asked for."""
    asked, share = accuracy.get("share_target"), run.config.get("accuracy_target")
    if asked is None or not accuracy["target"] < asked:
        return ""
    target = f"{100 * share:g} % of FP32" if share is not None else "the share of FP32"
    return f" (small set: {ALLOWED_FLIPS} flips to wrong are allowed before {target}, {units.score(asked)}, bites)"


def against_fp32(run: Run) -> str:
    """The pairs: word, gap and flips."""
    accuracy = run.accuracy or {}
    pairs = accuracy.get("paired")
    if pairs is None:
        source = accuracy.get("reference_source")
        return f"only scores are compared; the reference is {source}" if source else ""
    return f"{pairs['word']}: {accuracy['metric']} {_gap(pairs)}{_flips(pairs)}"


def _gap(pairs: Mapping[str, Any]) -> str:
    text = f"{_signed(pairs['gap'])} points"
    if interval := pairs.get("gap_interval"):
        text += f" (95 % interval {_signed(interval[0])} to {_signed(interval[1])})"
    return text


def _signed(points: float) -> str:
    """-0.3439 -> "−0.344"; no sign for what is shown as 0."""
    shown = units.score(abs(points))
    return shown if not float(shown) else f"{'−' if points < 0 else '+'}{shown}"


def _flips(pairs: Mapping[str, Any]) -> str:
    """Answers that became wrong or right; `allowed_flips` is a least number: flips to right make room for more."""
    if pairs["flips_to_wrong"] is None:
        return ""
    allowed = "" if pairs["allowed_flips"] is None else f" (at least {units.count(pairs['allowed_flips'])} allowed)"
    told = f"; flips: {units.count(pairs['flips_to_wrong'])} to wrong{allowed}, {units.count(pairs['flips_to_right'])} to right"
    if pairs["flips_to_wrong"] + pairs["flips_to_right"]:
        told += f", McNemar p {units.number(pairs['mcnemar_p'], 2)}"
    if pairs["changed"]:
        told += f"; {units.plural(pairs['changed'], 'other answer')} changed"
    return told
