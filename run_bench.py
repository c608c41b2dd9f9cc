"""Assay from a bare checkout: `python run_bench.py --scenario server`. The same program as `assay`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # the folder that holds harness, tasks, backends, scenarios and reports

if __name__ == "__main__":  # worker processes import this file again and must not start a run
    from harness.cli import finish, main

    sys.exit(finish(main()))
