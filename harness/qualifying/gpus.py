"""The GPUs of one machine against each other, by figures that are named after them: gpu0_gemm_fp16, gpu1_gemm_fp16 ... Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from harness import units
from harness.qualifying import outliers
from harness.qualifying.baseline import judged
from harness.qualifying.check import Finding

_GPU = re.compile(r"(?:^|_)gpu(\d+)(?=_|$)")
_CODE, _NAME = "GPU_UNLIKE_PEERS", "gpu_peers"


def number(name: str) -> int | None:
    """Of the GPU that a figure is of: 1 for "gpu1_gemm_fp16", None for one of the whole machine."""
    match = _GPU.search(name)
    return int(match[1]) if match else None


def without(name: str) -> str:
    """The figure alone: "gemm_fp16" for "gpu1_gemm_fp16"."""
    return _GPU.sub("", name).strip("_")


def compare(findings: Iterable[Finding]) -> Finding:
    """FAIL where a GPU is worse than the others, WARN where one is better; SKIP for too few to say so. By the rule of `outliers`."""
    metrics = _metrics(findings)
    count = len({gpu for metric in metrics for gpu in metric.values})
    if count < 2:
        return Finding(_CODE, _NAME, "SKIP", "there are no several GPUs with figures of their own", required=False)
    if count < outliers.FEWEST:
        text = f"{count} GPUs are too few to name one that is unlike the others (fewer than {outliers.FEWEST}); {_furthest(metrics)}"
        return Finding(_CODE, _NAME, "SKIP", text, required=False, next_step="compare those of several machines: assay qualify fleet DIR")
    return _judged(metrics, count)


def _metrics(findings: Iterable[Finding]) -> list[outliers.Metric]:
    found: dict[str, dict[str, Finding]] = {}
    for each in findings:
        if (gpu := number(each.name)) is not None and judged(each) and each.outcome != "SKIP" and (each.measured or 0.0) > 0:
            found.setdefault(without(each.name), {})[f"GPU {gpu}"] = each
    return [_metric(name, each) for name, each in found.items()]


def _metric(name: str, found: Mapping[str, Finding]) -> outliers.Metric:
    first = next(iter(found.values()))
    return outliers.Metric(name, first.unit, first.better or "equal", {gpu: float(each.measured or 0.0) for gpu, each in found.items()})


def _judged(metrics: Sequence[outliers.Metric], count: int) -> Finding:
    places: dict[str, dict[str, outliers.Place]] = {}
    for metric in metrics:
        for gpu, place in outliers.places(metric).items():
            places.setdefault(gpu, {})[metric.name] = place
    worse, better = outliers.named(places, "worse"), outliers.named(places, "better")
    chance = outliers.alone(count, len(metrics))
    finest = min(outliers.ground(metric, chance).finest for metric in metrics)
    said = [_said(each, places[each.unit]) for each in (*worse, *better)]
    text = "; ".join(said) or f"{count} GPUs are alike in {', '.join(metric.name for metric in metrics)}; {_furthest(metrics)}"
    return Finding(
        code=_CODE,
        name=_NAME,
        outcome="FAIL" if worse else "WARN" if better else "PASS",
        text=f"{text}; a single one is named from {units.share(finest)} on",
        n=count,
        next_step="compare its clocks, heat, power limit, link and slot with those of the others" if said else "",
        details={"finest": finest, "furthest": {gpu: max(abs(each.share) for each in found.values()) for gpu, found in places.items()}},
    )


def _said(each: outliers.Named, places: Mapping[str, outliers.Place]) -> str:
    listed = [f"{name} {outliers.signed(places[name].share)}" for name in each.metrics]
    return f"{each.unit} is {each.direction} than the others: {', '.join(listed)}"


def _furthest(metrics: Sequence[outliers.Metric]) -> str:
    """The largest ratio between two of them."""
    apart = {metric.name: max(metric.values.values()) / min(metric.values.values()) - 1 for metric in metrics}
    name = max(apart, key=lambda each: apart[each])
    return f"furthest apart in {name}, by {units.share(apart[name])}"
