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

AGAIN_S = 0.05
"""How often the main thread is told to stop until it does."""

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
    watch = _Watch(time.monotonic() + limit_s, look)
    before = signal.signal(signal.SIGALRM, watch.stop)
    watcher = threading.Thread(target=watch.follow, name="qualify-watch", daemon=True)
    watcher.start()
    try:
        try:
            yield
        finally:
            watch.over.set()
    finally:
        watcher.join()
        signal.signal(signal.SIGALRM, before)


class _Watch:
    """The reason to stop, sought by a thread of its own, and the signal that brings it to the main thread: again and again until it has
    arrived, for one that comes just before a wait begins does not end the wait. It is raised once."""

    def __init__(self, deadline: float, look: Callable[[], Reason | None]) -> None:
        self.over = threading.Event()
        self._deadline, self._look, self._begun = deadline, look, time.monotonic()
        self._reason: Reason | None = None
        self._raised = False

    def stop(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._reason is not None and not self._raised and not self.over.is_set():
            self._raised = True
            raise Stopped(*self._reason)

    def follow(self) -> None:
        main = threading.main_thread().ident
        while self._reason is None and not self.over.wait(min(EVERY_S, max(0.0, self._deadline - time.monotonic()))):
            late = time.monotonic() >= self._deadline
            self._reason = ("CHECK_TIMEOUT", f"took longer than {self._deadline - self._begun:g} s") if late else self._look()
        while main is not None and not (self._raised or self.over.is_set()):
            signal.pthread_kill(main, signal.SIGALRM)
            self.over.wait(AGAIN_S)
