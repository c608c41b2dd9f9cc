"""What a run would do: settings, queries, time, memory, and what is missing. Looks things up; measures and fetches nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from harness import batching_facts, conditions, inputs, models, plugins, rules, units
from harness.bench import batching_policy, beside_the_round
from harness.blank import BlankTask
from harness.config import FIELDS, RunConfig
from harness.core import SECOND_NS, BackendOptions, Model, Scenario, Settings, Task
from harness.errors import ExitCode, MissingError
from harness.instances import auto as auto_workers
from harness.instances.yardstick import Work
from harness.table import ROW_BYTES

_UNKNOWN_BOUND_NS = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """Lines of name and text; `missing` is what stands in the way, each with its cure."""

    rows: tuple[tuple[str, str], ...]
    changed: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]
    beside: str = ""

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.MISSING if self.missing else ExitCode.OK

    def text(self) -> str:
        lines = [f"{name:<16}{text}" for name, text in self.rows if text]
        lines += ["", self.beside] if self.beside else []
        lines += (
            ["", "settings that differ from their defaults:", *(f"  {name:<20}{value}" for name, value in self.changed)]
            if self.changed
            else []
        )
        lines += ["", *(f"missing: {text}" for text in self.missing)] if self.missing else ["", "nothing is missing"]
        return "\n".join(lines)


@dataclass(slots=True)
class _Found:
    """What could be had without fetching anything. `asks_model` is False for a backend that is no model."""

    scenario: Scenario
    asks_model: bool = True
    model: Model | None = None
    task: Task | None = None


def make(config: RunConfig) -> Plan:
    """The plan of a run. Raises UsageError for settings that contradict each other; what is missing goes into the plan."""
    missing: list[str] = []
    found = _look_up(config, missing)
    bound = found.task.latency_bound_ns if found.task else _UNKNOWN_BOUND_NS
    played = rules.resolve(config, found.scenario, bound, sample_count=len(found.task.samples) if found.task else None)
    rows = (
        ("runs", f"{config.scenario} · {config.task} · {config.backend} · rules {config.rules}"),
        ("model", _model(config, found)),
        ("data", _data(found)),
        ("measures", _measures(played, found.scenario)),
        ("queries", _queries(config, played, found)),
        ("judged by", _judged(played, found.scenario)),
        ("seeds", f"qsl {played.seeds.qsl}, samples {played.seeds.sample_index}, schedule {played.seeds.schedule}"),
        ("expected time", _time(config, played, found)),
        ("memory", _memory(config, played, found)),
        ("batching", batching_facts.told({"resolved": {"batching": asdict(batching_policy(config))}})),
        ("workers", _workers(config, played, found)),
    )
    beside = beside_the_round(config, found.scenario, played, len(found.task.samples)) if found.task else ""
    return Plan(rows, _changed(config), tuple(missing), beside)


def _look_up(config: RunConfig, missing: list[str]) -> _Found:
    found = _Found(plugins.load("scenarios", config.scenario).create())
    info, precision, options = plugins.find_backend(config.backend, "--backend")
    for plugin in (info, plugins.find("tasks", config.task, "--task"), plugins.find("reports", "terminal")):
        if plugin.missing:
            missing.append(f"{plugin.kind} {plugin.name} needs {', '.join(plugin.missing)}; {plugins.install(plugin.missing)}")
    if missing:
        return found
    chosen = BackendOptions(precision, config.device, options=options)
    backend = plugins.load("backends", plugins.split_backend(config.backend).plugin).create(chosen)
    if backend.needs_inputs:
        _look_up_model(config, found, missing)
    else:
        found.asks_model, found.task = False, BlankTask(config.task)
    return found


def _unsaid(line: str) -> None:
    """Nothing is fetched, so there is nothing to say about it."""


def _look_up_model(config: RunConfig, found: _Found, missing: list[str]) -> None:
    """Model and task from this machine alone."""
    cache = models.default_cache()
    try:
        found.model = inputs.find_model(config, cache=cache, offline=True, say=_unsaid)
        found.task = inputs.make_task(config, found.model, cache=None)
        info, precision, _ = plugins.find_backend(config.backend)
        inputs.calibration_for(config, found.task, precision, info.calibrated)
    except MissingError as error:
        missing.append(f"{error}; {error.cure}" if error.cure else str(error))


def _model(config: RunConfig, found: _Found) -> str:
    if not found.asks_model:
        return "none: measures the harness"
    if found.model is None:
        return f"{config.model or 'the default of the task'} (not on this machine yet)"
    return f"{found.model.name}: {units.count(found.model.parameters)} parameters, {units.size(found.model.bytes)}"


def _data(found: _Found) -> str:
    if found.task is None:
        return ""
    if not found.asks_model:
        return f"{units.plural(len(found.task.samples), 'sample')} without content"
    comparable = "" if found.task.comparable else ", not comparable with published scores"
    return f"{found.task.data_name}: {units.plural(len(found.task.samples), 'sample')}{comparable}"


def _measures(played: Settings, scenario: Scenario) -> str:
    counted = "query" if scenario.closed_loop or scenario.paced else "sample"
    longest = f", at most {units.seconds(played.max_duration_ns / SECOND_NS)}" if played.max_duration_ns else ""
    return f"at least {units.seconds(played.min_duration_ns / SECOND_NS)} and {units.plural(played.min_queries, counted)}{longest}"


def _queries(config: RunConfig, played: Settings, found: _Found) -> str:
    if found.scenario.closed_loop:
        return "as many as fit: the next is asked when the one before is answered"
    rows = _scheduled_rows(config, played, found)
    if rows is None:
        return f"rate x {units.seconds(played.min_duration_ns / SECOND_NS)} at the rate a probe run finds; --target-qps sets it"
    return f"{units.count(rows)} samples scheduled at {units.rate(played.target_qps, 'a second')}"


def _scheduled_rows(config: RunConfig, played: Settings, found: _Found) -> int | None:
    """Rows of the schedule, None while the rate or the number of samples is unknown, or where the schedule has no end of its own."""
    if found.scenario.closed_loop or config.target_qps is None or found.task is None:
        return None
    return len(found.scenario.traffic(played, len(found.task.samples)).query)


def _judged(played: Settings, scenario: Scenario) -> str:
    if not scenario.closed_loop and not scenario.paced:
        return "samples a second; no latency is judged"
    bound = f" within {units.time_ns(played.latency_bound_ns)}" if played.latency_bound_ns and scenario.paced else ""
    stopping = "early stopping required" if played.require_early_stopping else "early stopping reported, not required"
    return f"p{100 * played.percentile:g}{bound}, {stopping}"


def _time(config: RunConfig, played: Settings, found: _Found) -> str:
    measured = units.seconds(played.min_duration_ns / SECOND_NS)
    probe = "a probe of a few seconds, " if found.scenario.needs_rate and config.target_qps is None else ""
    checked = ", an accuracy pass where not every sample was asked" if config.accuracy and found.asks_model else ""
    return f"model load, up to {units.seconds(config.warmup)} warm-up, {probe}{measured} or more measured{checked}"


def _memory(config: RunConfig, played: Settings, found: _Found) -> str:
    """Weights once a worker, the tokenised samples, and the ledger where its length is known. Activations are not estimated."""
    parts = []
    if found.model:
        parts.append(f"weights {_weights(config, found.model)}")
    if found.task:
        samples = found.task.samples
        parts.append(f"samples {units.size(samples.input_ids.nbytes + samples.token_type_ids.nbytes + samples.offsets.nbytes)}")
    rows = _scheduled_rows(config, played, found)
    parts.append(f"ledger {units.size(rows * ROW_BYTES)}" if rows is not None else f"ledger {ROW_BYTES} B a sample asked")
    return ", ".join(parts) + ", and the runtime's own"


def _weights(config: RunConfig, model: Model) -> str:
    return f"{units.size(model.bytes)} a worker" if config.workers == "auto" else units.size(model.bytes * config.workers)


def _workers(config: RunConfig, played: Settings, found: _Found) -> str:
    """What `--workers auto` would do; nothing where their number is given."""
    if config.workers != "auto":
        return ""
    if found.task is None:
        return "auto: what an earlier search found, or a search"
    work = Work(found.scenario, played, found.task.samples, batching_policy(config))
    return auto_workers.plan(auto_workers.Case(config, found.model, found.task, work, conditions.collect()))


def _changed(config: RunConfig) -> tuple[tuple[str, str], ...]:
    defaults = {name: field.default for name, field in RunConfig.model_fields.items()}
    return tuple((name, str(getattr(config, name))) for name in FIELDS if getattr(config, name) != defaults[name])
