"""What is read from /proc and /sys, of trees made for the purpose."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.telemetry.control_group import ControlGroup
from harness.telemetry.frequency import MOST_CORES, Frequency
from harness.telemetry.heat import Heat, ThrottleCount
from harness.telemetry.kernel_log import KernelLog
from harness.telemetry.pressure import Memory, Waiting
from harness.telemetry.process_tree import ProcessTree
from harness.telemetry.processor import Processor
from harness.telemetry.rapl import Rapl
from harness.telemetry.sources import Places, Rate

SECOND = 1_000_000_000


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "proc", tmp_path / "sys", tmp_path / "kmsg")


def write(file: Path, text: str | float) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n", encoding="utf-8")


def process(places: Places, pid: int, ticks: tuple[int, int, int, int], children: str = "", pages: int = 10) -> None:
    """`ticks`: utime, stime, cutime, cstime. Its name holds a bracket and a space, as names may."""
    fields = " ".join(["S", *["0"] * 10, *map(str, ticks), *["0"] * 30])
    write(places.proc / f"{pid}/stat", f"{pid} (odd) name) {fields}")
    write(places.proc / f"{pid}/statm", f"99 {pages} 0 0 0 0 0")
    write(places.proc / f"{pid}/task/{pid}/children", children)


def cpus(places: Places, *cores: str) -> None:
    lines = "\n".join(f"cpu{number} {line}" for number, line in enumerate(cores))
    write(places.proc / "stat", f"cpu  1 1 1 1 1 1 1 1 0 0\n{lines}\nintr 5 0")


def test_the_processor_is_divided_into_own_others_stolen_and_waiting_time(places: Places) -> None:
    """Of 400 ticks on two usable cores 100 were idle, 40 waited for a disk, 20 were stolen, 240 busy; 200 of these were the run's."""
    cpus(places, "0 0 0 0 0 0 0 0 0 0", "0 0 0 0 0 0 0 0 0 0", "0 0 0 0 0 0 0 0 0 0")
    process(places, 7, (5, 5, 0, 0))
    source = Processor(places, (0, 1), ProcessTree(places.proc, 7))
    cpus(places, "100 10 10 40 20 5 5 10 50 0", "80 10 10 60 20 5 5 10 50 0", "200 0 0 0 0 0 0 0 0 0")
    process(places, 7, (105, 25, 60, 20), pages=3)
    read = source.read(0, False)
    assert read == pytest.approx(
        {
            "cpu_busy_share": 0.6,
            "cpu_own_share": 0.5,
            "cpu_others_share": 0.1,
            "steal_share": 0.05,
            "iowait_share": 0.1,
            "own_memory_bytes": 3 * os.sysconf("SC_PAGE_SIZE"),
        }
    )


def test_processes_of_the_run_are_found_through_their_parents(places: Places) -> None:
    """Children of every thread, and theirs, count; a child that is gone is counted by its parent's cutime."""
    process(places, 7, (1, 0, 4, 0), "8 9")
    write(places.proc / "7/task/70/children", "10")
    process(places, 8, (2, 0, 0, 0), "11")
    process(places, 10, (0, 8, 0, 0))
    process(places, 11, (16, 0, 0, 0))
    tree = ProcessTree(places.proc, 7)
    tree.look()
    assert sorted(tree.pids) == [7, 8, 9, 10, 11]
    assert tree.ticks() == 1 + 4 + 2 + 8 + 16


def test_a_process_that_is_not_seen_has_no_share(places: Places) -> None:
    """Then the busy time is known, and whose it is, is not."""
    cpus(places, "0 0 0 0 0 0 0 0")
    source = Processor(places, (0,), ProcessTree(places.proc, 7))
    cpus(places, "50 0 0 50 0 0 0 0")
    read = source.read(0, False)
    assert read.keys() == {"cpu_busy_share", "steal_share", "iowait_share", "own_memory_bytes"}
    assert read["own_memory_bytes"] is None


def test_a_processor_without_figures_is_refused(places: Places) -> None:
    """What cannot be read at the start becomes a reason by the name of the source."""
    with pytest.raises(OSError, match="says nothing of the usable cores"):
        Processor(places, (0,), ProcessTree(places.proc, 7))


def test_the_clock_is_that_of_cpufreq(places: Places) -> None:
    """Mean and lowest of the usable cores, MHz from kHz."""
    for core, khz in enumerate((2_000_000, 1_000_000, 9_000_000)):
        write(places.sys / f"devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq", khz)
    assert Frequency(places, (0, 1)).read(0, False) == {"cpu_mhz": 1500, "cpu_lowest_mhz": 1000}


