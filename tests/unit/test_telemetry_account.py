"""What is stored and said of a recording: throttled stretches, energy, thinned columns, warnings, limits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.telemetry.account import MOST_POINTS, account, cost, summary, thinned, warnings
from harness.telemetry.energy import energy
from harness.telemetry.limits import Exceeded, Limit, exceeded, unwatched
from harness.telemetry.recording import Event, Recorder, Recording
from harness.telemetry.throttling import Stretch, stretches, throttled_share

SECOND = 1_000_000_000

UNITS = {
    "gpu0_throttle_reasons": "bit mask",
    "cpu_throttle_events": "events",
    "cgroup_throttled_share": "1",
    "gpu0_joules": "J",
    "gpu0_watts": "W",
    "cpu_joules": "J",
    "gpu0_sm_mhz": "MHz",
    "gpu0_ecc_uncorrected": "errors",
    "gpu0_own_processes": "processes",
    "gpu0_other_processes": "processes",
    "cpu_celsius": "°C",
}


def recording(first_s: int = 0, **columns: list[float | None]) -> Recording:
    """A row a second."""
    length = len(next(iter(columns.values())))
    at = [(first_s + place) * SECOND for place in range(length)]
    return Recording(1.0, {name: UNITS[name] for name in columns}, at, columns, [place * 2_000_000 for place in range(length)])


def spans(found: list[Stretch]) -> list[tuple[float, float, str, str]]:
    return [(each.from_ns / SECOND, each.to_ns / SECOND, each.what, each.reason) for each in found]


# ------------------------------------------------------------------------------------------------------------------- throttling


def test_a_gpus_reasons_hold_until_the_next_reading() -> None:
    """One stretch for each run of the same throttling reasons; idle, chosen clocks and what could not be read are none."""
    made = recording(gpu0_throttle_reasons=[1, 4, 4, 0x24, None, 2, 0x40, 0x40])
    assert spans(stretches(made)) == [
        (1, 3, "gpu0", "software power cap"),
        (3, 4, "gpu0", "software power cap, software thermal slowdown"),
        (6, 7, "gpu0", "hardware thermal slowdown"),
    ]


def test_a_cpus_counter_grew_since_the_reading_before() -> None:
    """Two spans in which it grew and one, apart, later; a gap in the readings is no growth."""
    made = recording(cpu_throttle_events=[0, 1, 5, 5, None, 5, 6])
    assert spans(stretches(made)) == [(0, 2, "cpu", "thermal throttling"), (5, 6, "cpu", "thermal throttling")]


def test_a_quota_stops_a_share_of_the_time() -> None:
    """Stretches of it have the mean share."""
    (found,) = stretches(recording(cgroup_throttled_share=[None, 0, 0.2, 0.4, 0]))
    assert spans([found]) == [(1, 3, "cpu", "quota of the control group")]
    assert found.share == pytest.approx(0.3)
    assert throttled_share([found], "cpu", 0, 10 * SECOND) == pytest.approx(0.06)


def test_the_throttled_share_is_of_the_measured_time() -> None:
    """What lies before it, after it, or is of something else does not count."""
    found = [Stretch(0, 4 * SECOND, "gpu0", "x"), Stretch(9 * SECOND, 20 * SECOND, "gpu0", "y"), Stretch(0, 20 * SECOND, "cpu", "z")]
    assert throttled_share(found, "gpu0", 2 * SECOND, 12 * SECOND) == pytest.approx(0.5)
    assert throttled_share(found, "gpu0", 5 * SECOND, 5 * SECOND) == 0


# ----------------------------------------------------------------------------------------------------------------------- energy


def test_energy_is_the_counters_growth_over_the_measured_time() -> None:
    """Between readings the counter is taken to grow evenly: from 0.5 s to 6.5 s at 100 J a second."""
    made = recording(gpu0_joules=[float(100 * second) for second in range(9)])
    found, reason = energy(made, SECOND // 2, 13 * SECOND // 2, 300, "cuda:0")
    assert reason == ""
    assert found == {
        "joules_per_sample": pytest.approx(2.0),
        "joules": pytest.approx(600.0),
        "samples": 300,
        "window_s": 6.0,
        "watts": pytest.approx(100.0),
        "parts": {"gpu0": {"joules": pytest.approx(600.0), "by": "energy counter"}},
        "source": "on-board sensor, not wall",
    }


def test_without_a_counter_power_is_summed() -> None:
    """By trapezoids, also where a reading is missing: 100 W, rising evenly to 200 W between 2 s and 4 s."""
    made = recording(gpu0_watts=[100.0, 100.0, 100.0, None, 200.0, 200.0, 200.0])
    found, _ = energy(made, 0, 6 * SECOND, 1, "cuda:0")
    assert found is not None
    assert found["parts"] == {"gpu0": {"joules": pytest.approx(200 + 300 + 400), "by": "readings of power"}}


def test_on_a_gpu_the_cpus_energy_is_added_where_it_is_known() -> None:
    """And on a CPU a GPU that idles beside it is not."""
    made = recording(gpu0_joules=[10.0 * second for second in range(7)], cpu_joules=[1.0 * second for second in range(7)])
    on_gpu, _ = energy(made, 0, 6 * SECOND, 1, "cuda:0")
    on_cpu, _ = energy(made, 0, 6 * SECOND, 1, "cpu")
    assert on_gpu is not None
    assert on_cpu is not None
    assert (on_gpu["joules"], on_cpu["joules"]) == (pytest.approx(66.0), pytest.approx(6.0))


@pytest.mark.parametrize(
    ("seconds", "samples", "device", "reason"),
    [
        (4.9, 10, "cuda:0", "measured for 4.9 s; 5 s are needed"),
        (6, 0, "cuda:0", "no sample was answered"),
        (6, 10, "cpu", "may not be read"),
        (60, 10, "cuda:0", "no sensor of energy or power was read before and after the measured time"),
    ],
)
def test_no_energy_has_a_reason(seconds: float, samples: int, device: str, reason: str) -> None:
    """Too short, nothing answered, no sensor for the device, or no reading behind the end."""
    made = replace(recording(gpu0_joules=[10.0 * second for second in range(10)]), missing={"cpu_joules": "may not be read"})
    assert energy(made, 0, round(seconds * SECOND), samples, device) == (None, reason)


# ------------------------------------------------------------------------------------------------------------------- what is stored


def test_long_columns_are_thinned_to_their_means() -> None:
    """1,500 rows become 500 points of three; a bit that was set once is set in its point."""
    made = recording(cpu_celsius=[float(place) for place in range(1500)], gpu0_throttle_reasons=[4.0, 1, 0x20] + [0.0] * 1497)
    found = thinned(made, 10 * SECOND)
    assert len(found["at_s"]) == 500 <= MOST_POINTS
    assert found["at_s"][:2] == [-9, -6]
    assert found["columns"]["cpu_celsius"]["values"][:2] == [1, 4]
    assert found["columns"]["cpu_celsius"]["unit"] == "°C"
    assert found["columns"]["gpu0_throttle_reasons"]["values"][:2] == [0x25, 0]


def test_the_summary_is_of_the_measured_phase() -> None:
    """A column that was not read in it is left out, and a mask has no mean."""
    made = recording(cpu_celsius=[90, 50, 60, None, 99], gpu0_throttle_reasons=[4, 4, 4, 4, 4], cpu_joules=[1, None, None, None, 2])
    assert summary(made, SECOND, 3 * SECOND) == {"cpu_celsius": {"min": 50, "mean": 55, "max": 60, "unit": "°C"}}


def test_the_sampler_accounts_for_itself() -> None:
    """2 ms a reading, a reading a second."""
    assert cost(recording(cpu_celsius=[1, 2, 3])) == {"core_share": 0.002, "cpu_s": 0.004, "start_cpu_s": 0.0, "rows": 3}


def test_nothing_read_is_stored_with_its_reason() -> None:
    """The same keys, empty."""
    full = account(recording(cpu_celsius=[1.0, 2.0]), 0, SECOND)
    empty = account(Recording(1.0, missing={"sampler": "cannot be started: no"}), 0, SECOND)
    assert empty.keys() == full.keys()
    assert empty["missing"] == {"sampler": "cannot be started: no"}
    assert empty["columns"] == {}
    assert empty["energy"] is None
    assert empty["cost"]["rows"] == 0


def test_stretches_are_told_in_seconds_from_the_start_of_the_measured_phase() -> None:
    """One that was over before it is left out."""
    made = recording(gpu0_throttle_reasons=[4, 0, 0, 4, 4, 0])
    told = account(made, 2 * SECOND, 5 * SECOND)["throttled"]
    assert told == [{"from_s": 1, "to_s": 3, "what": "gpu0", "reason": "software power cap", "share": 1}]


# --------------------------------------------------------------------------------------------------------------------- warnings


def test_a_run_that_was_throttled_warns() -> None:
    """Above 1 % of the measured time, with share and reason; at 1 % it does not."""
    made = recording(gpu0_throttle_reasons=[0.0] * 50 + [4.0] + [0.0] * 60)
    assert warnings(made, 0, 100 * SECOND) == []
    (said,) = warnings(made, 40 * SECOND, 60 * SECOND)
    assert said == ("gpu0 was throttled in 5% of the measured time (software power cap): the speed is that of the cooling or the limit")


def test_errors_losses_and_neighbours_warn() -> None:
    """Each in a sentence of its own."""
    made = replace(
        recording(
            gpu0_sm_mhz=[1980, 1980, None],
            gpu0_ecc_uncorrected=[1, 3, None],
            gpu0_own_processes=[1, 1, None],
            gpu0_other_processes=[0, 1, None],
        ),
        missing={"gpu0": "the GPU is lost"},
        events=[Event(1, "XID 79", "GPU 0000:3b:00: fallen off the bus"), Event(-5, "XID 13", "before")],
    )
    assert sorted(warnings(made, 0, 2 * SECOND)) == [
        "XID 79 during the run: GPU 0000:3b:00: fallen off the bus",
        "another process used gpu0 during the run: run it again when the GPU is free",
        "gpu0 counted 2 uncorrected memory errors during the run: its answers cannot be trusted",
        "gpu0: the GPU is lost",
    ]


def test_a_sampler_that_failed_is_said_and_one_not_asked_for_is_not() -> None:
    """What nobody wanted is no loss."""
    assert warnings(Recording(0.0, missing={"sampler": "not asked for (--telemetry 0)"}), 0, 1) == []
    (said,) = warnings(Recording(1.0, missing={"sampler": "ended during the run with signal 9"}), 0, 1)
    assert said.endswith("the sampler ended during the run with signal 9")


# ------------------------------------------------------------------------------------------------------- lines of the sampler, limits


def test_a_recording_grows_with_what_is_written() -> None:
    """In pieces cut anywhere; a line that was never finished does not count, and reasons that came later are added to the header's."""
    written = (
        b'{"interval_s":1,"columns":{"a":"1","b":"W"},"missing":{"c":"no"},"facts":{"d":1}}\n'
        b'{"at":5,"cpu":2,"row":[0.5,null]}\n{"missing":{"b":"gone"}}\n{"event":[5,"XID 79","text"]}\n{"at":6,"cpu":3,"ro'
    )
    made = Recorder(1.0)
    for place in range(0, len(written), 7):
        made.feed(written[place : place + 7])
    found = made.recording({"sampler": "ended"})
    assert found.at_ns == [5]
    assert found.columns == {"a": [0.5], "b": [None]}
    assert found.missing == {"c": "no", "b": "gone", "sampler": "ended"}
    assert found.events == [Event(5, "XID 79", "text")]
    assert found.latest() == {"a": 0.5, "b": None}
    assert (found.facts, found.cpu_ns) == ({"d": 1}, [2])
    made.feed(b'w":[1.0,2.0]}\n')
    assert made.recording({}).columns == {"a": [0.5, 1.0], "b": [None, 2.0]}
    assert found.columns == {"a": [0.5], "b": [None]}


def test_limits_are_watched() -> None:
    """A temperature above its limit, and errors that grew; what was there before the first row is no growth."""
    made = recording(cpu_celsius=[60, 95, 97], gpu0_ecc_uncorrected=[7, 7, 8])
    hot, errors, fine = Limit("*_celsius", 90), Limit("gpu*_ecc_uncorrected", 0, growth=True), Limit("cpu_celsius", 97)
    assert exceeded(made, [hot, errors, fine]) == [
        Exceeded(hot, "cpu_celsius", 97, SECOND, "°C"),
        Exceeded(errors, "gpu0_ecc_uncorrected", 1, 2 * SECOND, "errors"),
    ]


def test_a_limit_that_nothing_stands_behind_is_named() -> None:
    """No such column here, or no value any more: silence would pass for safety."""
    made = replace(recording(cpu_celsius=[60, None], gpu0_sm_mhz=[1.0, 2.0]), missing={"gpu0_celsius": "not supported"})
    limits = [Limit("cpu_celsius", 90), Limit("gpu*_celsius", 90), Limit("gpu0_sm_mhz", 5000)]
    assert unwatched(made, limits) == {"cpu_celsius": "there is no such column, or no value in it", "gpu*_celsius": "not supported"}
