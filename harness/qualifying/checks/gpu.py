"""NVIDIA GPUs after the work: driver, clocks, throttling, memory errors, link, company. From what telemetry read beside all checks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness import units
from harness.qualifying.check import Check, Context, Finding, Outcome
from harness.telemetry.recording import Event, Recording
from harness.telemetry.throttle_reasons import names

BUSY = 0.5
"""A GPU that is busier than this at a reading works, and its clocks and link are those of work."""
HOT_BITS = 0x8 | 0x20 | 0x40 | 0x80
"""Slowdown by hardware or heat, and the power brake. The power cap (0x4) is what a GPU at full load runs into, and only told."""
_GPU = re.compile(r"gpu\d+")
_BUS = re.compile(r"\b([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\b", re.IGNORECASE)


def run(context: Context) -> list[Finding]:
    """Skipped, and not required, where there is no GPU."""
    recording = context.stream.rows() if context.stream is not None else Recording(0.0)
    gpus = sorted({name.partition("_")[0] for name in (*recording.columns, *recording.facts) if _GPU.match(name)})
    gpus = sorted(set(gpus) | {name for name in recording.missing if _GPU.fullmatch(name)})
    if not gpus:
        why = recording.missing.get("gpu", "no telemetry" if context.stream is None else "none is seen")
        return [Finding("GPU_MISSING", "gpu", "SKIP", f"no NVIDIA GPU: {why}", required=context.device.startswith("cuda"))]
    return [finding for gpu in gpus for finding in findings(recording, gpu)]


def findings(recording: Recording, gpu: str) -> Iterator[Finding]:
    """All that is to be said of one."""
    facts = recording.facts.get(gpu) or {}
    if reason := recording.missing.get(gpu):
        step = "look at the kernel log for XID errors; reset or replace the GPU"
        yield Finding("GPU_LOST", f"{gpu}_present", "FAIL", f"{gpu}: {reason}", next_step=step)
        yield from _xid(recording, gpu, facts)
        return
    driver = recording.facts.get("nvidia_driver", "unknown")
    yield Finding("GPU_LOST", f"{gpu}_present", "PASS", f"{gpu}: {facts.get('name', 'unnamed')}, driver {driver}", details=dict(facts))
    yield from _errors(recording, gpu, facts)
    yield from _xid(recording, gpu, facts)
    yield _throttled(recording, gpu)
    yield _clock(recording, gpu, facts)
    yield from _link(recording, gpu, facts)
    yield _company(recording, gpu)


# -------------------------------------------------------------------------------------------------------------------------- errors


def _errors(recording: Recording, gpu: str, facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Memory errors since the driver was loaded, and rows that could not be replaced."""
    uncorrected = _last(recording, f"{gpu}_ecc_uncorrected")
    corrected = _last(recording, f"{gpu}_ecc_corrected") or 0.0
    step = "reset the GPU; if errors return, replace it"
    if uncorrected is None:
        why = recording.missing.get(f"{gpu}_ecc_uncorrected", "this GPU does not count them")
        yield Finding("ECC_ERRORS", f"{gpu}_ecc", "SKIP", f"{gpu}: memory errors: {why}", required=False)
    else:
        text = f"{gpu}: {uncorrected:.0f} uncorrected and {corrected:.0f} corrected memory errors since the driver was loaded"
        yield _counted("ECC_ERRORS", f"{gpu}_ecc", text, uncorrected, "errors", step)
    if facts.get("row_remap_failed"):
        text = f"{gpu}: a damaged row of its memory could not be replaced"
        yield Finding("ECC_ERRORS", f"{gpu}_rows", "FAIL", text, next_step="replace the GPU")
    elif facts.get("row_remap_pending"):
        yield Finding("ECC_ERRORS", f"{gpu}_rows", "WARN", f"{gpu}: a row of its memory is to be replaced", next_step="reset the GPU")


def _xid(recording: Recording, gpu: str, facts: Mapping[str, Any]) -> Iterator[Finding]:
    """XID errors since the first reading; nothing is said where nobody tells them."""
    xid = [event for event in recording.events if event.what.startswith("XID") and _accuses(event, facts)]
    text = f"{gpu}: {units.plural(len(xid), 'XID error')} told by the driver meanwhile" + (f": {xid[0].what}, {xid[0].text}" if xid else "")
    if xid or recording.columns.get("gpu_xid_errors"):
        yield _counted("GPU_XID", f"{gpu}_xid", text, float(len(xid)), "errors", "look the number up in NVIDIA's list of XID errors")


def _accuses(event: Event, facts: Mapping[str, Any]) -> bool:
    """Whether an event is of this GPU. Where its place on the bus, or that of the GPU, is not known, it may be."""
    there, here = _place(event.text), _place(str(facts.get("bus_id", "")))
    return there is None or here is None or there == here


def _place(text: str) -> tuple[int, ...] | None:
    """Domain, bus and device: of "00000000:3B:00.0", and of "GPU 0000:3b:00: ...", (0, 0x3b, 0)."""
    found = _BUS.search(text)
    return tuple(int(part, 16) for part in found.groups()) if found else None


