"""No model: answers at once, or after a fixed or random service time (null:2ms, null:exp2ms).

It measures the harness itself, and stands for a server with a known service time in queueing checks. A service time is spent once per
call, whatever the batch. `exp` draws it from an exponential distribution with that mean, seeded by the worker's number.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core import Backend, BackendOptions, Batch, Model
from harness.errors import UsageError

REQUIRES: tuple[str, ...] = ()
PRECISIONS: tuple[str, ...] = ("none", "*")

_SERVICE = re.compile(r"(?P<random>exp)?(?P<number>\d+(\.\d+)?)(?P<unit>ns|us|µs|ms|s)")
_UNIT_NS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_LONGEST_NS = 3_600 * 1_000_000_000
_SPIN_NS = 200_000  # a sleep may end this late on an idle Linux machine; the rest of the time is spun away
_BLOCK = 4096
_SEED = 20_240_607

_NOTHING: Mapping[str, NDArray[Any]] = MappingProxyType({})


def create(options: BackendOptions) -> Backend:
    """Raises UsageError for a service time that is none."""
    if options.precision in ("", "none"):
        return Null()
    match = _SERVICE.fullmatch(options.precision)
    service_ns = float(match["number"]) * _UNIT_NS[match["unit"]] if match else -1.0
    if match is None or not 0 < service_ns <= _LONGEST_NS:
        raise UsageError(
            f"null:{options.precision}: not a service time",
            "Write null, or a time above 0 and up to an hour such as null:2ms, null:exp500us.",
        )
    return NullWithService(service_ns, options.worker) if match["random"] else NullWithService(service_ns)


class Null:
    """Returns a constant: the cheapest `predict` there can be."""

    needs_inputs = False
    answers = False

    def load(self, model: Model | None) -> None:
        pass

    def predict(self, batch: Batch | None) -> Mapping[str, NDArray[Any]]:  # noqa: ARG002 - the protocol's
        return _NOTHING

    def close(self) -> None:
        pass

    def describe(self) -> dict[str, Any]:
        return {"runtime": "null", "precision": "none", "device": "none", "service": "none"}


class NullWithService(Null):
    """Returns after a service time: `service_ns` itself, or exponential with that mean if a `seed` is given."""

    def __init__(self, service_ns: float, seed: int | None = None) -> None:
        self.service_ns = service_ns
        self.seed = seed
        self.times = iter(_times(service_ns, seed))

    def predict(self, batch: Batch | None) -> Mapping[str, NDArray[Any]]:  # noqa: ARG002 - the protocol's
        """Sleeps to shortly before the end of the service time, then spins, so that it is met to about a microsecond."""
        deadline = time.perf_counter_ns() + next(self.times)
        sleep_ns = deadline - time.perf_counter_ns() - _SPIN_NS
        if sleep_ns > 0:
            time.sleep(sleep_ns * 1e-9)
        while time.perf_counter_ns() < deadline:
            pass
        return _NOTHING

    def describe(self) -> dict[str, Any]:
        service = "fixed" if self.seed is None else "exponential"
        return super().describe() | {"service": service, "service_mean_ns": self.service_ns, "service_seed": self.seed}


def _times(service_ns: float, seed: int | None) -> Iterator[int]:
    if seed is None:
        while True:
            yield round(service_ns)
    rng = np.random.default_rng([_SEED, seed])
    while True:
        yield from rng.exponential(service_ns, _BLOCK).astype(np.int64).tolist()
