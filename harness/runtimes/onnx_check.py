"""Whether a graph answers as PyTorch does: prose in the model's own vocabulary, many lengths from 1 to the longest, rows with padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.checkpoint import read_config
from harness.core import Int64, Model
from harness.errors import BackendError, DataError
from harness.models import max_positions
from harness.runtimes.torch_model import OUTPUTS

LIMIT = 1e-3
"""Largest difference of a logit, as a share of their standard deviation (or of 1 where that is less). FP32 in another order of additions
differs by 1e-6 to 1e-4; a mask, a position or a length taken for a constant by more than 0.1."""

HALF_LIMIT = 0.05
"""The same for FP16, whose numbers have 11 significant bits (a rounding of 5e-4, added up over the layers)."""

CPU = ("CPUExecutionProvider",)

_LONGEST = 512
_LENGTHS = (1, 2, 3, 5, 8, 13, 16, 17, 31, 64, 100, 128, 200, 256, 384, 512)
_PROSE = (
    "The bridge over the river was opened in the spring of 1932, after nine years of work. Its engineer had asked for granite, but the "
    "city paid for concrete; 'cheaper by half', said the mayor. Who built it? More than forty firms did, and the longest span, 214 metres, "
    "hung from cables that were spun on the spot. In 1954 a storm broke two of them. Nobody was hurt, yet trains have crossed at walking "
    "pace ever since, and every winter the bearings are warmed with steam. A plate on the northern pier names the eleven men who died."
)

Runner = Callable[[Mapping[str, Int64]], Sequence[NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class Check:
    """What was compared: `largest_difference` of any logit of a real token, `spread` the standard deviation of PyTorch's logits."""

    largest_difference: float
    spread: float
    samples: int
    longest: int
    runtime: str


def check(
    path: Path,
    opened: torch.nn.Module,
    model: Model,
    inputs: Sequence[str],
    *,
    limit: float = LIMIT,
    providers: Sequence[str] = CPU,
    optimise: bool = False,
) -> Check:
    """Compare the graph at `path` with `opened`. Raises BackendError where a logit differs by more than `limit` of their spread.

    `optimise`: with ONNX Runtime's own fusions at load, as a run has it; without, the graph is judged as it is written.
    """
    run, runtime = _runner(path, providers, optimise)
    wanted, found, samples, longest = [], [], 0, 0
    for feed, lengths in batches(model):
        given = {name: feed[name] for name in inputs}
        with torch.inference_mode():
            answer = opened(**{name: torch.from_numpy(values) for name, values in given.items()})
        wanted.append(_real([answer[name].numpy() for name in OUTPUTS[model.head]], lengths, model.head))
        found.append(_real(run(given), lengths, model.head))
        samples, longest = samples + len(lengths), max(longest, int(lengths.max()))
    expected = np.concatenate(wanted)
    if not np.isfinite(expected).all():
        cure = "Look at its weights: one of them is no number."
        raise DataError(f"{model.name}: the model itself answers NaN or infinity, in PyTorch", cure)
    difference, spread = float(np.abs(np.concatenate(found) - expected).max()), float(expected.std())
    if not difference <= limit * max(1.0, spread):  # a NaN is larger than anything
        raise BackendError(
            f"{model.name}: its ONNX graph differs from PyTorch by {difference:.2g} (logits spread by {spread:.2g}; {runtime})",
            "Use a pytorch backend for it, and please report the model.",
        )
    return Check(difference, spread, samples, longest, runtime)


def _real(outputs: Sequence[NDArray[Any]], lengths: Int64, head: str) -> NDArray[Any]:
    """Logits of real tokens (spans) or of all labels (classes), flat."""
    if head != "question-answering":
        return np.concatenate([values.ravel() for values in outputs])
    return np.concatenate([values[row, :length] for values in outputs for row, length in enumerate(lengths)])


def batches(model: Model, longest: int = _LONGEST) -> Iterator[tuple[dict[str, Int64], Int64]]:
    """Inputs by name (batch, length) and real lengths (batch,): each length alone, then rows of unequal lengths padded to the longest.

    `longest`: in tokens, or as many as the model takes if those are fewer.
    """
    longest = min(max_positions(model) or longest, longest)
    lengths = sorted({length for length in _LENGTHS if length <= longest} | {longest})
    pool, padding = _pool(model), int(read_config(model.folder).get("pad_token_id") or 0)
    groups = [[length] for length in lengths] + [lengths[:4], lengths[2:8], [longest, 1, max(1, longest // 2)]]
    for number, group in enumerate(groups):
        yield _laid_out(group, pool, padding, number)


def _laid_out(lengths: Sequence[int], pool: Int64, padding: int, seed: int) -> tuple[dict[str, Int64], Int64]:
    rng, real = np.random.default_rng(seed), np.array(lengths)
    mask = (np.arange(real.max()) < real[:, None]).astype(np.int64)
    ids, types = np.full(mask.shape, padding, np.int64), np.zeros(mask.shape, np.int64)
    for row, length in enumerate(lengths):
        ids[row, :length] = np.roll(pool, -int(rng.integers(len(pool))))[np.arange(length) % len(pool)]
        types[row, length // 2 : length] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}, real


def _pool(model: Model) -> Int64:
    """Tokens of `_PROSE` in the model's vocabulary; random tokens of it where the folder has no tokenizer.json. Never the padding token,
    from which RoBERTa counts positions."""
    config = read_config(model.folder)
    padding, size = int(config.get("pad_token_id") or 0), int(config.get("vocab_size") or 2)
    file = model.folder / "tokenizer.json"
    if file.is_file():
        from tokenizers import Tokenizer

        pool = np.array(Tokenizer.from_file(str(file)).encode(_PROSE).ids, np.int64)
    else:
        pool = np.random.default_rng(0).integers(0, size, 200)
    pool = pool[(pool != padding) & (pool < size)]
    return pool if len(pool) else np.array([(padding + 1) % size])


def _runner(path: Path, providers: Sequence[str], optimise: bool) -> tuple[Runner, str]:
    """ONNX Runtime where it is installed, else onnx's own reference in numpy; and its name with its version."""
    try:
        import onnxruntime
    except ImportError:
        import onnx
        from onnx.reference import ReferenceEvaluator

        reference = ReferenceEvaluator(str(path))
        return lambda feed: [np.asarray(values) for values in reference.run(None, dict(feed))], f"onnx reference {onnx.__version__}"
    options = onnxruntime.SessionOptions()
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
    options.log_severity_level = 3  # errors: its warnings are about nodes that optimisation would remove
    options.intra_op_num_threads = max(1, torch.get_num_threads())
    session = onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    return lambda feed: session.run(None, dict(feed)), f"onnxruntime {onnxruntime.__version__}"