def _counted(code: str, name: str, text: str, count: float, unit: str, step: str) -> Finding:
    outcome: Outcome = "FAIL" if count else "PASS"
    return Finding(code, name, outcome, text, count, unit, 1, 0.0, 0.0, -count, "lower", next_step=step if count else "")


# -------------------------------------------------------------------------------------------------------------- clocks and the link


def _throttled(recording: Recording, gpu: str) -> Finding:
    """Share of the readings under load in which hardware or heat held the clocks back."""
    masks = [int(mask) for mask in _working(recording, gpu, f"{gpu}_throttle_reasons")]
    if not masks:
        return Finding("GPU_THROTTLED", f"{gpu}_throttled", "SKIP", f"{gpu}: no reading under load", required=False)
    hot = [mask for mask in masks if mask & HOT_BITS]
    reasons = dict.fromkeys(reason for mask in masks for reason in names(mask & ~0x1))
    share = len(hot) / len(masks)
    text = f"{gpu}: held back by heat or hardware in {len(hot)} of {len(masks)} readings under load"
    text += f" ({', '.join(reasons)})" if reasons else ""
    step = "see to cooling and power supply; compare with the other GPUs" if hot else ""
    outcome: Outcome = "FAIL" if hot else "PASS"
    return Finding("GPU_THROTTLED", f"{gpu}_throttled", outcome, text, share, "1", len(masks), 0.0, 0.0, -share, "lower", next_step=step)


def _clock(recording: Recording, gpu: str, facts: Mapping[str, Any]) -> Finding:
    """The highest clock under load, held against the baseline."""
    clocks = _working(recording, gpu, f"{gpu}_sm_mhz")
    if not clocks:
        return Finding("CLOCK_LOW", f"{gpu}_sm_clock", "SKIP", f"{gpu}: no reading under load", required=False)
    highest = max(clocks)
    text = f"{gpu}: {highest:.0f} MHz under load, {facts.get('sm_max_mhz', 'unknown')} MHz at most"
    step = "see locked clocks and the power limit (nvidia-smi -q -d CLOCK,POWER)"
    return Finding(
        "CLOCK_LOW", f"{gpu}_sm_clock", "PASS", text, highest, "MHz", len(clocks), better="higher", required=False, next_step=step
    )


def _link(recording: Recording, gpu: str, facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Lanes must be all; the generation falls while a GPU idles, so that what counts is the highest seen."""
    for word, unit, most in (("pcie_lanes", "lanes", "pcie_max_lanes"), ("pcie_generation", "generation", "pcie_max_generation")):
        seen, expected = [value for value in recording.columns.get(f"{gpu}_{word}", ()) if value], facts.get(most)
        if not seen or not expected:
            yield Finding("PCIE_LINK", f"{gpu}_{word}", "SKIP", f"{gpu}: its link cannot be read here", required=False)
            continue
        highest, short = max(seen), max(seen) < expected
        outcome: Outcome = "PASS" if not short else "FAIL" if word == "pcie_lanes" else "WARN"
        text = f"{gpu}: PCIe {unit} {highest:.0f} of {expected}"
        step = "reseat the card or its riser, and see the slot's settings" if short else ""
        margin = highest / float(expected) - 1
        yield Finding(
            "PCIE_LINK", f"{gpu}_{word}", outcome, text, highest, unit, len(seen), float(expected), 0.0, margin, "higher", next_step=step
        )


def _company(recording: Recording, gpu: str) -> Finding:
    """Compute processes that are none of ours."""
    others = [value for value in recording.columns.get(f"{gpu}_other_processes", ()) if value is not None]
    if not others:
        why = recording.missing.get(f"{gpu}_other_processes", "not told")
        return Finding("GPU_SHARED", f"{gpu}_shared", "SKIP", f"{gpu}: other processes: {why}", required=False)
    text = f"{gpu}: at most {max(others):.0f} other processes at a time computed on it"
    return _counted("GPU_SHARED", f"{gpu}_shared", text, max(others), "processes", "stop them, or take another GPU (--device)")


# ------------------------------------------------------------------------------------------------------------------------- reading


def _last(recording: Recording, column: str) -> float | None:
    return next((value for value in reversed(recording.columns.get(column, ())) if value is not None), None)


def _working(recording: Recording, gpu: str, column: str) -> list[float]:
    """Values at readings in which the GPU was busy; all of them where that is not told."""
    values: Sequence[float | None] = recording.columns.get(column, ())
    busy: Sequence[float | None] = recording.columns.get(f"{gpu}_busy_share", [1.0] * len(values))
    return [value for value, share in zip(values, busy, strict=True) if value is not None and (share or 0.0) > BUSY]


GPU = Check(
    code="GPU_MISSING",
    name="gpu",
    title="NVIDIA GPUs: driver, clocks, throttling, memory errors, link, company",
    required=False,
    levels=("quick", "standard", "long", "mlperf"),
    seconds=0.1,
    run=run,
    last=True,
)
