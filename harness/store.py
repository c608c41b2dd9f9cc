"""The result folder: run.json, queries.parquet and the reports of one run.

The folder is made, and tried with a file, before anything is measured. run.json is written last and atomically: a folder without it
is a run that did not finish. What cannot be written there is kept under the system's temporary folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import math
import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.core import RUN_SCHEMA, Columns, Run
from harness.errors import DataError, MissingError

if TYPE_CHECKING:
    import pyarrow as pa

RUN_FILE = "run.json"
QUERIES_FILE = "queries.parquet"
QUERIES_SCHEMA = 1
"""Version of queries.parquet. 1: first; the columns of the ledger, `end_ns` in the file's metadata."""

_ARRAYS = ("query", "sample", "due_ns", "taken_ns", "done_ns", "batch", "worker", "status")
_UNSAFE = re.compile(r"[^A-Za-z0-9._]+")
_FILES = (".py", ".yaml", ".yml", ".csv", ".tsv", ".jsonl")  # tasks and backends that are given by path


class NotStored(MissingError):
    """The run was measured and could not be written. `run` and `columns` are what was measured, `kept` is where run.json went instead."""

    def __init__(
        self, message: str, cure: str = "", *, run: Run | None = None, columns: Columns | None = None, kept: Path | None = None
    ) -> None:
        super().__init__(message, cure)
        self.run, self.columns, self.kept = run, columns, kept


def make_run_id(started: datetime, *parts: str) -> str:
    """ "20261121T101502Z-server-squad-pytorch-fp32-3fa9c1": UTC time, the parts in safe characters, and something unique."""
    safe = [_UNSAFE.sub("-", Path(part).stem if part.lower().endswith(_FILES) else part).strip("-.")[:40] for part in parts]
    return "-".join([f"{started.astimezone(UTC):%Y%m%dT%H%M%SZ}", *filter(None, safe), secrets.token_hex(3)])


@dataclasses.dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run, open for writing."""

    path: Path

    def write_text(self, name: str, text: str) -> None:
        """A report. Raises NotStored."""
        self._guard(name, text.encode())

    def write_bytes(self, name: str, data: bytes) -> None:
        """A table or picture. Raises NotStored."""
        self._guard(name, data)

    def write_chunks(self, name: str, chunks: Iterable[str]) -> None:
        """A text that need not fit into memory. Raises NotStored."""
        temporary = self.path / f".{name}"
        try:
            with temporary.open("w", encoding="utf-8") as stream:
                stream.writelines(chunks)
            temporary.replace(self.path / name)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise _not_stored(self.path / name, error) from error

    def write_queries(self, columns: Columns) -> None:
        """The ledger as queries.parquet, one row for each sample asked. Raises NotStored."""
        import pyarrow.parquet as pq

        temporary = self.path / f".{QUERIES_FILE}"
        try:
            pq.write_table(_table(columns), temporary, compression="zstd")
            temporary.replace(self.path / QUERIES_FILE)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise _not_stored(self.path / QUERIES_FILE, error) from error

    def write_run(self, run: Run) -> None:
        """run.json, last and atomically. Raises NotStored."""
        self._guard(RUN_FILE, to_json(run).encode())

    def save(self, run: Run, columns: Columns | None, texts: Mapping[str, str | bytes | Iterable[str]]) -> None:
        """Everything, run.json last; a text may come in pieces or as bytes. Raises NotStored with what was measured, after keeping run.json
        in the temporary folder."""
        try:
            if columns is not None:
                self.write_queries(columns)
            for name, text in texts.items():
                if isinstance(text, bytes):
                    self._guard(name, text)
                elif isinstance(text, str):
                    self.write_text(name, text)
                else:
                    self.write_chunks(name, text)
            self.write_run(run)
        except NotStored as error:
            kept = _keep_elsewhere(run)
            where = f"; run.json is kept in {kept}" if kept else ""
            raise NotStored(f"{error}{where}", error.cure, run=run, columns=columns, kept=kept) from error

    def discard(self) -> None:
        """Take the folder away again if nothing was written into it; nothing was measured."""
        with contextlib.suppress(OSError):  # not empty, or already gone: then it stays as it is
            self.path.rmdir()

    def _guard(self, name: str, data: bytes) -> None:
        try:
            write_atomically(self.path / name, data)
        except OSError as error:
            raise _not_stored(self.path / name, error) from error


def accuracy_logs(folder: Path) -> Path:
    """Where the accuracy logs of a run lie: beside its other logs, or in `accuracy/`, where the official LoadGen made two tests of it."""
    aside = folder / "accuracy"
    return aside if aside.is_dir() else folder


def open_folder(out: Path, run_id: str) -> RunFolder:
    """Make `out/run_id` and try it with a file, so that a bad `--out` ends the run before it begins. Raises MissingError."""
    folder = out / run_id
    try:
        folder.mkdir(parents=True)
        probe = folder / ".probe"
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
    except OSError as error:
        raise MissingError(f"--out: {folder} cannot be written: {_why(error)}", _cure(error)) from error
    return RunFolder(folder)


def read_run(folder: Path) -> Run:
    """The run stored in a folder (or in a run.json given itself). Raises MissingError if it did not finish, DataError if damaged."""
    file = folder if folder.suffix == ".json" else folder / RUN_FILE
    if not file.exists():
        if (folder / "comparison.json").exists():
            raise MissingError(f"{folder} is a comparison, no run", "read its report.md or comparison.json")
        if folder.is_dir():
            raise MissingError(f"{folder}: no {RUN_FILE}, so this run did not finish", "run it again, or name another folder")
        raise MissingError(f"{folder} is not there", "name the folder of a run")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}", "run it again, or name another folder") from error
    return parse_run(file, text)


def parse_run(file: Path, text: str) -> Run:
    """The text of a run.json; `file` is where it is from. Raises DataError."""
    try:
        stored = json.loads(text)
    except ValueError as error:
        raise DataError(f"{file} cannot be read: {error}", "run it again, or name another folder") from error
    return _as_run(file, stored)


def read_columns(folder: Path) -> Columns | None:
    """The ledger stored beside run.json, None where there is none (a run that failed before its first query). Raises DataError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = (folder.parent if folder.suffix == ".json" else folder) / QUERIES_FILE
    if not file.exists():
        return None
    try:
        table = pq.read_table(file)
        metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        arrays: dict[str, Any] = {name: table[name].to_numpy() for name in _ARRAYS}
        return Columns(**arrays, end_ns=int(metadata["end_ns"]))
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{file} cannot be read: {error}", "run it again, or remove the file") from error


