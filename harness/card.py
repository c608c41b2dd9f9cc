"""What every readable report says about a run, as text without layout: the verdict, the number and all that qualifies it.

A number that is no result is never given bare: `counts` says whether it is one, and a percentile carries what it needs to be certain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from harness import accuracy_words, batching_facts, steady, tournament_words, units
from harness.core import Reason, Run
from harness.early_stopping import required
from harness.errors import ExitCode

VALID, INVALID, MISSED, FAILED, INCOMPLETE = "VALID", "INVALID", "ACCURACY MISSED", "FAILED", "INCOMPLETE"

UNSTABLE = "UNSTABLE"
"""A mark, no verdict: the number stands, and was not the same from begin to end."""

UNVERIFIED = "unverified: not reviewed by MLCommons, not an MLPerf result"

_EXTREMES = ("mean", "min", "max")


@dataclass(frozen=True, slots=True)
class Headline:
    """The number of the run. `struck`: it is below its accuracy target and no result at all; `note` qualifies it, or is empty."""

    name: str
    text: str
    note: str
    struck: bool


@dataclass(frozen=True, slots=True)
class Card:
    """A run in words. `rows` are name and text, in order; `latencies` likewise; every figure has its unit and its n."""

    word: str
    title: str
    headline: Headline | None
    marks: tuple[str, ...]
    reasons: tuple[Reason, ...]
    rows: tuple[tuple[str, str], ...]
    latencies: tuple[tuple[str, str], ...]
    machine: str
    warnings: tuple[str, ...]
    files: tuple[str, ...]
    unstable: str = ""
    """Why the run is UNSTABLE; empty where it is not."""

    @property
    def counts(self) -> bool:
        """The headline number is a result."""
        return self.word == VALID

    @property
    def words(self) -> str:
        """The verdict as it is shown: an unstable run is never called VALID without saying so."""
        return f"{self.word} · {UNSTABLE}" if self.unstable else self.word


def make(run: Run) -> Card:
    """The card of a run, stored or just finished."""
    word = _word(run)
    rows = (
        ("accuracy", accuracy_words.score(run)),
        ("against FP32", accuracy_words.against_fp32(run)),
        ("early stopping", _early_stopping(run)),
        ("steady", _steady(run)),
        ("throughput", _throughput(run)),
        ("padding", _padding(run)),
        ("arithmetic", _arithmetic(run)),
        ("model", _model(run)),
        ("traffic", _arrivals(run)),
        ("workers", _workers(run)),
        ("find-peak", _find_peak(run)),
        ("official LoadGen", _official(run)),
        ("counted", _counted(run)),
        ("warm-up", _warm_up(run)),
        ("time", _timings(run)),
    )
    return Card(
        word=word,
        title=_title(run),
        headline=_headline(run, word),
        marks=_marks(run),
        reasons=tuple(Reason(each["code"], each["text"], each["cure"]) for each in run.verdict.get("reasons", ())),
        rows=tuple((name, text) for name, text in rows if text),
        latencies=tuple(_latencies(run)),
        machine=machine(run.conditions),
        warnings=tuple(run.warnings),
        files=tuple(run.files.values()),
        unstable=_steady(run) if _is_unstable(run) else "",
    )


def one_line(text: str) -> str:
    """Messages of foreign libraries may hold several lines; in a card they are one."""
    return " ".join(text.split())


def _word(run: Run) -> str:
    """The exit code decides; a run that says 0 without a valid verdict is INVALID all the same."""
    by_code = {ExitCode.INTERRUPTED: INCOMPLETE, ExitCode.FAILED: FAILED, ExitCode.ACCURACY: MISSED, ExitCode.INVALID: INVALID}
    if run.exit_code in by_code:
        return by_code[ExitCode(run.exit_code)]
    return VALID if run.complete and run.exit_code == ExitCode.OK and run.verdict.get("valid") else INVALID


def _title(run: Run) -> str:
    parts = [run.config.get("scenario"), run.config.get("task"), run.config.get("backend"), (run.model or {}).get("name")]
    return " · ".join(str(part) for part in parts if part)


def _headline(run: Run, word: str) -> Headline | None:
    metric = run.verdict.get("metric")
    if not metric or metric.get("value") is None:
        return None
    notes = [] if word in (VALID, MISSED) else ["not a valid result"]
    if metric["unit"] == "ns" and (more := _more_needed(run.early_stopping)):
        notes.append(more)
    notes.append(f"n = {units.plural(run.counts.get('queries', 0), 'query')}")
    return Headline(metric["name"].replace("_", " "), units.quantity(metric["value"], metric["unit"]), ", ".join(notes), word == MISSED)


def _marks(run: Run) -> tuple[str, ...]:
    marks = [UNSTABLE] if _is_unstable(run) else []
    if run.config.get("mode") == "accuracy":
        marks.append("accuracy run: answers logged, no speed judged")
    if run.config.get("rules") == "quick":
        marks.append("quick run")
    marks += _unusual(run)
    if run.backend.get("answers") is False:
        marks.append("no model: measures the harness")
    elif run.accuracy is None:
        marks.append("accuracy not checked")
    elif run.accuracy.get("limited"):
        marks.append(f"accuracy on {units.plural(run.accuracy['samples'], 'example')} only")
    data = run.conditions.get("data") or {}
    if run.model is not None and data.get("comparable") is False:
        marks.append(f"{data.get('name', 'sample set')}, not comparable")
    return (*marks, UNVERIFIED)


def _unusual(run: Run) -> list[str]:
    """What a reader would not expect: traffic, samples or a gate that are not the usual ones."""
    config, data = run.config, run.conditions.get("data") or {}
    played = (config.get("resolved") or {}).get("performance_sample_count", 0)
    said = []
    if run.traffic.get("replayed"):
        said.append(f"replayed traffic, {units.plural(run.counts.get('queries', 0), 'query')}")
    if config.get("issue") == "same":
        said.append("one sample asked again and again")
    elif config.get("issue") == "unique":
        said.append("each sample asked once")
    if 0 < played < data.get("samples", 0):
        said.append(f"samples drawn from {units.count(played)} of {units.count(data['samples'])}")
    if run.accuracy is not None and config.get("reference_score") is not None:
        said.append("reference score given by hand")
    if run.accuracy is not None and (config.get("accuracy_target") or 1.0) < 0.99:
        said.append(f"accuracy target lowered to {units.share(config['accuracy_target'])} of the reference")
    return said


def sample_size(run: Run) -> int:
    """How many latencies there are: one a query, and one a sample where a single query holds them all (Offline)."""
    queries = run.counts.get("queries", 0)
    return queries if queries > 1 else max(queries, run.counts.get("samples", 0))


def _latencies(run: Run) -> list[tuple[str, str]]:
    """Percentiles, each with what it needs to be certain, and the extremes."""
    n = sample_size(run)
    noun = "query" if n == run.counts.get("queries", 0) else "sample"
    bounds = _bounds(run)
    return [(name, _latency(name, value, n, noun, bounds.get(name, ""))) for name, value in run.latency_ns.items()]


def _bounds(run: Run) -> dict[str, str]:
    """What is said behind the percentile that must meet a bound."""
    bound = run.traffic.get("latency_bound") or {}
    return {f"p{100 * bound['percentile']:g}": f" (bound {units.time_ns(bound['ns'])})"} if bound.get("ns") else {}


def _latency(name: str, value_ns: int | None, n: int, noun: str, bound: str) -> str:
    """LoadGen's early stopping gives an estimate of percentile p from h(1) + 1 queries on; below that it is not certain."""
    parts = [] if value_ns is None else [units.time_ns(value_ns) + bound]
    if name not in _EXTREMES and (more := required(1, _share(name)) - n) > 0:
        parts.append(_needs(more, noun))
    return ", ".join(parts) or "unknown"