def test_many_cores_are_asked_by_sample(places: Places) -> None:
    """No more than eight of 64, evenly spread."""
    for core in range(64):
        write(places.sys / f"devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq", core * 1000)
    source = Frequency(places, range(64))
    assert len(source._files) == MOST_CORES
    assert source.read(0, False) == {"cpu_mhz": 28, "cpu_lowest_mhz": 0}


def test_without_cpufreq_the_clock_is_that_of_cpuinfo(places: Places) -> None:
    """And without both it is missing, with the reason."""
    write(places.proc / "cpuinfo", "processor : 0\ncpu MHz\t\t: 2596.1\n\nprocessor : 1\ncpu MHz\t\t: 2600.1\n")
    assert Frequency(places, (0, 1)).read(0, False) == pytest.approx({"cpu_mhz": 2598.1, "cpu_lowest_mhz": 2596.1})
    (places.proc / "cpuinfo").unlink()
    source = Frequency(places, (0, 1))
    assert source.read(0, False) == {}
    assert source.units == {}
    assert "scaling_cur_freq" in source.missing["cpu_mhz"]


def test_the_temperature_is_the_hottest_packages(places: Places) -> None:
    """Of the drivers of a CPU the sensors labelled as packages, not a disk's, and not a single core's."""
    hwmon = places.sys / "class/hwmon"
    write(hwmon / "hwmon0/name", "nvme")
    write(hwmon / "hwmon0/temp1_input", 90_000)
    for folder, hot in (("hwmon1", 61_000), ("hwmon2", 64_500)):
        write(hwmon / folder / "name", "coretemp")
        write(hwmon / folder / "temp1_input", hot)
        write(hwmon / folder / "temp1_label", "Package id 0")
        write(hwmon / folder / "temp1_crit", 100_000)
        write(hwmon / folder / "temp2_input", 99_000)
        write(hwmon / folder / "temp2_label", "Core 0")
    source = Heat(places)
    assert source.read(0, False) == {"cpu_celsius": 64.5}
    assert source.facts == {"cpu_critical_celsius": 100}


def test_a_thermal_zone_stands_in_for_a_sensor(places: Places) -> None:
    """The zone of the package, not that of the battery."""
    for number, (kind, hot) in enumerate((("BAT0", 30_000), ("x86_pkg_temp", 55_000))):
        write(places.sys / f"class/thermal/thermal_zone{number}/type", kind)
        write(places.sys / f"class/thermal/thermal_zone{number}/temp", hot)
    assert Heat(places).read(0, False) == {"cpu_celsius": 55}


def test_throttling_is_counted_from_the_start_of_the_run(places: Places) -> None:
    """What happened since boot is nobody's fault."""
    folder = places.sys / "devices/system/cpu/cpu0/thermal_throttle"
    write(folder / "core_throttle_count", 40)
    write(folder / "package_throttle_count", 2)
    source = ThrottleCount(places, (0, 1))
    write(folder / "core_throttle_count", 43)
    assert source.read(0, False) == {"cpu_throttle_events": 3}


def test_a_machine_without_sensors_says_so(places: Places) -> None:
    """No column and one reason each."""
    assert Heat(places).missing["cpu_celsius"].startswith("no sensor under")
    assert "virtual machine" in ThrottleCount(places, (0,)).missing["cpu_throttle_events"]
    assert Rapl(places).missing["cpu_joules"].startswith("no energy counter")
    assert Heat(places).units == ThrottleCount(places, (0,)).units == Rapl(places).units == {}


def test_memory_and_paging(places: Places) -> None:
    """Bytes available from kB, pages swapped either way and major faults a second."""
    write(places.proc / "meminfo", "MemTotal: 2000 kB\nMemAvailable:   1000 kB")
    write(places.proc / "vmstat", "pswpin 10\npswpout 5\npgmajfault 7")
    source = Memory(places)
    assert source.read(0, False) == {"memory_available_bytes": 1_024_000, "swap_pages_per_s": None, "major_faults_per_s": None}
    write(places.proc / "vmstat", "pswpin 20\npswpout 15\npgmajfault 8")
    assert source.read(2 * SECOND, False) == {"memory_available_bytes": 1_024_000, "swap_pages_per_s": 10, "major_faults_per_s": 0.5}


def test_waiting_is_a_share_of_time(places: Places) -> None:
    """Pressure of the CPU in microseconds, and the load average beside it."""
    write(places.proc / "loadavg", "1.25 1 1 1/100 5")
    write(places.proc / "pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000\nfull avg10=0.00 total=5")
    source = Waiting(places)
    source.read(0, False)
    write(places.proc / "pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=251000\nfull avg10=0.00 total=5")
    assert source.read(SECOND, False) == {"load_1min": 1.25, "cpu_waiting_share": 0.25}


