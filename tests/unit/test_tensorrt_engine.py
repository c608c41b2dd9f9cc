"""Building engines and keeping them, against what four real versions of TensorRT offer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.core import Model, Shapes
from harness.errors import BackendError, MissingError
from harness.runtimes import tensorrt_api as api
from harness.runtimes.cuda_memory import Gpu
from harness.runtimes.tensorrt_engine import Plan, Recipe, engine_key, planned, timing_file
from harness.runtimes.tensorrt_profiles import profiles
from tests.fake_cuda import GPU, FakeCuda
from tests.fake_tensorrt import ELEVEN, LATE_TEN, OLD, TEN, VERSIONS, Machine, fake

MODEL = Model("tiny", Path("tiny"), "question-answering", "c0ffee", 1000, 4000)
PROFILES = profiles(Shapes(max_batch=4, lengths=(16, 32)), 512)


def _build(trt: Any, cache: Path, precision: str = "fp32", *, gpu: Gpu = GPU, said: list[str] | None = None, **changes: Any) -> Plan:
    recipe = replace(Recipe(precision, PROFILES, lambda: b"onnx", "feed"), **changes)
    return planned(trt, recipe, MODEL, gpu, cache, (said if said is not None else []).append)


@pytest.mark.parametrize("version", VERSIONS)
def test_each_input_of_each_profile_is_given_its_shapes(version: str, tmp_path: Path) -> None:
    """Both inputs get least, best and most of all four profiles, in order, in every version."""
    machine = Machine(FakeCuda())
    _build(fake(version, machine), tmp_path)
    expected = [(profile.least, profile.best, profile.most) for profile in PROFILES]
    (build,) = machine.builds
    assert [[shapes[name] for shapes in build.profiles] for name in ("input_ids", "attention_mask")] == [expected, expected]


@pytest.mark.parametrize(
    ("version", "network_flags", "previews", "fp16", "int8"),
    [
        (OLD, 0b1, ["PROFILE_SHARING_0806"], {"FP16"}, {"FP16", "INT8"}),
        (TEN, 0b10, [], set(), set()),
        (LATE_TEN, 0b10, [], set(), set()),
        (ELEVEN, 0b1, [], set(), set()),
    ],
)
def test_precision_is_asked_for_as_the_version_wants_it(
    version: str, network_flags: int, previews: list[str], fp16: set[str], int8: set[str], tmp_path: Path
) -> None:
    """8.6: explicit batch and precision flags. 10 and 11: a strongly typed network and no precision flag at all. TF32 is off everywhere."""
    machine = Machine(FakeCuda())
    plans = [_build(fake(version, machine), tmp_path, precision) for precision in ("fp32", "fp16", "int8")]
    assert [build.flags for build in machine.builds] == [set(), fp16, int8]
    assert {build.network_flags for build in machine.builds} == {network_flags}
    assert [build.previews for build in machine.builds] == [previews] * 3
    assert {plan.strongly_typed for plan in plans} == {version != OLD}
    assert {str(build.verbosity) for build in machine.builds} == {"ProfilingVerbosity.DETAILED"}


def test_an_engine_is_built_once(tmp_path: Path) -> None:
    """The second time the graph is not even read, and the plan says when it was built."""
    machine = Machine(FakeCuda())
    trt = fake(LATE_TEN, machine)
    first = _build(trt, tmp_path)
    second = _build(trt, tmp_path, graph=lambda: pytest.fail("read again"))
    assert (first.built, second.built, len(machine.builds)) == (True, False, 1)
    assert replace(first, built=False) == second


def test_a_damaged_engine_is_built_anew(tmp_path: Path) -> None:
    """A byte that changed on disk is found by its checksum."""
    machine = Machine(FakeCuda())
    trt = fake(TEN, machine)
    plan = _build(trt, tmp_path)
    plan.path.write_bytes(b"?" + plan.path.read_bytes()[1:])
    assert _build(trt, tmp_path).sha256 == plan.sha256
    assert len(machine.builds) == 2


def test_all_that_decides_an_engine_is_in_its_key() -> None:
    """Another model, head, graph, precision, shape, GPU, capability, driver or TensorRT is another engine; memory size is not."""
    old, new = fake(TEN, Machine(FakeCuda())), fake(LATE_TEN, Machine(FakeCuda()))
    keys = {
        engine_key(old, MODEL, "feed", "fp16", PROFILES, GPU),
        engine_key(new, MODEL, "feed", "fp16", PROFILES, GPU),
        engine_key(old, replace(MODEL, sha256="decaf"), "feed", "fp16", PROFILES, GPU),
        engine_key(old, replace(MODEL, head="sequence-classification"), "feed", "fp16", PROFILES, GPU),
        engine_key(old, MODEL, "beef", "fp16", PROFILES, GPU),
        engine_key(old, MODEL, "feed", "int8", PROFILES, GPU),
        engine_key(old, MODEL, "feed", "fp16", PROFILES[:2], GPU),
        engine_key(old, MODEL, "feed", "fp16", PROFILES, replace(GPU, name="Other")),
        engine_key(old, MODEL, "feed", "fp16", PROFILES, replace(GPU, capability=(8, 9))),
        engine_key(old, MODEL, "feed", "fp16", PROFILES, replace(GPU, driver=13000)),
    }
    assert len(keys) == 10
    assert engine_key(old, MODEL, "feed", "fp16", PROFILES, replace(GPU, memory=1)) in keys


def test_kernel_timings_are_shared_by_builds_on_one_kind_of_machine(tmp_path: Path) -> None:
    """The second build starts from what the first one timed; another driver starts from nothing."""
    machine = Machine(FakeCuda())
    trt = fake(ELEVEN, machine)
    _build(trt, tmp_path)
    _build(trt, tmp_path, "fp16")
    _build(trt, tmp_path, gpu=replace(GPU, driver=13000))
    assert [build.timings for build in machine.builds] == [b"", b"+", b""]
    assert timing_file(trt, tmp_path, GPU).read_bytes() == b"++"


def test_damaged_timings_are_measured_anew(tmp_path: Path) -> None:
    """TensorRT gives None for a file that is no timing cache; the build starts from nothing and writes a good one."""
    machine = Machine(FakeCuda())
    trt = fake(TEN, machine)
    timings = timing_file(trt, tmp_path, GPU)
    timings.parent.mkdir()
    timings.write_bytes(b"?")
    _build(trt, tmp_path)
    assert [build.timings for build in machine.builds] == [b""]
    assert timings.read_bytes() == b"+"
    assert not list(timings.parent.glob("*.partial"))


@pytest.mark.parametrize(("version", "watched"), [(OLD, False), (TEN, True), (ELEVEN, True)])
def test_progress_is_told_where_the_version_has_it(version: str, watched: bool, tmp_path: Path) -> None:
    """A line for every tenth of the build from 10.0 on; begin and end always."""
    said: list[str] = []
    _build(fake(version, Machine(FakeCuda())), tmp_path, said=said)
    assert said[0] == f"TensorRT {version}: building fp32 for 4 profiles"
    assert said[-1].startswith("TensorRT: built in 0 s")
    told = [f"TensorRT: Building Engine {share} %" for share in range(10, 101, 10)]
    assert said[1:-1] == (["TensorRT: Building Engine", *told] if watched else [])


@pytest.mark.parametrize("version", VERSIONS)
def test_what_tensorrt_says_reaches_the_user(version: str, tmp_path: Path) -> None:
    """No GPU, an unknown operator and a failed build each end with TensorRT's own words, and leave no engine behind."""
    for attribute, kind, words in (
        ("no_gpu", MissingError, "CUDA initialization failure with error: 35"),
        ("unreadable", BackendError, "No importer registered for op: Mystery"),
        ("unbuildable", BackendError, "could not find any implementation for node /MatMul"),
    ):
        machine = Machine(FakeCuda())
        setattr(machine, attribute, True)
        with pytest.raises(kind, match=words) as caught:
            _build(fake(version, machine), tmp_path)
        assert caught.value.cure
    assert not list(tmp_path.rglob("engine.plan"))


def test_the_network_tells_which_products_are_dequantised(tmp_path: Path) -> None:
    """A product of two dequantised operands, one reshaped on the way, counts as INT8; the head as FP32."""
    plan = _build(fake(TEN, Machine(FakeCuda(), network="INT8")), tmp_path)
    assert plan.network_matmuls == {"fp32": 1, "int8": 1}


@pytest.mark.parametrize("text", ["8.5.3.1", "12.0", "7"])
def test_other_versions_are_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A TensorRT this code does not know ends with what to install, before anything is called."""
    trt = fake(TEN, Machine(FakeCuda()))
    trt.__version__ = text
    monkeypatch.setattr(api, "import_module", lambda _name: trt)
    with pytest.raises(MissingError) as caught:
        api.import_tensorrt()
    assert "8.6 to 11" in caught.value.cure


def test_a_tensorrt_that_lacks_its_libraries_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader's message is passed on."""

    def fail(_name: str) -> None:
        raise ImportError("libnvinfer.so.10: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(api, "import_module", fail)
    with pytest.raises(MissingError, match=r"libnvinfer\.so\.10"):
        api.import_tensorrt()
