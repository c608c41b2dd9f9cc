"""Fifty processes record into one history at once, and one in five is killed while it does."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from harness.history.database import History

PROCESSES, RUNS, DOOMED = 50, 6, 5
ENDLESS = 10_000
"""Runs of a process that is to be killed: it never ends by itself."""

ROOT = Path(__file__).resolve().parents[2]

_PLAYED = f"""
import os, random, signal, sys, time
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from harness.history.database import History
from tests.histories import run

folder = Path(sys.argv[1])
go, end = os.pipe()

def record(process):
    os.close(end)
    os.read(go, 1)  # returns when the parent lets all begin
    said = os.open(folder / f"{{process}}.said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in range({RUNS} if process % {DOOMED} else {ENDLESS}):
        with History(folder / "h.db") as history:
            made = run({ENDLESS} * process + number, 100.0 + process)
            history.record(made)
            os.write(said, f"{{made.run_id}}\\n".encode())

def killed(child, process):
    said, rng, end = folder / f"{{process}}.said", random.Random(process), time.monotonic() + 30
    while time.monotonic() < end and not (said.exists() and said.read_text().count("\\n") > process // {DOOMED}):
        time.sleep(0.001)
    time.sleep(0.02 * rng.random())
    os.kill(child, signal.SIGKILL)

children = []
for process in range({PROCESSES}):
    child = os.fork()
    if child == 0:
        try:
            record(process)
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    children.append(child)
os.close(end)
for process, child in enumerate(children):
    if process % {DOOMED} == 0:
        killed(child, process)
print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""
"""Forks in a process of its own: that of the tests has threads. Each child says what `record` returned from by one write of a line, which
outlives it."""


@pytest.mark.skipif(sys.platform == "win32", reason="kills processes as POSIX does")
def test_no_acknowledged_run_is_lost(tmp_path: Path) -> None:
    """Every run that a process was told is recorded is there as a whole, whoever was killed; the file is intact and opens for the next."""
    done = subprocess.run([sys.executable, "-c", _PLAYED, str(tmp_path)], capture_output=True, text=True, timeout=120, check=True)
    codes = [int(code) for code in done.stdout.split()]
    assert codes == [0 if process % DOOMED else -9 for process in range(PROCESSES)], done.stderr
    said = {line for file in tmp_path.glob("*.said") for line in file.read_text().splitlines()}
    assert len(said) >= RUNS * (PROCESSES - PROCESSES // DOOMED)
    check_whole(tmp_path / "h.db", said)
    with History(tmp_path / "h.db") as history:
        assert sum(each.points for each in history.series()) >= len(said)


def check_whole(file: Path, said: set[str]) -> None:
    """All runs that were said to be there are; every run that is there has its record and all of its figures."""
    with sqlite3.connect(file) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        query = "SELECT run_id, json, (SELECT count(*) FROM metrics WHERE run = id) FROM runs LEFT JOIN records ON run = id"
        found = {run_id: (json.loads(zlib.decompress(record)), figures) for run_id, record, figures in database.execute(query)}
        assert said <= found.keys()
        assert {figures for _, figures in found.values()} == {8}
        assert all(record["run_id"] == run_id for run_id, (record, _) in found.items())
        counted = database.execute("SELECT sum(runs), sum(points) FROM sizes").fetchone()
        assert counted == (len(found), len(found))
    database.close()
