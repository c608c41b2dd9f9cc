"""Traffic files: what is written is read again, and what is no traffic is named with its cure."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.batching import Policy
from harness.core import SECOND_NS, Limits, Traffic
from harness.errors import AssayError, DataError, MissingError, UsageError
from harness.store import RunFolder
from harness.testing import simulate
from harness.traffic_file import Recorded, as_traffic, read, write

INT64 = st.integers(-(2**63), 2**63 - 1)
NONE = Limits(0, 1)


def recorded(query: list[int], sample: list[int], due: list[int] | None = None) -> Recorded:
    return Recorded(np.array(query, np.int64), np.array(sample, np.int64), None if due is None else np.array(due, np.int64))


def saved(folder: Path, **columns: Any) -> Path:
    file = folder / "t.json"
    file.write_text(json.dumps(columns))
    return file


def complaint(file: Path) -> AssayError:
    with pytest.raises(AssayError) as caught:
        read(file)
    return caught.value


@given(
    rows=st.lists(st.tuples(INT64, INT64, INT64), min_size=1, max_size=40),
    closed=st.booleans(),
    suffix=st.sampled_from([".json", ".parquet"]),
)
@settings(deadline=None)
def test_a_file_holds_its_columns_exactly(rows: list[tuple[int, int, int]], closed: bool, suffix: str) -> None:
    """Every 64-bit number comes back, in both formats; a closed loop's due times are null and come back as None."""
    query, sample, due = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"traffic{suffix}"
        write(file, {"query": query, "sample": sample, "due_ns": None if closed else due}, {"assay_traffic": 1})
        found = read(file)
    assert found.query.tolist() == query.tolist()
    assert found.sample.tolist() == sample.tolist()
    assert (None if found.due_ns is None else found.due_ns.tolist()) == (None if closed else due.tolist())


def test_json_says_what_it_is_about_beside_the_columns(tmp_path: Path) -> None:
    """The text is what the file holds, one object with nulls where there is no due time."""
    columns = {"query": [0, 1], "sample": [5, 3], "due_ns": None}
    text = write(tmp_path / "t.json", columns, {"assay_traffic": 1, "loaded_sets": [[3, 5]]})
    assert (tmp_path / "t.json").read_text() == text == write(None, columns, {"assay_traffic": 1, "loaded_sets": [[3, 5]]})
    assert json.loads(text) == {"assay_traffic": 1, "loaded_sets": [[3, 5]], "query": [0, 1], "sample": [5, 3], "due_ns": [None, None]}


def test_parquet_says_what_it_is_about_in_its_metadata(tmp_path: Path) -> None:
    """Columns are 64-bit integers; what else is known is JSON under assay_ keys."""
    file = tmp_path / "t.parquet"
    assert write(file, {"query": [0, 1], "sample": [5, 3], "due_ns": None}, {"traffic": 1, "loaded_sets": [[3, 5]]}) == ""
    table = pq.read_table(file)
    assert table.schema.types == [pa.int64()] * 3
    assert table["due_ns"].to_pylist() == [None, None]
    assert json.loads(table.schema.metadata[b"assay_loaded_sets"]) == [[3, 5]]


def test_another_suffix_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    """The message names the option and the file."""
    columns = {"query": [0], "sample": [0], "due_ns": None}
    with pytest.raises(UsageError, match=r"--out t\.csv: traffic is written as \.json or \.parquet") as caught:
        write(Path("t.csv"), columns, {})
    assert caught.value.cure == "name the file so"
    for name in ("t.json", "t.parquet"):
        with pytest.raises(MissingError, match=f"--out {tmp_path}/none/{name} cannot be written: No such file") as missing:
            write(tmp_path / "none" / name, columns, {})
        assert missing.value.cure == "give a file in an existing folder"


