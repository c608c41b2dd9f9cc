"""Check of the doctor for telemetry: what can be read beside a run on this machine, and what it would take to read more."""

from __future__ import annotations

import os
import time

from harness import units
from harness.doctoring.lines import Level, Line
from harness.telemetry.recording import Recording
from harness.telemetry.stream import beside

KINDS = {
    "CPU load": "cpu_busy_share",
    "CPU clock": "cpu_mhz",
    "CPU temperature": "cpu_celsius",
    "CPU throttling": "cpu_throttle_events",
    "CPU energy": "cpu_joules",
    "stolen time": "steal_share",
    "control group": "cgroup_throttled_share",
    "memory": "memory_available_bytes",
    "GPU": "gpu0_sm_mhz",
    "GPU energy": "gpu0_joules",
    "GPU errors (XID)": "gpu_xid_errors",
}
"""What a person looks for, and the column that stands for it."""

_INTERVAL_S = 0.2
_PATIENCE_S = 10.0


def lines() -> list[Line]:
    """One line; takes as long as a sampler needs for two readings."""
    return [telemetry(_recorded())]


def _recorded() -> Recording:
    with beside(os.getpid(), _INTERVAL_S) as stream:
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until and stream.running and len(stream.rows().at_ns) < 2:
            time.sleep(_INTERVAL_S / 4)
        return stream.stop()


def telemetry(found: Recording) -> Line:
    """A GPU that is there and cannot be read is worth a word; a CPU without sensors is what every virtual machine has."""
    if not found.at_ns:
        reason = found.missing.get("sampler", "no row came")
        return Line(Level.WARN, "telemetry", f"nothing can be read: {reason}", "a run goes on without; --telemetry 0 asks for none")
    here = {name for name, value in found.latest().items() if value is not None}
    text = f"{units.plural(len(here), 'column')}: {', '.join(kind for kind, name in KINDS.items() if name in here)}"
    if absent := [kind for kind, name in KINDS.items() if name not in here]:
        text += f"; not here: {', '.join(absent)}"
    if "nvidia-ml-py" in found.missing.get("gpu", ""):
        return Line(Level.WARN, "telemetry", text, "pip install nvidia-ml-py, to see the GPU's clocks, heat and errors beside each run")
    return Line(Level.OK, "telemetry", text)
