"""Candidates of other environments: what both sides say to each other, and what becomes of a process that cannot, will not or must not."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_st

import assay
from harness import cli
from harness.comparing import elsewhere, frames
from harness.comparing.candidates import wanted
from harness.comparing.seats import Stretch
from harness.config import load
from harness.errors import BackendError, MissingError, UsageError
from harness.progress import Silent

ROOT = Path(__file__).resolve().parents[2]

BACKEND = '''
"""A toy whose speed stands in a module beside it."""
import time
from toy_speed import SECONDS

REQUIRES: tuple[str, ...] = ()
PRECISIONS = ("fp32",)


class Toy:
    needs_inputs = False
    answers = False

    def load(self, model):
        print("a line on stdout is no answer")

    def predict(self, batch):
        time.sleep(SECONDS)
        return {}

    def close(self):
        pass

    def describe(self):
        return {"runtime": "toy", "device": "cpu"}


def create(options):
    return Toy()
'''


def project(folder: Path, seconds: float) -> Path:
    """A checkout with a backend that takes so long."""
    folder.mkdir()
    (folder / "toy_backend.py").write_text(BACKEND)
    (folder / "toy_speed.py").write_text(f"SECONDS = {seconds}\n")
    return folder


# ------------------------------------------------------------------------------------------------------------------------- frames

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ARRAYS = numpy_st.arrays(
    st.sampled_from([np.int64, np.int32, np.float64, np.bool_]), numpy_st.array_shapes(max_dims=2, max_side=5, min_side=0)
)


@given(value=JSON, array=ARRAYS)
def test_a_message_arrives_as_it_was_sent(value: object, array: np.ndarray) -> None:
    """JSON values and arrays, bit for bit, one message after another; a message that breaks off is the end."""
    pipe = io.BytesIO()
    frames.send(pipe, {"value": value}, {"numbers": array})
    frames.send(pipe, {"last": True})
    pipe.seek(0)
    found = frames.receive(pipe)
    assert found is not None
    assert found["value"] == value
    assert (found["arrays"]["numbers"].dtype, found["arrays"]["numbers"].tobytes()) == (array.dtype, array.tobytes())
    assert frames.receive(pipe) == {"last": True, "arrays": {}}
    assert frames.receive(pipe) is None
    assert frames.receive(io.BytesIO(pipe.getvalue()[: len(pipe.getvalue()) // 3])) is None


def test_nothing_is_unpickled() -> None:
    """An array of objects is refused on both sides."""
    with pytest.raises(ValueError, match="Object arrays"):
        frames.send(io.BytesIO(), {}, {"objects": np.array([{}], object)})


# ----------------------------------------------------------------------------------------------------------------------- projects


def test_two_checkouts_are_compared(tmp_path: Path) -> None:
    """Each runs its own backend and the module beside it; the ratio is that of their speeds, and their places are stored."""
    base, head = project(tmp_path / "base", 0.001), project(tmp_path / "head", 0.012)
    found = assay.compare(
        candidates=[{"name": each.name, "backend": "toy_backend.py", "project": each} for each in (base, head)],
        scenario="single-stream",
        blocks=2,
        block_duration=0.1,
        budget=0.1,
        out=tmp_path / "out",
    )
    ratio = found.ratio("head", "p50")
    assert ratio is not None
    assert ratio.value > 1.5
    assert (found.exit_code, found.winner) == (0, "base")
    assert found.record["candidates"][1]["place"] == {"python": None, "project": str(head)}
    assert found.record["candidates"][0]["conditions"]["executable"] == sys.executable
    assert {each.name for each in found.folder.iterdir()} >= {"comparison.json", "visits.parquet", "report.md"}
    with pytest.raises(UsageError, match="there is no candidate nobody"):
        found.word("nobody")


@pytest.fixture
def seat(tmp_path: Path):  # type: ignore[no-untyped-def]
    config = load({"backend": "toy_backend.py", "scenario": "single-stream"}, names_here=False)
    with elsewhere.seated("toy", config, None, project(tmp_path / "toy", 0.01), Silent()) as found:
        found.ready()
        found.load()
        yield found


def test_a_process_that_dies_is_a_problem_of_its_candidate(seat: elsewhere.ElsewhereSeat) -> None:
    """A visit gives figures; after its process was killed it gives the reason, and so does the scoring."""
    visited = seat.visit(Stretch("block", 0.1, 4))
    assert len(visited.latency_ns) == visited.samples >= 4
    assert visited.latency_ns.min() > 9_000_000
    seat._process.kill()
    assert seat.visit(Stretch("block", 0.1, 4)).problem.startswith("its process was killed by SIGKILL")
    assert "its process was killed by SIGKILL" in seat.score().problem
    with pytest.raises(BackendError, match="killed by SIGKILL"):
        seat.load()


def test_ctrl_c_ends_a_visit_elsewhere(seat: elsewhere.ElsewhereSeat) -> None:
    """The visit says that it was interrupted, and the process still answers."""
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    assert seat.visit(Stretch("block", 60.0, 4)).interrupted
    timer.join()
    assert seat.visit(Stretch("block", 0.1, 4)).problem == ""


def test_ctrl_c_is_not_lost_while_the_answer_is_on_its_way(seat: elsewhere.ElsewhereSeat, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes when the visit has just ended stops the comparison, too."""
    receive = frames.receive

    def received(stream: BinaryIO) -> dict[str, Any] | None:
        found = receive(stream)
        if found is not None and "says" not in found:
            os.kill(os.getpid(), signal.SIGINT)
        return found

    monkeypatch.setattr(frames, "receive", received)
    assert seat.visit(Stretch("block", 0.1, 4)).interrupted


