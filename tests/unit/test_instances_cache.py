"""What a search for instances found: kept under its conditions, told in words and in run.json."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.instances import cache
from harness.tournament import Candidate, Trial
from harness.tournament_words import Finding, facts, text

FINDING = Finding(
    (
        Trial(Candidate(2, 2), 41.25, 1.0),
        Trial(Candidate(1, 2), 39.0, 0.95),
        Trial(Candidate(4, 4), error="needs 9 GB of memory, 2 GB are free"),
    ),
    "samples/s",
    "throughput",
    "2026-11-21T18:00:00+00:00",
    others_share=0.01,
)
KEY = {"machine": {"cpu": {"model": "EPYC"}}, "backend": "pytorch:fp32"}


def conditions(**changes: Any) -> dict[str, Any]:
    """What `harness.conditions.collect` tells, as far as it matters here."""
    found = {
        "cpu": {"model": "EPYC", "usable_cores": 2, "mhz": 2600.0},
        "gpus": [{"name": "H100", "driver_version": "570", "temperature.gpu": "41", "memory.total": "81559", "power.limit": "700"}],
        "memory": {"total": 8_000, "available": 3_000},
        "load_average": [0.1, 0.2, 0.3],
        "git": {"commit": "0" * 40, "dirty": False},
        **dict.fromkeys(("os", "machine", "hostname", "python"), "x"),
        "libraries": {"torch": "2.13.0"},
        "environment": {},
    }
    return found | changes


def test_a_finding_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Down to the error of a dropped candidate; only that it is from the cache is new."""
    cache.write(tmp_path / "new", KEY, FINDING)
    assert cache.read(tmp_path / "new", KEY) == replace(FINDING, cached=True)


def test_other_conditions_find_nothing(tmp_path: Path) -> None:
    """Another backend, or another version of anything in the key, is measured anew."""
    cache.write(tmp_path, KEY, FINDING)
    assert cache.read(tmp_path, KEY | {"backend": "pytorch:amp"}) is None
    assert cache.read(tmp_path / "elsewhere", KEY) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda stored: "",
        lambda stored: "[]",
        lambda stored: json.dumps(stored)[:-40],
        lambda stored: json.dumps(stored | {"schema": 0}),
        lambda stored: json.dumps(stored | {"key": {"backend": "pytorch:amp"}}),
        lambda stored: json.dumps(stored | {"finding": None}),
        lambda stored: json.dumps(stored | {"finding": stored["finding"] | {"trials": []}}),
        lambda stored: json.dumps(stored | {"finding": stored["finding"] | {"trials": stored["finding"]["trials"][2:]}}),
        lambda stored: json.dumps(stored | {"finding": stored["finding"] | {"measured_utc": ""}}),
        lambda stored: json.dumps(stored).replace('"workers": 2', '"workers": -2'),
        lambda stored: json.dumps(stored).replace('"workers": 2', '"workers": "2"'),
        lambda stored: json.dumps(stored).replace('"threads": 2', '"threads": 0'),
        lambda stored: json.dumps(stored).replace('"process"', '"actor"'),
    ],
)
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, damage: Any) -> None:
    """Cut, emptied, of another schema or key, or with values that no search finds: never an error."""
    cache.write(tmp_path, KEY, FINDING)
    file = cache.path(tmp_path, KEY)
    file.write_text(damage(json.loads(file.read_text())))
    assert cache.read(tmp_path, KEY) is None


def test_a_folder_in_the_way_is_as_good_as_none(tmp_path: Path) -> None:
    """Where the file cannot be opened the search is made anew."""
    cache.path(tmp_path, KEY).mkdir()
    assert cache.read(tmp_path, KEY) is None


def test_the_machine_is_what_stays_as_it_is() -> None:
    """Clock, temperature, free memory, load and commit change by themselves; versions, cores and GPU decide."""
    same = conditions(load_average=[9.0, 9.0, 9.0], git=None, memory={"total": 8_000, "available": 1})
    same["cpu"] = same["cpu"] | {"mhz": 1200.0}
    same["gpus"] = [same["gpus"][0] | {"temperature.gpu": "80"}]
    assert cache.machine(same) == cache.machine(conditions())
    changes: tuple[dict[str, Any], ...] = (
        {"libraries": {"torch": "2.14.0"}},
        {"gpus": []},
        {"environment": {"OMP_NUM_THREADS": "1"}},
        {"hostname": "y"},
    )
    for change in changes:
        assert cache.machine(conditions(**change)) != cache.machine(conditions())


def test_a_finding_in_words() -> None:
    """What was chosen, from where, what the others gave, what was dropped and why."""
    assert text(facts(FINDING)) == (
        "2 x 1 thread, throughput 41.2 samples/s, measured now; 1 x 2 threads 95.0 %; "
        "dropped 4 x 1 thread: needs 9 GB of memory, 2 GB are free"
    )
    cached = replace(FINDING, cached=True, others_share=0.4)
    assert "cached, measured 2026-11-21 while others used 40.0 % of the cores" in text(facts(cached))


def test_latencies_are_told_as_times() -> None:
    """A rate of 125 queries a second at the judged latency is 8 ms; a rate of nothing is none."""
    finding = Finding((Trial(Candidate(1, 2), 125.0, 1.0),), "ns", "p90 latency", FINDING.measured_utc)
    assert facts(finding)["tried"][0]["value"] == 8_000_000
    assert text(facts(finding)) == "1 x 2 threads, p90 latency 8.00 ms, measured now"
    nothing = replace(finding, trials=(Trial(Candidate(1, 2), 0.0, 1.0),), unit="queries/s", measure="rate within the latency bound")
    assert text(facts(nothing)) == "1 x 2 threads, rate within the latency bound none, measured now"


def test_a_finding_in_run_json() -> None:
    """Null for what is not known: the value of a dropped candidate, the error of a sound one."""
    stored = facts(FINDING)
    assert stored["source"] == "measured"
    assert stored["tried"][1] == {"workers": 1, "threads": 2, "mode": "process", "value": 39.0, "share": 0.95, "error": None}
    assert stored["tried"][2]["value"] is stored["tried"][2]["share"] is None