def test_the_ledger_of_a_stored_run_is_traffic(tmp_path: Path) -> None:
    """queries.parquet has the columns, so that any run can be replayed."""
    rows = 5
    traffic = Traffic(
        np.arange(rows, dtype=np.int64), np.array([3, 1, 4, 1, 5], np.int32), np.array([0, 7, 9, 9, 30], np.int64), Limits(0, rows)
    )
    RunFolder(tmp_path).write_queries(simulate(traffic, Policy("fifo", 2), lambda _: 10))
    found = read(tmp_path / "queries.parquet")
    assert found.query.tolist() == [0, 1, 2, 3, 4]
    assert found.sample.tolist() == [3, 1, 4, 1, 5]
    assert found.due_ns is not None
    assert found.due_ns.tolist() == [0, 7, 9, 9, 30]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"query": [0],\n "sample": 3,,}', "t.json:2: not JSON"),
        (b"\xff\xfe", "t.json is not UTF-8 text"),
        (b"[1, 2]", "t.json: not an object with the columns query, sample, due_ns"),
        (b"{}", "t.json: no column sample"),
        (b'{"sample": [1]}', "t.json: no column query"),
        (b'{"query": [0], "sample": [null]}', "t.json: no column sample"),
        (b'{"query": [0, 1], "sample": [1]}', "t.json: columns of different lengths"),
        (b'{"query": [0, 1], "sample": [1, 1], "due_ns": [0]}', "t.json: columns of different lengths"),
        (b'{"query": [], "sample": [], "due_ns": []}', "t.json: no rows"),
        (b'{"query": [0], "sample": [1.0]}', "t.json: sample is not a list of whole numbers"),
        (b'{"query": [true], "sample": [1]}', "t.json: query is not a list of whole numbers"),
        (b'{"query": "0", "sample": [1]}', "t.json: query is not a list of whole numbers"),
        (b'{"query": [0, 1], "sample": [1, 1], "due_ns": [0, null]}', "t.json: due_ns is not a list of whole numbers"),
        (b'{"query": [0], "sample": [9223372036854775808]}', "t.json: sample holds numbers beyond 64 bits"),
        (b'{"query": [0], "sample": [' + b"9" * 5000 + b"]}", "t.json: not traffic: "),
        (b'{"query": ' + b"[" * 100_000, "t.json: not traffic: "),
    ],
)
def test_what_is_no_traffic_is_named(tmp_path: Path, text: bytes, message: str) -> None:
    """A DataError (exit code 3) that begins with the file, and says what makes one."""
    file = tmp_path / "t.json"
    file.write_bytes(text)
    error = complaint(file)
    assert type(error) is DataError
    assert str(error).removeprefix(f"{tmp_path}/").startswith(message)
    assert "traffic" in error.cure


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    """The option is named, in both formats."""
    for name in ("none.json", "none.parquet"):
        error = complaint(tmp_path / name)
        assert type(error) is MissingError
        assert str(error).startswith(f"--traffic {tmp_path}/{name} cannot be read")
        assert error.cure == "give an existing file"


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    """Text with the wrong suffix, and a table of other columns or types."""
    file = tmp_path / "t.parquet"
    file.write_text("no such thing")
    assert str(complaint(file)).startswith(f"{file}: not Parquet")
    pq.write_table(pa.table({"query": [0], "index": [1]}), file)
    assert str(complaint(file)) == f"{file}: no column sample"
    pq.write_table(pa.table({"query": [0], "sample": [1.5]}), file)
    assert str(complaint(file)) == f"{file}: sample is not a list of whole numbers"


def test_rate_and_queries_are_those_of_the_schedule() -> None:
    """n - 1 queries over the time from the first to the last; 1 where no time passes."""
    found = recorded([4, 4, 7, 9], [0, 1, 2, 3], [1000, 1000, 1500, 1000 + SECOND_NS])
    assert (found.queries, found.rate) == (3, 2.0)
    assert recorded([0, 1], [0, 0], [5, 5]).rate == 1.0
    assert recorded([0, 1], [0, 0]).rate == 1.0


# ------------------------------------------------------------------------------------------------------------------------- as traffic


def refusal(found: Recorded, *, closed_loop: bool = False) -> DataError:
    with pytest.raises(DataError) as caught:
        as_traffic(found, Path("t.json"), 10, closed_loop=closed_loop, limits=NONE)
    return caught.value


def test_rows_become_traffic_counted_from_zero() -> None:
    """Query numbers are counted afresh, due times from the first one; samples and order stay."""
    traffic = as_traffic(recorded([3, 3, 8], [9, 0, 4], [50, 50, 70]), Path("t.json"), 10, closed_loop=False, limits=NONE)
    assert traffic.query.tolist() == [0, 0, 1]
    assert (traffic.sample.tolist(), traffic.sample.dtype) == ([9, 0, 4], np.int32)
    assert traffic.due_ns is not None
    assert traffic.due_ns.tolist() == [0, 0, 20]
    assert traffic.limits is NONE
    assert traffic.more is None


