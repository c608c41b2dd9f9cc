"""INT8 graphs: dynamic or static, checked against FP32 on samples that fix no range, and repaired where they lose too much.

Three targets. `cpu`: the graph fused for ONNX Runtime and its integer operators; U8 activations, which is what VNNI multiplies.
`openvino`: the plain graph with QDQ pairs, in standard operators only. `gpu`: the same with symmetric S8 activations, as TensorRT wants it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnx

from harness.cached import made_once
from harness.core import Calibration, Model
from harness.errors import BackendError, MissingError, UsageError
from harness.runtimes import cpu, onnx_calibrate, onnx_sensitivity
from harness.runtimes.onnx_calibrate import Feed, Histogram
from harness.runtimes.onnx_check import batches
from harness.runtimes.onnx_edit import plain, products
from harness.runtimes.onnx_export import Exported, exported, silent
from harness.runtimes.onnx_graph_facts import heads, matmuls
from harness.runtimes.onnx_integers import Range, dynamic, embeddings, static, static_fused
from harness.runtimes.onnx_noise import behind_gelu, noisiest
from harness.runtimes.onnx_sensitivity import REGRET, Answers, Kept, Repair, compare, repaired
from harness.runtimes.onnx_smooth import smoothed

Kind = Literal["int8", "int8-static"]
Target = Literal["cpu", "gpu", "openvino"]

VERSION = 3
"""Of what this module makes; a new one makes old files stale."""

HELD_OUT = 4
"""Of the calibration samples of a static model every fourth checks and fixes no range."""

SMOOTHED = 24
"""Samples whose channels decide what is smoothed."""

CHECKED = 64
"""Samples to check with, at most."""


@dataclass(frozen=True, slots=True)
class Quantised:
    """An INT8 graph with the inputs and outputs of the exported one. `facts` is what `describe` shows under `quantisation`."""

    path: Path
    sha256: str
    bytes: int
    facts: dict[str, Any]


def quantised(
    model: Model,
    cache: Path,
    kind: Kind,
    calibration: Calibration | None,
    *,
    target: Target = "cpu",
    say: Callable[[str], None] = silent,
) -> Quantised:
    """The INT8 graph of `model`, from `cache` or made now.

    Raises UsageError for a dynamic graph for a GPU, MissingError for a static one without calibration samples or without ONNX Runtime
    (which runs the samples), and what exporting raises. A model whose loss no remedy cures is returned, with facts that say so: the
    accuracy of the run judges.
    """
    _check(kind, calibration, target)
    source = exported(model, cache, say)
    path = _fused(source, model, cache, say) if target == "cpu" else source.path
    levels = 63 if target != "gpu" and saturates() else 127
    folder = cache / "onnx" / f"{model.sha256[:16]}-{kind}-{target}-{_key(source, path, kind, target, calibration, levels)}"
    hashes = made_once(
        folder, lambda empty: _make(path, empty, _Asked(kind, target, levels, REGRET[model.head]), _given(model, calibration), say)
    )
    found = folder / "model.onnx"
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    if calibration is not None:
        facts["calibration"]["source"] = calibration.source  # the same texts may have been drawn from elsewhere when it was made
    return Quantised(found, hashes[found.name], found.stat().st_size, facts)


def _fused(source: Exported, model: Model, cache: Path, say: Callable[[str], None]) -> Path:
    from harness.runtimes.onnx_optimise import optimised  # needs ONNX Runtime's own tools, which the other targets do without

    return optimised(source, model, cache, say)


def _check(kind: Kind, calibration: Calibration | None, target: Target) -> None:
    if kind == "int8" and target != "cpu":
        raise UsageError(f"dynamic int8 is for ONNX Runtime on the CPU, not for {target}", "Use static INT8.")
    if kind == "int8-static" and calibration is None:
        raise MissingError("int8-static needs calibration samples, and none were given", "Use int8, or give --calibration FILE.")


def _key(source: Exported, path: Path, kind: Kind, target: Target, calibration: Calibration | None, levels: int) -> str:
    import onnxruntime

    what = [VERSION, source.sha256, path.name, path.parent.name, kind, target, calibration.fingerprint if calibration else "", levels]
    return hashlib.sha256(json.dumps([*what, onnx.__version__, onnxruntime.__version__]).encode()).hexdigest()[:16]


def saturates(cpuinfo: Path = cpu.CPUINFO) -> bool:
    """Whether this CPU adds products of bytes in 16 bits, so that weights get 7 bits: x86 without VNNI. False where it cannot be told."""
    flags = cpu.flags(cpuinfo)
    return "sse2" in flags and not flags & {"avx512_vnni", "avx_vnni"}


# ----------------------------------------------------------------------------------------------------------------------- samples


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be made: `levels` as in `onnx_integers`, `regret` the largest that is allowed."""

    kind: Kind
    target: Target
    levels: int
    regret: float


