"""Who is loaded when: all candidates at once where their memory fits together, else one after another, whole processes in turn."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness import units
from harness.comparing import room
from harness.comparing.candidates import Wanted
from harness.comparing.seats import Facts, Ready, Seat
from harness.errors import AssayError

LONGER = 4.0
"""A visit in turns is this many times as long: each costs a load and a warm-up. Blocks remain as many: they are what the interval is of."""

OF_MEMORY = ("out of memory", "sigkill", "memoryerror", "bad_alloc", "not enough memory", "defaultcpuallocator", "cannot allocate")
"""What errors say where memory did not suffice, in lower case; the system kills by SIGKILL."""


@dataclass(slots=True)
class Place:
    """One candidate while it is compared."""

    wanted: Wanted
    seat: Seat
    ready: Ready | None = None
    backend: dict[str, Any] = field(default_factory=dict)
    padding: list[float] = field(default_factory=list)
    problem: str = ""
    loaded: bool = False

    @property
    def name(self) -> str:
        return self.wanted.name

    @property
    def facts(self) -> Facts:
        return self.seat.facts


@dataclass(slots=True)
class Turns:
    """Gives a loaded candidate. `why`: the reason for which they alternate; empty where all are loaded at once."""

    places: Sequence[Place]
    say: Callable[[str], None]
    why: str = ""

    def load_all(self, *, alternate: bool) -> None:
        """Load all, as long as they fit together. Raises AssayError for a candidate that does not load alone either."""
        if alternate:
            self.why = "as asked"
            return
        for number, place in enumerate(self.places):
            self.why = _too_large(place, number)
            if not self.why:
                self.why = self._try(place, number)
            if self.why:
                self.close()
                self.say(f"{self.why}: whole processes alternate")
                return

    def _try(self, place: Place, number: int) -> str:
        """Load it; the reason where memory did not suffice beside the others."""
        try:
            self._load(place)
        except AssayError as error:
            if number and any(words in str(error).lower() for words in OF_MEMORY):
                return f"{place.name} does not load beside the {units.plural(number, 'candidate')} before it ({error})"
            raise
        return ""

    def loaded(self, place: Place) -> Seat:
        """Its seat, ready to be measured. Raises AssayError."""
        if not place.loaded:
            self.close()
            self._load(place)
        return place.seat

    def _load(self, place: Place) -> None:
        self.say(f"{place.name}: loading")
        with named(place.name):
            place.backend = place.seat.load()
        place.loaded = True

    def close(self) -> None:
        """Give all memory back."""
        for place in self.places:
            if place.loaded:
                place.seat.close()
                place.loaded = False


@contextlib.contextmanager
def named(name: str) -> Iterator[None]:
    """Inside, an error says which candidate it is of."""
    try:
        yield
    except AssayError as error:
        raise type(error)(f"{name}: {error}", error.cure) from error


def _too_large(place: Place, number: int) -> str:
    """Why it cannot be loaded beside those before it, by what it will probably take and what is left. The first is always tried."""
    left = room.available()
    if not number or place.ready is None or left is None or place.ready.bytes <= left:
        return ""
    return f"{place.name} needs about {units.size(place.ready.bytes)} of memory, {units.size(left)} are left beside the others"
