"""Quantised graphs: the arithmetic, the counting, what is kept of FP32's answers, and the repair."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from harness.core import Model, Samples
from harness.errors import MissingError, UsageError
from harness.models import resolve
from tests.tiny_models import tiny_model, write_architecture

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from harness.calibration import of_samples  # noqa: E402
from harness.runtimes import onnx_calibrate, onnx_integers, onnx_quantise, onnx_sensitivity  # noqa: E402
from harness.runtimes.onnx_calibrate import Graph, Histogram  # noqa: E402
from harness.runtimes.onnx_edit import plain, products  # noqa: E402
from harness.runtimes.onnx_export import exported  # noqa: E402
from harness.runtimes.onnx_graph_facts import heads, matmuls, operators, weight_bytes  # noqa: E402
from harness.runtimes.onnx_integers import Range, by_column, dynamic, embeddings, static, static_fused  # noqa: E402
from harness.runtimes.onnx_noise import behind_gelu, own_noise  # noqa: E402
from harness.runtimes.onnx_optimise import optimised  # noqa: E402
from harness.runtimes.onnx_quantise import quantised, saturates  # noqa: E402
from harness.runtimes.onnx_sensitivity import Kept, compare, repaired  # noqa: E402
from harness.runtimes.onnx_smooth import smoothed  # noqa: E402

FINITE = st.floats(-1e4, 1e4, width=32)
VALUES = arrays(np.float32, st.integers(1, 50), elements=FINITE)
MATRIX = arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=FINITE)

# -------------------------------------------------------------------------------------------------------------------- arithmetic


@given(VALUES)
def test_unsigned_integers_hold_the_range_and_zero(values: NDArray[np.float32]) -> None:
    """U8 gives 0 back exactly and every value of the range to half a step."""
    scale, zero = onnx_integers.unsigned(Range(float(values.min()), float(values.max())))
    integers = np.clip(np.round(values / scale) + int(zero), 0, 255)
    assert (np.abs((integers - int(zero)) * scale - values) <= scale * 1.001).all()
    assert 0 <= zero <= 255


@given(VALUES)
def test_signed_integers_are_symmetric(values: NDArray[np.float32]) -> None:
    """S8 has zero point 0 and gives every value of the range to half a step."""
    scale, zero = onnx_integers.signed(Range(float(values.min()), float(values.max())))
    assert zero == 0
    integers = np.round(values / scale)
    assert np.abs(integers).max() <= 127
    assert (np.abs(integers * scale - values) <= scale * 0.501).all()


@given(MATRIX, st.sampled_from([127, 63]))
def test_weights_keep_their_resolution_by_column(weight: NDArray[np.float32], levels: int) -> None:
    """Each column is restored to half a step of its own; a column of zeros stays zero."""
    integers, scales = by_column(weight, levels)
    assert integers.dtype == np.int8
    assert np.abs(integers.astype(int)).max() <= levels
    assert (np.abs(integers * scales - weight) <= scales * 0.501).all()


@given(st.lists(VALUES, min_size=1, max_size=4))
def test_a_histogram_counts_everything_once(parts: list[NDArray[np.float32]]) -> None:
    """However it is filled, a histogram has all values, the exact ends, and bins of at most 1/1024 of the largest value."""
    seen = Histogram()
    for part in parts:
        seen.add(part)
    flat = np.concatenate(parts)
    assert seen.counts.sum() == len(flat)
    assert (seen.low, seen.high) == (flat.min(), flat.max())
    assert seen.reach <= max(2 * np.abs(flat).max(), 2.0**-19)
    mean = np.dot(seen.counts, seen.centres) / len(flat)
    assert abs(mean - flat.mean(dtype=np.float64)) <= seen.reach / onnx_calibrate.BINS * 1.01


@given(VALUES)
def test_ranges_lie_inside_what_was_seen(values: NDArray[np.float32]) -> None:
    """No method gives more than min-max, and least squares has no larger error than it."""
    seen = Histogram()
    seen.add(values)
    full = onnx_calibrate.min_max(seen)
    for choose in onnx_calibrate.METHODS.values():
        found = choose(seen)
        assert min(full.low, 0) <= found.low <= found.high <= max(full.high, 0)
    best = onnx_calibrate.least_squares(seen)
    assert onnx_calibrate._squared_error(seen, best.low, best.high) <= onnx_calibrate._squared_error(seen, full.low, full.high)


def test_least_squares_and_percentile_cut_an_outlier() -> None:
    """One value of 1000 among a million normal ones widens min-max, and neither of the others."""
    seen = Histogram()
    seen.add(np.random.default_rng(0).normal(size=1_000_000).astype(np.float32))
    seen.add(np.array([1000.0], np.float32))
    assert onnx_calibrate.min_max(seen).high == 1000
    assert onnx_calibrate.percentile(seen).high < 10
    assert onnx_calibrate.least_squares(seen).high < 500


def test_values_that_are_no_numbers_are_refused() -> None:
    """A NaN would make every range one."""
    with pytest.raises(ValueError, match="NaN or infinite"):
        Histogram().add(np.array([1.0, np.nan], np.float32))


# ------------------------------------------------------------------------------------------------------------------------ graphs


def small(weight: NDArray[np.float32], bias: NDArray[np.float32] | None = None, nodes: Collection[Any] = ()) -> Any:
    """x (rows, in) -> y = x @ weight + bias, with further nodes in front of the output."""
    stored = [numpy_helper.from_array(weight, "w")]
    made = [helper.make_node("MatMul", ["x", "w"], ["y" if bias is None else "p"], name="product")]
    if bias is not None:
        stored.append(numpy_helper.from_array(bias, "b"))
        made.append(helper.make_node("Add", ["p", "b"], ["y"], name="add"))
    graph = helper.make_graph(
        [*made, *nodes],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", weight.shape[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", weight.shape[1]])],
        stored,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_integer_graphs_compute_what_the_arithmetic_says(seed: int) -> None:
    """Dynamic, QDQ and fused static graphs give the product of the restored integers, as numpy computes it; both static forms agree."""
    rng = np.random.default_rng(seed)
    weight, bias = rng.normal(size=(8, 5)).astype(np.float32), rng.normal(size=5).astype(np.float32)
    x = rng.normal(size=(7, 8)).astype(np.float32) * 3
    model, span = small(weight, bias), Range(-4.0, 6.0)
    integers, scales = by_column(weight)

    def expected(found: Range) -> NDArray[Any]:
        scale, zero = onnx_integers.unsigned(found)
        restored = (np.clip(np.round(x / scale) + int(zero), 0, 255) - int(zero)) * scale
        return np.asarray(restored @ (integers * scales) + bias)

    step = 10 / 255 * np.abs(weight).max() * 1.01  # a value half-way between two integers may go either way
    for made, found in (
        (dynamic(model, {"product"}), Range(float(x.min()), float(x.max()))),
        (static(model, {"product"}, {"x": span}), span),
        (static_fused(model, {"product"}, {"x": span}), span),
    ):
        assert np.allclose(Graph(made, 1)({"x": x})[0], expected(found), atol=step)  # type: ignore[dict-item]
    symmetric = Graph(static(model, {"product"}, {"x": span}, symmetric=True), 1)({"x": x})[0]  # type: ignore[dict-item]
    assert np.allclose(symmetric, np.clip(x, -6, 6) @ weight + bias, atol=0.5)


def test_the_forms_of_a_static_graph() -> None:
    """QDQ stores integer weights; the symmetric form keeps FP32 weights behind a pair; the fused form takes the bias in."""
    model, ranges = small(np.ones((4, 3), np.float32), np.ones(3, np.float32)), {"x": Range(-1.0, 1.0)}
    qdq = static(model, {"product"}, ranges)
    assert operators(qdq.graph) == {"DequantizeLinear": 2, "QuantizeLinear": 1, "MatMul": 1, "Add": 1}
    assert "FLOAT" in weight_bytes(qdq.graph)
    assert weight_bytes(qdq.graph)["INT8"] == 4 * 3 + 3
    symmetric = static(model, {"product"}, ranges, symmetric=True)
    assert operators(symmetric.graph) == {"QuantizeLinear": 2, "DequantizeLinear": 2, "MatMul": 1, "Add": 1}
    assert {w.name for w in symmetric.graph.initializer if w.data_type == TensorProto.FLOAT} == {"w", "w/scales", "x/scale", "b"}
    fused = static_fused(model, {"product"}, ranges)
    assert operators(fused.graph) == {"QuantizeLinear": 1, "MatMulIntegerToFloat": 1}
    assert operators(dynamic(model, set()).graph) == operators(model.graph)


def test_products_are_counted_by_their_arithmetic() -> None:
    """Integer, QDQ and FP32 products, and products of two activations, are told apart."""
    model, ranges = small(np.ones((4, 4), np.float32)), {"x": Range(-1.0, 1.0)}
    assert matmuls(model.graph).facts() == {"quantised": 0, "total": 1, "share": 0.0}
    for made in (static(model, {"product"}, ranges), static_fused(model, {"product"}, ranges), dynamic(model, {"product"})):
        assert matmuls(made.graph).facts() == {"quantised": 1, "total": 1, "share": 1.0}
    both = small(np.ones((4, 4), np.float32), nodes=[helper.make_node("MatMul", ["y", "x"], ["z"], name="scores")])
    assert matmuls(both.graph).activations == 1
    assert matmuls(both.graph).floating == 1
    assert heads(both.graph, {"product"}) == {"product"}


def test_large_tables_become_integers_by_row() -> None:
    """A table of 2,000 rows is a quarter of its size and restored to half a step of each row; a small one stays."""
    table = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32) * np.logspace(-3, 2, 2000, dtype=np.float32)[:, None]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 16])

    def model(rows: int) -> Any:
        node = helper.make_node("Gather", ["t", "ids"], ["y"], name="rows")
        graph = helper.make_graph([node], "g", [ids], [out], [numpy_helper.from_array(table[:rows], "t")])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    made, count = embeddings(model(2000))
    asked = np.arange(0, 2000, 7)
    found = Graph(made, 1)({"ids": asked})[0]
    assert count == 1
    assert (np.abs(found - table[asked]) <= np.abs(table[asked]).max(axis=1, keepdims=True) / 127 * 0.501).all()
    assert weight_bytes(made.graph) == {"INT8": 32_000, "FLOAT": 8_000}
    assert embeddings(model(100)) == (model(100), 0)


def test_weights_get_seven_bits_where_products_saturate(tmp_path: Path) -> None:
    """x86 without VNNI adds products of bytes in 16 bits; with it, on ARM, and where nothing is known, it is not so."""
    for flags, expected in (("flags : fpu sse2 avx2", True), ("flags : sse2 avx512_vnni", False), ("Features : asimd", False)):
        (tmp_path / "cpuinfo").write_text(flags + "\n")
        assert saturates(tmp_path / "cpuinfo") is expected
    assert not saturates(tmp_path / "none")


# -------------------------------------------------------------------------------------------------------------------------- kept


def test_what_is_kept_in_numbers() -> None:
    """Agreement, regret and noise of two samples with one changed decision: p(second)/p(first) is 1/2 for logits ln 2 and 0."""
    expected = [[np.array([np.log(2), 0.0])], [np.array([0.0, 3.0])]]
    found = [[np.array([0.0, 1.0])], [np.array([0.0, 3.0])]]
    kept = compare(expected, found, 0.05)
    assert (kept.agreement, kept.decisions) == (0.5, 2)
    assert kept.regret == pytest.approx(0.25)
    spread = np.std([np.log(2), 0, 0, 3])
    assert kept.noise == pytest.approx(np.sqrt((np.log(2) ** 2 + 1) / 4) / spread)
    assert not kept.enough
    assert compare(expected, expected, 0.05) == Kept(1.0, 0.0, 0.0, 2, 0.05)
    assert compare(expected, expected, 0.05).enough


def test_a_nan_is_a_lost_decision() -> None:
    """A NaN or an infinity can never look like agreement, even where argmax happens to fit, and is no number in JSON."""
    expected = [[np.array([5.0, 0.0])]]
    for bad in (np.nan, np.inf):
        kept = compare(expected, [[np.array([bad, 0.0])]], 0.05)
        assert (kept.agreement, kept.regret, kept.noise, kept.enough) == (0.0, 1.0, float("inf"), False)
        assert kept.facts()["noise"] is None


def test_values_are_judged_by_noise() -> None:
    """An output of one value is no decision: only noise counts."""
    expected = [[np.array([value])] for value in (0.0, 1.0, 2.0, 3.0)]
    assert compare(expected, [[sample[0] + 0.1] for sample in expected], 0.02).enough
    assert compare(expected, [[sample[0] + 0.5] for sample in expected], 0.02).decisions == 0
    assert not compare(expected, [[sample[0] + 0.5] for sample in expected], 0.02).enough


# ------------------------------------------------------------------------------------------------------------------------ repair

NAMES = tuple("abcdefghij")


def losing(costs: dict[str, float]) -> Any:
    """A fake model whose noise is the sum of what its quantised products cost, in units of the limit."""

    def without(excluded: Collection[str]) -> Kept:
        noise = sum(cost for name, cost in costs.items() if name not in excluded) * onnx_sensitivity.NOISE
        return Kept(1.0, 0.0, noise, 10, 0.05)

    return without


def test_one_bad_product_is_found() -> None:
    """Where one product loses everything, it alone goes back to FP32, though its own noise ranks it low."""
    costs = dict.fromkeys(NAMES, 0.01) | {"e": 5.0}
    found = repaired(losing(costs), losing(costs)(()), NAMES, ["j"])
    assert found.excluded == ("e",)
    assert found.kept.enough
    assert found.stopped == ""


def test_products_are_added_until_enough_is_kept() -> None:
    """Where no single one is enough, those that win most are left out together, and no more than needed."""
    costs = dict.fromkeys(NAMES, 0.05) | {"a": 0.6, "c": 0.9}
    found = repaired(losing(costs), losing(costs)(()), NAMES, [])
    assert set(found.excluded) <= {"a", "c"}
    assert found.kept.enough


def test_a_hopeless_model_keeps_the_best_that_was_tried() -> None:
    """Where half of the products are not enough, the run goes on with the best choice, and what stopped the search is told."""
    costs = dict.fromkeys(NAMES, 2.0)
    found = repaired(losing(costs), losing(costs)(()), NAMES, [])
    assert not found.kept.enough
    assert len(found.excluded) == 5
    assert found.stopped == "50% of the products in FP32 are not enough"


def test_the_search_ends_in_time() -> None:
    """No trial begins after the deadline, and that is told."""
    ticks = iter(range(1000))
    costs = dict.fromkeys(NAMES, 2.0)
    found = repaired(losing(costs), losing(costs)(()), NAMES, [], seconds=3, clock=lambda: float(next(ticks)))
    assert found.tried == 3
    assert found.stopped == "no time left after 3 trials"


def test_own_noise_sees_an_outlier() -> None:
    """A channel of 1000 among values of 1 leaves too few steps for the others: its noise is over a hundred times as large."""
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(50, 16)).astype(np.float32), rng.normal(size=(16, 8)).astype(np.float32)
    weight[0] = 0
    calm = own_noise(x, weight, None)
    x[:, 0] = 1000
    assert own_noise(x, weight, None) > 100 * calm


# ------------------------------------------------------------------------------------------------------------------------- model


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny", "question-answering")


def samples(count: int = 24, seed: int = 0, vocabulary: int = 120) -> Samples:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(5, 40, count)
    tokens = int(lengths.sum())
    ids = rng.integers(5, vocabulary, tokens).astype(np.int32)
    return Samples(ids, rng.integers(0, 2, tokens).astype(np.int8), np.cumsum([0, *lengths], dtype=np.int64), 0, 64)


@pytest.mark.parametrize(("kind", "target"), [("int8", "cpu"), ("int8-static", "cpu"), ("int8-static", "openvino"), ("int8-static", "gpu")])
def test_every_product_of_a_model_is_quantised(model: Model, cache: Path, kind: Any, target: Any) -> None:
    """All 13 products of two layers and a head are integers; the facts say from what and how well; a second call finds the file."""
    calibration, said = of_samples(samples(), "24 made-up samples"), list[str]()
    found = quantised(model, cache, kind, calibration, target=target, say=said.append)
    counts = matmuls(onnx.load(str(found.path)).graph)
    assert (counts.quantised, counts.total) == (13, 13)
    assert found.facts["matmuls"] == counts.facts()
    assert found.facts["calibration"]["source"] == "24 made-up samples"
    assert (found.facts["checked"], found.facts["calibration"]["samples"]) == (6, 18)
    assert found.facts["excluded"] == []
    assert found.facts["enough"]
    assert found.bytes == found.path.stat().st_size
    assert json.loads(json.dumps(found.facts)) == found.facts
    assert said
    said.clear()
    again = quantised(model, cache, kind, calibration, target=target, say=said.append)
    assert (again.path, again.sha256, said) == (found.path, found.sha256, [])


@pytest.mark.parametrize("target", ["cpu", "openvino", "gpu"])
def test_a_weight_that_layers_share_is_quantised_in_each(tmp_path: Path, cache: Path, target: Any) -> None:
    """ALBERT's layers use one set of weights, which the export names once: every product of every layer is INT8 all the same."""
    folder = write_architecture(tmp_path / "albert", "albert", "sequence-classification")
    shared = resolve(str(folder), "sequence-classification", cache=tmp_path, offline=True)
    found = quantised(shared, cache, "int8-static", of_samples(samples(vocabulary=50), "24 made-up samples"), target=target)
    assert found.facts["matmuls"]["quantised"] == found.facts["matmuls"]["total"] == 15


