"""Which cores workers get, on machines described by a folder like /sys/devices/system/cpu."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.placement import Share, place, spread


def described(folder: Path, physical: Sequence[tuple[int, int]]) -> Path:
    """Logical core i is (package, physical core) `physical[i]`."""
    for core, (package, number) in enumerate(physical):
        topology = folder / f"cpu{core}" / "topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text(f"{package}\n")
        (topology / "core_id").write_text(f"{number}\n")
    return folder


def test_second_threads_are_used_last_and_beside_their_first(tmp_path: Path) -> None:
    """Four physical cores of two threads, numbered as Linux does it: 0 to 3, then their second threads 4 to 7."""
    cpus = described(tmp_path, [(0, 0), (0, 1), (0, 2), (0, 3)] * 2)
    assert spread(range(8), 4, cpus) == [0, 1, 2, 3]
    assert spread(range(8), 8, cpus) == [0, 4, 1, 5, 2, 6, 3, 7]
    assert spread(range(8), 6, cpus) == [0, 4, 1, 5, 2, 3]


def test_packages_are_filled_one_after_the_other(tmp_path: Path) -> None:
    """Cores that alternate between two packages: a worker's cores are of one."""
    cpus = described(tmp_path, [(0, 0), (1, 0), (0, 1), (1, 1)])
    assert spread(range(4), 4, cpus) == [0, 2, 1, 3]


def test_cores_that_nobody_describes_are_taken_in_order(tmp_path: Path) -> None:
    """Containers may hide the folder."""
    assert spread([5, 3, 4], 2, tmp_path) == [3, 4]


def test_two_workers_share_no_physical_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two processes gets both threads of its own two physical cores."""
    cpus = described(tmp_path, [(0, 0), (0, 1), (0, 2), (0, 3)] * 2)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert place(2, None, processes=True, cpus=cpus) == [Share(4, (0, 1, 4, 5)), Share(4, (2, 3, 6, 7))]
    assert place(4, 4, processes=True, cpus=cpus) == [Share(1, (core,)) for core in range(4)]
    assert place(9, None, processes=True, cpus=cpus) == [Share(1, None)] * 9
