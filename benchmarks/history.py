"""How long a history of a million runs takes to answer what `assay history` and `assay ci check` ask. Seconds, as JSON on request.

    python benchmarks/history.py                       # 1,000 series of 1,000 runs, 3 figures each: minutes, 1 GB of temporary space
    python benchmarks/history.py --series 100 --runs 1000 --json history.json

Each question is asked by a fresh connection, 5 times; the median and the worst are printed, and whether all stay under 2 s. Rows are put
into the tables directly, a series at a time: how long one run takes to record is the last line, by `record` itself.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from harness.ci import changes  # noqa: E402
from harness.history import document, series_key, site, trend  # noqa: E402
from harness.history.database import History  # noqa: E402
from tests import histories  # noqa: E402

LIMIT_S = 2.0
REPEATS = 5
FIGURES = (("completed_samples_per_second", "samples/s", "higher", 1), ("latency_p50", "ns", "lower", 0), ("latency_p99", "ns", "lower", 0))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=1000, help="of each series")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="assay-history-") as folder:
        file = Path(folder) / "h.db"
        keys = fill(file, arguments.series, arguments.runs)
        size = file.stat().st_size
        timed = {name: asked(file, question, keys[len(keys) // 2]) for name, question in QUESTIONS.items()}
        timed["record one run"] = asked(file, record_another, "")
    spent = {name: [cpu for _, cpu in pairs] for name, pairs in timed.items()}
    found = {name: [wall for wall, _ in pairs] for name, pairs in timed.items()}
    print(f"{arguments.series * arguments.runs:,} runs in {arguments.series:,} series, {size / 1e9:.2f} GB")
    for name, seconds in found.items():
        print(f"{name:<44} {median(seconds):7.3f} s, worst {max(seconds):.3f} s; processor {median(spent[name]):.3f} s")
    if arguments.json:
        record = {
            "runs": arguments.series * arguments.runs,
            "series": arguments.series,
            "bytes": size,
            "seconds": found,
            "processor_s": spent,
        }
        arguments.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    slow = [name for name, seconds in found.items() if max(seconds) > LIMIT_S]
    print(f"over {LIMIT_S:g} s: {', '.join(slow)}" if slow else f"all under {LIMIT_S:g} s")
    return 1 if slow else 0


def fill(file: Path, series: int, runs: int) -> list[str]:
    """A history of so many series, each on a machine of its own; their keys."""
    keys = []
    with History(file) as history:
        history.connection.execute("PRAGMA synchronous = OFF")  # only here: nothing of it is to be kept
        history.connection.execute("PRAGMA cache_size = -400000")
        for number in range(series):
            made_of = series_key.parts(histories.run(0), f"machine {number}")
            keys.append(series_key.key(made_of))
            add(history, keys[-1], made_of, number * runs, runs)
    return keys


def add(history: History, key: str, made_of: dict[str, Any], first: int, runs: int) -> None:
    record = zlib.compress(json.dumps({"series": key, "padding": "x" * 40}).encode())
    with history.writing() as connection:
        connection.execute("INSERT INTO series VALUES (?, ?, ?)", (key, series_key.subject(made_of), json.dumps(made_of)))
        connection.execute("INSERT OR IGNORE INTO conditions VALUES ('c', '{}')")
        connection.executemany(f"INSERT INTO runs VALUES ({', '.join('?' * 14)})", rows(key, first, runs))
        numbers = range(first + 1, first + runs + 1)
        connection.executemany("INSERT INTO records VALUES (?, ?)", ((number, record) for number in numbers))
        figures = (
            (number, name, 100.0 + number % 7, unit, better, headline, 1000, None, None)
            for number in numbers
            for name, unit, better, headline in FIGURES
        )
        connection.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", figures)


def rows(key: str, first: int, runs: int) -> Iterator[tuple[Any, ...]]:
    for place in range(runs):
        number, at = first + place + 1, histories.at(place / 4)
        why = "INVALID: latency_bound" if place % 20 == 19 else ""
        yield (
            number,
            f"run-{number:08d}",
            key,
            at,
            at,
            histories.sha(place),
            "main",
            0,
            5 if why else 0,
            why,
            "c",
            "",
            f"{number:064x}",
            at,
        )


def asked(file: Path, question: Callable[[History, str], object], key: str) -> list[tuple[float, float]]:
    """Seconds of each asking, the connection's opening among them: on the clock, and of this process's processor time."""
    found = []
    for _ in range(REPEATS):
        began, worked = time.perf_counter(), time.process_time()
        with History(file) as history:
            question(history, key)
        found.append((time.perf_counter() - began, time.process_time() - worked))
    return found


def overview(history: History, _key: str) -> object:
    return document.overview([trend.latest(history, each) for each in history.series()], str(history.file))


def one_series(history: History, key: str) -> object:
    series = history.find(key)
    return document.page(trend.trend(history, series, site.drawn(history.metrics(key)), changes.of_points))


def check(history: History, key: str) -> object:
    return (
        history.points(key, last=50),
        history.last_good(key, branch="main"),
        history.last_good(key, commit=histories.sha(500)),
        history.accepted(key),
    )


def record_another(history: History, _key: str) -> object:
    made = histories.run(0)
    return history.record(replace(made, run_id=f"{made.run_id}-{time.perf_counter_ns()}"))


QUESTIONS: dict[str, Callable[[History, str], object]] = {
    "history: the table of all series": overview,
    "history SERIES: its page with every figure": one_series,
    "ci check: last points, last good, accepted": check,
}

if __name__ == "__main__":
    sys.exit(main())