def test_the_source_is_told_of_this_call(model: Model, cache: Path) -> None:
    """The same samples from elsewhere find the same file, and the result says where they are from now."""
    first = quantised(model, cache, "int8-static", of_samples(samples(), "a list of scored ones"))
    second = quantised(model, cache, "int8-static", of_samples(samples(), "training data"))
    assert first.path == second.path
    assert second.facts["calibration"]["source"] == "training data"


def test_other_samples_make_another_file(model: Model, cache: Path) -> None:
    """A static file belongs to the samples that fixed its ranges."""
    paths = {quantised(model, cache, "int8-static", of_samples(samples(seed=seed), "s")).path for seed in (1, 2)}
    assert len(paths) == 2


def test_dynamic_int8_does_without_samples(model: Model, cache: Path) -> None:
    """Without calibration samples prose in the model's vocabulary checks the graph, and the facts say so; static INT8 refuses."""
    found = quantised(model, cache, "int8", None)
    assert found.facts["calibration"] == {"source": "prose in the model's vocabulary", "samples": 0, "ranges": "in each call"}
    with pytest.raises(MissingError, match="needs calibration samples"):
        quantised(model, cache, "int8-static", None)
    with pytest.raises(UsageError, match="dynamic int8 is for ONNX Runtime on the CPU, not for gpu"):
        quantised(model, cache, "int8", None, target="gpu")


