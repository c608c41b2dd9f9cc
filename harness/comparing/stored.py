"""A comparison as it is stored, and read again: comparison.json for everything that is said of it, visits.parquet for every latency."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter

from harness.comparing.results import SCHEMA, Candidate, Comparison, Figure, Visit
from harness.core import Accuracy, Int64
from harness.errors import DataError, MissingError
from harness.stats import percentile

if TYPE_CHECKING:
    from harness.comparing.session import Compared

FILE, VISITS_FILE = "comparison.json", "visits.parquet"

SHARES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}


def record(compared: Compared, started: datetime, conditions: Mapping[str, Any], title: str = "", run_id: str = "") -> dict[str, Any]:
    """What comparison.json says. `conditions`: of the machine and of Assay, as `harness.conditions.collect` tells them."""
    found = compared.comparison
    best = found.best()
    return {
        "schema": SCHEMA,
        "run_id": run_id,
        "title": title,
        "started_utc": started.isoformat(timespec="seconds"),
        "reference": found.candidates[found.reference].name,
        "winner": found.candidates[best[0]].name if best else None,
        "indistinguishable": [found.candidates[number].name for number in best[1]] if best else [],
        "blocks": found.blocks,
        "floor": found.floor,
        "alternated": found.alternated,
        "measured_s": found.total_seconds(),
        "others_share": compared.others_share,
        "differences": list(compared.differences),
        "figures": [asdict(figure) for figure in found.figures],
        "candidates": [_candidate(found, number) for number in range(len(found.candidates))],
        "visits": [_visit(each) for each in found.visits],
        "conditions": conditions,
        "marks": list(compared.marks),
        "warnings": compared.warnings,
        "telemetry": dict(compared.telemetry),
        "complete": not found.interrupted,
        "files": {"visits": VISITS_FILE},
    }


def _candidate(found: Comparison, number: int) -> dict[str, Any]:
    """The candidate with its results by figure, and the figures of each block; None where it dropped out."""
    each = found.candidates[number]
    cells = {figure.name: found.cell(number, figure) for figure in found.figures}
    values = {figure.name: found.values(number, figure) if cells[figure.name] is not None else None for figure in found.figures}
    results = {name: asdict(cell) if cell is not None else None for name, cell in cells.items()}
    stored = asdict(replace(each, outcomes=None))
    del stored["outcomes"]
    return stored | {"counts": each.counts, "results": results, "values": values}


def _visit(each: Visit) -> dict[str, Any]:
    return {
        "block": each.block,
        "candidate": each.candidate,
        "seconds": each.seconds,
        "samples": each.samples,
        "tokens": each.tokens,
        "latency_ns": _summary(np.sort(each.latency_ns)),
    }


def _summary(ascending: Int64) -> dict[str, Any]:
    if not len(ascending):
        return {"queries": 0, **dict.fromkeys(("min", "mean", *SHARES, "max"))}
    return {
        "queries": len(ascending),
        "min": int(ascending[0]),
        "mean": float(ascending.mean()),
        **{name: percentile(ascending, share) for name, share in SHARES.items()},
        "max": int(ascending[-1]),
    }


def visits_file(visits: Sequence[Visit]) -> bytes:
    """visits.parquet: a row for each latency. `visit`: int32, place in the list of visits; `latency_ns`: int64."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = np.repeat(np.arange(len(visits), dtype=np.int32), [len(each.latency_ns) for each in visits])
    latencies = np.concatenate([each.latency_ns for each in visits] or [np.zeros(0, np.int64)]).astype(np.int64)
    buffer = io.BytesIO()
    pq.write_table(pa.table({"visit": numbers, "latency_ns": latencies}), buffer, compression="zstd")
    return buffer.getvalue()


def read_record(folder: Path) -> dict[str, Any]:
    """comparison.json of a folder (or given itself). Raises MissingError where the comparison did not finish, DataError for damage."""
    file = folder if folder.suffix == ".json" else folder / FILE
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingError(f"{folder}: no {FILE}, so no comparison ended here", "name the folder of a comparison") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}", "compare again, or name another folder") from error
    if not isinstance(stored, dict) or stored.get("schema") != SCHEMA:
        schema = stored.get("schema") if isinstance(stored, dict) else None
        raise DataError(f"{file} has schema {schema}, this Assay reads {SCHEMA}", "use the version of Assay that wrote it")
    return stored


def read(folder: Path) -> Comparison:
    """The comparison of a folder, with the latencies of its visits; `outcomes` are not stored. Raises MissingError and DataError."""
    stored = read_record(folder)
    base = folder.parent if folder.suffix == ".json" else folder
    try:
        latencies = _latencies(base / VISITS_FILE, len(stored["visits"]))
        return as_comparison(stored, latencies)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{base / FILE} is not what a comparison writes: {error}", "compare again, or name another folder") from error


def as_comparison(stored: Mapping[str, Any], latencies: Sequence[Int64]) -> Comparison:
    """A record as the comparison it was made of. `latencies`: of each visit, (queries,). Raises KeyError, TypeError and ValueError for
    what is no record."""
    names = [each["name"] for each in stored["candidates"]]
    kept = ("counts", "results", "values")
    candidates = [{key: value for key, value in each.items() if key not in kept} for each in stored["candidates"]]
    visits = tuple(
        Visit(each["block"], each["candidate"], each["seconds"], each["samples"], each["tokens"], latency)
        for each, latency in zip(stored["visits"], latencies, strict=True)
    )
    return Comparison(
        candidates=tuple(Candidate(**each | {"accuracy": _accuracy(each["accuracy"])}) for each in candidates),
        reference=names.index(stored["reference"]),
        figures=tuple(TypeAdapter(Figure).validate_python(each) for each in stored["figures"]),
        visits=visits,
        floor=stored["floor"],
        interrupted=not stored["complete"],
        alternated=stored["alternated"],
    )


def _accuracy(value: Any) -> Accuracy | None:
    return None if value is None else TypeAdapter(Accuracy).validate_python(value)


def _latencies(file: Path, visits: int) -> list[Int64]:
    """Of each visit. Raises DataError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file)
        numbers, latencies = table["visit"].to_numpy(), table["latency_ns"].to_numpy()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError(f"{file} cannot be read: {error}", "compare again, or name another folder") from error
    return list(np.split(latencies, np.searchsorted(numbers, np.arange(1, visits)))) if visits else []
