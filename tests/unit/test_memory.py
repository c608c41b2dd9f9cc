"""Memory of a loaded backend: growth of the process, and of the device where somebody tells."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.memory import grown, resident_bytes

HOLD = """
import json
from harness.memory import grown, resident_bytes
before = resident_bytes()
held = bytearray(b"1") * 50_000_000
print(json.dumps(grown(before, {"device": "cpu"})))
"""


def test_resident_memory_grows_with_what_is_held() -> None:
    """50 MB of written bytes are seen, in a process where nothing else is freed meanwhile."""
    told = subprocess.run([sys.executable, "-c", HOLD], check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    found = json.loads(told.stdout)
    assert found["device_bytes"] is None
    assert 45_000_000 < found["resident_bytes"] < 100_000_000


def test_memory_that_shrank_is_no_negative_size() -> None:
    """What was freed meanwhile is not the backend's: then nobody knows what it took."""
    assert grown(resident_bytes() * 2, {})["resident_bytes"] is None


def test_device_memory_is_what_the_backend_says_else_what_torch_has_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend's own figure first; PyTorch's on a CUDA device; none on a CPU or where PyTorch holds nothing."""
    cuda = SimpleNamespace(is_initialized=lambda: True, memory_allocated=lambda device: {"cuda:1": 300}.get(device, 0))
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert grown(0, {"device": "cuda:1", "device_bytes": 7})["device_bytes"] == 7
    assert grown(0, {"device": "cuda:1"})["device_bytes"] == 300
    assert grown(0, {"device": "cuda:0"})["device_bytes"] is None
    assert grown(0, {"device": "cpu"})["device_bytes"] is None
