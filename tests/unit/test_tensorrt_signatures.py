"""TensorRT as installed here against what the code was written for, and the recorded names of four real versions against each other."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from harness.runtimes import tensorrt_api as api
from tests.fake_tensorrt import API, ELEVEN, LATE_TEN, OLD, TEN, VERSIONS
from tests.tensorrt_names import ENUMS, MEMBERS, observed

SOMETIMES = {
    "ICudaEngine.create_execution_context_without_device_memory": {OLD, TEN, LATE_TEN},
    "ICudaEngine.device_memory_size": {OLD, TEN, LATE_TEN},
    "ICudaEngine.device_memory_size_v2": {LATE_TEN, ELEVEN},
    "IExecutionContext.set_device_memory": {LATE_TEN, ELEVEN},
    "IBuilderConfig.progress_monitor": {TEN, LATE_TEN, ELEVEN},
    "IProgressMonitor.__init__": {TEN, LATE_TEN, ELEVEN},
    "IProgressMonitor.phase_start": {TEN, LATE_TEN, ELEVEN},
    "IProgressMonitor.step_complete": {TEN, LATE_TEN, ELEVEN},
    "IProgressMonitor.phase_finish": {TEN, LATE_TEN, ELEVEN},
}


def test_all_versions_have_all_names_but_those_that_the_code_asks_for_first() -> None:
    """Nine of the names are not in every version; `tensorrt_api` looks before it uses one of them."""
    for name in MEMBERS:
        assert {version for version in VERSIONS if name in API[version]["members"]} == SOMETIMES.get(name, set(VERSIONS)), name
    assert {name for name in ENUMS if name not in API[OLD]["enums"]} == {"ExecutionContextAllocationStrategy"}


@pytest.mark.parametrize(
    ("enum", "member", "versions"),
    [
        ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED", {TEN, LATE_TEN, ELEVEN}),
        ("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH", {OLD, TEN, LATE_TEN}),
        ("BuilderFlag", "FP16", {OLD, TEN, LATE_TEN}),
        ("BuilderFlag", "INT8", {OLD, TEN, LATE_TEN}),
        ("BuilderFlag", "TF32", set(VERSIONS)),
        ("PreviewFeature", "PROFILE_SHARING_0806", {OLD, TEN, LATE_TEN}),
        ("DataType", "INT64", {TEN, LATE_TEN, ELEVEN}),
        ("ProfilingVerbosity", "DETAILED", set(VERSIONS)),
    ],
)
def test_flags_come_and_go_as_the_code_believes(enum: str, member: str, versions: set[str]) -> None:
    """What decides between flags and strong types."""
    assert {version for version in VERSIONS if member in API[version]["enums"][enum]} == versions


def test_the_installed_tensorrt_has_what_the_code_calls() -> None:
    """Names and argument names of the TensorRT (or its bindings alone) that can be imported here are those of the nearest known version."""
    trt = _installed()
    mine = observed(trt)
    known = API[max((version for version in VERSIONS if _number(version) <= api.version(trt)), key=_number, default=OLD)]
    for name, said in known["members"].items():
        assert name in mine["members"], f"TensorRT {trt.__version__} has no {name}"
        assert said == "property" or set(map(tuple, said)) <= set(map(tuple, mine["members"][name])), name


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def _installed() -> Any:
    for name in ("tensorrt", "tensorrt_bindings"):
        try:
            return importlib.import_module(name)
        except (ImportError, OSError):
            continue
    return pytest.skip("no TensorRT can be imported here")
