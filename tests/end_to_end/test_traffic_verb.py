"""`assay traffic`: settings in, traffic out, on standard output and into files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from harness import cli
from harness.errors import ExitCode
from harness.traffic_file import read

GOLDEN = Path(os.environ.get("ASSAY_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
NAMED = [
    GOLDEN / f"{name}.json" for name in ("server_small_s7_mq100", "multistream_acc_conf", "offline_concat_conf", "singlestream_zero_64")
]
FILES = [path for path in NAMED if path.is_file()]

SETTINGS = {"scenario": "Server", "server_target_qps": 2000.0, "min_duration_ms": 20, "min_query_count": 10, "schedule_rng_seed": 7}


def settings_file(folder: Path, **settings: Any) -> str:
    file = folder / "s.json"
    file.write_text(json.dumps({"qsl_total": 30, "qsl_perf": 10, "settings": SETTINGS | settings}))
    return str(file)


def test_standard_output_is_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same JSON text, character for character; with --out one line says what was written."""
    settings, out = settings_file(tmp_path, mode="SubmissionRun"), tmp_path / "t.json"
    assert cli.main(["traffic", "--settings", settings]) == ExitCode.OK
    text = capsys.readouterr().out
    assert cli.main(["traffic", "--settings", settings, "--out", str(out)]) == ExitCode.OK
    assert out.read_text() == text
    found = json.loads(text)
    rows = len(found["query"])
    assert capsys.readouterr().out == f"{rows} samples in {rows} queries, 4 phase(s): {out}\n"
    assert list(found) == ["assay_traffic", "config", "phases", "loaded_sets", "accuracy_log_seq_ids", "query", "sample", "due_ns"]
    assert found["config"]["settings"]["mode"] == "SubmissionRun"
    assert [len(indices) for indices in found["loaded_sets"]] == [10, 10, 10, 10]
    assert found["query"] == list(range(rows))
    assert len(found["due_ns"]) == len(found["sample"]) == rows


def test_parquet_holds_the_same_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the rest as JSON in its metadata."""
    settings = settings_file(tmp_path)
    for suffix in ("json", "parquet"):
        assert cli.main(["traffic", "--settings", settings, "--out", str(tmp_path / f"t.{suffix}")]) == ExitCode.OK
    found = json.loads((tmp_path / "t.json").read_text())
    table = pq.read_table(tmp_path / "t.parquet")
    assert {name: table[name].to_pylist() for name in table.column_names} == {name: found[name] for name in ("query", "sample", "due_ns")}
    assert json.loads(table.schema.metadata[b"assay_loaded_sets"]) == found["loaded_sets"]
    capsys.readouterr()


def test_a_closed_loop_has_no_due_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Null in JSON; read back as none."""
    assert cli.main(["traffic", "--settings", settings_file(tmp_path, scenario="SingleStream"), "--out", str(tmp_path / "t.json")]) == 0
    assert set(json.loads((tmp_path / "t.json").read_text())["due_ns"]) == {None}
    assert read(tmp_path / "t.json").due_ns is None
    capsys.readouterr()


@pytest.mark.skipif(not FILES, reason="no golden vectors: set ASSAY_GOLDEN")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_golden_file_is_a_settings_file(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the official LoadGen asked, from the very file that recorded it."""
    assert cli.main(["traffic", "--settings", str(path)]) == ExitCode.OK
    found, golden = json.loads(capsys.readouterr().out), json.loads(path.read_text())
    assert [each["queries"] for each in found["phases"]] == golden["generated_query_count"]
    assert [indices[:2000] for indices in found["loaded_sets"][:4]] == golden["loaded_sets"]
    issued = min(2000, golden["issued_samples_total"])
    assert found["sample"][:issued] == golden["sample_indices_first_2000"]
    if "scheduled_offset_ns_first_2000" in golden:
        assert found["due_ns"][:2000] == golden["scheduled_offset_ns_first_2000"]
    sizes = np.unique(np.array(found["query"][: golden["issued_samples_total"]]), return_counts=True)[1]
    assert sizes.sum() == golden["issued_samples_total"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], ExitCode.USAGE, "--settings"),
        (["--settings", "none.json"], ExitCode.MISSING, "error: --settings: none.json cannot be read"),
        (["--settings", "bad.json"], ExitCode.MISSING, "bad.json:2: not JSON"),
        (["--settings", "odd.json"], ExitCode.USAGE, "odd.json: server_target_qsp: LoadGen has no such setting\ncure: did you mean"),
        (["--settings", "s.json", "--out", "t.csv"], ExitCode.USAGE, "error: --out t.csv: traffic is written as .json or .parquet"),
        (["--settings", "s.json", "--out", "no/t.json"], ExitCode.MISSING, "error: --out no/t.json cannot be written"),
        (["--settings", "s.json", "--seting", "x"], ExitCode.USAGE, "error: there is no flag --seting\ncure: did you mean --settings?"),
    ],
)
def test_what_is_wrong_is_told_on_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], code: ExitCode, said: str
) -> None:
    """With its exit code, and nothing on standard output."""
    monkeypatch.chdir(tmp_path)
    settings_file(tmp_path)
    (tmp_path / "bad.json").write_text('{"qsl_total": 30,\n"settings" 3}')
    (tmp_path / "odd.json").write_text('{"qsl_total": 30, "settings": {"server_target_qsp": 3}}')
    assert cli.main(["traffic", *arguments]) == code
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""