def test_a_closed_loop_needs_and_takes_no_due_times() -> None:
    """What was recorded of them, even backwards, is not looked at."""
    for due in (None, [9, 3, 1]):
        traffic = as_traffic(recorded([0, 1, 2], [9, 0, 4], due), Path("t.json"), 10, closed_loop=True, limits=NONE)
        assert traffic.due_ns is None
        assert traffic.sample.tolist() == [9, 0, 4]


def test_offline_asks_everything_at_once() -> None:
    """One query, all due at the start, whatever schedule was recorded: charged by its own due times it would look as fast as the
    recorded system was slow."""
    found = recorded([0, 1, 2], [9, 0, 4], [0, SECOND_NS, 2 * SECOND_NS])
    traffic = as_traffic(found, Path("t.json"), 10, closed_loop=False, limits=NONE, at_once=True)
    assert traffic.due_ns is not None
    assert (traffic.query.tolist(), traffic.due_ns.tolist(), traffic.sample.tolist()) == ([0, 0, 0], [0, 0, 0], [9, 0, 4])


@pytest.mark.parametrize(
    ("limits", "rows"),
    [(Limits(0, 1, max_queries=2), 3), (Limits(0, 1, max_duration_ns=29), 4), (Limits(0, 1, max_duration_ns=30), 6), (Limits(0, 1, 40), 6)],
)
def test_a_maximum_ends_the_schedule_as_in_loadgen(limits: Limits, rows: int) -> None:
    """After that many queries, or with the first query that is due later than the maximum duration."""
    found = recorded([0, 0, 1, 2, 3, 3], [0] * 6, [0, 0, 10, 30, 40, 40])
    traffic = as_traffic(found, Path("t.json"), 10, closed_loop=False, limits=limits)
    assert traffic.due_ns is not None
    assert (len(traffic.query), len(traffic.sample), len(traffic.due_ns)) == (rows, rows, rows)


def test_samples_outside_the_data_are_refused() -> None:
    """The row, the sample and the size of the data are named; the limit itself is outside."""
    for sample in (10, -1, 2**40):
        error = refusal(recorded([0, 1], [9, sample], [0, 1]))
        assert str(error) == f"t.json: row 1 asks sample {sample}, the data has 10 samples"
        assert error.cure == "replay it on the data it was made for"


def test_query_numbers_that_descend_are_refused() -> None:
    """In open and closed loops, also where the difference does not fit into 64 bits."""
    for numbers in ([0, 2, 1], [2**63 - 1, -(2**63), 0]):
        for closed_loop in (True, False):
            assert str(refusal(recorded(numbers, [0] * 3, [0, 1, 2]), closed_loop=closed_loop)) == "t.json: query numbers do not ascend"


def test_a_closed_loop_of_uneven_queries_is_refused() -> None:
    """The query and both sizes are named; an open loop takes them."""
    found = recorded([0, 0, 1, 1, 2], [0] * 5, [0] * 5)
    error = refusal(found, closed_loop=True)
    assert str(error) == "t.json: query 2 has 1 samples, the first has 2"
    assert "--scenario server" in error.cure
    assert len(as_traffic(found, Path("t.json"), 10, closed_loop=False, limits=NONE).query) == 5


def test_a_schedule_that_is_missing_or_runs_backwards_is_refused() -> None:
    """No due times, two phases one after another, and times before the start, also where a difference would not fit into 64 bits."""
    missing = refusal(recorded([0, 1], [0, 0]))
    assert (str(missing), "single-stream" in missing.cure) == ("t.json: no due times", True)
    for due in ([0, 5, 4], [0, 2**63 - 1, -(2**63)]):
        back = refusal(recorded([0, 1, 2], [0] * 3, due))
        assert str(back) == "t.json: row 2 is due before the row above it"
        assert "replay one phase" in back.cure
    assert str(refusal(recorded([0, 1], [0, 0], [-3, 5]))) == "t.json: row 0 is due at -3 ns, before the start"
