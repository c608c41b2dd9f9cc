"""What many machines measured: their qualification.json and run.json below a folder. What cannot be used is listed with the reason."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import store
from harness.core import Run
from harness.errors import AssayError, MissingError
from harness.history import run_figures, series_key
from harness.qualifying import state
from harness.qualifying.baseline import judged
from harness.qualifying.check import Better, Qualification

RUN = "run"
"""In place of a level where it is a plain run."""

_SETTINGS = {"cpu": ("governor",), "gpus": ("power.limit",)}
"""Parts of the hardware that can be set: a machine of the same make with another setting is in the same group, and named for it."""

_OWN = ("hostname", "uuid", "git")
"""What differs from machine to machine by right."""

_KINDS = (state.FILE, store.RUN_FILE)


@dataclass(frozen=True, slots=True)
class Value:
    """One figure: `better` says which way is good; `value` is in `unit`."""

    name: str
    unit: str
    better: Better
    value: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What one file says.

    machine        host name; `identity` tells it from every other machine, by its serial numbers where they are known
    level          of the qualification, or `RUN`
    kind           what the machine is made of, `subject` what ran on it: both have to be equal to be compared
    configuration  what can be set or installed, flat: name -> value
    verdict        its own; `failed`: reason codes of the findings that failed
    """

    file: str
    machine: str
    identity: str
    level: str
    kind: Mapping[str, Any]
    subject: Mapping[str, Any]
    configuration: Mapping[str, str]
    verdict: str
    failed: tuple[str, ...]
    started_utc: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Unread:
    """A file that does not count, and why."""

    file: str
    reason: str


def read(paths: Iterable[Path]) -> tuple[list[Measured], list[Unread]]:
    """Of every file below `paths`, each once. Raises MissingError for a path that is not there."""
    found: list[Measured] = []
    unread: list[Unread] = []
    for file in sorted({file.resolve(): file for path in paths for file in _files(path.expanduser())}.values()):
        one = _read(file)
        if isinstance(one, Measured):
            found.append(one)
        else:
            unread.append(one)
    return found, unread


def _files(path: Path) -> Iterator[Path]:
    """Of a folder that is one result, that result alone: what else lies in it belongs to it."""
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        raise MissingError(f"{path} is not there", "name the folder with the machines' results")
    for folder, inner, names in os.walk(path):
        whole = [name for name in (*_KINDS, state.PARTIAL) if name in names][:1]
        if whole:
            inner.clear()
        yield from (Path(folder) / name for name in whole or names)


def _read(file: Path) -> Measured | Unread:
    try:
        if file.name == state.PARTIAL:
            return Unread(str(file), "not finished: go on with it by `assay qualify --resume`")
        if file.suffix != ".json":
            return Unread(str(file), "no JSON")
        record = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            return Unread(str(file), "neither a qualification nor a run")
        if record.get("kind") == "qualification":
            return of_qualification(state.read(file)[0], str(file))
        if "run_id" in record:
            return _of_run(store.read_run(file), str(file))
    except (OSError, ValueError) as error:
        return Unread(str(file), f"cannot be read: {error}")
    except AssayError as error:
        return Unread(str(file), str(error).removeprefix(f"{file} "))
    except (KeyError, TypeError, AttributeError) as error:
        return Unread(str(file), f"does not have what it should: {type(error).__name__} {error}")
    return Unread(str(file), "neither a qualification nor a run")


def of_qualification(found: Qualification, file: str) -> Measured:
    """Its figures are those that a baseline would judge: what a check has judged itself, such as noise, says nothing by its rank.
    Raises KeyError, TypeError or AttributeError where the machine is not described."""
    machine = found.machine
    values = [
        Value(each.name, each.unit, each.better, each.measured)
        for each in found.findings
        if each.measured is not None and each.better is not None and judged(each) and each.outcome != "SKIP"
    ]
    return Measured(
        file=file,
        machine=str(machine["hostname"]),
        identity=_identity(str(machine["hostname"]), found.serials.values(), file),
        level=found.level,
        kind=_made_of(machine["hardware"]),
        subject=found.subject,
        configuration=configuration(machine["hardware"], machine.get("lasting") or {}),
        verdict=found.verdict,
        failed=tuple(dict.fromkeys(each.code for each in found.of("FAIL"))),
        started_utc=found.started_utc,
        values=tuple(values),
    )


def _of_run(run: Run, file: str) -> Measured | Unread:
    """Headline and accuracy: the other figures of a run say the same once more."""
    if why := run_figures.why_not(run):
        return Unread(file, f"a run that is no result: {why}")
    parts = series_key.parts(run)
    figures = [each for each in run_figures.figures(run) if each.headline or each.name.startswith("accuracy_")]
    made, hostname = series_key.hardware(run.conditions), str(run.conditions.get("hostname") or "unknown")
    serials = [str(gpu["uuid"]) for gpu in run.conditions.get("gpus") or () if gpu.get("uuid")]
    return Measured(
        file=file,
        machine=hostname,
        identity=_identity(hostname, serials, file),
        level=RUN,
        kind=_made_of(made),
        subject={name: value for name, value in parts.items() if name not in ("machine", "driver", "environment")},
        configuration=configuration(made, series_key.lasting(run.conditions)),
        verdict="VALID",
        failed=(),
        started_utc=run.started_utc,
        values=tuple(Value(each.name, each.unit, each.better, each.value) for each in figures),
    )


def _identity(hostname: str, serials: Iterable[str], file: str) -> str:
    """Copies of one disk image share a serial number, machines that nobody named share a host name: both together are needed."""
    known = sorted(serials)
    return "\n".join([hostname, *known]) if known or hostname not in ("", "localhost", "unknown") else file


def _made_of(hardware: Mapping[str, Any]) -> dict[str, Any]:
    cpu = {name: value for name, value in hardware["cpu"].items() if name not in _SETTINGS["cpu"]}
    gpus = [{name: value for name, value in gpu.items() if name not in _SETTINGS["gpus"]} for gpu in hardware["gpus"]]
    return {**hardware, "cpu": cpu, "gpus": gpus}


def configuration(hardware: Mapping[str, Any], lasting: Mapping[str, Any]) -> dict[str, str]:
    """What may differ between machines of one make and should not, by dotted names; numbers as texts."""
    listed = {"cpu": hardware.get("cpu") or {}, "gpus": hardware.get("gpus") or [], **lasting}
    return {name: value for name, value in _flat(listed, "") if not any(part in _OWN for part in name.split("."))}


def _flat(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{name}.{index}")
    else:
        yield name, str(value)