@dataclass(frozen=True, slots=True)
class _Given:
    """Samples that fix ranges, samples that check, and where they are from."""

    ranging: Sequence[Feed]
    checking: Sequence[Feed]
    source: str


def _given(model: Model, calibration: Calibration | None) -> _Given:
    """Without calibration samples: prose in the model's vocabulary, which says how integers change outputs, if not on the task's text."""
    if calibration is None:
        singles = [feed for feed, lengths in batches(model, 128) if len(lengths) == 1 and lengths[0] >= 8]
        return _Given((), singles, "prose in the model's vocabulary")
    every = list(onnx_calibrate.feeds(calibration.samples))
    held_out = every[HELD_OUT - 1 :: HELD_OUT]
    ranging = [feed for number, feed in enumerate(every) if number % HELD_OUT != HELD_OUT - 1]
    return _Given(ranging, held_out[:CHECKED], calibration.source)


# ------------------------------------------------------------------------------------------------------------------------- making


def _make(path: Path, folder: Path, asked: _Asked, given: _Given, say: Callable[[str], None]) -> None:
    """Writes model.onnx and facts.json into `folder`."""
    start = time.monotonic()
    base = plain(onnx.load(str(path)))
    work = _Work(base, asked, given, say)
    repair = work.solve()
    model, tables = work.model(repair.excluded)
    onnx.save(model, str(folder / "model.onnx"))
    _check_all(path, facts := work.facts(repair, model, tables))
    facts |= {"seconds": round(time.monotonic() - start, 2)}
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    say(_said(facts))


def _check_all(path: Path, facts: dict[str, Any]) -> None:
    """Raises BackendError where a product by a weight is neither INT8 nor listed as left in FP32."""
    left = facts["matmuls"]["total"] - facts["matmuls"]["quantised"] - len(facts["excluded"])
    if left:
        raise BackendError(
            f"{path}: {left} of {facts['matmuls']['total']} products by a weight would silently stay in FP32",
            "Use fp32 for this model, and please report it.",
        )


