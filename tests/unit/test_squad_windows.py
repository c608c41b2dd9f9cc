"""Windows over a context, and which of them a token belongs to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.squad.windows import WORD, max_context, windows

lengths = st.integers(1, 900)
rooms = st.integers(1, 400)
strides = st.integers(1, 200)


def test_windows_of_the_reference() -> None:
    """Windows start 128 tokens apart and the last one ends with the context."""
    assert windows(100, 370) == [(0, 100)]
    assert windows(370, 370) == [(0, 370)]
    assert windows(371, 370) == [(0, 370), (128, 243)]
    assert windows(700, 370) == [(0, 370), (128, 370), (256, 370), (384, 316)]


def test_short_windows_do_not_leave_gaps() -> None:
    """A window shorter than the stride is followed by the next token."""
    assert windows(250, 100) == [(0, 100), (100, 100), (200, 50)]


@given(lengths, rooms, strides)
def test_windows_cover_everything(length: int, room: int, stride: int) -> None:
    """Every token is in a window, no window is longer than the room, and only the last one touches the end."""
    spans = windows(length, room, stride)
    assert set().union(*(range(start, start + size) for start, size in spans)) == set(range(length))
    assert all(0 < size <= room for _, size in spans)
    assert [start + size == length for start, size in spans] == [False] * (len(spans) - 1) + [True]


@given(lengths, rooms, strides)
def test_max_context_is_the_reference_rule(length: int, room: int, stride: int) -> None:
    """Each token has its maximum context in exactly one window: the one `_check_is_max_context` of run_squad.py names."""
    spans = windows(length, room, stride)
    flags = max_context(spans)
    for position in range(0, length, max(1, length // 40)):
        best, best_window = None, None
        for number, (start, size) in enumerate(spans):
            end = start + size - 1
            if start <= position <= end:
                score = min(position - start, end - position) + 0.01 * size
                if best is None or score > best:
                    best, best_window = score, number
        holders = [n for n, (start, size) in enumerate(spans) if start <= position < start + size and flags[n][position - start]]
        assert holders == [best_window]


def test_words() -> None:
    """Space, tab, line ends and the narrow no-break space part words; other white space does not."""
    assert WORD.findall(" a\tb\r\nc\u202fd  e\u00a0f\u2003g\x0bh ") == ["a", "b", "c", "d", "e\u00a0f\u2003g\x0bh"]
