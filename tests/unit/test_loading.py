"""How the workers of a run load."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.batching import Policy
from harness.core import BackendOptions, Samples
from harness.crew import form
from harness.worker import WorkerSpec

BACKEND = """
import time
REQUIRES = PRECISIONS = ()
loading = []
def create(options): return Slow()
class Slow:
    needs_inputs = answers = False
    def load(self, model):
        loading.append(self)
        time.sleep(0.05)
        self.together = len(loading)
        loading.remove(self)
    def describe(self): return {"together": self.together}
    def close(self): pass
"""


def test_threads_load_one_after_another(tmp_path: Path) -> None:
    """Libraries that import lazily (transformers) raise where two threads import at once, so no two load at the same time."""
    plugin = tmp_path / "slow.py"
    plugin.write_text(BACKEND)
    nothing = Samples(np.zeros(0, np.int32), np.zeros(0, np.int8), np.zeros(2, np.int64), 0, 0)
    specs = [WorkerSpec(number, str(plugin), BackendOptions(worker=number), None, nothing, (), Policy()) for number in range(3)]
    crew = form(specs, processes=False)
    try:
        assert [described["together"] for described in crew.call("load")] == [1, 1, 1]
    finally:
        crew.close()
