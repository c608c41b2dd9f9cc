"""All queries that LoadGen makes for one StartTest, phase by phase: the traffic of a run without model or data."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil

from harness import loadgen, plugins
from harness.core import SECOND_NS, Int32, Int64, Scenario, Settings, Traffic
from harness.errors import DataError, MissingError, UsageError
from harness.mlperf import accuracy_log

FORMAT = 1
"""Version of the traffic file. 1: first."""

Mode = Literal["performance", "accuracy"]

_PARTS: dict[str, tuple[Mode, ...]] = {"SubmissionRun": ("accuracy", "performance"), "AccuracyOnly": ("accuracy",)}
"""What LoadGen's modes play, one after another; the others play one performance part."""

SLOWEST, FASTEST = 1e-5, 1e9
"""Queries a second: times are whole nanoseconds of 64 bits, so that a gap is at least one and a long schedule still fits."""

ROW_BYTES = 200
"""Most memory that a row takes: its columns, as lists of numbers and as text."""


@dataclass(frozen=True, slots=True)
class MadePhase:
    """The queries of one loaded set. `query` and `sample`: (rows,), query numbers from 0; `due_ns`: None in closed loops; `logged`:
    which rows' answers go to the accuracy log."""

    mode: Mode
    loaded: Int32
    query: Int64
    sample: Int32
    due_ns: Int64 | None
    duration_ns: int
    logged: np.ndarray[Any, np.dtype[np.bool_]]

    @property
    def queries(self) -> int:
        return int(self.query[-1]) + 1 if len(self.query) else 0


@dataclass(frozen=True, slots=True)
class Made:
    """Everything that is asked in one test, in order."""

    requested: loadgen.Requested
    total: int
    loaded: int
    phases: tuple[MadePhase, ...]

    @property
    def rows(self) -> int:
        return sum(len(phase.sample) for phase in self.phases)

    @property
    def queries(self) -> int:
        return sum(phase.queries for phase in self.phases)

    def columns(self) -> dict[str, Int64 | None]:
        """`query`, `sample` and `due_ns` of all phases, end to end; query numbers go on, due times count from the start of each phase."""
        query, first = [], 0
        for phase in self.phases:
            query.append(phase.query + first)
            first += phase.queries
        due = [phase.due_ns for phase in self.phases if phase.due_ns is not None]
        sample = np.concatenate([phase.sample for phase in self.phases]).astype(np.int64)
        return {"query": np.concatenate(query), "sample": sample, "due_ns": np.concatenate(due) if due else None}

    def about(self) -> dict[str, Any]:
        """What a traffic file says beside its columns."""
        logged = np.concatenate([phase.logged for phase in self.phases])
        return {
            "assay_traffic": FORMAT,
            "config": {
                "qsl_total": self.total,
                "qsl_perf": self.loaded,
                "settings": {
                    name: value
                    for name, value in loadgen.as_names(self.requested).items()
                    if value != loadgen.as_names(loadgen.Requested())[name] or name in ("scenario", "mode")
                },
            },
            "phases": [
                {
                    "mode": phase.mode,
                    "loaded_set": index,
                    "queries": phase.queries,
                    "samples": len(phase.sample),
                    "generated_query_duration_ns": phase.duration_ns,
                }
                for index, phase in enumerate(self.phases)
            ],
            "loaded_sets": [phase.loaded.tolist() for phase in self.phases],
            "accuracy_log_seq_ids": np.flatnonzero(logged).tolist(),
        }


def from_file(file: Path) -> Made:
    """The traffic of the settings in `file`: an object with qsl_total, qsl_perf and settings, or one that has such an object under
    `config`. Raises MissingError, DataError or UsageError."""
    config = _config(file)
    counts = []
    for name in ("qsl_total", "qsl_perf"):
        count = config.get(name, config.get("qsl_total"))
        if type(count) is not int or count < 1:
            raise DataError(f"{file}: {name} is {count!r}", "give the number of samples, a whole number of 1 or more")
        counts.append(count)
    settings = config.get("settings")
    if not isinstance(settings, dict):
        raise DataError(f"{file}: no object `settings`", "name LoadGen's TestSettings in it")
    for name in loadgen.as_names(loadgen.Requested()):
        if name in config:
            raise UsageError(f"{file}: {name} stands beside `settings`, where it has no effect", "move it into `settings`")
    try:
        return generate(loadgen.from_names(settings), *counts)
    except UsageError as error:
        raise UsageError(f"{file}: {error}", error.cure) from None


def _config(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8-sig"), object_pairs_hook=partial(_once, file))
    except UnicodeDecodeError:
        raise DataError(f"--settings: {file} is not UTF-8 text", "give a JSON file") from None
    except OSError as error:
        raise MissingError(f"--settings: {file} cannot be read: {error.strerror}", "give an existing file") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{file}:{error.lineno}: not JSON: {error.msg}", "give a JSON object with qsl_total, qsl_perf and settings"
        ) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, lists in lists in lists
        raise DataError(f"{file}: not settings: {error}", "give a JSON object with qsl_total, qsl_perf and settings") from None
    if isinstance(found, dict) and isinstance(found.get("config"), dict):
        found = found["config"]
    if not isinstance(found, dict):
        raise DataError(f"{file}: not an object", "give a JSON object with qsl_total, qsl_perf and settings")
    return found


