"""The embedded adapters score what their README says, and `finetune` makes a model that `run` measures."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness import models, plugins
from harness.core import TaskOptions
from harness.errors import MissingError
from harness.finetuning import score as finetune_score
from harness.registered_models import REGISTERED
from tests.tiny_models import WORDS, write_model

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.model
@pytest.mark.parametrize("name", ["minilm-cola", "minilm-mrpc", "minilm-stsb", "minilm-sst2"])
def test_merged_adapters_score_what_their_readme_says(official_data: Path, name: str) -> None:
    """On the official dev set the merged model's FP32 scores equal the registered ones, which are the README's, to 0.1 point."""
    from transformers import AutoModelForSequenceClassification

    registered = REGISTERED[name]
    try:
        model = models.resolve(name, registered.head, cache=models.default_cache())
    except MissingError as error:
        pytest.skip(f"the embedded default model cannot be had: {error}")
    options = TaskOptions(data=official_data, tokenizer=model.folder, cache=None, labels=models.labels(model))
    task = plugins.load("tasks", registered.task).create(options)
    module = AutoModelForSequenceClassification.from_pretrained(str(model.folder))
    inputs = ("input_ids", "attention_mask", "token_type_ids")
    found = finetune_score.score(task, module, inputs, "cpu", np.arange(len(task.samples)), lambda count: None)
    assert task.comparable
    for metric, value in registered.scores.items():
        assert found[metric] == pytest.approx(value, abs=0.1), metric


def program(*words: str) -> subprocess.CompletedProcess[str]:
    """The program as a user runs it, from a bare checkout."""
    return subprocess.run(
        [sys.executable, "run_bench.py", *words], cwd=ROOT, capture_output=True, text=True, timeout=300, env=dict(os.environ), check=False
    )


def own_files(folder: Path) -> None:
    """Sentences whose first word says what they are."""
    for name, shift in (("train.csv", 0), ("dev.csv", 3)):
        rows = [f"w{number % 2} {WORDS[5 + (number + shift) % 90]},{'yes' if number % 2 else 'no'}" for number in range(40)]
        (folder / name).write_text("\n".join(["text,label", *rows, ""]))


@pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="peft is not installed (extra finetune)")
def test_from_a_file_of_ones_own_to_a_verdict(tmp_path: Path) -> None:
    """`finetune` on a training file gives a folder that `run --model` measures on the dev file, with the score that `finetune` told."""
    own_files(tmp_path)
    base = write_model(tmp_path / "base", "BertModel", add_pooling_layer=True)
    data, dev, out = str(tmp_path / "train.csv"), str(tmp_path / "dev.csv"), str(tmp_path / "model")
    recipe = ["--epochs", "12", "--rate", "1e-2", "--batch", "8", "--rank", "4", "--threads", "1"]
    made = program("finetune", "--task", dev, "--data", data, "--base", str(base), "--out", out, *recipe)
    assert made.returncode == 0, made.stderr
    record = json.loads((tmp_path / "model" / "finetune.json").read_text())
    assert record["after"]["accuracy"] == 100.0  # the first word alone decides
    assert "accuracy" in made.stdout
    run = program("--task", dev, "--model", out, "--duration", "0.5", "--out", str(tmp_path / "runs"), "--progress", "none")
    assert run.returncode == 0, run.stderr
    stored = json.loads(next((tmp_path / "runs").glob("*/run.json")).read_text())
    assert stored["accuracy"]["value"] == record["after"]["accuracy"]


def test_help_lists_every_flag() -> None:
    """The flags of `finetune` stand in its help."""
    shown = program("finetune", "--help")
    assert shown.returncode == 0, shown.stderr
    for flag in (
        "--task",
        "--data",
        "--base",
        "--out",
        "--epochs",
        "--rate",
        "--batch",
        "--rank",
        "--alpha",
        "--max-length",
        "--seed",
        "--full",
        "--max-steps",
    ):
        assert flag in shown.stdout
