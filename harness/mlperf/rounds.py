"""What each round of MLPerf Inference builds into LoadGen: its mlperf.conf as keys and values, its seeds, the wheels that carry it. Pure.

The seeds are those of four rounds; everything else is the mlperf.conf of LoadGen 6.0.17 (round v6.1), used for all four.
Source: mlperf.conf of mlcommons/inference, and the PyPI wheels mlcommons-loadgen (which carry it compiled in).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.core import Seeds
from harness.errors import UsageError
from harness.suggest import advice

_SEEDS = {
    "v5.0": Seeds(6023615788873153749, 15036839855038426416, 9933818062894767841),
    "v5.1": Seeds(1780908523862526354, 14771362308971278857, 18209322760996052031),
    "v6.0": Seeds(2465351861681999779, 14276810075590677512, 3936089224930324775),
    "v6.1": Seeds(2085463073848966840, 2747215439041700203, 16159082839903944936),
}

_TEST05 = {"v6.1": Seeds(7975553102935885558, 11403566307062068064, 15816800565822761601)}

ROUNDS: tuple[str, ...] = tuple(_SEEDS)
"""The rounds that are built in, oldest first."""

WHEELS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "v5.0": (("5.0.9", "5.0.21"),),
    "v5.1": (("5.0.22", "5.1.2"), ("6.0.3", "6.0.4")),
    "v6.0": (("6.0.5", "6.0.15"),),
    "v6.1": (("6.0.16", "6.0.17"),),
}
"""First and last version of each run of mlcommons-loadgen wheels that carry the seeds of a round. 5.0.8 carries seeds of no round."""


def seeds(round: str) -> Seeds:  # noqa: A002  (the field's own word)
    """The three seeds of a round. Raises UsageError for a round that is not built in."""
    return _SEEDS[_known(round)]


def test05_seeds(round: str) -> Seeds:  # noqa: A002
    """The seeds of MLPerf's former TEST05. Raises UsageError for a round whose TEST05 seeds are not known."""
    if _known(round) not in _TEST05:
        known = " or ".join(_TEST05)
        raise UsageError(
            f"the TEST05 seeds of round {round} are not known", f"use --round {known}, or give the three seeds: --qsl-seed and so on"
        )
    return _TEST05[round]


def wheels(round: str) -> str:  # noqa: A002
    """The versions of mlcommons-loadgen that carry the round, for a sentence: "5.0.22 to 5.1.2, 6.0.3 to 6.0.4"."""
    return ", ".join(f"{first} to {last}" for first, last in WHEELS[_known(round)])


def round_of_wheel(version: str) -> str | None:
    """The round whose seeds the wheel of that version carries ("6.0.17" -> "v6.1"); None where that is not known."""
    wanted = _parts(version)
    for round_, runs in WHEELS.items():
        if any(_parts(first) <= wanted <= _parts(last) for first, last in runs):
            return round_
    return None


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))


def _known(round_: str) -> str:
    if round_ not in _SEEDS:
        raise UsageError(f"round {round_} is not built in", advice(round_, ROUNDS, "rounds"))
    return round_


# ----------------------------------------------------------------------------------------------------------------------- mlperf.conf


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """Rows of one model. None: no row, so the wildcard model counts.

    samples   performance_sample_count_override
    latency   Server target latency, ms; for models judged by tokens the pair (first token, per token), and their plain bound is 0
    offline   least samples of Offline
    concat    sample_concatenate_permutation
    more      further rows, `scenario.key` -> value
    """

    samples: int | None = None
    latency: int | tuple[int, int] | None = None
    offline: int | None = None
    concat: bool = False
    more: Mapping[str, str] | None = None

    def rows(self) -> Iterator[tuple[str, str]]:
        if self.samples is not None:
            yield "*.performance_sample_count_override", str(self.samples)
        if isinstance(self.latency, tuple):
            yield "Server.target_latency", "0"
            yield "Server.ttft_latency", str(self.latency[0])
            yield "Server.tpot_latency", str(self.latency[1])
        elif self.latency is not None:
            yield "Server.target_latency", str(self.latency)
        if self.offline is not None:
            yield "Offline.min_query_count", str(self.offline)
        if self.concat:
            yield "*.sample_concatenate_permutation", "1"
        yield from (self.more or {}).items()


_TOKENS = {"*.use_token_latencies": "1"}
_NO_TOKENS = {"*.use_token_latencies": "0"}
_GPTJ = {"*.infer_token_latencies": "1", "*.token_latency_scaling_factor": "69"}
_GPT_OSS = _TOKENS | {"*.accuracy_sample_count_override": "4395"}

