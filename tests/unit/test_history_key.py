"""What makes two runs points of one series, and what begins another."""

from __future__ import annotations

from typing import Any

import pytest

from harness.core import Run
from harness.history import series_key
from tests.histories import run

FULL: dict[str, Any] = {
    "cpu": {"model": "AMD EPYC", "physical_cores": 2, "usable_cores": 2, "instruction_sets": ["avx2"], "mhz": 2600.0},
    "gpus": [{"name": "H100", "driver_version": "550.1", "memory.total": "81559", "clocks.sm": "1980", "temperature.gpu": "40"}],
    "memory": {"total": 1, "available": 1},
    "load_average": [0.1, 0.1, 0.1],
    "hostname": "one",
    "kernel": "6.1",
    "libraries": {"torch": "2.13.0"},
    "environment": {},
    "data": {"name": "SQuAD v1.1 dev", "samples": 10833, "fingerprint": "ab"},
    "instances": {"workers": 1, "threads": 2, "mode": "thread", "search": None},
}
RESOLVED: dict[str, Any] = {"min_duration_ns": 1, "batching": {"kind": "sorted", "max_batch": 32}, "target_qps": 61.2}


def made(conditions: dict[str, Any] | None = None, resolved: dict[str, Any] | None = None, config: dict[str, Any] | None = None) -> Run:
    settings = {"scenario": "server", "task": "squad", "backend": "pytorch:fp32", "rules": "quick", "target_qps": None} | (config or {})
    return run(0, conditions=FULL | (conditions or {}), config=settings | {"resolved": RESOLVED | (resolved or {})})


def key(of: Run) -> str:
    return series_key.key(series_key.parts(of))


@pytest.mark.parametrize(
    "other",
    [
        {"conditions": {"cpu": FULL["cpu"] | {"model": "Xeon"}}},
        {"conditions": {"cpu": FULL["cpu"] | {"usable_cores": 1}}},
        {"conditions": {"gpus": [FULL["gpus"][0] | {"driver_version": "560.2"}]}},
        {"conditions": {"data": FULL["data"] | {"fingerprint": "cd"}}},
        {"conditions": {"instances": FULL["instances"] | {"workers": 2}}},
        {"conditions": {"environment": {"OMP_NUM_THREADS": "1"}}},
        {"resolved": {"batching": {"kind": "fifo", "max_batch": 32}}},
        {"config": {"backend": "onnxruntime:int8"}},
        {"config": {"scenario": "offline"}},
        {"config": {"rules": "standard"}},
        {"config": {"target_qps": 50.0}},
    ],
    ids=lambda other: str(other)[:60],
)
def test_these_begin_another_series(other: dict[str, Any]) -> None:
    """Machine, driver, data, instances, environment, batching, backend, scenario, rules and a rate that was asked for."""
    assert key(made(**other)) != key(made())


@pytest.mark.parametrize(
    "other",
    [
        {"conditions": {"libraries": {"torch": "2.14.0"}, "kernel": "6.2", "python": "3.12.1"}},
        {"conditions": {"hostname": "two", "load_average": [3.0, 3.0, 3.0], "memory": {"total": 2, "available": 0}}},
        {"conditions": {"cpu": FULL["cpu"] | {"mhz": 3000.0}}},
        {"conditions": {"gpus": [FULL["gpus"][0] | {"clocks.sm": "210", "temperature.gpu": "70"}]}},
        {"resolved": {"target_qps": 63.9}},
        {"config": {"out": "elsewhere", "name": "nightly", "progress": "none"}},
    ],
    ids=lambda other: str(other)[:60],
)
def test_these_do_not(other: dict[str, Any]) -> None:
    """Versions are events; loads, clocks, names and the rate that a probe found differ from run to run."""
    assert key(made(**other)) == key(made())


def test_a_model_with_other_weights_is_another_series() -> None:
    """The hash of the weights is part of the key."""
    other = run(0, model={"name": "minilm-squad", "sha256": "cd" * 32})
    assert key(other) != key(run(0, model={"name": "minilm-squad", "sha256": "ab" * 32}))


def test_a_named_machine_is_another_one() -> None:
    """A name tells machines apart that look alike."""
    assert series_key.key(series_key.parts(made(), "rack 7")) != key(made())


@pytest.mark.parametrize(
    ("given", "typed"),
    [("ci/toy.py:fast", "toy.py:fast"), ("/tmp/x1/toy.py", "toy.py"), ("pytorch:amp+compile", "pytorch:amp+compile"), (None, "")],
)
def test_a_plugins_file_counts_by_its_name(given: str | None, typed: str) -> None:
    """Where a checkout lies makes no other series."""
    assert series_key.typed(given) == typed


def test_differences_are_named() -> None:
    """Each difference is one line, nested names joined by points."""
    before = {"libraries": {"torch": "2.13.0", "onnx": "1.23"}, "kernel": "6.1"}
    after = {"libraries": {"torch": "2.14.0"}, "kernel": "6.1", "python": "3.12"}
    assert list(series_key.differences(before, after)) == [
        "libraries.onnx: 1.23 → none",
        "libraries.torch: 2.13.0 → 2.14.0",
        "python: none → 3.12",
    ]


def test_a_run_that_was_read_again_has_the_same_key() -> None:
    """Tuples that became lists in JSON make no other series."""
    lists = made(resolved={"seeds": [1, 2]})
    assert key(lists) == key(made(resolved={"seeds": (1, 2)}))
