"""The models known by name: where each is, and whose score it is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness import embedded, models, plugins
from harness.downloads import BASE_REPO
from harness.registered_models import REGISTERED, Registered
from tests.tiny_models import write_model

README = embedded.ADAPTERS / "README.md"
MODELS = list(REGISTERED.values())
METRICS = {"exact_match", "f1", "accuracy", "matthews", "pearson", "spearman"}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_each_model_comes_from_one_place(model: Registered) -> None:
    """A model is an adapter, on the hub or to be fetched by hand; its hub id is owner/name, its revision a whole commit."""
    assert [bool(model.adapter), bool(model.hub), bool(model.by_hand)].count(True) == 1
    assert not model.hub or re.fullmatch(r"[\w.-]+/[\w.-]+", model.hub)
    assert model.revision is None or re.fullmatch(r"[0-9a-f]{40}", model.revision)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_scores_are_points_with_a_source(model: Registered) -> None:
    """A score is a known metric in points; without a score the source says that none was found."""
    assert set(model.scores) <= METRICS
    assert all(20 < value < 100 for value in model.scores.values())
    assert bool(model.scores) == (model.source != "no published score found")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_each_model_is_for_a_task_there_is(model: Registered) -> None:
    """The task of a model exists and needs the model's head, and a score is one of its metrics."""
    info = plugins.find("tasks", model.task)
    assert info.head == model.head


def test_names_are_those_that_are_promised() -> None:
    """The families of names: bert-base and roberta-base for the tasks of GLUE with a training set, and SQuAD models of all sizes."""
    tasks = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte")
    assert {f"{family}-{task}" for family in ("bert-base", "roberta-base") for task in tasks} < set(REGISTERED)
    assert {f"minilm-{task}" for task in ("squad", "sst2", "cola", "mrpc", "stsb")} < set(REGISTERED)
    assert {"bert-large-squad", "bert-base-squad", "distilbert-squad", "electra-small-squad", "distilbert-sst2"} < set(REGISTERED)


def test_embedded_scores_are_those_of_the_readme() -> None:
    """The scores of each adapter stand in its row of models/adapters/README.md, and each row has its model."""
    rows = {cells[1].strip(): cells[6] for line in README.read_text(encoding="utf-8").splitlines() if len(cells := line.split("|")) > 6}
    adapters = {model.adapter: model for model in MODELS if model.adapter}
    assert set(adapters) == set(rows) - {"folder", "---"}
    for name, model in adapters.items():
        said = {float(number) for number in re.findall(r"\d+\.\d+", rows[name])}
        assert set(model.scores.values()) <= said


@pytest.mark.parametrize("model", [model for model in MODELS if model.adapter], ids=lambda model: model.name)
def test_adapters_are_what_the_readme_says(model: Registered) -> None:
    """Each adapter is LoRA of rank 16, alpha 32 on the base, in float16, with a head of one row for each label (spans: two)."""
    from safetensors.numpy import load_file

    folder = embedded.ADAPTERS / model.adapter
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (16, 32, BASE_REPO)
    weights = load_file(folder / "adapter_model.safetensors")
    assert {values.dtype.name for values in weights.values()} == {"float16"}
    head = "classifier" if model.labels else "qa_outputs"
    assert weights[f"base_model.model.{head}.weight"].shape == (len(model.labels) or 2, 384)


def test_a_model_of_values_is_merged_with_one_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter with one label gives a configuration for regression: one output with that name."""
    import numpy as np
    from safetensors.numpy import save_file

    base = write_model(tmp_path / "base", "BertModel", add_pooling_layer=True)
    adapter = tmp_path / "adapters" / "value"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 2}))
    head = {"weight": np.ones((1, 32), np.float16), "bias": np.zeros(1, np.float16)}
    weights = {f"base_model.model.classifier.{name}": values for name, values in head.items()}
    save_file(weights, adapter / "adapter_model.safetensors")
    monkeypatch.setattr(embedded, "ADAPTERS", tmp_path / "adapters")
    monkeypatch.setattr(embedded, "base_folder", lambda cache, offline, say: base)
    folder = embedded.merged_folder(
        "x", "value", "sequence-classification", ("similarity",), cache=tmp_path / "cache", offline=True, say=print
    )
    config = json.loads((folder / "config.json").read_text())
    assert (config["id2label"], config["problem_type"]) == ({"0": "similarity"}, "regression")
    from transformers import AutoModelForSequenceClassification

    opened = AutoModelForSequenceClassification.from_pretrained(str(folder))
    assert opened.config.num_labels == 1
    assert models.resolve(str(folder), "sequence-classification", cache=tmp_path / "cache").parameters > 0
