"""The sampler as a process: it is started, read, stopped, and never missed by the run beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.telemetry import sampler, stream
from harness.telemetry.sampler import MOST_SHARE, THOROUGH_EVERY, Sampler, pause_s
from harness.telemetry.sources import Reading
from harness.telemetry.stream import beside

ROOT = Path(__file__).resolve().parents[2]


def until(seen: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for it; a machine that is busy takes its time."""
    end = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def instead(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Another program in the sampler's place."""
    monkeypatch.setattr(stream, "command", lambda _pid, _interval: [sys.executable, "-c", code])


def test_rows_come_while_it_runs_and_one_more_when_it_stops() -> None:
    """Stamped on this machine's monotonic clock, in order; afterwards the process is gone."""
    before = time.monotonic_ns()
    with beside(os.getpid(), 0.05) as made:
        assert made._process is not None
        child = psutil.Process(made._process.pid)
        until(lambda: len(made.rows().at_ns) >= 3)
        assert made.running
        seen = len(made.rows().at_ns)
        last = made.stop()
    assert len(last.at_ns) > seen
    assert before < last.at_ns[0]
    assert list(last.at_ns) == sorted(set(last.at_ns))
    assert last.at_ns[-1] < time.monotonic_ns()
    assert "sampler" not in last.missing
    assert not child.is_running()
    assert {"cpu_busy_share", "memory_available_bytes"} <= last.columns.keys()
    assert made.stop() == last


def test_it_dies_with_its_parent_even_if_that_is_killed() -> None:
    """SIGKILL leaves nobody to say goodbye: the pipe closes by itself."""
    code = (
        "import os, time; from harness.telemetry.stream import Stream;"
        "made = Stream(os.getpid(), 0.05); print(made._process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert psutil.pid_exists(child)
        parent.kill()
        parent.wait()
        until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_an_interrupt_is_for_the_run_alone() -> None:
    """The sampler is in a process group of its own, so that Ctrl-C on a terminal does not reach it."""
    with beside(os.getpid(), 0.05) as made:
        assert made._process is not None
        assert os.getpgid(made._process.pid) != os.getpgid(0)


def test_one_that_is_killed_leaves_its_rows_and_a_reason() -> None:
    """And the block ends as if nothing had happened."""
    with beside(os.getpid(), 0.05) as made:
        until(lambda: len(made.rows().at_ns) >= 2)
        assert made._process is not None
        os.kill(made._process.pid, signal.SIGKILL)
        until(lambda: not made.running)
    found = made.rows()
    assert len(found.at_ns) >= 2
    assert found.missing["sampler"] == "ended during the run with signal 9"


def test_one_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last line of its error is the reason."""
    instead(monkeypatch, "raise RuntimeError('no luck')")
    with beside(os.getpid(), 0.05) as made:
        until(lambda: not made.running)
    found = made.rows()
    assert found.at_ns == []
    assert found.missing["sampler"] == "ended during the run with exit code 1: RuntimeError: no luck"


def test_one_that_does_not_listen_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run does not wait for it longer than it must."""
    monkeypatch.setattr(stream, "STOP_S", 0.1)
    instead(monkeypatch, "import time; time.sleep(60)")
    with beside(os.getpid(), 0.05) as made:
        assert made._process is not None
        child = made._process.pid
    assert not psutil.pid_exists(child)
    assert made.rows().missing["sampler"] == "ended when it was stopped with signal 9"


def test_one_that_cannot_be_started_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """No exception reaches the run."""
    monkeypatch.setattr(stream, "command", lambda _pid, _interval: ["/no/such/program"])
    with beside(os.getpid(), 1.0) as made:
        pass
    assert made.rows().missing["sampler"].startswith("cannot be started: ")


def test_none_is_started_where_none_is_wanted() -> None:
    """An interval of 0 is no telemetry."""
    with beside(os.getpid(), 0) as made:
        assert not made.running
    assert made.rows().missing == {"sampler": "not asked for (--telemetry 0)"}


def test_it_imports_nothing_heavy() -> None:
    """Neither torch nor numpy: it would take more memory and time than everything it measures."""
    code = (
        "import sys, os; from harness.telemetry import sampler;sampler.open_sources(os.getpid(), sampler.Places(), {}); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "psutil", "pyarrow", "asyncio", "pydantic"} & set(done.stdout.split())


# ------------------------------------------------------------------------------------------------------------ without a process


class Faulty:
    """A source that fails at its second reading."""

    def __init__(self) -> None:
        self.units, self.missing, self.thorough = {"a": "1", "b": "W"}, {}, []
        self.readings = 0

    def read(self, _now_ns: int, thorough: bool, /) -> Reading:
        self.thorough.append(thorough)
        self.readings += 1
        if self.readings == 2:
            raise OSError("gone")
        return {"a": 1.0}


class Steady:
    units, missing = {"c": "1"}, {}

    def read(self, _now_ns: int, _thorough: bool, /) -> Reading:
        return {"c": 3.0}


def test_a_source_that_fails_does_not_take_the_others_along() -> None:
    """Its columns are null, the reason follows once, and the others' values stand."""
    lines: list[dict[str, Any]] = []
    made = Sampler([Faulty(), Steady()], {"gpu": "none"}, lines.append)
    made.header(1.0)
    for now in range(3):
        made.row(now)
    assert lines[0] == {"interval_s": 1.0, "columns": {"a": "1", "b": "W", "c": "1"}, "missing": {"gpu": "none"}, "facts": {}}
    assert [line["row"] for line in lines if "row" in line] == [[1.0, None, 3.0], [None, None, 3.0], [1.0, None, 3.0]]
    assert [line["missing"] for line in lines[1:] if "missing" in line] == [{"a": "OSError: gone"}]


def test_thorough_readings_are_the_first_each_tenth_and_the_last() -> None:
    """What changes slowly costs a tenth."""
    source = Faulty()
    made = Sampler([source], {}, lambda _: None)
    for now in range(THOROUGH_EVERY + 2):
        made.row(now)
    made.row(99, thorough=True)
    assert [place for place, thorough in enumerate(source.thorough) if thorough] == [0, THOROUGH_EVERY, THOROUGH_EVERY + 2]


def test_a_costly_reading_is_taken_less_often() -> None:
    """At most 1 % of a core: after 30 ms of work it rests 3 s, whatever the interval."""
    assert MOST_SHARE == 0.01
    assert pause_s(1_000_000_000, 0, 2_000_000) == 1.0
    assert pause_s(1_000_000_000, 0, 30_000_000) == 3.0
    assert pause_s(0, 5, 0) <= 0


def test_every_line_is_json_on_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    """As the reader expects it, with no line split over two writes."""
    sampler._emit({"at": 1, "row": [None, 0.5]})
    assert json.loads(capfd.readouterr().out) == {"at": 1, "row": [None, 0.5]}
