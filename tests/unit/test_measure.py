"""A crew serving a ledger: what every kind of broken backend does to a run."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from harness import plugins
from harness.batching import Policy
from harness.core import BackendOptions, Limits, Output, Samples, Settings, Status, Traffic
from harness.crew import ProcessCrew, ThreadCrew, patience
from harness.errors import BackendError
from harness.measure import Measured, Watch, measure
from harness.progress import Silent
from harness.responses import Keep
from harness.worker import WorkerSpec

ROWS = 60

BACKEND = '''"""A backend for tests: the answer to sample i is i, until it misbehaves from the sample FAULT on."""
import os, signal, time
import numpy as np
REQUIRES = ()
PRECISIONS = ("good", "raise", "nan", "inf", "shape", "short", "nothing", "hang", "sigkill", "refuse", "slow")
FAULT = 40
class Backend:
    needs_inputs = True
    answers = True
    def __init__(self, kind): self.kind = kind
    def load(self, model):
        if self.kind == "refuse": raise OSError("no such device")
    def predict(self, batch):
        good = np.stack([batch.samples, -batch.samples], axis=1).astype(np.float32)
        if self.kind == "slow": time.sleep(0.05)
        if self.kind == "good" or batch.samples.max() < FAULT: return {"logits": good}
        if self.kind == "raise": raise RuntimeError("out of order")
        if self.kind == "nan": return {"logits": np.where(batch.samples[:, None] >= FAULT, np.nan, good)}
        if self.kind == "inf": return {"logits": np.where(batch.samples[:, None] >= FAULT, np.inf, good)}
        if self.kind == "shape": return {"logits": good[:, :1]}
        if self.kind == "short": return {"logits": good[:-1]}
        if self.kind == "nothing": return {}
        if self.kind == "hang": time.sleep(3600)
        if self.kind == "sigkill": os.kill(os.getpid(), signal.SIGKILL)
        return {"logits": good}
    def close(self): pass
    def describe(self): return {"runtime": "test", "kind": self.kind}
def create(options): return Backend(options.precision)
'''


@pytest.fixture
def backend_file(tmp_path: Path) -> str:
    file = tmp_path / "engine.py"
    file.write_text(BACKEND)
    return str(file)


def spec(backend_file: str, kind: str, worker: int = 0) -> WorkerSpec:
    offsets = np.arange(ROWS + 1, dtype=np.int64) * 3
    samples = Samples(np.ones(3 * ROWS, np.int32), np.zeros(3 * ROWS, np.int8), offsets, 0, 16)
    options = BackendOptions(kind, "cpu", 1, worker)
    return WorkerSpec(worker, backend_file, options, None, samples, (Output("logits", width=2),), Policy("fifo", 4))


def once_each() -> Traffic:
    return Traffic(np.zeros(ROWS, np.int64), np.arange(ROWS, dtype=np.int32), np.zeros(ROWS, np.int64), Limits(0, 1))


def watch(hang_timeout_s: float = 60.0, **options: object) -> Watch:
    return Watch("run", Silent(), 0.0, hang_timeout_s, **options)  # type: ignore[arg-type]


def serve(crew: ThreadCrew | ProcessCrew, watching: Watch) -> Measured:
    try:
        crew.call("load")
        return measure(crew, None, Settings(), once_each(), Policy("fifo", 4), watching, keep=Keep(0))
    finally:
        crew.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_answer_every_sample_and_keep_the_answers(backend_file: str, workers: int) -> None:
    """Every row is done without a reason against the run, and the kept answers are those of their samples."""
    measured = serve(ThreadCrew([spec(backend_file, "good", i) for i in range(workers)]), watch())
    assert not measured.reasons
    assert (measured.columns.status == Status.DONE).all()
    assert {row: answer["logits"].tolist() for row, answer in measured.answers.items()} == {i: [i, -i] for i in range(ROWS)}


def test_processes_answer_every_sample_and_keep_the_answers(backend_file: str) -> None:
    """The same over shared memory, the answers sent home at the end."""
    measured = serve(ProcessCrew([spec(backend_file, "good", i) for i in range(2)]), watch())
    assert not measured.reasons
    assert (measured.columns.status == Status.DONE).all()
    assert {row: answer["logits"].tolist() for row, answer in measured.answers.items()} == {i: [i, -i] for i in range(ROWS)}


def test_ctrl_c_while_workers_start_is_the_parents(backend_file: str) -> None:
    """A process that is still importing is interrupted as its whole group is by Ctrl-C, and goes on to serve."""
    crew = ProcessCrew([spec(backend_file, "good", i) for i in range(2)])
    for process in crew._processes:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)
    assert not serve(crew, watch()).reasons


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("raise", "RuntimeError: out of order (engine.py:17)"),
        ("nan", "logits holds NaN"),
        ("inf", "logits holds Inf"),
        ("shape", "logits has shape (4, 1), expected (4, 2)"),
        ("short", "logits has shape (3, 2), expected (4, 2)"),
        ("nothing", "no output named 'logits'; got nothing"),
    ],
)
def test_what_is_no_answer_is_an_error_of_its_rows(backend_file: str, kind: str, message: str) -> None:
    """The rows of a broken batch are errors, the others are served, and the reason quotes the first message."""
    measured = serve(ThreadCrew([spec(backend_file, kind)]), watch(stop_on_error=False))
    assert measured.columns.status.tolist() == [Status.DONE] * 40 + [Status.ERROR] * 20
    assert [reason.code for reason in measured.reasons] == ["errors"]
    assert measured.reasons[0].text == f"20 of 60 samples failed; first: {message}"
    assert max(measured.answers) == 39


def test_a_hanging_call_ends_the_run(backend_file: str) -> None:
    """A call that never returns is given up after the timeout; its rows are lost."""
    measured = serve(ThreadCrew([spec(backend_file, "hang")]), watch(hang_timeout_s=0.5))
    assert [reason.code for reason in measured.reasons] == ["hung", "unanswered"]
    assert np.count_nonzero(measured.columns.status == Status.LOST) == 4


def test_a_killed_worker_ends_the_run(backend_file: str) -> None:
    """SIGKILL of a worker process in mid-run: the run ends, says so, and keeps what the other worker did."""
    crew = ProcessCrew([spec(backend_file, kind, i) for i, kind in enumerate(["slow", "sigkill"])])
    measured = serve(crew, watch())
    assert measured.reasons[0].code == "worker_died"
    assert "worker 1 was killed by SIGKILL" in measured.reasons[0].text
    assert (measured.columns.status == Status.LOST).any()
    assert (measured.columns.status == Status.DONE).any()


def test_errors_stop_the_run_after_a_grace(backend_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With stop_on_error the run does not go on for long once it cannot become valid."""
    monkeypatch.setattr("harness.measure.ERROR_GRACE_S", 0.0)
    many = Traffic(
        np.arange(100_000), np.full(100_000, 50, np.int32), np.arange(100_000) * 1_000_000, Limits(0, 1)
    )  # 100 s of traffic, every row of which fails
    crew = ThreadCrew([spec(backend_file, "raise")])
    crew.call("load")
    measured = measure(crew, None, Settings(), many, Policy("fifo", 4), watch(), keep=Keep(0))
    crew.close()
    assert measured.seconds < 50
    assert "errors" in [reason.code for reason in measured.reasons]