def _share(name: str) -> float:
    """ "p99.9" -> 0.999, exactly as written."""
    return float(Decimal(name.removeprefix("p")) / 100)


def _needs(more: int, noun: str = "query") -> str:
    return f"needs {units.plural(more, f'more {noun}')} to be certain"


def _more_needed(early_stopping: Mapping[str, Any] | None) -> str:
    if not early_stopping or early_stopping["met"]:
        return ""
    return _needs(max(1, early_stopping["needed"] - early_stopping["queries"]))


def _early_stopping(run: Run) -> str:
    return str(run.early_stopping["text"]) if run.early_stopping else ""


def _is_unstable(run: Run) -> bool:
    return bool(run.steady) and not (run.steady or {}).get("stable", True)


def _steady(run: Run) -> str:
    found = steady.read(run.steady)
    return steady.sentence(found) if found is not None else ""


def _throughput(run: Run) -> str:
    names = {"samples_per_second": "samples/s", "queries_per_second": "queries/s", "tokens_per_second": "tokens/s"}
    figures = ((run.throughput.get(name), unit) for name, unit in names.items())
    return " · ".join(units.rate(value, unit) for value, unit in figures if value is not None)


def _padding(run: Run) -> str:
    padding = run.throughput.get("padding_share")
    if padding is None:
        return ""
    computed = "none is computed" if run.backend.get("packed") else f"{units.share(padding)} of all tokens"
    return f"{computed}; batching {batching_facts.told(run.config)}"


def _arithmetic(run: Run) -> str:
    """Operations of real tokens per second of computing, and how far from the machine's limit that is."""
    rate, share = run.throughput.get("operations_per_second"), run.throughput.get("peak_share")
    if rate is None:
        return ""
    text = f"{units.scaled(rate)} operations/s"
    peak = run.conditions.get("peak")
    if share is not None and peak:
        on = f" with {units.plural(peak['threads'], 'thread')}" if run.backend.get("device", "cpu") == "cpu" else ""
        highest = f"{peak['precision'].upper()} peak of {units.scaled(peak['operations_per_second'])}/s{on}"
        text += f", {units.share(share)} of the measured {highest}{'' if peak['quiet'] else ' (measured beside other work)'}"
    wasted = run.throughput.get("operations_padding_share")
    return f"{text}; {units.share(wasted)} of the computed operations were padding" if wasted else text


