"""Checks of the doctor for the measured peak: what a share of the peak in a run is a share of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness import peaks, units
from harness.doctoring.lines import Level, Line
from harness.errors import AssayError
from harness.peak_kernels import COPY


def lines(device: str, threads: int, cache: Path) -> list[Line]:
    """A line for each precision that the device has, and one for the copy; measured where the cache has none, and where it has one that
    was only ever measured beside other work: who asks the doctor may have stopped that."""
    disturbed = any(not each.quiet for each in peaks.kept(device, threads, cache=cache).values())
    try:
        found = peaks.known(device, threads, cache=cache, again=disturbed)
        return [peak(name, device, threads, each) for name, each in found.items()]
    except AssayError as error:
        return [Line(Level.WARN, f"peak of {device}", str(error), "see the lines above; a run then gives no share of the peak")]


def peak(name: str, device: str, threads: int, found: peaks.Peak) -> Line:
    """A peak that was only ever measured beside other work may be too low: shares of it would flatter."""
    where = units.plural(threads, "thread") if device == "cpu" else device
    what = f"{units.size(found.value)}/s read and written" if name == COPY else f"{units.scaled(found.value)} operations/s"
    text = f"{what} ({where}, {found.library}, {found.date[:10]}, best of {units.plural(found.n, 'measurement')})"
    title = "copy" if name == COPY else f"peak {name.upper()}"
    if found.quiet:
        return Line(Level.OK, title, text)
    return Line(Level.WARN, title, f"{text}, beside other work", "stop what else runs here and run `assay doctor` again")


def devices(gpus: int, cuda: int, threads: int) -> Mapping[str, int]:
    """What is measured, with its threads: the CPU, and the first GPU that torch can use."""
    return {"cpu": threads} | ({"cuda:0": 1} if gpus and cuda else {})
