"""Numbers as people read and write them: one formatter for each unit, and the parsers of times on the command line.

Files keep nanoseconds, bytes and plain rates; only what people see passes through here.
"""

from __future__ import annotations

import math
import re

_TIME_STEPS = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"))
_COUNT_STEPS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BYTE_STEPS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_SECONDS_IN = {"": 1.0, "s": 1.0, "sec": 1.0, "ms": 1e-3, "min": 60.0, "m": 60.0, "h": 3600.0}
_MS_IN = {"": 1.0, "ms": 1.0, "s": 1e3, "us": 1e-3, "µs": 1e-3}
_AMOUNT = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-zµ]*)\s*")


def number(value: float, digits: int = 3) -> str:
    """At least `digits` significant digits, never fewer before the point than there are: 1234.5 -> "1,234", 12.345 -> "12.3"."""
    if not math.isfinite(value):
        return "unknown"
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{decimals}f}"
    return f"{value:.{digits - 1}e}" if decimals > 9 else text


def count(value: int) -> str:
    """1234 -> "1,234"."""
    return f"{value:,}"


def plural(value: int, noun: str) -> str:
    """1, "sample" -> "1 sample"; 2, "query" -> "2 queries"."""
    if value == 1:
        return f"1 {noun}"
    return f"{value:,} {noun[:-1] + 'ies' if noun.endswith('y') else noun + 's'}"


def time_ns(value: float) -> str:
    """A latency: 151_230_000 -> "151 ms", 1_500_000_000 -> "1.50 s", 85 -> "85 ns"."""
    for scale, unit in _TIME_STEPS:
        if abs(value) >= scale:
            return f"{number(value / scale)} {unit}"
    return f"{number(value)} ns" if value % 1 else f"{value:.0f} ns"


def seconds(value: float) -> str:
    """A length of time: 0.25 -> "0.25 s", 20 -> "20 s", 125 -> "2 min 05 s", 4000 -> "1 h 07 min"."""
    if value < 10:
        return f"{value:.2f}".rstrip("0").rstrip(".") + " s"
    whole = round(value)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def rate(value: float, unit: str) -> str:
    """61.234, "samples/s" -> "61.2 samples/s"."""
    return f"{number(value)} {unit}"


def size(value: float) -> str:
    """Bytes in powers of ten: 90_900_000 -> "90.9 MB"."""
    for scale, unit in _BYTE_STEPS:
        if abs(value) >= scale:
            return f"{number(value / scale)} {unit}"
    return f"{value:.0f} B"


def scaled(value: float) -> str:
    """A large number with the prefix of its power of ten: 9_513_271_296 -> "9.51 G"."""
    for scale, prefix in _COUNT_STEPS:
        if abs(value) >= scale:
            return f"{number(value / scale)} {prefix}"
    return number(value)


def share(value: float) -> str:
    """0.0512 -> "5.1 %"."""
    return f"{100 * value:.1f} %"


def score(value: float) -> str:
    """A task's metric in points: 90.8741 -> "90.874"."""
    return f"{value:.3f}"


def quantity(value: float, unit: str) -> str:
    """A headline number in its declared unit; times are scaled for reading, other units are kept."""
    if unit == "ns":
        return time_ns(value)
    return rate(value, unit)


def _parse(text: str, units: dict[str, float], default: str) -> float:
    matched = _AMOUNT.fullmatch(text)
    if matched is None or matched[2] not in units:
        known = ", ".join(unit for unit in units if unit)
        raise ValueError(f"not a time: a number, in {default} or with one of the units {known}")
    return float(matched[1]) * units[matched[2]]


def parse_seconds(text: str) -> float:
    """ "90", "90s", "2min", "1.5h", "500ms" -> seconds. Raises ValueError for anything else."""
    return _parse(text, _SECONDS_IN, "seconds")


def parse_ms(text: str) -> float:
    """ "130", "130ms", "0.13s" -> milliseconds. Raises ValueError for anything else."""
    return _parse(text, _MS_IN, "milliseconds")
