"""The loaded workers of a sweep: one crew at a time, kept for every point that it can play."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import session
from harness.bench import Bench, make_ready
from harness.config import FIELDS, RunConfig
from harness.crew import Crew, patience
from harness.instances.auto import form_crew

SHARED = frozenset(
    (
        *("scenario", "rules", "duration", "max_duration", "min_queries", "target_qps", "latency_bound", "percentile", "samples_per_query"),
        *("performance_samples", "qsl_seed", "sample_seed", "schedule_seed", "round", "test05", "issue", "same_index", "concatenate"),
        *("max_async", "max_queries", "coalesce", "batch_wait", "warmup", "hang_timeout", "on_error", "out", "name", "progress"),
    )
)
"""Settings that loaded workers do not depend on: points that differ by them alone are played by the same crew."""


def crew_key(config: RunConfig) -> tuple[Any, ...]:
    """Equal for settings that the same loaded crew can play."""
    return tuple(str(getattr(config, name)) for name in FIELDS if name not in SHARED)


class Crews:
    """The crew that is loaded, one at a time: a machine that holds one model may not hold eight."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._crew: Crew | None = None
        self._warm_for: tuple[Any, ...] = ()
        self.backend: Mapping[str, Any] = {}

    def at(self, bench: Bench, context: Mapping[str, Any]) -> Crew:
        """The crew for these settings, loaded and warm: kept from the point before where that is the same. Raises AssayError."""
        key, config = crew_key(bench.config), bench.config
        warm_for = (config.scenario, config.samples_per_query)
        if self._crew is None or key != self._key:
            self.close()
            make_ready(bench, config.backend)
            self._crew = form_crew(bench, context, session.LOAD_PATIENCE * config.hang_timeout)
            with bench.phase("load"):
                self.backend = self._crew.call("load", tick=patience(session.LOAD_PATIENCE * config.hang_timeout))[0]
            self._key, self._warm_for = key, ()
        if self._warm_for != warm_for:
            session.warm(bench, self._crew)
            self._warm_for = warm_for
        return self._crew

    def close(self) -> None:
        crew, self._crew, self._key = self._crew, None, None
        if crew is not None:
            crew.close()
