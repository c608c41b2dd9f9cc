"""The package mlcommons-loadgen, and a thread in which it plays one test on an `OfficialLedger`.

LoadGen is C++ with callbacks into Python: an exception in one of them ends the process, and a sample that it is not told of hangs it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core import IntArray, Output
from harness.errors import MissingError, RunError, UsageError
from harness.loadgen import Requested, as_names
from harness.mlperf.accuracy import payload
from harness.official.ledger import Answered, Data, OfficialLedger, Recipe

PACKAGE = "mlcommons-loadgen"

STOP_PATIENCE_S = 10.0
"""How long a stopped LoadGen may take to come to the end of its list. It sleeps until each query of a Server schedule, come what may."""

_playing = threading.Lock()  # LoadGen keeps its state in the process: one test at a time. Given back by LoadGen's own thread


def still_playing() -> bool:
    """LoadGen's thread runs on after a run that was given up. A process that ends meanwhile is aborted by LoadGen's own destructors: end
    it with os._exit once everything is written."""
    return _playing.locked()


def loadgen_module() -> Any:
    """The module mlperf_loadgen. Raises MissingError."""
    try:
        return importlib.import_module("mlperf_loadgen")
    except ImportError as error:
        raise MissingError(f"--engine mlcommons needs the official LoadGen: {error}", f"pip install {PACKAGE}") from error


def official_version() -> str:
    """Version of the package that is installed. Raises MissingError."""
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingError("--engine mlcommons needs the official LoadGen", f"pip install {PACKAGE}") from error


def as_test_settings(requested: Requested) -> Any:
    """An mlperf_loadgen.TestSettings with these values. Raises MissingError."""
    lg = loadgen_module()
    settings = lg.TestSettings()
    for name, value in as_names(requested).items():
        if name in ("scenario", "mode"):
            value = getattr({"scenario": lg.TestScenario, "mode": lg.TestMode}[name], value)
        setattr(settings, name, value)
    return settings


def refuse(requested: Requested) -> None:
    """Raises UsageError for what would hang LoadGen, or is more than one phase of one test."""
    if requested.mode not in ("PerformanceOnly", "AccuracyOnly"):
        raise UsageError(
            f"--engine mlcommons does not play {requested.mode} in one test", "ask for the performance and the accuracy run one by one"
        )
    if requested.server_num_issue_query_threads:
        raise UsageError("server_num_issue_query_threads: LoadGen waits for ever for them when used from Python", "set it to 0")
    if requested.use_token_latencies:
        raise UsageError("use_token_latencies: our backends answer whole samples, without a first token", "set it to 0")


def _log_settings(lg: Any, folder: Path, trace: bool) -> Any:
    log = lg.LogSettings()
    log.log_output.outdir = str(folder)
    log.enable_trace = trace
    return log


class Player(threading.Thread):
    """LoadGen's thread: one StartTest, begun when all workers are here. A daemon: a test that was given up goes on in it."""

    def __init__(self, ledger: OfficialLedger, requested: Requested, total: int, loaded: int, folder: Path, trace: bool) -> None:
        super().__init__(name="official-loadgen", daemon=True)
        self.error: Exception | None = None
        self._lg = loadgen_module()
        self._ledger = ledger
        self._settings = as_test_settings(requested)
        self._sizes = total, loaded
        self._log = _log_settings(self._lg, folder, trace)

    def begin(self) -> None:
        """Start. Raises RunError while LoadGen plays another test."""
        if not _playing.acquire(blocking=False):
            raise RunError("the official LoadGen still plays a test that was given up", "start again in a new process")
        self.start()

    def run(self) -> None:
        try:
            if self._ledger.wait_for_workers():
                self._play()
        except Exception as error:
            self.error = error
        finally:
            _playing.release()
            self._ledger.finish()

    def _play(self) -> None:
        lg, ledger = self._lg, self._ledger
        system = lg.ConstructFastSUT(ledger.issue, lambda: None)
        library = lg.ConstructQSL(*self._sizes, lambda _: ledger.load(), lambda _: None)
        try:
            no_audit_file = ""  # LoadGen would read audit.config of the working directory
            lg.StartTestWithLogSettings(system, library, self._settings, self._log, no_audit_file)
        finally:
            lg.DestroyQSL(library)
            lg.DestroyFastSUT(system)

    def end(self) -> None:
        """Return when LoadGen is done; a test that nobody serves any more is stopped, and given up after STOP_PATIENCE_S."""
        if not self._ledger.final:
            self._ledger.stop()
        self.join(STOP_PATIENCE_S)


# ------------------------------------------------------------------------------------------------------------------------- answers


def recipe_for(outputs: Sequence[Output], lengths: IntArray) -> Recipe:
    """Bytes of an answer, cut to the real length of its sample."""

    def recipe(answers: Any, place: int, sample: int) -> bytes:
        length = int(lengths[sample])
        answer = {
            output.name: np.asarray(answers[output.name][place, : length if output.per_token else None], np.float32)
            for output in outputs
            if output.name in answers
        }
        return payload(outputs, answer)

    return recipe


def teller() -> Answered:
    """Tells LoadGen. The bytes are kept until it has copied them. Raises MissingError without the package."""
    lg = loadgen_module()

    def answered(ids: list[int], data: Data | None) -> None:
        responses = [lg.QuerySampleResponse(each, 0, 0) for each in ids]
        if data is None:
            lg.QuerySamplesComplete(responses)
            return
        places: dict[int, int] = {}
        kept: list[NDArray[np.uint8]] = []

        def fill(response: Any) -> None:
            if not places:
                places.update({each: place for place, each in enumerate(ids)})
            if content := data(places[response.id]):
                kept.append(np.frombuffer(content, np.uint8))
                response.data, response.size = kept[-1].ctypes.data, len(content)

        lg.QuerySamplesComplete(responses, fill)

    return answered