def latest(out: Path) -> Path:
    """The newest finished run below `out`. Raises MissingError when there is none."""
    finished = sorted((file.parent for file in out.glob(f"*/{RUN_FILE}")), key=lambda folder: folder.name)
    if not finished:
        raise MissingError(f"{out} holds no finished run", "name the folder of a run, or make one with `assay run`")
    return finished[-1]


def as_json(value: Any) -> str:
    """Any record as strict JSON. Raises TypeError for what is no data."""
    return json.dumps(_plain(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def to_json(run: Run) -> str:
    """Strict JSON: no NaN or Infinity (null instead), numpy scalars as plain numbers. Raises TypeError for what is no data."""
    values = {each.name: getattr(run, each.name) for each in dataclasses.fields(run)}
    ordered = {"schema": values.pop("schema"), **values}
    return as_json(ordered)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} does not belong in {RUN_FILE}: {value!r}")


def _as_run(file: Path, stored: Any) -> Run:
    if not isinstance(stored, dict) or "schema" not in stored:
        raise DataError(f"{file} is not a run", "name the folder of a run")
    if stored["schema"] != RUN_SCHEMA:
        raise DataError(f"{file} has schema {stored['schema']}, this Assay reads {RUN_SCHEMA}", "use the version of Assay that wrote it")
    names = {each.name for each in dataclasses.fields(Run)}
    later = {each.name for each in dataclasses.fields(Run) if each.default is not dataclasses.MISSING}  # not in files from before it
    if difference := sorted((names - later - stored.keys()) | (stored.keys() - names)):
        raise DataError(f"{file} does not have the keys of a run: {', '.join(difference)}", "run it again, or name another folder")
    return _checked(file, stored)


def _checked(file: Path, stored: dict[str, Any]) -> Run:
    """The run, if its values are of the types that `Run` declares. Raises DataError."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Run).validate_python(stored)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(f"{file}: {where} is {first['input']!r}: {first['msg']}", "run it again, or name another folder") from None


def _table(columns: Columns) -> pa.Table:
    import pyarrow as pa

    table = pa.table({name: getattr(columns, name) for name in _ARRAYS})
    about = {"assay_queries_schema": QUERIES_SCHEMA, "end_ns": columns.end_ns, "times": "ns from the start of the run, -1 unknown"}
    return table.replace_schema_metadata({key: str(value) for key, value in about.items()})


def write_atomically(file: Path, data: bytes) -> None:
    """Complete or not at all: a temporary file beside it, flushed to disk, then renamed."""
    temporary = file.with_name(f".{file.name}")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _keep_elsewhere(run: Run) -> Path | None:
    """run.json under the temporary folder; None if that cannot be written either."""
    try:
        file = Path(tempfile.mkdtemp(prefix="assay-")) / RUN_FILE
    except OSError:
        return None
    try:
        write_atomically(file, to_json(run).encode())
    except OSError:
        with contextlib.suppress(OSError):
            file.parent.rmdir()
        return None
    return file


def _not_stored(file: Path, error: OSError) -> NotStored:
    return NotStored(f"{file} cannot be written: {_why(error)}", _cure(error))


def _why(error: OSError) -> str:
    return error.strerror or str(error)


def _cure(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free disk space, or give another folder with --out"
    return "give a folder that can be written with --out"
