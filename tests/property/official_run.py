"""Runs the official LoadGen with a system under test that answers inside the callback, and says what it asked. Its own process.

Reads a JSON list of {total, loaded, settings} from standard input; writes one JSON list to standard output.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import mlperf_loadgen as lg

BEGIN = re.compile(
    r'"name":"Sample","cat":"default","ph":"b".*"ts":([\d.]+),"args":\{"sample_seq":(\d+),"query_seq":(\d+),"sample_idx":(\d+),'
    r'"issue_start_ns":-?\d+,"complete_ns":(\d+)'
)


def make_settings(values: dict[str, Any]) -> lg.TestSettings:
    settings = lg.TestSettings()
    for name, value in values.items():
        if name in ("scenario", "mode"):
            value = getattr({"scenario": lg.TestScenario, "mode": lg.TestMode}[name], value)
        setattr(settings, name, value)
    return settings


def run(config: dict[str, Any]) -> dict[str, Any]:
    loaded: list[list[int]] = []
    sizes: list[int] = []
    indices: list[int] = []

    def issue(samples: list[lg.QuerySample]) -> None:
        sizes.append(len(samples))
        indices.extend(sample.index for sample in samples)
        lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, 0, 0) for sample in samples])

    sut = lg.ConstructSUT(issue, lambda: None)
    library = lg.ConstructQSL(config["total"], config["loaded"], loaded.append, lambda _: None)
    with tempfile.TemporaryDirectory() as folder:
        log = lg.LogSettings()
        log.log_output.outdir = folder
        log.enable_trace = True
        lg.StartTestWithLogSettings(sut, library, make_settings(config["settings"]), log)
        trace = (Path(folder) / "mlperf_log_trace.json").read_text()
        detail = (Path(folder) / "mlperf_log_detail.txt").read_text()
        logged = json.loads((Path(folder) / "mlperf_log_accuracy.json").read_text())
    lg.DestroyQSL(library)
    lg.DestroySUT(sut)
    values: dict[str, list[Any]] = {}
    for entry in re.findall(r'\{"key": "(?:generated_|result_|early_stopping_).*', detail):
        line = json.loads(re.sub(r"(-?nan|inf),", "null,", entry))  # one query has no rate
        values.setdefault(line["key"], []).append(line["value"])
    rows = sorted((int(seq), int(query), int(ts.replace(".", "")), int(took)) for ts, seq, query, _, took in BEGIN.findall(trace))
    return {
        "loaded": loaded,
        "sizes": sizes,
        "indices": indices,
        "detail": values,
        "rows": rows,
        "logged": [entry["seq_id"] for entry in logged],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps([run(config) for config in json.load(sys.stdin)]))