def _model(run: Run) -> str:
    """Sizes, and the arithmetic that one sample needs."""
    model = run.model or {}
    if model.get("operations_per_sample") is None:
        return ""
    told = [f"{units.scaled(model['parameters'])} parameters", f"{units.size(model['file_bytes'])} on disk"]
    if model.get("bytes_in_memory"):
        told.append(f"{units.size(model['bytes_in_memory'])} of {model['memory']} memory")
    return f"{', '.join(told)}; {units.scaled(model['operations_per_sample'])} operations a sample"


def _arrivals(run: Run) -> str:
    """How the traffic was played: the scenario's rates, and how long after the due time a free worker took a query."""
    headline = (run.verdict.get("metric") or {}).get("name")
    rates = run.traffic.get("rates") or {}
    told = [f"{name.removesuffix('_per_second').replace('_', ' ')} {number}/s" for name, number in _shown(rates, headline)]
    late = run.traffic.get("lateness_ns") or {}
    if late.get("n", 0) > 1:
        told.append(f"taken late by p99 {units.time_ns(late['p99'])} (n = {units.count(late['n'])})")
    return " · ".join(told)


def _shown(rates: Mapping[str, float | None], headline: str | None) -> list[tuple[str, str]]:
    return [(name, units.number(value)) for name, value in rates.items() if value is not None and name != headline]


def _workers(run: Run) -> str:
    """What `--workers auto` chose, and what the others gave."""
    search = (run.conditions.get("instances") or {}).get("search")
    return one_line(tournament_words.text(search)) if search else ""


def _find_peak(run: Run) -> str:
    """What a search for the highest rate came to."""
    search = run.traffic.get("find_peak")
    if not search:
        return ""
    runs = units.plural(len(search["tried"]), "run")
    digits = int(run.config.get("find_peak_decimals") or 0) + 1
    if search["found_qps"] is None:
        return f"not even {search['tried'][0]['target_qps']:,.{digits}f} queries/s met the bound ({runs})"
    failed = [each["target_qps"] for each in search["tried"] if not each["met"]]
    least = f", {min(failed):,.{digits}f} did not" if failed else ""
    return f"{search['found_qps']:,.{digits}f} queries/s met the bound{least} ({runs}, LoadGen's search)"


def _official(run: Run) -> str:
    """What the official LoadGen said of the same run, and where it disagrees with us."""
    official = run.traffic.get("official")
    if not official:
        return ""
    different = official["disagreements"]
    if official["result_validity"] is None:
        return f"{official['version']} made the traffic; an accuracy run has no verdict"
    said = f"{official['version']}: {official['result_validity']}"
    return f"{said}; disagrees: {'; '.join(different)}" if different else f"{said}, agrees with Assay's own verdict and figures"


def _counted(run: Run) -> str:
    told = [units.plural(run.counts.get("queries", 0), "query"), units.plural(run.counts.get("samples", 0), "sample")]
    told += [f"{units.count(run.counts[name])} {name}" for name in ("errors", "lost") if run.counts.get(name)]
    return " · ".join(told)


def _warm_up(run: Run) -> str:
    """What ran before the clock."""
    found = run.conditions.get("warm_up")
    if not found:
        return ""
    unsettled = len(found["unsettled"])
    settled = "all settled" if not unsettled else f"{units.count(unsettled)} of them not settled"
    return f"{units.plural(found['calls'], 'call')} of {units.plural(found['shapes'], 'shape')}, {settled}"


def _timings(run: Run) -> str:
    return " · ".join(f"{name.replace('_', '-')} {units.seconds(value)}" for name, value in run.timings.items() if value is not None)


def machine(conditions: Mapping[str, Any]) -> str:
    """Where it was measured, in one line: processor, cores, GPUs, runtimes, commit."""
    cpu, libraries = conditions.get("cpu") or {}, conditions.get("libraries") or {}
    parts = [cpu.get("model"), units.plural(cpu["usable_cores"], "core") if cpu.get("usable_cores") else None]
    parts += [gpu["name"] for gpu in conditions.get("gpus") or ()]
    parts += [f"{name} {libraries[name]}" for name in ("torch", "onnxruntime") if name in libraries]
    if git := conditions.get("git"):
        parts.append(f"commit {commit(git)}")
    return " · ".join(part for part in parts if part)


def commit(git: Mapping[str, Any]) -> str:
    """ "48e38a763 with changes"."""
    return f"{git['commit'][:9]}{' with changes' if git.get('dirty') else ''}"
