"""Why an NVIDIA GPU's clocks are lower than they could be: the bits of `nvmlDeviceGetCurrentClocksEventReasons`, by name. Pure.

Values from nvml.h (nvmlClocksEventReason*, formerly nvmlClocksThrottleReason*).
"""

from __future__ import annotations

REASONS = {
    0x1: "idle",
    0x2: "application clocks setting",
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
    0x100: "display clock setting",
}

THROTTLING = 0x4 | 0x8 | 0x20 | 0x40 | 0x80
"""Bits that hold a working GPU back. Idle, and clocks that somebody chose, do not."""


def names(mask: int) -> tuple[str, ...]:
    """Every reason in the mask; one that this list does not know is named by its bit."""
    bits = (1 << position for position in range(mask.bit_length()))
    return tuple(REASONS.get(bit, f"reason {bit:#x}") for bit in bits if mask & bit)


def throttling(mask: int) -> tuple[str, ...]:
    """The reasons that count as throttling."""
    return names(mask & THROTTLING)
