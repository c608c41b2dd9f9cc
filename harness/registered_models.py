"""Models known by a short name: where each comes from and the score its publisher states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.checkpoint import Head


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A model with a name of its own: embedded if it has an `adapter`, else on the hub at `hub`, else to be fetched by hand (`by_hand`).

    `scores`: metric to points on the official dev set, as stated in `source`; empty where none was found. `labels`: names by id of
    an embedded model, empty for spans; one name makes it a model of values. `revision`: commit on the hub; None is its newest state.
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


def _embedded(task: str, scores: Mapping[str, float], labels: tuple[str, ...] = ()) -> Registered:
    """An adapter of this repository; its scores were measured with it merged, FP32, official dev set."""
    head: Head = "sequence-classification" if labels else "question-answering"
    source = "models/adapters/README.md"
    return Registered(name=f"minilm-{task}", task=task, head=head, scores=scores, source=source, adapter=task, labels=labels)


def _spans(name: str, task: str, hub: str, exact: float, f1: float, revision: str | None = None) -> Registered:
    scores = {"exact_match": exact, "f1": f1}
    return Registered(name=name, task=task, head="question-answering", scores=scores, source="model card", hub=hub, revision=revision)


def _classes(
    name: str, task: str, hub: str, scores: Mapping[str, float], revision: str | None = None, source: str = "model card"
) -> Registered:
    return Registered(name=name, task=task, head="sequence-classification", scores=scores, source=source, hub=hub, revision=revision)


_EMBEDDED = (
    _embedded("squad", {"exact_match": 66.2914, "f1": 77.2722}),
    _embedded("sst2", {"accuracy": 89.220}, ("negative", "positive")),
    _embedded("cola", {"matthews": 25.180, "accuracy": 69.703}, ("unacceptable", "acceptable")),
    _embedded("mrpc", {"accuracy": 80.147, "f1": 85.714}, ("not_equivalent", "equivalent")),
    _embedded("stsb", {"pearson": 85.715, "spearman": 85.411}, ("similarity",)),
)

_SQUAD = (
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
    _spans("bert-large-wwm-squad", "squad", "google-bert/bert-large-uncased-whole-word-masking-finetuned-squad", 86.91, 93.15),
    _spans("bert-base-squad", "squad", "csarron/bert-base-uncased-squad-v1", 80.9, 88.2),
    Registered(
        name="distilbert-squad",
        task="squad",
        head="question-answering",
        scores={"f1": 87.1},
        source="model card",
        hub="distilbert/distilbert-base-cased-distilled-squad",
        revision="564e9b582944a57a3e586bbb98fd6f0a4118db7f",
    ),
    _spans("electra-small-squad", "squad", "mrm8488/electra-small-finetuned-squadv1", 77.70, 85.74),
    _spans("bert-base-squad2", "squad2", "deepset/bert-base-uncased-squad2", 75.6529, 78.6191),
    _spans("roberta-base-squad2", "squad2", "deepset/roberta-base-squad2", 79.9309, 82.9501),
    _spans("electra-small-squad2", "squad2", "mrm8488/electra-small-finetuned-squadv2", 69.71, 73.44),
)

_MATCHED = "model card, accuracy verified on the matched dev set"
"""The card leads with another accuracy, 85.01, and does not say on which of the two dev sets."""

_NONE = "no published score found"

_GLUE = (
    _classes("bert-base-cola", "cola", "JeremiahZ/bert-base-uncased-cola", {"matthews": 58.80}),
    _classes("bert-base-sst2", "sst2", "JeremiahZ/bert-base-uncased-sst2", {"accuracy": 93.23}),
    _classes("bert-base-mrpc", "mrpc", "JeremiahZ/bert-base-uncased-mrpc", {"accuracy": 85.78, "f1": 90.24}),
    _classes(
        "bert-base-stsb",
        "stsb",
        "JeremiahZ/bert-base-uncased-stsb",
        {"pearson": 88.75, "spearman": 88.43},
        revision="30a75dde5a5b45e171ea74aaf8a096ef3361e0d0",
    ),
    _classes("bert-base-qqp", "qqp", "JeremiahZ/bert-base-uncased-qqp", {"accuracy": 91.00, "f1": 87.88}),
    _classes("bert-base-mnli", "mnli", "JeremiahZ/bert-base-uncased-mnli", {"accuracy": 84.68}, source=_MATCHED),
    _classes("bert-base-qnli", "qnli", "JeremiahZ/bert-base-uncased-qnli", {"accuracy": 91.25}),
    _classes("bert-base-rte", "rte", "JeremiahZ/bert-base-uncased-rte", {"accuracy": 68.95}),
    _classes("roberta-base-cola", "cola", "JeremiahZ/roberta-base-cola", {"matthews": 62.32}),
    _classes("roberta-base-sst2", "sst2", "JeremiahZ/roberta-base-sst2", {}, source=_NONE),
    _classes("roberta-base-mrpc", "mrpc", "JeremiahZ/roberta-base-mrpc", {"accuracy": 90.20, "f1": 92.96}),
    _classes(
        "roberta-base-stsb",
        "stsb",
        "JeremiahZ/roberta-base-stsb",
        {"pearson": 91.01, "spearman": 90.79},
        revision="57e5b5a594d1e28686f3690fffb6e687b0a61bea",
    ),
    _classes("roberta-base-qqp", "qqp", "JeremiahZ/roberta-base-qqp", {"accuracy": 91.53, "f1": 88.67}),
    _classes(
        "roberta-base-mnli",
        "mnli",
        "JeremiahZ/roberta-base-mnli",
        {"accuracy": 86.97},
        source="model card; its 9,832 rows are those of the mismatched dev set",
    ),
    _classes("roberta-base-qnli", "qnli", "JeremiahZ/roberta-base-qnli", {"accuracy": 92.46}),
    _classes("roberta-base-rte", "rte", "JeremiahZ/roberta-base-rte", {"accuracy": 79.78}),
    _classes(
        "distilbert-sst2",
        "sst2",
        "distilbert/distilbert-base-uncased-finetuned-sst-2-english",
        {"accuracy": 91.3},
        revision="714eb0fa89d2f80546fda750413ed43d93601a13",
    ),
    _classes(
        "electra-small-cola",
        "cola",
        "pszemraj/electra-small-discriminator-CoLA",
        {"matthews": 55.10},
        revision="cc8ecd0dc935d39a6f9efcb50d96091e1f28cd51",
    ),
    _classes("electra-small-sst2", "sst2", "Hazqeel/electra-small-finetuned-sst2", {"accuracy": 90.14}),
    _classes(
        "electra-small-mrpc", "mrpc", "VitaliiVrublevskyi/electra-small-discriminator-finetuned-mrpc", {"accuracy": 83.58, "f1": 88.47}
    ),
    _classes("electra-small-mnli", "mnli", "howey/electra-small-mnli", {}, source=_NONE),
    _classes("electra-small-qqp", "qqp", "howey/electra-small-qqp", {}, source=_NONE),
)

REGISTERED: Mapping[str, Registered] = {model.name: model for model in (*_EMBEDDED, *_SQUAD, *_GLUE)}
