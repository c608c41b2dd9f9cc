"""Keep a stored result as an example: `python -m docs.examples.keep RESULT NAME` copies it to docs/examples/NAME.

Paths of the machine are left out. What is copied is enough for `assay report docs/examples/NAME --format html`; the Markdown report is
written beside it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RECORDS = ("run.json", "comparison.json", "sweep.json")
LEDGERS = ("queries.parquet", "telemetry.parquet")


def without_paths(value: Any) -> Any:
    """A record whose absolute paths are their last name: what lies where on a machine is nobody's business."""
    if isinstance(value, dict):
        return {key: without_paths(each) for key, each in value.items()}
    if isinstance(value, list):
        return [without_paths(each) for each in value]
    return Path(value).name if isinstance(value, str) and value.startswith("/") else value


def keep(result: Path, name: str) -> None:
    record = next(result / each for each in RECORDS if (result / each).is_file())
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    stored = without_paths(json.loads(record.read_text(encoding="utf-8")))
    (folder / record.name).write_text(json.dumps(stored, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    for ledger in (result / each for each in LEDGERS if (result / each).is_file()):
        shutil.copyfile(ledger, folder / ledger.name)
    report = [sys.executable, str(HERE.parents[1] / "run_bench.py"), "report", str(folder), "--format", "markdown"]
    subprocess.run([*report, "--to", str(folder / "report.md")], check=True)


if __name__ == "__main__":
    keep(Path(sys.argv[1]), sys.argv[2])
