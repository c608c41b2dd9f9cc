"""CUDA's Python bindings: which is taken, which device is meant, what an error says; and the calls against the real cuda-python."""

from __future__ import annotations

import enum
import importlib
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import BackendError, MissingError
from harness.runtimes import cuda_memory, cuda_pycuda
from harness.runtimes.cuda_memory import Gpu, index_of, open_cuda
from harness.runtimes.cuda_python import CudaPython, open_device


class Code(enum.IntEnum):
    """As cudaError_t."""

    cudaSuccess = 0  # noqa: N815 - CUDA's names
    cudaErrorMemoryAllocation = 2  # noqa: N815
    cudaErrorInsufficientDriver = 35  # noqa: N815


def _runtime(**answers: Any) -> Any:
    """The runtime API; every call answers with success and, where `answers` names it, a value."""
    calls: list[tuple[Any, ...]] = []
    names = (
        "cudaSetDevice cudaStreamDestroy cudaFree cudaFreeHost cudaStreamSynchronize cudaMemcpyAsync cudaStreamBeginCapture "
        "cudaGraphDestroy cudaGraphExecDestroy cudaGraphLaunch"
    )
    values: dict[str, Any] = dict.fromkeys(names.split()) | {
        "cudaGetDeviceCount": 2,
        "cudaDriverGetVersion": 12080,
        "cudaGetDeviceProperties": SimpleNamespace(name=b"NVIDIA H100", major=9, minor=0, totalGlobalMem=80 * 2**30),
        "cudaStreamCreateWithFlags": 70,
        "cudaMalloc": 4096,
        "cudaStreamEndCapture": "graph",
        "cudaGraphInstantiateWithFlags": "playable",
    }

    def answer(name: str, value: Any) -> Any:
        def call(*arguments: Any) -> tuple[Any, ...]:
            calls.append((name, *arguments))
            if value is None:
                return (Code.cudaSuccess,)
            return (value, None) if isinstance(value, Code) else (Code.cudaSuccess, value)

        call.__name__ = name
        return call

    made = {name: answer(name, value) for name, value in (values | answers).items()}
    mode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    return SimpleNamespace(**made, calls=calls, cudaStreamCaptureMode=mode, cudaStreamNonBlocking=1)


@pytest.mark.parametrize(("device", "worker", "index"), [("auto", 0, 0), ("auto", 3, 1), ("cuda", 3, 0), ("cuda:1", 0, 1)])
def test_a_device_is_meant_by_name_or_in_turn(device: str, worker: int, index: int) -> None:
    """Of two devices: auto spreads workers, cuda is the first, cuda:1 the second."""
    assert index_of(device, worker, 2) == index


@pytest.mark.parametrize(("device", "count", "words"), [("cuda:2", 2, "there are 2"), ("cpu", 1, "alone"), ("auto", 0, "no GPU")])
def test_a_device_that_is_not_there_is_missing(device: str, count: int, words: str) -> None:
    """Each with what to write instead."""
    with pytest.raises(MissingError, match=words) as caught:
        index_of(device, 0, count)
    assert caught.value.cure


def test_without_any_binding_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """All three that were tried are named, with why they were not taken."""

    def nothing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(cuda_memory, "import_module", nothing)
    with pytest.raises(MissingError, match=r"cuda\.bindings\.runtime.*cuda\.cudart.*pycuda\.driver") as caught:
        open_cuda("auto")
    assert "cuda-python" in caught.value.cure


def test_pycuda_is_taken_where_cuda_python_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second choice, which says that it has no graphs."""
    context = SimpleNamespace(push=lambda: None, pop=lambda: None)
    device = SimpleNamespace(
        retain_primary_context=lambda: context, compute_capability=lambda: (8, 6), name=lambda: "RTX A6000", total_memory=lambda: 48 * 2**30
    )
    kind = type("Device", (), {"__new__": lambda _cls, _index: device, "count": staticmethod(lambda: 1)})
    driver = SimpleNamespace(init=lambda: None, Device=kind, Error=RuntimeError, get_driver_version=lambda: 12040)
    real = importlib.import_module

    def only_pycuda(name: str) -> Any:
        if name.startswith("cuda."):
            raise ImportError("none")
        return driver if name == "pycuda.driver" else real(name)

    monkeypatch.setattr(cuda_memory, "import_module", only_pycuda)
    monkeypatch.setattr(cuda_pycuda, "_version", lambda: (2026, 1))
    opened = open_cuda("auto")
    assert (opened.binding, opened.graphs, opened.index) == ("pycuda 2026.1", False, 0)
    assert opened.gpu() == Gpu("RTX A6000", (8, 6), 48 * 2**30, 12040)


def test_a_driver_too_old_is_missing() -> None:
    """CUDA's error 35 by name."""
    with pytest.raises(MissingError, match="cudaErrorInsufficientDriver"):
        open_device(_runtime(cudaGetDeviceCount=Code.cudaErrorInsufficientDriver), "auto", 0)


def test_what_the_device_is() -> None:
    """Name, capability, memory and the driver's CUDA."""
    assert open_device(_runtime(), "cuda:1", 0).gpu() == Gpu("NVIDIA H100", (9, 0), 80 * 2**30, 12080)


def test_memory_that_runs_out_says_what_to_change() -> None:
    """The call and CUDA's word for it, and a smaller batch as the cure."""
    cuda = CudaPython(_runtime(cudaMalloc=Code.cudaErrorMemoryAllocation), 0)
    with pytest.raises(BackendError, match="cudaMalloc: cudaErrorMemoryAllocation") as caught:
        cuda.allocate(1 << 40)
    assert "--max-batch" in caught.value.cure


def test_a_capture_becomes_a_graph_and_everything_is_given_back() -> None:
    """Begin, work, end, instantiate, and the raw graph goes at once; `close` gives back in the opposite order of taking."""
    runtime = _runtime()
    cuda = CudaPython(runtime, 0)
    stream = cuda.stream()
    cuda.allocate(64)
    graph = cuda.capture(stream, lambda: runtime.calls.append(("work",)))
    cuda.launch(graph, stream)
    cuda.close()
    assert [call[0] for call in runtime.calls[2:]] == [
        "cudaStreamBeginCapture",
        "work",
        "cudaStreamEndCapture",
        "cudaGraphInstantiateWithFlags",
        "cudaGraphDestroy",
        "cudaGraphLaunch",
        "cudaGraphExecDestroy",
        "cudaFree",
        "cudaStreamDestroy",
    ]


def test_a_capture_that_fails_is_ended() -> None:
    """Otherwise every later call on the stream would fail."""
    runtime = _runtime()

    def fail() -> None:
        raise BackendError("refused", "")

    with pytest.raises(BackendError, match="refused"):
        CudaPython(runtime, 0).capture(70, fail)
    assert runtime.calls[-1] == ("cudaStreamEndCapture", 70)


def test_the_real_cuda_python_has_what_the_code_calls() -> None:
    """Every call of the fake exists in the installed binding, with as many arguments as its documentation names."""
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="no cuda-python here", exc_type=ImportError)
    expected = {
        "cudaMemcpyAsync": 5,
        "cudaStreamBeginCapture": 2,
        "cudaGraphInstantiateWithFlags": 2,
        "cudaGraphLaunch": 2,
        "cudaStreamCreateWithFlags": 1,
        "cudaGetDeviceProperties": 1,
        "cudaMallocHost": 1,
    }
    for name in vars(_runtime()):
        assert hasattr(runtime, name) or name == "calls", name
    for name, count in expected.items():
        first = getattr(runtime, name).__doc__.strip().splitlines()[0]
        assert first.count(",") + 1 == count, first