_MODELS: Mapping[str, _Model] = {
    "bert": _Model(samples=10833, latency=130, offline=10833),
    "resnet50": _Model(samples=1024, latency=15, offline=24576),
    "ssd-mobilenet": _Model(samples=256),
    "retinanet": _Model(samples=64, latency=100, offline=24576, more={"MultiStream.target_latency": "528"}),
    "dlrm": _Model(samples=204800, latency=60),
    "dlrm-v2": _Model(samples=204800, latency=60, offline=24576),
    "dlrm-v3": _Model(latency=80),
    "rnnt": _Model(samples=2513, latency=1000, offline=2513),
    "3d-unet": _Model(samples=0, offline=43, concat=True),
    "gptj": _Model(samples=13368, latency=20000, offline=13368, concat=True, more=_GPTJ),
    "stable-diffusion-xl": _Model(samples=5000, latency=20000, offline=5000),
    "wan-2.2-t2v-a14b": _Model(samples=248, offline=248),
    "rgat": _Model(samples=788379, offline=788379, concat=True),
    "pointpainting": _Model(samples=1024, more={"SingleStream.target_latency_percentile": "99.9"}),
    "yolo": _Model(samples=64),
    "whisper": _Model(samples=1633, offline=1633, concat=True, more=_TOKENS),
    "mixtral-8x7b": _Model(samples=15000, latency=(2000, 200), offline=15000, concat=True, more=_TOKENS),
    "llama2-70b": _Model(samples=24576, latency=(2000, 200), offline=24576, concat=True, more=_TOKENS),
    "llama2-70b-interactive": _Model(samples=24576, latency=(450, 40), concat=True, more=_TOKENS),
    "llama3_1-405b": _Model(samples=8313, latency=(6000, 175), offline=8313, concat=True, more=_TOKENS),
    "llama3_1-405b-interactive": _Model(samples=8313, latency=(4500, 80), concat=True, more=_TOKENS),
    "llama3_1-8b": _Model(samples=13368, latency=(2000, 100), offline=13368, concat=True, more=_TOKENS),
    "llama3_1-8b-interactive": _Model(samples=13368, latency=(500, 30), concat=True, more=_TOKENS),
    "llama3_1-8b-edge": _Model(samples=5000, offline=5000, concat=True, more=_TOKENS),
    "deepseek-r1": _Model(samples=4388, latency=(2000, 80), offline=4388, concat=True, more=_TOKENS),
    "deepseek-r1-interactive": _Model(samples=4388, latency=(1500, 15), concat=True, more=_TOKENS),
    "gpt-oss-120b": _Model(samples=6396, latency=(3000, 80), concat=True, more=_GPT_OSS),
    "gpt-oss-120b-interactive": _Model(samples=6396, latency=(2000, 15), concat=True, more=_GPT_OSS),
    "qwen3-vl-235b-a22b": _Model(samples=48289, latency=12000, offline=48289, concat=True, more=_NO_TOKENS),
}

MODELS: tuple[str, ...] = tuple(_MODELS)
"""Names of the models that mlperf.conf has rows for. BERT is `bert`, whatever its accuracy target."""

_WILDCARD: Mapping[str, str] = {
    "SingleStream.target_latency_percentile": "90",
    "SingleStream.min_duration": "600000",
    "SingleStream.target_latency": "10",
    "MultiStream.target_latency_percentile": "99",
    "MultiStream.samples_per_query": "8",
    "MultiStream.min_duration": "600000",
    "MultiStream.min_query_count": "662",
    "MultiStream.target_latency": "80",
    "Server.target_latency": "10",
    "Server.target_latency_percentile": "99",
    "Server.min_duration": "600000",
    "Server.target_qps": "1.0",
    "Offline.min_duration": "600000",
    "Offline.target_qps": "1.0",
}


def conf(round: str) -> dict[str, str]:  # noqa: A002
    """mlperf.conf of a round: `model.scenario.key` -> value as text. TEST05 seeds only where they are known. Raises UsageError."""
    rows = _seed_rows("", seeds(round))
    if round in _TEST05:
        rows |= _seed_rows("test05_", _TEST05[round])
    rows |= {f"*.{key}": value for key, value in _WILDCARD.items()}
    for name, model in _MODELS.items():
        rows |= {f"{name}.{key}": value for key, value in model.rows()}
    return rows


def _seed_rows(prefix: str, three: Seeds) -> dict[str, str]:
    names = {"qsl": three.qsl, "sample_index": three.sample_index, "schedule": three.schedule}
    return {f"*.*.{prefix}{name}_rng_seed": str(seed) for name, seed in names.items()}
