"""From an ONNX graph to an engine on disk: parsed, optimised for the run's shapes, and kept under a key of everything that decides it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.cached import made_once
from harness.core import Model
from harness.errors import BackendError
from harness.runtimes import tensorrt_api as api
from harness.runtimes.cuda_memory import Gpu
from harness.runtimes.tensorrt_inspect import network_matmuls
from harness.runtimes.tensorrt_profiles import Profile

Say = Callable[[str], None]

BUILDER = 1
"""Version of how this file builds: a higher number makes every cached engine anew."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A serialised engine on disk. `build_seconds`: what building it took when it was built; `built`: whether that was now.

    network_matmuls  matrix products of the parsed graph by type, before TensorRT chose kernels
    flags            precision flags that were set; none in a strongly typed network
    """

    path: Path
    sha256: str
    bytes: int
    profiles: tuple[Profile, ...]
    build_seconds: float
    built: bool
    strongly_typed: bool
    network_matmuls: Mapping[str, int]
    flags: tuple[str, ...]


def engine_key(trt: Any, model: Model, graph_sha256: str, precision: str, profiles: Sequence[Profile], gpu: Gpu) -> str:
    """Name of an engine's folder: another model, graph, precision, shape, GPU, driver or TensorRT gives another name."""
    decides = {
        "builder": BUILDER,
        "model": model.sha256,
        "head": model.head,
        "graph": graph_sha256,
        "precision": precision,
        "profiles": [asdict(profile) for profile in profiles],
        **_machine(trt, gpu),
    }
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
    return f"{precision}-{digest[:24]}"


def timing_file(trt: Any, cache: Path, gpu: Gpu) -> Path:
    """Kernel timings are kept for all models together: they hold for one kind of GPU, driver and TensorRT."""
    digest = hashlib.sha256(json.dumps(_machine(trt, gpu), sort_keys=True).encode()).hexdigest()
    return cache / "tensorrt" / f"timing-{digest[:16]}.cache"


def _machine(trt: Any, gpu: Gpu) -> dict[str, Any]:
    return {"gpu": gpu.name, "capability": gpu.capability, "driver": gpu.driver, "tensorrt": trt.__version__}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to build: `graph` gives the ONNX file's bytes, read only where the engine is not there yet."""

    precision: str
    profiles: tuple[Profile, ...]
    graph: Callable[[], bytes]
    graph_sha256: str


def planned(trt: Any, recipe: Recipe, model: Model, gpu: Gpu, cache: Path, say: Say) -> Plan:
    """The engine, from `cache` or built now. Raises BackendError with TensorRT's own words where it cannot be built."""
    folder = cache / "tensorrt" / engine_key(trt, model, recipe.graph_sha256, recipe.precision, recipe.profiles, gpu)
    built: list[bool] = []

    def make(empty: Path) -> None:
        built.append(True)
        _make(trt, recipe, timing_file(trt, cache, gpu), empty, say)

    hashes = made_once(folder, make)
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    facts["flags"] = tuple(facts["flags"])
    path = folder / "engine.plan"
    return Plan(path, hashes[path.name], path.stat().st_size, recipe.profiles, built=bool(built), **facts)


def _make(trt: Any, recipe: Recipe, timing: Path, folder: Path, say: Say) -> None:
    """Writes engine.plan and facts.json into `folder`, and what TensorRT timed beside all engines."""
    start = time.monotonic()
    say(f"TensorRT {trt.__version__}: building {recipe.precision} for {len(recipe.profiles)} profiles")
    build = Build(trt, recipe, say)
    plan = build.run(timing.read_bytes() if timing.exists() else b"")
    (folder / "engine.plan").write_bytes(plan)
    _replace(timing, build.timings)
    facts = build.facts | {"build_seconds": round(time.monotonic() - start, 2)}
    say(f"TensorRT: built in {facts['build_seconds']:.0f} s, {len(plan) / 1e6:.0f} MB")
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def _replace(path: Path, content: bytes) -> None:
    """Whole or not at all; of two builds at once the later one's timings stay."""
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_bytes(content)
    partial.replace(path)


class Build:
    """One build. `facts` (flags, matrix products by type) and `timings` (bytes of the timing cache) are there after `run`."""

    def __init__(self, trt: Any, recipe: Recipe, say: Say) -> None:
        self.trt, self.recipe, self.say = trt, recipe, say
        self.messages = api.Messages()
        self.log = api.logger(trt, self.messages)  # TensorRT keeps no reference of its own
        self.facts: dict[str, Any] = {}
        self.timings = b""

    def run(self, timings: bytes) -> bytes:
        """The serialised engine; `timings`: what an earlier build timed, empty for none."""
        builder = api.builder(self.trt, self.log, self.messages)
        network = builder.create_network(api.network_flags(self.trt))
        self._parse(network)
        config = self._config(builder, network, timings)
        self.facts["network_matmuls"] = network_matmuls(self.trt, network)
        self.facts["strongly_typed"] = api.strongly_typed(self.trt)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise BackendError(f"TensorRT cannot build {self.recipe.precision}: {self.messages.explain()}", _BUILD_CURE)
        self.timings = bytes(config.get_timing_cache().serialize())
        return bytes(plan)

    def _parse(self, network: Any) -> None:
        parser = self.trt.OnnxParser(network, self.log)
        if not parser.parse(self.recipe.graph()):
            told = "; ".join(parser.get_error(number).desc() for number in range(min(3, parser.num_errors)))
            raise BackendError(
                f"TensorRT {self.trt.__version__} cannot read the ONNX graph: {told}", "Use onnxruntime, or a newer TensorRT."
            )

    def _config(self, builder: Any, network: Any, timings: bytes) -> Any:
        config = builder.create_builder_config()
        config.profiling_verbosity = self.trt.ProfilingVerbosity.DETAILED  # the inspector shows kernels only then
        self.facts["flags"] = api.set_precision(self.trt, config, self.recipe.precision)
        api.share_profiles(self.trt, config)
        api.watch(self.trt, config, self.say)
        cache = config.create_timing_cache(timings) or config.create_timing_cache(
            b""
        )  # None for a damaged one: times are only measured anew
        config.set_timing_cache(cache, False)
        for profile in self.recipe.profiles:
            self._add(builder, config, network, profile)
        return config

    def _add(self, builder: Any, config: Any, network: Any, profile: Profile) -> None:
        made = builder.create_optimization_profile()
        for number in range(network.num_inputs):
            made.set_shape(network.get_input(number).name, profile.least, profile.best, profile.most)
        if config.add_optimization_profile(made) < 0:
            raise BackendError(f"TensorRT takes no profile of {profile.least} to {profile.most}: {self.messages.explain()}", _BUILD_CURE)


_BUILD_CURE = "Use a smaller --max-batch, another precision, or onnxruntime on the same GPU."