def with_outlier(model: Model) -> None:
    """A feed-forward channel of the first layer that is huge for every token and that nothing reads: FP32 does not notice it."""
    from safetensors.numpy import load_file, save_file

    weights = load_file(model.folder / "model.safetensors")
    layer = next(name for name in weights if name.endswith("layer.0.intermediate.dense.bias")).removesuffix("intermediate.dense.bias")
    weights[f"{layer}intermediate.dense.bias"][0] = 20_000.0
    weights[f"{layer}output.dense.weight"][:, 0] = 0.0
    save_file(weights, model.folder / "model.safetensors", {"format": "pt"})


@pytest.fixture(scope="module")
def outlier(tmp_path_factory: pytest.TempPathFactory) -> Model:
    from harness.models import resolve

    folder = tmp_path_factory.mktemp("outlier")
    tiny = tiny_model(folder / "tiny", "question-answering")
    with_outlier(tiny)
    return resolve(str(tiny.folder), "question-answering", cache=folder / "models")


def test_smoothing_mends_an_outlier_channel(outlier: Model, cache: Path) -> None:
    """One channel that takes all steps of an activation is divided, its weights multiplied: nothing needs to go back to FP32."""
    found = quantised(outlier, cache, "int8-static", of_samples(samples(48), "s"))
    assert found.facts["smoothed"] > 0
    assert found.facts["enough"]
    assert found.facts["matmuls"]["share"] == 1.0