def _once(file: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys are all different."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{file}: {twice} is given twice", "keep one of the two")
    return found


def generate(requested: loadgen.Requested, total: int, loaded: int) -> Made:
    """What LoadGen would ask of a library of `total` samples of which it may load `loaded` at a time.

    Raises UsageError for settings that have no traffic (find-peak in other scenarios than Server, and all that LoadGen crashes on).
    """
    asked = loadgen.with_test05(requested)
    _refuse(asked, total, asked.performance_sample_count_override or loaded)
    scenario: Scenario = plugins.load("scenarios", loadgen.SCENARIOS[asked.scenario]).create()
    phases: list[MadePhase] = []
    for mode in _PARTS.get(asked.mode, ("performance",)):
        settings = replace(loadgen.played(asked, total, loaded, mode), max_queries=0, max_duration_ns=0, max_async=0)
        if mode == "performance" and settings.issue != "unique":
            _refuse_too_large(settings, settings.samples_per_query if asked.scenario == "MultiStream" else 1)
        traffic = planned(scenario, settings, total)
        expected = accuracy_log.expected(loadgen.effective(asked, total, loaded)) if mode == "performance" else 0
        phases += _split(traffic, settings, expected, sum(len(phase.sample) for phase in phases))
    return Made(asked, total, loaded, tuple(phases))


def _refuse(asked: loadgen.Requested, total: int, performance: int) -> None:
    if asked.mode == "FindPeakPerformance" and asked.scenario != "Server":
        raise UsageError(f"find-peak is not for {asked.scenario}", "LoadGen searches in scenario Server only")
    if asked.performance_issue_unique and asked.scenario == "Offline" and performance > total:
        raise UsageError(
            f"unique issue of {performance:,} samples where the library has {total:,}: LoadGen reads beyond its list", "lower qsl_perf"
        )
    if asked.server_num_issue_query_threads:
        raise UsageError("server_num_issue_query_threads is not for Python", "LoadGen itself hangs on it; leave it at 0")
    rate = loadgen.target_qps(asked)
    if not SLOWEST <= rate <= FASTEST:
        raise UsageError(f"{rate:g} queries/s expected", f"give a rate from {SLOWEST:g} to {FASTEST:g}, or a latency that is its inverse")


def _refuse_too_large(settings: Settings, width: int) -> None:
    """Raises UsageError for more traffic than fits into memory, before it is made. `width`: samples of a query."""
    rows = width * max(settings.min_queries, settings.target_qps * settings.min_duration_ns / SECOND_NS)
    needed, free = rows * ROW_BYTES, psutil.virtual_memory().available
    if needed > free:
        raise UsageError(
            f"about {rows:,.0f} samples need {needed / 1e9:,.1f} GB, {free / 1e9:.1f} GB are free",
            "ask for fewer: a shorter min_duration_ms, a lower rate or min_query_count",
        )


def planned(scenario: Scenario, settings: Settings, total: int) -> Traffic:
    """What LoadGen makes beforehand, no more and no less; closed loops of ours make it chunk by chunk. Raises UsageError."""
    traffic = scenario.traffic(settings, total)
    wanted = sum(part.queries * part.samples_per_query for part in traffic.parts)
    pieces, rows = [traffic], len(traffic.sample)
    while rows < wanted and traffic.more is not None:
        pieces.append(traffic.more(wanted - rows))
        rows += len(pieces[-1].sample)
    due = None if traffic.due_ns is None else np.concatenate([_some(piece.due_ns) for piece in pieces])[:wanted]
    query, sample = (np.concatenate([getattr(piece, name) for piece in pieces])[:wanted] for name in ("query", "sample"))
    return replace(traffic, query=query, sample=sample, due_ns=due, more=None)


def _some(due: Int64 | None) -> Int64:
    assert due is not None
    return due


def _split(traffic: Traffic, settings: Settings, expected: int, first: int) -> list[MadePhase]:
    """One phase for each loaded set; query numbers and due times count from its start."""
    phases, row = [], 0
    for part in traffic.parts:
        rows = slice(row, row + part.queries * part.samples_per_query)
        query = traffic.query[rows]
        due = None if traffic.due_ns is None else traffic.due_ns[rows]
        count = len(query)
        logged = np.ones(count, np.bool_)
        if settings.mode == "performance":
            logged = accuracy_log.selected(settings.accuracy_log, expected, count, first + row)
        phases.append(
            MadePhase(
                settings.mode,
                part.indices,
                query - query[:1],
                traffic.sample[rows],
                None if due is None else due - due[:1],
                part.duration_ns,
                logged,
            )
        )
        row = rows.stop
    return phases