@pytest.mark.parametrize("version", [1, 2])
def test_a_control_group_stops_the_run(places: Places, version: int) -> None:
    """0.5 s of throttled time over two cores in a second is a quarter; memory is held against its limit."""
    root = places.sys / "fs/cgroup"
    cpu, memory = (root / "cpu/box", root / "memory/box") if version == 1 else (root / "box", root / "box")
    write(places.proc / "7/cgroup", "4:memory:/box\n3:cpu,cpuacct:/box" if version == 1 else "0::/box")
    write(memory / ("memory.usage_in_bytes" if version == 1 else "memory.current"), 500)
    write(memory / ("memory.limit_in_bytes" if version == 1 else "memory.max"), 1000)
    write(cpu / "cpu.stat", "nr_throttled 1\n" + ("throttled_time 1000" if version == 1 else "throttled_usec 1"))
    source = ControlGroup(places, 7, 2)
    assert source.facts == {"cgroup_memory_limit_bytes": 1000}
    assert source.read(0, False) == {"cgroup_throttled_share": None, "cgroup_memory_bytes": 500}
    write(cpu / "cpu.stat", "nr_throttled 2\n" + ("throttled_time 500001000" if version == 1 else "throttled_usec 500001"))
    assert source.read(SECOND, False) == {"cgroup_throttled_share": 0.25, "cgroup_memory_bytes": 500}


def test_no_limit_is_no_fact(places: Places) -> None:
    """`max` of version 2 and the huge number of version 1 are the absence of a limit; a group without a quota cannot be throttled."""
    for text in ("max", str((1 << 63) - 4096)):
        write(places.proc / "7/cgroup", "0::/")
        write(places.sys / "fs/cgroup/memory.max", text)
        source = ControlGroup(places, 7, 2)
        assert source.facts == {}
        assert "no quota" in source.missing["cgroup_throttled_share"]


def test_energy_of_two_packages_is_summed_over_the_counters_end(places: Places) -> None:
    """One counter goes on, the other starts again at its range; parts of a package (core, dram) are not counted twice."""
    power = places.sys / "class/powercap"
    for zone, name, start in (
        ("intel-rapl:0", "package-0", 1_000_000),
        ("intel-rapl:1", "package-1", 9_000_000),
        ("intel-rapl:0:0", "core", 5),
    ):
        write(power / zone / "name", name)
        write(power / zone / "energy_uj", start)
        write(power / zone / "max_energy_range_uj", 10_000_000)
    source = Rapl(places)
    assert source.read(0, False) == {"cpu_joules": 0, "cpu_watts": None}
    write(power / "intel-rapl:0/energy_uj", 3_000_000)
    write(power / "intel-rapl:1/energy_uj", 500_000)
    assert source.read(SECOND, False) == {"cpu_joules": 3.5, "cpu_watts": 3.5}


def test_energy_of_a_part_of_the_packages_is_none(places: Places) -> None:
    """Half of a machine's energy would pass for all of it."""
    power = places.sys / "class/powercap"
    write(power / "intel-rapl:0/name", "package-0")
    write(power / "intel-rapl:0/energy_uj", 1)
    write(power / "intel-rapl:1/name", "package-1")
    assert Rapl(places).units == {}


def test_xid_errors_are_counted_from_the_start_of_the_run(places: Places) -> None:
    """Each is an event with its number, the GPU and what the driver said."""
    write(places.kernel_log, "4,1,1,-;NVRM: Xid (PCI:0000:3b:00): 13, old")
    source = KernelLog(places)
    assert source.read(1, False) == {"gpu_xid_errors": 0}
    with places.kernel_log.open("a") as stream:
        stream.write("4,2,2,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=12, GPU has fallen off the bus.\n6,3,3,-;usb 1-1: new device\n")
    assert source.read(2, False) == {"gpu_xid_errors": 1}
    assert [(event.at_ns, event.what, event.text) for event in source.events] == [
        (2, "XID 79", "GPU 0000:3b:00: pid=12, GPU has fallen off the bus.")
    ]


def test_a_counter_that_was_set_back_has_no_rate() -> None:
    """Nor has the first reading, nor one after a reading that failed."""
    rate = Rate()
    assert [rate.of(value, at * SECOND) for at, value in enumerate((5, 7, 6, None, 9, 12))] == [None, 2, None, None, None, 3]
