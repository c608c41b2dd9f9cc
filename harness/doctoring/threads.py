"""Checks of the doctor for what decides the speed of a CPU beside its arithmetic: threads, where they may run, and memory they are given.

Sources of the advice: PyTorch's performance tuning guide (physical cores, OpenMP's affinity, another allocator), glibc's mallopt(3)
(blocks above M_MMAP_THRESHOLD, at most 32 MB however it adapts, go back to the system when they are freed), and the kernel's
transhuge.rst.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import units
from harness.doctoring.lines import Level, Line

ALLOCATORS = ("tcmalloc", "jemalloc", "mimalloc")
BLOCKS = (8 << 20, 64 << 20)
"""Bytes of activations that a call makes and drops: a feed-forward layer of MiniLM, and one of BERT-Large on a batch."""

FAULTED = 0.5
"""Share of a block's pages faulted in anew on every use, above which the allocator gives blocks back."""

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_THREAD_LIMIT")
_PLACES = ("GOMP_CPU_AFFINITY", "KMP_AFFINITY", "OMP_PLACES", "OMP_PROC_BIND")
_SPINS = ("KMP_BLOCKTIME", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def threads(cpu: Mapping[str, Any]) -> Line:
    """Matrix products fill a core with one thread: the second one of a core only takes turns with the first."""
    usable: int = cpu["usable_cores"]
    best = advised_threads(cpu)
    if best >= usable:
        return Line(Level.OK, "threads", f"{units.plural(usable, 'thread')} by default, one on each usable core")
    why = f"{usable} usable cores are threads of {units.plural(_physical(cpu), 'physical core')}"
    if cpu["quota_cores"] is not None and best == int(cpu["quota_cores"]):
        why = f"the control group allows {cpu['quota_cores']:g} of {usable} usable cores"
    return Line(Level.WARN, "threads", why, f"give --threads {best}, or --workers auto, which measures")


def advised_threads(cpu: Mapping[str, Any]) -> int:
    """As many threads as there are physical cores among the usable ones, and whole cores of time."""
    quota = cpu["quota_cores"]
    return max(1, min(_physical(cpu), int(quota) if quota is not None else cpu["usable_cores"]))


def _physical(cpu: Mapping[str, Any]) -> int:
    """Physical cores among the usable ones, taking usable threads to be spread like all of them."""
    every, logical, usable = cpu["physical_cores"], cpu["logical_cores"], int(cpu["usable_cores"])
    return usable if not every or not logical or every >= logical else max(1, round(usable * every / logical))


def thread_environment(environment: Mapping[str, str], usable: int) -> Line:
    """Variables that limit, pin or busy threads behind the program's back."""
    found = {name: environment[name] for name in (*_LIMITS, *_PLACES, *_SPINS) if name in environment}
    text = " ".join(f"{name}={value}" for name, value in found.items()) or "nothing set that changes threads"
    low = [name for name in _LIMITS if found.get(name, "").isdigit() and int(found[name]) < usable]
    pinned = [name for name in _PLACES if found.get(name, "false").lower() not in ("false", "disabled", "none")]
    if pinned:
        cure = f"unset {' '.join(pinned)}: Assay pins its workers, and fixed places put the threads of several on the same cores"
        return Line(Level.WARN, "thread settings", text, cure)
    if low:
        cure = f"unset {' '.join(low)}: --threads says how many; libraries differ in which of the two they follow"
        return Line(Level.WARN, "thread settings", text, cure)
    return Line(Level.OK, "thread settings", text)


def allocator(preloaded: str, faulted: Mapping[int, float] | None) -> Line:
    """`preloaded`: name of another allocator in this process, empty for the system's. `faulted`: share of a block's pages that each use
    faults in anew, by size of the block; None where that cannot be seen."""
    name = preloaded or "the system's malloc"
    if faulted is None:
        return Line(Level.OK, "allocator", name)
    given_back = [size for size, share in sorted(faulted.items()) if share > FAULTED]
    if not given_back:
        return Line(Level.OK, "allocator", f"{name}; keeps blocks of up to {units.size(max(faulted))} for the next call")
    text = f"{name}; blocks of {units.size(given_back[0])} go back to the system, and each call faults them in again"
    cure = "try LD_PRELOAD=libtcmalloc_minimal.so.4 (package libtcmalloc-minimal4), or MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=-1"
    return Line(Level.WARN, "allocator", text, f"{cure}; it matters to large batches")


def huge_pages(setting: str | None, environment: Mapping[str, str]) -> Line:
    """`setting`: the word in brackets of the kernel's file; None where there is none."""
    if setting in (None, "always"):
        return Line(Level.OK, "huge pages", setting or "not visible here")
    if setting == "madvise":
        asked = environment.get("THP_MEM_ALLOC_ENABLE") == "1"
        text = "asked for by PyTorch" if asked else "on request; THP_MEM_ALLOC_ENABLE=1 has PyTorch ask for them"
        return Line(Level.OK, "huge pages", text)
    cure = "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled"
    return Line(Level.WARN, "huge pages", f"{setting}: large activations take many small pages", cure)


# -------------------------------------------------------------------------------------------------------------------------- facts


def preloaded_allocator(maps: Path = Path("/proc/self/maps")) -> str:
    """Another allocator's library in this process, empty if there is none."""
    try:
        text = maps.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return next((name for name in ALLOCATORS if name in text), "")


def faulted_shares(sizes: tuple[int, ...] = BLOCKS, uses: int = 4) -> dict[int, float] | None:
    """Share of the pages of a block that taking, filling and freeing it faults in, once it has been used before; by size.

    None where malloc is not to be found by its name (other systems than Linux).
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
    libc.free.argtypes = (ctypes.c_void_p,)
    return {size: _faulted(libc, size, uses) for size in sizes}


def _faulted(libc: Any, size: int, uses: int) -> float:
    import resource  # no such module on Windows

    before = 0
    for use in range(2 + uses):  # two to let the allocator adapt
        if use == 2:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        block = libc.malloc(size)
        if not block:
            return 0.0
        ctypes.memset(block, 1, size)
        libc.free(block)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return faults * resource.getpagesize() / (size * uses)


def huge_page_setting(file: Path = HUGE_PAGES) -> str | None:
    """ "always [madvise] never" -> "madvise"."""
    try:
        chosen = re.search(r"\[(\w+)\]", file.read_text(encoding="ascii", errors="replace"))
    except OSError:
        return None
    return chosen[1] if chosen else None
