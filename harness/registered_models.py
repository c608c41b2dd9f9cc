"""Models known by a short name: where each comes from and the score its publisher states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.checkpoint import Head


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A model with a name of its own: embedded if it has an `adapter`, else on the hub at `hub`, else to be fetched by hand (`by_hand`).

    `scores`: metric to points on the official dev set, as published in `source`. `labels`: names by id, empty for spans.
    """

    name: str
    task: str
    head: Head
    scores: Mapping[str, float]
    source: str
    adapter: str = ""
    labels: tuple[str, ...] = ()
    hub: str = ""
    revision: str | None = None
    by_hand: str = ""


_MODELS = (
    Registered(
        name="minilm-squad",
        task="squad",
        head="question-answering",
        scores={"exact_match": 66.2914, "f1": 77.2722},
        source="models/adapters/README.md",
        adapter="squad",
    ),
    Registered(
        name="minilm-sst2",
        task="sst2",
        head="sequence-classification",
        scores={"accuracy": 89.220},
        source="models/adapters/README.md",
        adapter="sst2",
        labels=("negative", "positive"),
    ),
    Registered(
        name="bert-large-squad",
        task="squad",
        head="question-answering",
        scores={"f1": 90.874},
        source="MLPerf Inference rules, bert-99 FP32 reference",
        by_hand="MLPerf's checkpoint is not on the hub. Get model.pytorch of zenodo record 3733896 (md5 00fbcbfaebfa20d87ac9885120a6e9b4), "
        "save it as pytorch_model.bin beside config.json, vocab.txt and tokenizer.json of google-bert/bert-large-uncased with "
        '"architectures": ["BertForQuestionAnswering"], and give that folder with --allow-pickle.',
    ),
    Registered(
        name="bert-large-wwm-squad",
        task="squad",
        head="question-answering",
        scores={"exact_match": 86.91, "f1": 93.15},
        source="model card",
        hub="google-bert/bert-large-uncased-whole-word-masking-finetuned-squad",
    ),
    Registered(
        name="distilbert-squad",
        task="squad",
        head="question-answering",
        scores={"f1": 87.1},
        source="model card",
        hub="distilbert/distilbert-base-cased-distilled-squad",
        revision="564e9b582944a57a3e586bbb98fd6f0a4118db7f",
    ),
    Registered(
        name="distilbert-sst2",
        task="sst2",
        head="sequence-classification",
        scores={"accuracy": 91.3},
        source="model card",
        labels=("NEGATIVE", "POSITIVE"),
        hub="distilbert/distilbert-base-uncased-finetuned-sst-2-english",
        revision="714eb0fa89d2f80546fda750413ed43d93601a13",
    ),
)

REGISTERED: Mapping[str, Registered] = {model.name: model for model in _MODELS}