@pytest.mark.slow
def test_the_process_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    """In the middle of a visit, when the comparison is killed and can tell nobody."""
    script = textwrap.dedent(f"""
        from pathlib import Path
        from harness.comparing.elsewhere import seated
        from harness.comparing.seats import Stretch
        from harness.config import load
        from harness.progress import Silent
        config = load({{"backend": "toy_backend.py", "scenario": "single-stream"}}, names_here=False)
        with seated("toy", config, None, Path({str(project(tmp_path / "toy", 0.01))!r}), Silent()) as seat:
            seat.ready(), seat.load()
            print(seat._process.pid, flush=True)
            seat.visit(Stretch("block", 120.0, 4))
    """)
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        time.sleep(0.5)
        parent.kill()
    child.wait(timeout=30)


# ------------------------------------------------------------------------------------------------------------------- what is wrong


def program(file: Path, text: str) -> Path:
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


@pytest.mark.parametrize(
    ("text", "message", "cure"),
    [
        (f'exec {sys.base_prefix}/bin/python3 -S "$@"', "lacks numpy psutil pydantic", "-m pip install numpy psutil pydantic"),
        ("echo this is no Python >&2; exit 3", "its process ended with exit code 3:\n  this is no Python", "a Python interpreter"),
    ],
)
def test_an_environment_that_will_not_do(text: str, message: str, cure: str, tmp_path: Path) -> None:
    """What it lacks is named with the command that installs it there; what is no Python is shown with what it says."""
    python = program(tmp_path / "python", text)
    with pytest.raises(MissingError) as raised, elsewhere.seated("old", load({"backend": "null"}), python, None, Silent()):
        pass
    assert message in str(raised.value)
    assert cure in raised.value.cure


def test_a_checkout_of_assay_from_before_candidates_elsewhere(tmp_path: Path) -> None:
    """It is recognised and refused, rather than compared with itself under another name."""
    (tmp_path / "harness").mkdir()
    for name in ("run_bench.py", "harness/core.py"):
        (tmp_path / name).touch()
    with (
        pytest.raises(MissingError, match="knows no candidates elsewhere"),
        elsewhere.seated("old", load({"backend": "null"}), None, tmp_path, Silent()),
    ):
        pass


@pytest.mark.parametrize(
    ("candidate", "code", "message"),
    [
        ("backend=null,python=/nowhere/python", 3, "python=/nowhere/python is no program"),
        ("backend=null,project=/nowhere/at/all", 3, "project=/nowhere/at/all is no folder"),
        ("backend=null,project=", 3, "project= is no folder"),
        ("backend=nowhere.py,project=.", 3, "nowhere.py is not there"),
        ("backend=null,speed=9", 2, "speed=9 is no setting"),
    ],
)
def test_wrong_places_are_refused(candidate: str, code: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the exit code of its kind, the candidate named, and nothing left behind."""
    flags = ["--backend", "null:1ms", "--candidate", candidate, "--scenario", "single-stream", "--progress", "none"]
    assert cli.main(["compare", *flags, "--out", str(tmp_path)]) == code
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_relative_folders_are_sought_in_the_project_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model and data of the project win over those of the current folder, which win over nothing."""
    monkeypatch.chdir(tmp_path)
    for folder in ("mine/model", "mine/data", "model", "other"):
        (tmp_path / folder).mkdir(parents=True)
    own, common = wanted(
        [
            {"project": "mine", "name": "a", "model": "model", "data": "data"},
            {"project": "mine", "name": "b", "model": "other", "data": "other"},
        ],
        {"backend": "null"},
    )
    assert (own.config.model, own.config.data) == ("model", tmp_path / "mine" / "data")
    assert (common.config.model, common.config.data) == (str(tmp_path / "other"), tmp_path / "other")
