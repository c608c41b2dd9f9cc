"""How a user's own file is to be read and judged: from flags, and from a YAML file that names the data. Flags win.

Keys of the YAML file: data (path relative to the YAML file), name, kind, columns (role to column), labels (label of the data to label of
the model), positive, metric, max_length, latency_bound. Values are taken as they are written: `no` is the text "no", not a truth value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

import yaml

from harness.core import MS_NS
from harness.datafiles import decode, read_bytes
from harness.errors import MissingError, UsageError
from harness.own.columns import Form, Role
from harness.own.table import FORMATS
from harness.suggest import advice
from harness.units import parse_ms

Kind = Literal["classification", "regression", "question-answering"]
KINDS: tuple[Kind, ...] = get_args(Kind)

YAML = (".yaml", ".yml")
_UNSAFE = re.compile(r"[^\w.]+")  # a name is part of file names
KEYS = ("data", "name", "kind", "columns", "labels", "positive", "metric", "max_length", "latency_bound")

METRICS: Mapping[str, tuple[Kind, ...]] = {
    "accuracy": ("classification",),
    "f1": ("classification", "question-answering"),
    "matthews": ("classification",),
    "pearson": ("regression",),
    "spearman": ("regression",),
    "exact_match": ("question-answering",),
}
"""Metrics that can be chosen, and the kinds of task that have them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What was said; None and empty where nothing was. `origins` is where each setting was written, by key (columns: by role)."""

    data: Path
    name: str
    kind: Kind | None = None
    columns: Mapping[Role, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    positive: str | None = None
    metric: str | None = None
    max_length: int | None = None
    latency_bound_ns: int | None = None
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def form(self) -> Form | None:
        """Sentences or spans, None where neither kind nor metric nor a mapping of labels says so."""
        if self.labels or self.positive:
            return "sentences"
        kinds = {self.kind} if self.kind else set(METRICS[self.metric]) if self.metric else set(KINDS)
        if "question-answering" not in kinds:
            return "sentences"
        return "spans" if kinds == {"question-answering"} else None


@dataclass(frozen=True, slots=True)
class Said:
    """A value and where it was written."""

    value: Any
    origin: str


def read_settings(source: Path, flags: Mapping[str, Any], data: Path | None = None) -> Settings:
    """Settings of `source`, a YAML file or a data file, with `flags` over them: text_column, pair_column, label_column, question_column,
    context_column, answer_column, labels (a mapping, or "no=negative,yes=positive"), metric, positive; None is not given.

    `data` is another file with the same columns, in place of the one that the YAML file names. Raises UsageError for unknown keys and
    wrong values, MissingError for a file that is not there.
    """
    said = dict(_from_yaml(source)) if source.suffix.lower() in YAML else {"data": Said(str(source), "--task")}
    if data is not None:
        said["data"] = Said(str(_other(source, data)), "--data")
    said |= _from_flags(flags)
    settings = Settings(
        data=_data(source, said),
        name=_UNSAFE.sub("-", _get(said, "name", _text) or source.stem).strip("-.") or "own",
        kind=cast(Kind | None, _get(said, "kind", lambda value: _chosen(str(value).replace("_", "-"), KINDS))),
        columns={cast(Role, key.removeprefix("columns.")): _text(v.value) for key, v in said.items() if key.startswith("columns.")},
        labels=_get(said, "labels", _labels) or {},
        positive=_get(said, "positive", _text),
        metric=_get(said, "metric", lambda value: _chosen(str(value).replace("-", "_"), tuple(METRICS))),
        max_length=_get(said, "max_length", _length),
        latency_bound_ns=_get(said, "latency_bound", _bound),
        origins={key.removeprefix("columns."): value.origin for key, value in said.items()},
    )
    _agree(settings, source)
    return settings


def _agree(settings: Settings, source: Path) -> None:
    """Kind, metric and labels go together."""
    where = settings.origins.get("metric", str(source))
    if settings.metric and settings.kind and settings.kind not in METRICS[settings.metric]:
        fitting = [metric for metric, kinds in METRICS.items() if settings.kind in kinds]
        raise UsageError(f"{where}: {settings.kind} has no metric {settings.metric}", f"Choose one of {', '.join(fitting)}.")
    kinds = {settings.kind} if settings.kind else set(METRICS[settings.metric]) if settings.metric else {"classification"}
    for key in ("labels", "positive"):
        if getattr(settings, key) and "classification" not in kinds:
            raise UsageError(f"{settings.origins[key]}: only classification has labels", f"Leave {key} out, or set kind to classification.")


# ------------------------------------------------------------------------------------------------------------------------- flags


def _from_flags(flags: Mapping[str, Any]) -> dict[str, Said]:
    found = {}
    for name, value in flags.items():
        if value is not None:
            role = name.removesuffix("_column")
            found[f"columns.{role}" if role != name else name] = Said(value, "--" + name.replace("_", "-"))
    return found


def _other(source: Path, data: Path) -> Path:
    if source.suffix.lower() not in YAML:
        raise UsageError(f"--data: {source} is the data already", "Leave --data out, or name a YAML file with --task.")
    if not data.is_file():
        raise UsageError(f"--data: {data} is not a file", f"{source} reads one file: {', '.join('*' + suffix for suffix in FORMATS)}.")
    return data.absolute()


# -------------------------------------------------------------------------------------------------------------------------- YAML


def _from_yaml(file: Path) -> Iterator[tuple[str, Said]]:
    """Settings by key, columns as `columns.ROLE`. Raises UsageError, with the line, for what is no mapping of known keys."""
    for key, line, node in _pairs(file, _root(file), ""):
        if key not in KEYS:
            raise UsageError(f"{file}:{line}: there is no setting {key}", advice(key, KEYS, "settings"))
        if key == "columns":
            for role, at, value in _pairs(file, node, key):
                if role not in get_args(Role):
                    raise UsageError(f"{file}:{at}: there is no column for {role}", advice(role, get_args(Role), "columns"))
                yield f"columns.{role}", Said(_scalar(file, value, f"columns.{role}"), f"{file}:{at}: columns.{role}")
        elif key == "labels":
            labels = {label: _scalar(file, value, f"labels.{label}") for label, _, value in _pairs(file, node, key)}
            yield key, Said(labels, f"{file}:{line}: labels")
        else:
            yield key, Said(_scalar(file, node, key), f"{file}:{line}: {key}")


def _root(file: Path) -> yaml.Node:
    try:
        node = yaml.compose(decode(read_bytes(file), file), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{file}:{line}: not YAML: {error.problem}", "Write one `key: value` per line.") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"{file}: not YAML: {error}", "Write one `key: value` per line.") from None
    if node is None:
        raise UsageError(f"{file}: says nothing", "Name at least the data, as in `data: pairs.csv`.")
    return node


def _pairs(file: Path, node: yaml.Node, key: str) -> Iterator[tuple[str, int, yaml.Node]]:
    """Key, line and value of each entry of a mapping."""
    if not isinstance(node, yaml.MappingNode):
        what = f"{key} is no mapping" if key else "not a mapping of settings"
        raise UsageError(f"{file}:{node.start_mark.line + 1}: {what}", "Write one `name: value` per line.")
    seen: dict[str, int] = {}
    for name, value in node.value:
        line = name.start_mark.line + 1
        text = _scalar(file, name, "a key")
        if text in seen:
            raise UsageError(f"{file}:{line}: {text} is given twice (first in line {seen[text]})", "Keep one of the two.")
        seen[text] = line
        yield text, line, value


def _scalar(file: Path, node: yaml.Node, key: str) -> str:
    """A value as it is written."""
    if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
        what = "is empty" if isinstance(node, yaml.ScalarNode) else "is not a single value"
        raise UsageError(f"{file}:{node.start_mark.line + 1}: {key} {what}", "Write `key: value`.")
    return str(node.value)


# ------------------------------------------------------------------------------------------------------------------------ values


def _get(said: Mapping[str, Said], key: str, parse: Callable[[Any], Any]) -> Any:
    """A parsed value, None where nothing was said. Raises UsageError, with its origin, for one that `parse` refuses."""
    if key not in said:
        return None
    try:
        return parse(said[key].value)
    except _Refused as refused:
        raise UsageError(f"{said[key].origin}: {refused.what}", refused.cure) from None


class _Refused(Exception):
    """A wrong value; where it was written is not known here."""

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(what)
        self.what, self.cure = what, cure


def _data(source: Path, said: Mapping[str, Said]) -> Path:
    if "data" not in said:
        raise UsageError(f"{source}: names no data", "Add `data: FILE`, relative to the YAML file, or give --data FILE.")
    where = said["data"].origin
    path = source.parent / Path(said["data"].value).expanduser() if where.endswith(": data") else Path(said["data"].value)
    if path.suffix.lower() not in FORMATS:
        raise UsageError(
            f"{where}: {path.name} is none of {', '.join('*' + suffix for suffix in FORMATS)}", "Save the data in one of these."
        )
    if not path.is_file():
        raise MissingError(f"{where}: {path} is not there", "Give an existing file; a path in a YAML file is relative to that file.")
    return path


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _Refused("is empty", "Give a name.")
    return value


def _chosen(value: str, options: tuple[str, ...]) -> str:
    if value not in options:
        raise _Refused(f"{value!r} is not one of the choices", advice(value, options, "choices"))
    return value


def _labels(value: Any) -> dict[str, str]:
    """A mapping, or text such as "no=negative,yes=positive"."""
    cure = "Write --labels no=negative,yes=positive: a label of the data, `=`, a label of the model."
    if isinstance(value, str):
        parts = [part.partition("=") for part in value.split(",")]
        if any(not (label.strip() and equals and name.strip()) for label, equals, name in parts):
            raise _Refused(f"{value!r} is not a mapping of labels", f"{cure} A YAML file takes labels that hold , or =.")
        pairs = [(label.strip(), name.strip()) for label, _, name in parts]
        if len(dict(pairs)) < len(pairs):
            raise _Refused(f"{value!r} maps a label twice", cure)
        return dict(pairs)
    if not isinstance(value, Mapping):
        raise _Refused(f"{value!r} is not a mapping of labels", cure)
    return {str(label).strip(): str(name).strip() for label, name in value.items()}


def _length(value: Any) -> int:
    if not re.fullmatch(r"\d{1,9}", str(value)) or int(value) < 1:
        raise _Refused(f"{value!r} is no number of tokens", "Give a whole number of 1 or more.")
    return int(value)


def _bound(value: Any) -> int:
    try:
        bound = parse_ms(str(value))
    except ValueError as error:
        raise _Refused(f"{value!r}: {error}", "Give a time such as 100ms.") from None
    if bound <= 0:
        raise _Refused(f"{value!r} is not above 0", "Give a time such as 100ms.")
    return round(bound * MS_NS)
