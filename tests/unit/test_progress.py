"""What the screen shows while a run goes on."""

import io

import pytest

from harness.progress import LiveLine, PlainLines, Silent, Snapshot, create, describe


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


RUNNING = Snapshot("run", 12.3, 20.0, 1234, 61.2, "p99", 112_000_000, 130_000_000)


def test_a_snapshot_is_told_in_one_line() -> None:
    """Phase, time, samples, rate, percentile against its bound and time left, in this order."""
    assert describe(RUNNING) == "run · 12 of 20 s · 1,234 samples · 61.2/s · p99 112 ms of 130 ms · 8 s left"


def test_what_is_not_known_is_left_out() -> None:
    """A phase of unknown length shows no time left and no percentile."""
    assert describe(Snapshot("load", 3.2, extra="weights")) == "load · 3 s · weights"


def test_time_left_is_never_negative() -> None:
    """A run that goes on past its plan has 0 s left."""
    assert describe(Snapshot("run", 25.0, 20.0)).endswith("0 s left")


@pytest.mark.parametrize(
    ("mode", "stream", "kind"),
    [
        ("auto", Terminal(), LiveLine),
        ("auto", io.StringIO(), PlainLines),
        ("plain", Terminal(), PlainLines),
        ("none", Terminal(), Silent),
    ],
)
def test_the_screen_fits_the_stream(mode: str, stream: io.StringIO, kind: type) -> None:
    """A live line only on a terminal; plain and none as asked."""
    assert isinstance(create(mode, stream), kind)


def test_plain_lines_come_every_ten_seconds() -> None:
    """Between phases one line in 10 s, however often the run updates."""
    now, stream = Hands(), io.StringIO()
    progress = PlainLines(stream, now=now)
    progress.phase("run")
    for tenth in range(251):
        now.time = tenth / 10
        progress.update(RUNNING)
    progress.close()
    assert stream.getvalue().splitlines() == ["run", describe(RUNNING), describe(RUNNING)]


def test_the_live_line_is_rewritten_at_most_twice_a_second() -> None:
    """Ten seconds of updates every 10 ms rewrite the line 20 times."""
    now, stream = Hands(), Terminal()
    progress = LiveLine(stream, now=now)
    progress.phase("run")
    for hundredth in range(1, 1001):
        now.time = hundredth / 100
        progress.update(RUNNING)
    assert stream.getvalue().count("\r") == 1 + 20


def test_the_live_line_clears_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shorter text leaves nothing of a longer one, a long one is cut to the width, and close leaves the line empty."""
    monkeypatch.setenv("COLUMNS", "40")
    now, stream = Hands(), Terminal()
    progress = LiveLine(stream, now=now)
    progress.update(RUNNING)
    progress.phase("x")
    progress.close()
    first, second, third, end = stream.getvalue().split("\r")[1:]
    assert first == describe(RUNNING)[:39]
    assert second == "x ...".ljust(39)
    assert third == " " * len("x ...")
    assert end == ""
