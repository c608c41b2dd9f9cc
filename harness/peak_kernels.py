"""The fastest matrix product and copy that can be had here, timed. Run in a process of its own: `python -m harness.peak_kernels`.

A process of its own has the thread count it is asked for, whatever runtimes the run has loaded. A peak is a maximum: each product is
repeated for a moment and the best time of the best shape counts, so that a disturbance costs repetitions and not the result.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "int8")
"""What products can be timed in, where the machine has it."""

COPY = "copy"
"""Key of the bandwidth of a copy, bytes read and written per second."""

BUDGET_S = 0.8
"""Time for one precision, all shapes together, after a first call of each."""

CPU_SHAPES = ((256, 384, 1536), (512, 384, 1536), (1024, 768, 3072), (2048, 1024, 4096), (2048, 2048, 2048))
"""(m, k, n): the first product of the feed-forward layers of MiniLM, BERT-Base and BERT-Large on some batches, and a square one. The small
ones take a millisecond or two, so that some are undisturbed even beside other work."""

GPU_SHAPES = ((8192, 768, 3072), (16384, 1024, 4096), (8192, 8192, 8192))
COPY_BYTES = 256 * 1024 * 1024
"""Several times the last cache of a processor."""

Call = Callable[[], Any]


def best_s(call: Call, budget_s: float, clock: Callable[[], float] = time.perf_counter, least: int = 3) -> float:
    """Shortest of at least `least` calls, as many as fit in the budget; a first one is not timed."""
    call()
    times: list[float] = []
    end = clock() + budget_s
    while len(times) < least or clock() < end:
        start = clock()
        call()
        times.append(clock() - start)
    return min(times)


def fastest(calls: Iterator[tuple[float, Call]], count: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Most work per second of `count` calls, each given with its work."""
    return max(work / best_s(call, BUDGET_S / count, clock) for work, call in calls)


# -------------------------------------------------------------------------------------------------------------------------- torch


def torch_peaks(device: str, threads: int, precisions: Sequence[str]) -> dict[str, Any]:
    """Peaks of `precisions` in operations/s, those that `device` lacks left out, and the copy in bytes/s."""
    import torch

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    place = torch.device(device)
    shapes = GPU_SHAPES if place.type == "cuda" else CPU_SHAPES
    sync: Call = (lambda: torch.cuda.synchronize(place)) if place.type == "cuda" else (lambda: None)
    found = {
        precision: fastest(_products(place, precision, shapes, sync), len(shapes))
        for precision in precisions
        if precision in _offered(place)
    }
    source = torch.zeros(COPY_BYTES, dtype=torch.uint8, device=place)
    target = torch.ones_like(source)
    found[COPY] = 2 * COPY_BYTES / best_s(partial(_then, partial(target.copy_, source), sync), BUDGET_S / 2)
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else platform.machine()
    return {"library": f"torch {torch.__version__}", "device_name": name, "peaks": found}


def _offered(place: Any) -> tuple[str, ...]:
    """Precisions that the device multiplies; what PyTorch would only emulate is none of them."""
    import torch

    if place.type == "cuda":
        return PRECISIONS if torch.cuda.get_device_capability(place) >= (8, 0) else ("fp32", "fp16")
    from harness.conditions import cpu

    flags = set(cpu()["instruction_sets"])
    native = {"bf16": {"avx512_bf16", "amx_bf16", "bf16"}, "fp16": {"avx512_fp16"}}
    return ("fp32", "int8", *(precision for precision, needed in native.items() if flags & needed))


def _products(place: Any, precision: str, shapes: Sequence[tuple[int, int, int]], sync: Call) -> Iterator[tuple[float, Call]]:
    """Each shape as its operations and a call that multiplies."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.int8}.get(precision, torch.float32)
    for m, k, n in shapes:
        left, right = _filled((m, k), dtype, place), _filled((n, k), dtype, place).t()
        into = torch.empty((m, n), dtype=torch.int32 if precision == "int8" else dtype, device=place)
        multiply: Callable[..., Any] = torch._int_mm if precision == "int8" else torch.mm
        yield 2.0 * m * k * n, partial(_then, partial(multiply, left, right, out=into), sync)


def _then(call: Call, sync: Call) -> None:
    call()
    sync()


def _filled(shape: tuple[int, int], dtype: Any, place: Any) -> Any:
    """Random numbers: zeros need less power, and a clock that follows power would flatter."""
    import torch

    if dtype is torch.int8:
        return torch.randint(-100, 100, shape, dtype=dtype, device=place)
    return torch.randn(shape, device=place).to(dtype)


# -------------------------------------------------------------------------------------------------------------------------- numpy


def numpy_peaks() -> dict[str, Any]:
    """FP32 and the copy, where there is no torch: numpy's library has no other fast products. Its copy uses one thread."""
    import numpy as np

    def products() -> Iterator[tuple[float, Call]]:
        rng = np.random.default_rng(0)
        for m, k, n in CPU_SHAPES:
            left, right = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)
            into = np.empty((m, n), np.float32)
            yield 2.0 * m * k * n, partial(np.matmul, left, right, out=into)

    source, target = np.zeros(COPY_BYTES, np.uint8), np.ones(COPY_BYTES, np.uint8)
    found = {"fp32": fastest(products(), len(CPU_SHAPES)), COPY: 2 * COPY_BYTES / best_s(partial(np.copyto, target, source), BUDGET_S / 2)}
    return {"library": f"numpy {np.__version__}", "device_name": platform.machine(), "peaks": found}


def main(words: Sequence[str]) -> None:
    """DEVICE THREADS PRECISION...: prints what was measured as one line of JSON."""
    device, threads, *precisions = words
    if importlib.util.find_spec("torch") is not None:
        print(json.dumps(torch_peaks(device, int(threads), precisions)))
    elif device == "cpu":
        print(json.dumps(numpy_peaks()))
    else:
        sys.exit(f"{device} can only be measured with torch, which is not installed")


if __name__ == "__main__":
    main(sys.argv[1:])