def test_smoothing_changes_nothing_in_fp32(outlier: Model, cache: Path) -> None:
    """The smoothed graph answers as the plain one, where an activation was smoothed."""
    source = optimised(exported(outlier, cache), outlier, cache)
    base, given = plain(onnx.load(str(source))), list(onnx_calibrate.feeds(samples()))
    changed, names = smoothed(base, given, 127)
    assert names
    assert compare(onnx_sensitivity.answers(base, given), onnx_sensitivity.answers(changed, given), 0.05).noise < 1e-4


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for what is made without smoothing."""
    return tmp_path_factory.mktemp("apart")


@pytest.mark.parametrize("kind", ["int8", "int8-static"])
def test_a_model_with_an_outlier_channel_is_repaired(outlier: Model, apart: Path, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without smoothing such a channel breaks INT8; the product that reads it is found and left in FP32."""
    monkeypatch.setattr(onnx_quantise, "smoothed", lambda base, _given, _levels: (base, []))
    said: list[str] = []
    found = quantised(outlier, apart, kind, of_samples(samples(48), "s"), say=said.append)
    assert found.facts["repaired"]
    assert found.facts["enough"]
    assert found.facts["noise"] < onnx_sensitivity.NOISE
    base = plain(onnx.load(str(next((apart / "onnx").glob("*-fused-*/model.onnx")))))
    gelu = behind_gelu(base.graph, products(base.graph))
    assert len(gelu) == 2
    assert len(found.facts["excluded"]) == 1
    assert set(found.facts["excluded"]) < gelu
    assert found.facts["matmuls"] == {"quantised": 12, "total": 13, "share": 0.9231}
    assert any("too much is lost" in line for line in said)
