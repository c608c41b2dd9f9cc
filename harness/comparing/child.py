"""The process of a candidate that lives elsewhere: `python -m harness.comparing.child` under its interpreter, in its project.

It greets with its version and what its environment lacks, then obeys `harness.comparing.elsewhere` over its standard input and output until
that is gone. Imports nothing but the standard library until the greeting is out: another Python may be too old, or know no numpy.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import queue
import signal
import sys
import threading
import time
import traceback
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, BinaryIO

from harness.comparing.frames import PROTOCOL, receive, send

if TYPE_CHECKING:
    from harness.comparing.here import HereSeat
    from harness.comparing.seats import Scored, Stretch, Visited

NEEDED = (
    *("numpy", "psutil", "pydantic", "yaml", "platformdirs", "filelock", "safetensors", "tokenizers", "transformers"),
    *("huggingface_hub", "torch"),
)
"""Modules without which no candidate can be measured and scored."""

PIP = {"yaml": "pyyaml"}
"""What pip calls a module that has another name than its distribution."""

GRACE_S = 2.0
"""For a clean end once nobody listens any more."""


class Told:
    """A `Progress` whose lines the other side shows."""

    def __init__(self, outbox: BinaryIO) -> None:
        self._outbox = outbox

    def phase(self, name: str) -> None:
        send(self._outbox, {"says": "phase", "text": name})

    def update(self, snapshot: object) -> None:
        del snapshot  # a visit takes seconds: its phase says enough

    def note(self, text: str) -> None:
        send(self._outbox, {"says": "note", "text": text})

    def close(self) -> None:
        pass


class Child:
    """Obeys one order after another; each answer is a message, its arrays beside it."""

    def __init__(self, outbox: BinaryIO) -> None:
        self._outbox = outbox
        self._seat: HereSeat | None = None

    def answer(self, order: dict[str, Any]) -> None:
        try:
            found, arrays = getattr(self, f"_{order['do']}")(order)
        except Exception as error:
            found, arrays = {"error": _as_error(error)}, {}
        told = {"warnings": self._seat.warnings, "facts": asdict(self._seat.facts)} if self._seat is not None else {}
        send(self._outbox, {**found, **told}, arrays)

    @property
    def _taken(self) -> HereSeat:
        assert self._seat is not None, "an order before `prepare`"
        return self._seat

    def _prepare(self, order: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        from pathlib import Path

        from harness.comparing.here import HereSeat
        from harness.config import load

        self._seat = HereSeat(load(order["settings"]), Told(self._outbox), Path.cwd())
        return {}, {}

    def _ready(self, _order: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"ready": asdict(self._taken.ready())}, {}

    def _load(self, _order: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"backend": self._taken.load()}, {}

    def _visit(self, order: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        from harness.comparing.seats import Stretch

        stretch: Stretch = Stretch(order["label"], order["seconds"], order["queries"], order["arrays"].get("samples"))
        found: Visited = self._taken.visit(stretch)
        return {"visited": asdict(found) | {"latency_ns": None}}, {"latency_ns": found.latency_ns}

    def _score(self, _order: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        found: Scored = self._taken.score()
        arrays = asdict(found.outcomes) if found.outcomes is not None else {}
        return {"scored": asdict(found) | {"outcomes": None}}, arrays

    def _close(self, _order: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        self.close()
        return {}, {}

    def close(self) -> None:
        if self._seat is not None:
            self._seat.close()


def _as_error(error: Exception) -> dict[str, str]:
    """An error as the other side can raise it again; one that nobody foresaw leaves its traceback on stderr."""
    from harness.errors import AssayError

    if isinstance(error, AssayError):
        return {"kind": type(error).__name__, "text": str(error), "cure": error.cure}
    if isinstance(error, ModuleNotFoundError) and error.name:
        name = error.name.partition(".")[0]
        cure = f"{sys.executable} -m pip install {_for_pip(name)}"
        return {"kind": "MissingError", "text": f"its environment lacks {name}", "cure": cure}
    traceback.print_exc()
    return {"kind": "BackendError", "text": f"{type(error).__name__}: {error}", "cure": "run it alone, in its own environment"}


def _greeting() -> dict[str, Any]:
    lacks = [_for_pip(name) for name in NEEDED if importlib.util.find_spec(name) is None]
    return {
        "protocol": PROTOCOL,
        "python": platform.python_version(),
        "recent": sys.version_info >= (3, 11),
        "executable": sys.executable,
        "lacks": lacks,
    }


def _for_pip(module: str) -> str:
    return PIP.get(module, module.replace("_", "-"))


def _private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output, kept from everybody else: what a backend prints goes to stderr, and nobody reads our orders."""
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return inbox, outbox


def _listen(inbox: BinaryIO, orders: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    """Hand on every order. Once the other side is gone this process ends: by itself, or in the middle of what it does."""
    while (order := receive(inbox)) is not None:
        orders.put(order)
    orders.put(None)
    time.sleep(GRACE_S)
    os.kill(os.getpid(), signal.SIGTERM)  # noted in a measurement, which then ends; the end of everything else


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the comparison's to handle
    inbox, outbox = _private_pipes()
    send(outbox, _greeting())
    orders: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(inbox, orders), daemon=True).start()
    child = Child(outbox)
    try:
        while (order := orders.get()) is not None:
            child.answer(order)
    except BrokenPipeError:
        pass
    finally:
        child.close()


if __name__ == "__main__":  # worker processes import this file again and must not obey anybody
    main()