class _Work:
    """One quantisation: the FP32 graph `base`, what FP32 answers to the checking samples, and the ranges that were chosen."""

    def __init__(self, base: onnx.ModelProto, asked: _Asked, given: _Given, say: Callable[[str], None]) -> None:
        self.asked, self.given, self.say = asked, given, say
        self.expected: Answers = onnx_sensitivity.answers(base, given.checking)
        self.base, self.smooth = smoothed(base, (given.ranging or given.checking)[:SMOOTHED], asked.levels)
        self.products = products(self.base.graph)
        self.ranges: dict[str, Range] = {}
        self.methods: dict[str, Kept] = {}
        self.method = "in each call"

    def solve(self) -> Repair:
        """Ranges, then the check, then the repair where the check fails."""
        self.say(f"quantising {len(self.products)} products ({self.asked.kind}, {self.asked.target})")
        start = self._calibrated() if self.asked.kind == "int8-static" else self.kept(())
        if start.enough:
            return Repair((), start, 0)
        self.say(f"too much is lost ({_loss(start)}): looking for products to leave in FP32")
        ranked = noisiest(self.base, self.products, self.ranges, self.given.checking[:4], self.asked.levels)
        last = heads(self.base.graph, {product.node for product in self.products})
        gelu = behind_gelu(self.base.graph, self.products)
        remedies = [*(name for name in ranked if name in last), *[name for name in ranked if name in gelu][:2]]
        return repaired(self.kept, start, ranked, remedies)

    def _calibrated(self) -> Kept:
        """Fixes the ranges: of all methods the one with least noise on the checking samples (decisions are few, outputs are many)."""
        self.say(f"calibrating on {len(self.given.ranging)} samples: {self.given.source}")
        seen: dict[str, Histogram] = onnx_calibrate.observed(
            self.base, [product.activation for product in self.products], self.given.ranging
        )
        for name, choose in onnx_calibrate.METHODS.items():
            self.ranges = {activation: choose(histogram) for activation, histogram in seen.items()}
            self.methods[name] = self.kept(())
        self.method = min(self.methods, key=lambda name: self.methods[name].noise)
        self.ranges = {activation: onnx_calibrate.METHODS[self.method](histogram) for activation, histogram in seen.items()}
        return self.methods[self.method]

    def kept(self, excluded: Collection[str]) -> Kept:
        return compare(self.expected, onnx_sensitivity.answers(self.model(excluded)[0], self.given.checking), self.asked.regret)

    def model(self, excluded: Collection[str]) -> tuple[onnx.ModelProto, int]:
        """With these products in FP32; and how many embedding tables are integers."""
        chosen = {product.node for product in self.products} - set(excluded)
        if self.asked.target == "gpu":
            return static(self.base, chosen, self.ranges, symmetric=True), 0
        if self.asked.kind == "int8":
            found = dynamic(self.base, chosen, self.asked.levels)
        elif self.asked.target == "cpu":
            found = static_fused(self.base, chosen, self.ranges, self.asked.levels)
        else:
            found = static(self.base, chosen, self.ranges, levels=self.asked.levels)
        return embeddings(found)

    def facts(self, repair: Repair, model: onnx.ModelProto, tables: int) -> dict[str, Any]:
        return {
            "kind": "dynamic" if self.asked.kind == "int8" else "static",
            "target": self.asked.target,
            "activations": "S8 symmetric" if self.asked.target == "gpu" else "U8",
            "weights": f"S8 by column, {'7' if self.asked.levels == 63 else '8'} bits",
            "smoothed": len(self.smooth),
            "embeddings": "S8 by row" if tables else "FP32",
            "calibration": {"source": self.given.source, "samples": len(self.given.ranging), "ranges": self.method},
            "checked": len(self.given.checking),
            **repair.kept.facts(),
            "limits": {"regret": self.asked.regret, "noise": onnx_sensitivity.NOISE},
            "enough": repair.kept.enough,
            "methods": {name: kept.facts() for name, kept in self.methods.items()},
            "repaired": bool(repair.excluded),
            "excluded": list(repair.excluded),
            "repair": {"trials": repair.tried, "stopped": repair.stopped},
            "matmuls": matmuls(model.graph).facts(),
        }


def _loss(kept: Kept) -> str:
    return f"{kept.agreement:.1%} of {kept.decisions} decisions as in FP32, regret {kept.regret:.3f}, noise {kept.noise:.1%}"


def _said(facts: dict[str, Any]) -> str:
    left = f"; {len(facts['excluded'])} products left in FP32" if facts["excluded"] else ""
    noise = "unbounded" if facts["noise"] is None else f"{facts['noise']:.1%}"
    short = "" if facts["enough"] else "; below the limit, the accuracy of the run judges"
    kept = (
        f"{facts['agreement']:.1%} of the decisions on {facts['checked']} samples as in FP32, regret {facts['regret']:.3f}, noise {noise}"
    )
    return kept + left + short
