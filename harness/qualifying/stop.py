"""Ends a check that takes too long or gets too hot, from inside: the main thread is interrupted wherever Python runs."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

EVERY_S = 0.5
"""How often the reasons to stop are looked at."""

HOT = "TEMPERATURE_LIMIT"
LATE = "TIME_LIMIT"
"""Reason codes that end everything; any other ends its check."""


class Stopped(BaseException):
    """A check was ended; no Exception, so that no handler of a library takes it for an error of its own. `code`: why, as a reason code."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


Reason = tuple[str, str]
"""Code and sentence."""


@contextmanager
def watched(limit_s: float, look: Callable[[], Reason | None] = lambda: None) -> Iterator[None]:
    """Raise Stopped in the block once `limit_s` seconds have passed (CHECK_TIMEOUT) or `look` gives a reason. Native code is interrupted
    when it returns. Off the main thread, or where there are no such signals, nothing is watched."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return
    found: list[Reason] = []

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        if found:
            raise Stopped(*found[0])

    before, over = signal.signal(signal.SIGALRM, stop), threading.Event()
    watcher = threading.Thread(target=_watch, args=(limit_s, look, found, over), name="qualify-watch", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        signal.signal(signal.SIGALRM, before)


def _watch(limit_s: float, look: Callable[[], Reason | None], found: list[Reason], over: threading.Event) -> None:
    deadline, main = time.monotonic() + limit_s, threading.main_thread().ident
    while not over.wait(min(EVERY_S, max(0.0, deadline - time.monotonic()))):
        reason = ("CHECK_TIMEOUT", f"took longer than {limit_s:g} s") if time.monotonic() >= deadline else look()
        if reason is not None and main is not None:
            found.append(reason)
            if not over.is_set():
                signal.pthread_kill(main, signal.SIGALRM)
            return
