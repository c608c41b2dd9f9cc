"""What a worker does: load, warm up, and serve the ledger. The same for a thread of this process and for a process of its own."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness import warmup
from harness.batching import Policy, collate
from harness.core import Answer, Backend, BackendOptions, Batch, Int64, IntArray, Model, Output, Samples
from harness.errors import AssayError, BackendError
from harness.ledger import Ledger, Rows
from harness.memory import grown, resident_bytes
from harness.plugins import load as load_plugin
from harness.responses import Keep, Responses

_LOADING = threading.Lock()
"""Threads load one after another: libraries that import lazily break where two threads import at once (transformers 5.23: "cannot import
name 'AutoModelForQuestionAnswering'"), and what each model adds to the memory can be told."""

MESSAGES_KEPT = 10
"""Messages of failed batches that a worker remembers; all are counted."""


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """All a worker needs to know; picklable. `cores`: pinned to these, None: wherever the system puts it."""

    worker: int
    backend: str
    options: BackendOptions
    model: Model | None
    samples: Samples
    outputs: Sequence[Output]
    policy: Policy
    cores: tuple[int, ...] | None = None


@dataclass(slots=True)
class Report:
    """What a worker tells after serving. `answers`: the kept ones, by row of the ledger."""

    worker: int
    failed_batches: int = 0
    messages: list[str] = field(default_factory=list)
    answers: dict[int, Answer] = field(default_factory=dict)

    def failed(self, message: str) -> None:
        self.failed_batches += 1
        if len(self.messages) < MESSAGES_KEPT:
            self.messages.append(message)


class Worker:
    """One instance of the backend and the loop that serves it."""

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self.backend: Backend | None = None

    def load(self) -> dict[str, Any]:
        """Make and load the backend; what `describe` says. Errors of foreign libraries become BackendErrors here."""
        spec = self.spec
        try:
            with _LOADING:
                self.backend = load_plugin("backends", spec.backend).create(spec.options)
                before = resident_bytes()
                self.backend.load(spec.model)
                description: dict[str, Any] = self.backend.describe()
        except AssayError:
            raise
        except Exception as error:
            raise BackendError(
                f"{spec.backend} could not be loaded: {type(error).__name__}: {error}",
                "run with --debug for the traceback, or `doctor` to see what this machine lacks",
            ) from error
        facts = {"needs_inputs": self.backend.needs_inputs, "answers": self.backend.answers, "memory": grown(before, description)}
        return description | facts

    def warm(self, batches: Sequence[IntArray], budget_s: float) -> int:
        """Run the given batches once, or as many as fit in `budget_s` seconds; how many did. Failures count in the run, not here."""
        deadline = time.monotonic() + budget_s
        for done, indices in enumerate(batches):
            if time.monotonic() > deadline:
                return done
            self._try_out(indices)
        return len(batches)

    def settle(self, batches: Sequence[IntArray], budget_s: float) -> list[list[int]]:
        """Run the given batches again and again, each until its time settles, for at most `budget_s` seconds: ns of the calls of each.
        All are run once before any is run again, so that what time allows is spread. Failures count in the run, not here."""
        deadline = time.monotonic() + budget_s
        times: list[list[int]] = [[] for _ in batches]
        waiting = list(range(len(batches)))
        while waiting:
            for place in waiting:
                if time.monotonic() > deadline:
                    return times
                start = time.monotonic_ns()
                self._try_out(batches[place])
                times[place].append(time.monotonic_ns() - start)
            waiting = [place for place in waiting if not warmup.is_over(times[place])]
        return times

    def _try_out(self, indices: IntArray) -> None:
        try:
            self._predict(self._batch(indices))
        except Exception as error:
            raise BackendError(
                f"{self.spec.backend} failed in warm-up: {type(error).__name__}: {error}", "run with --debug for the traceback"
            ) from error

    def time_batches(self, batches: Sequence[IntArray], budget_s: float, pause_s: float = 0.0) -> list[int]:
        """Nanoseconds of collate and predict for each batch; fewer than asked if `budget_s` seconds are over.

        Before a single sample the worker rests for `pause_s`: so it will meet single samples in a run, with cores and caches gone cold.
        """
        deadline = time.monotonic() + budget_s
        times: list[int] = []
        for indices in batches:
            if len(indices) == 1:
                time.sleep(pause_s)
            start = time.monotonic_ns()
            self._try_out(indices)
            times.append(time.monotonic_ns() - start)
            if time.monotonic() > deadline:
                break
        return times

    def _batch(self, indices: IntArray) -> Batch | None:
        assert self.backend is not None
        return collate(self.spec.samples, indices, self.spec.policy) if self.backend.needs_inputs else None

    def _predict(self, batch: Batch | None) -> Any:
        assert self.backend is not None
        return self.backend.predict(batch)

    def serve(self, ledger: Ledger, keep: Keep) -> Report:
        """Serve until the ledger has nothing more. `keep`: which answers are kept."""
        assert self.backend is not None
        report = Report(self.spec.worker)
        if self.backend.needs_inputs:
            self._serve_model(ledger, keep, report)
        else:
            serve_null(ledger, self.backend, report)
        return report

    def _serve_model(self, ledger: Ledger, keep: Keep, report: Report) -> None:
        responses = Responses(self.spec.outputs, len(self.spec.samples), keep)
        report.answers = responses.by_row()
        ledger.join()
        while (rows := ledger.take(self.spec.worker)) is not None:
            try:
                batch = self._batch(ledger.table.sample[rows])
                outputs = self._predict(batch)
            except Exception as error:
                ledger.complete(rows)
                ledger.reject(rows)
                report.failed(_tell(error))
                continue
            ledger.complete(rows, outputs)
            if batch is not None:
                wrong = responses.keep(_indices(rows), batch, outputs, ledger.table.sample[: ledger.rows])
                if wrong is not None:
                    ledger.reject(rows)
                    report.failed(wrong)

    def perform(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run a function of a module with this worker before `args`: work that is no part of a run."""
        return work(self, *args)

    def close(self) -> None:
        if self.backend is not None:
            self.backend.close()


def serve_null(ledger: Ledger, backend: Backend, report: Report) -> None:
    """The loop for a backend that looks at nothing and says nothing: what is left is the harness itself."""
    take, complete, predict, worker = ledger.take, ledger.complete, backend.predict, report.worker
    ledger.join()
    while (rows := take(worker)) is not None:
        try:
            predict(None)
        except Exception as error:
            complete(rows)
            ledger.reject(rows)
            report.failed(_tell(error))
            continue
        complete(rows)


def _indices(rows: Rows) -> Int64:
    return np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows


def _tell(error: Exception) -> str:
    """Exception and the line it came from, on one line."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}{where}"
