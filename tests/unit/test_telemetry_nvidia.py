"""GPUs through pynvml, with a recorded stream in the place of NVIDIA's library."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynvml")

from harness.telemetry.gpu_events import GpuEvents
from harness.telemetry.nvidia import LIBRARY, Gpus, open_library
from harness.telemetry.process_tree import ProcessTree
from harness.telemetry.sampler import open_sources
from harness.telemetry.sources import Places
from harness.telemetry.throttle_reasons import names, throttling
from tests.fake_nvml import FakeNvml, replayed

OWN = os.getpid()


def opened() -> Gpus:
    return Gpus(open_library(), Places(), ProcessTree(Path("/proc"), OWN))


def play(gpus: Gpus, fake: FakeNvml) -> list[dict[str, float | None]]:
    """A thorough reading at each of the 17 steps that change something."""
    rows = []
    for _ in range(17):
        rows.append(gpus.read(0, True))
        fake.advance()
    return rows


@pytest.fixture
def fake() -> Iterator[FakeNvml]:
    with replayed(own=OWN) as library:
        yield library


def column(rows: list[dict[str, float | None]], name: str) -> list[float | None]:
    return [row[f"gpu0_{name}"] for row in rows]


def test_clocks_heat_power_and_use_are_read(fake: FakeNvml) -> None:
    """Step 2 of the stream in the units of the columns."""
    row = play(opened(), fake)[2]
    expected = {"sm_mhz": 1980, "memory_mhz": 2619, "celsius": 48, "watts": 420, "joules": 1_000_560, "busy_share": 0.97}
    more = {"memory_busy_share": 0.4, "memory_used_bytes": 1 << 32, "pcie_generation": 5, "pcie_lanes": 16}
    assert {name: row[f"gpu0_{name}"] for name in expected | more} == pytest.approx(expected | more)


def test_throttling_is_decoded_by_name(fake: FakeNvml) -> None:
    """Power cap, heat by software with the cap still on, heat by hardware; idle is a reason and no throttling."""
    masks = column(play(opened(), fake), "throttle_reasons")
    assert masks[:11] == [1, 1, 0, 0, 0, 4, 4, 4, 0x24, 0x48, 0]
    assert names(1) == ("idle",)
    assert throttling(1) == ()
    assert throttling(0x24) == ("software power cap", "software thermal slowdown")
    assert throttling(0x48) == ("hardware slowdown", "hardware thermal slowdown")
    assert names(0x200) == ("reason 0x200",)


def test_memory_errors_are_counted(fake: FakeNvml) -> None:
    """Corrected and uncorrected ones, since the driver was loaded and ever, and rows that were replaced."""
    rows = play(opened(), fake)
    assert column(rows, "ecc_corrected")[10:13] == [0, 3, 3]
    assert column(rows, "ecc_uncorrected")[10:13] == [0, 0, 1]
    assert column(rows, "ecc_corrected_ever")[10:13] == [12, 15, 15]
    assert column(rows, "remapped_rows")[10:13] == [0, 0, 1]


def test_another_process_on_the_gpu_is_told_from_the_runs_own(fake: FakeNvml) -> None:
    """Process 1 is nobody the run has started."""
    rows = play(opened(), fake)
    assert column(rows, "own_processes")[1:16] == [0] + [1] * 14
    assert column(rows, "other_processes")[1:16] == [0] * 12 + [1, 1, 0]


def test_processes_in_the_hosts_numbers_are_unknown(fake: FakeNvml) -> None:
    """In a container the driver may name processes that are not to be found there."""
    gpus = opened()
    fake._now[0]["processes"] = [1 << 22]
    row = gpus.read(0, True)
    assert row["gpu0_own_processes"] is row["gpu0_other_processes"] is None
    assert "container" in gpus.missing["gpu0_other_processes"]


def test_a_lost_gpu_is_null_with_its_reason(fake: FakeNvml) -> None:
    """Every column of it, from then on; the other GPU goes on."""
    gpus = opened()
    rows = play(gpus, fake)
    assert {value for name, value in rows[16].items() if name.startswith("gpu0_")} == {None}
    assert rows[16]["gpu1_sm_mhz"] == 139
    assert gpus.missing["gpu0"].startswith("the GPU is lost")


def test_a_gpu_lost_before_the_start_is_one_reason() -> None:
    """No columns of it, and those of the other one."""
    with replayed(own=OWN) as fake:
        fake._now[0]["lost"] = True
        gpus = opened()
        assert {name.partition("_")[0] for name in gpus.units} == {"gpu1"}
        assert gpus.missing["gpu0"].startswith("the GPU is lost")


def test_what_a_gpu_does_not_have_is_asked_once(fake: FakeNvml) -> None:
    """No column, a reason, and no further call; what is not permitted is null."""
    gpus = opened()
    assert "gpu1_joules" not in gpus.units
    assert gpus.missing["gpu1_joules"] == "not supported by this GPU or driver"
    asked = fake.calls.count("nvmlDeviceGetTotalEnergyConsumption")
    row = gpus.read(0, True)
    assert fake.calls.count("nvmlDeviceGetTotalEnergyConsumption") == asked + 1
    assert row["gpu1_other_processes"] is None
    assert gpus.missing["gpu1_other_processes"] == "not permitted to this user"


def test_what_changes_slowly_is_read_with_thorough_readings_only(fake: FakeNvml) -> None:
    """Between them its last value is given again."""
    gpus = opened()
    play(gpus, fake)
    fake._now[0]["lost"] = False
    gpus.read(0, True)
    fake._now[0]["ecc"] = [9, 9]
    before = len([name for name in fake.calls if name == "nvmlDeviceGetTotalEccErrors"])
    assert gpus.read(0, False)["gpu0_ecc_corrected"] == 3
    assert len([name for name in fake.calls if name == "nvmlDeviceGetTotalEccErrors"]) == before
    assert gpus.read(0, True)["gpu0_ecc_corrected"] == 9


def test_what_is_asked_once(fake: FakeNvml) -> None:
    """Names, serial numbers, limits and modes; what a GPU does not tell is left out."""
    facts = opened().facts
    assert facts["nvidia_driver"] == "570.86.15"
    assert facts["gpu0"] == {
        "name": "NVIDIA H100 80GB HBM3",
        "uuid": "GPU-00000000-0000-0000-0000-000000000001",
        "serial": "1650000000001",
        "bus_id": "00000000:3B:00.0",
        "sm_max_mhz": 1980,
        "memory_max_mhz": 2619,
        "memory_total_bytes": 85_520_809_984,
        "power_limit_watts": 700,
        "slowdown_celsius": 92,
        "shutdown_celsius": 95,
        "pcie_max_generation": 5,
        "pcie_max_lanes": 16,
        "ecc": True,
        "mig": False,
        "row_remap_pending": False,
        "row_remap_failed": False,
    }
    assert not {"serial", "ecc", "mig"} & facts["gpu1"].keys()


def test_an_older_driver_has_the_reasons_under_their_older_name() -> None:
    """Before 535 there was nvmlDeviceGetCurrentClocksThrottleReasons alone."""
    with replayed(own=OWN, missing=frozenset({"nvmlDeviceGetCurrentClocksEventReasons"})):
        assert opened().read(0, True)["gpu0_throttle_reasons"] == 1


def test_nothing_is_ever_set(fake: FakeNvml) -> None:
    """Of all functions called, none but those that open the library and those that get."""
    play(opened(), fake)
    assert {name for name in fake.calls if "Get" not in name} == {"nvmlInitWithFlags"}


def test_without_a_driver_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """And pynvml is not even imported."""
    real = ctypes.CDLL

    def load(name: Any, *arguments: Any, **more: Any) -> Any:
        if name == LIBRARY:
            raise OSError("no such file")
        return real(name, *arguments, **more)

    monkeypatch.setattr(ctypes, "CDLL", load)
    with pytest.raises(OSError, match="no NVIDIA driver here"):
        open_library()


def test_xid_errors_are_told_by_the_driver_to_whoever_registers(fake: FakeNvml) -> None:
    """Each with its number, its GPU by its place on the bus and the time of the reading; a GPU that tells none is a reason."""
    source = GpuEvents(open_library())
    counts = []
    for step in range(17):
        counts.append(source.read(step, False)["gpu_xid_errors"])
        fake.advance()
    assert counts == [0] * 12 + [2] * 4 + [3]
    told = "GPU 00000000:3B:00.0: told by the driver"
    assert [(event.at_ns, event.what, event.text) for event in source.events] == [
        (12, "XID 48", told),
        (12, "XID 63", told),
        (16, "XID 79", told),
    ]
    assert source.missing == {"gpu_xid_errors": "gpu1: Not Supported"}


def test_xid_errors_are_missing_with_both_reasons(fake: FakeNvml, tmp_path: Path) -> None:
    """No kernel log that may be read, and no GPU that tells them."""
    for gpu in fake._fixed:
        gpu["tells_xid"] = False
    missing: dict[str, str] = {}
    open_sources(OWN, Places(kernel_log=tmp_path / "none"), missing)
    assert "No such file" in missing["gpu_xid_errors"]
    assert "tells no XID errors: gpu0: Not Supported" in missing["gpu_xid_errors"]


def test_the_driver_tells_xid_errors_where_the_kernel_log_cannot_be_read(fake: FakeNvml, tmp_path: Path) -> None:
    """As in a container."""
    sources = open_sources(OWN, Places(kernel_log=tmp_path / "none"), {})
    assert [type(source) for source in sources if "gpu_xid_errors" in source.units] == [GpuEvents]
    assert fake.calls.count("nvmlDeviceRegisterEvents") == 2