def test_a_hopeless_backlog_is_given_up(backend_file: str) -> None:
    """More traffic than can be served is given up in time, with the rest counted as unanswered."""
    crew = ThreadCrew([spec(backend_file, "slow")])
    crew.call("load")
    many = Traffic(np.arange(10_000), np.zeros(10_000, np.int32), np.zeros(10_000, np.int64), Limits(0, 1))
    measured = measure(crew, None, Settings(), many, Policy("fifo", 1), watch(give_up_ns=10**9), keep=Keep(0))
    crew.close()
    assert [reason.code for reason in measured.reasons] == ["backlog", "unanswered"]
    assert measured.seconds < 20


def test_first_interrupt_keeps_what_was_measured(backend_file: str) -> None:
    """One Ctrl-C ends the run cleanly."""
    crew = ThreadCrew([spec(backend_file, "slow")])
    crew.call("load")
    many = Traffic(np.arange(10_000), np.zeros(10_000, np.int32), np.zeros(10_000, np.int64), Limits(0, 1))
    threading.Timer(0.7, signal.raise_signal, [signal.SIGINT]).start()
    measured = measure(crew, None, Settings(), many, Policy("fifo", 1), watch(), keep=Keep(0))
    crew.close()
    assert measured.interrupted
    assert measured.reasons[0].code == "interrupted"
    assert (measured.columns.status == Status.DONE).sum() >= 5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_backend_that_cannot_load_says_why(backend_file: str) -> None:
    """A foreign exception in load becomes a BackendError with the exception's name and text, from threads and from processes."""
    for crew in (ThreadCrew([spec(backend_file, "refuse")]), ProcessCrew([spec(backend_file, "refuse")])):
        with pytest.raises(BackendError, match="could not be loaded: OSError: no such device"):
            crew.call("load")
        crew.close()


def test_plugins_find_the_file(backend_file: str) -> None:
    """A backend is also a path to a Python file, with its precision after a colon."""
    assert plugins.find_backend(f"{backend_file}:nan")[1] == "nan"


def test_a_stopped_worker_process_does_not_keep_the_run_alive(backend_file: str) -> None:
    """SIGSTOP of a worker that holds nothing: all rows are served by the other one, and the run is given up as hung."""
    crew = ProcessCrew([spec(backend_file, "good", i) for i in range(2)])
    crew.call("load")
    steady = Traffic(np.arange(150), np.zeros(150, np.int32), np.arange(150) * 10_000_000, Limits(0, 1))
    stop = threading.Timer(0.7, os.kill, [crew._processes[1].pid, signal.SIGSTOP])
    stop.start()
    try:
        measured = measure(crew, None, Settings(), steady, Policy("fifo", 4), watch(hang_timeout_s=1.5), keep=Keep(0))
    finally:
        stop.join()
        os.kill(crew._processes[1].pid or 0, signal.SIGCONT)
        crew.close()
    assert "hung" in [reason.code for reason in measured.reasons]
    assert np.count_nonzero(measured.columns.status == Status.DONE) >= 146


def test_a_call_that_hangs_before_the_run_is_given_up(backend_file: str) -> None:
    """Load, warm-up and probe have their patience, too."""
    crew = ThreadCrew([spec(backend_file, "hang")])
    crew.call("load")
    with pytest.raises(BackendError, match="worker 0 did not answer in time"):
        crew.call("warm", [np.array([59])], 1.0, tick=patience(0.6))
    crew.close()
