"""Whole runs on a user's own files: from the command line to the verdict."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import session
from harness.config import DATA_VARIABLE, load
from harness.core import Run
from harness.errors import DataError, ExitCode, MissingError, UsageError
from harness.own.settings import read_settings
from tests import tiny_models
from tests.unit import tiny_tokenizers

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "own-data.md"


def block(language: str) -> str:
    """The first block of the page in this language."""
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def measure(folder: Path, **settings: Any) -> Run:
    return session.run(load({"out": str(folder / "out"), "progress": "none", "duration": 0.3, "warmup": 0.2, **settings})).run


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """Chinese reviews with a YAML file, and a random model with Chinese characters and two named labels."""
    labels = {"id2label": {0: "差评", 1: "好评"}, "label2id": {"差评": 0, "好评": 1}}
    tiny_models.write_model(tmp_path / "model", "BertForSequenceClassification", **labels)
    tiny_tokenizers.chinese(tmp_path / "model")
    rows = "".join(f"这部电影很{'好看' if number % 2 else '差'},{'好' if number % 2 else '差'}\n" for number in range(8))
    (tmp_path / "reviews.csv").write_text("评论,标签\n" + rows, encoding="utf-8")
    (tmp_path / "电影.yaml").write_text(
        "data: reviews.csv\ncolumns: {text: 评论, label: 标签}\nlabels: {好: 好评, 差: 差评}\n", encoding="utf-8"
    )
    return tmp_path


@pytest.mark.model
@pytest.mark.slow
def test_the_five_lines_of_the_page_end_with_a_verdict(tmp_path: Path, default_model: Path) -> None:
    """They run as they stand, in an empty folder; only where results go and for how long is added."""
    lines = block("sh").splitlines()
    assert len(lines) == 5
    program = f"'{sys.executable}' '{ROOT / 'run_bench.py'}'"
    lines[-1] = lines[-1].replace("assay", program, 1) + " --duration 1 --warmup 1 --out out"
    done = subprocess.run(["sh", "-ec", "\n".join(lines)], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == ExitCode.OK, done.stderr
    stored = json.loads(next(tmp_path.glob("out/*/run.json")).read_text())
    assert stored["conditions"]["data"]["name"] == "pairs.csv (classification: sentence1 + sentence2 -> label)"
    assert stored["conditions"]["data"]["comparable"] is False
    assert stored["verdict"]["valid"] is True
    assert stored["accuracy"]["metric"] == "accuracy"
    assert stored["accuracy"]["samples"] == 3


def test_the_settings_of_the_page_are_settings(tmp_path: Path) -> None:
    """The YAML block of the page is read as it stands."""
    (tmp_path / "pairs.csv").write_text("sentence1,sentence2,label\na,b,yes\n")
    (tmp_path / "paraphrases.yaml").write_text(block("yml"), encoding="utf-8")
    settings = read_settings(tmp_path / "paraphrases.yaml", {})
    assert settings.labels == {"no": "not_equivalent", "yes": "equivalent"}
    assert (settings.name, settings.metric, settings.positive, settings.max_length) == ("paraphrases", "f1", "yes", 128)


def test_chinese_reviews_from_a_yaml_file(reviews: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A YAML file and a model in a folder are enough; $ASSAY_DATA is not for one's own data; the folder is called after the file."""
    monkeypatch.setenv(DATA_VARIABLE, str(reviews))
    run = measure(reviews, task=str(reviews / "电影.yaml"), model=str(reviews / "model"), metric="f1")
    assert run.accuracy is not None
    assert run.accuracy["metric"] == "f1"
    assert run.accuracy["samples"] == 8
    assert run.conditions["data"]["name"] == "reviews.csv (classification: 评论 -> 标签)"
    assert run.verdict["valid"], run.verdict["reasons"]


def test_flags_in_place_of_a_yaml_file(reviews: Path) -> None:
    """The same data by flags, with capitals and `_` in its name, asks the same number of samples."""
    data = (reviews / "reviews.csv").rename(reviews / "My_Reviews.CSV")
    flags = {"text_column": "评论", "label_column": "标签", "labels": "好=好评,差=差评"}
    run = measure(reviews, task=str(data), model=str(reviews / "model"), **flags)
    assert run.accuracy is not None
    assert run.accuracy["samples"] == 8
    assert "My_Reviews" in run.run_id


@pytest.mark.model
def test_questions_have_a_default_model(tmp_path: Path, default_model: Path) -> None:
    """Questions on contexts are asked of minilm-squad, which finds these answers."""
    rows = [
        {
            "question": "When does the library close?",
            "context": "The library opens at nine and closes at six.",
            "answers": ["six", "at six"],
        },
        {"question": "Who repairs the bicycles?", "context": "Behind the station Marta repairs bicycles.", "answers": "Marta"},
    ]
    path = tmp_path / "faq.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    run = measure(tmp_path, task=str(path), metric="exact_match")
    assert run.accuracy is not None
    assert run.model is not None
    assert (run.model["name"], run.accuracy["metric"], run.accuracy["value"]) == ("minilm-squad", "exact_match", 100.0)


def test_what_is_wrong_is_found_before_anything_is_measured(reviews: Path) -> None:
    """No model, a file that is not there, a wrong row, labels of another model, a flag that is for one's own data alone."""
    task, model = str(reviews / "电影.yaml"), str(reviews / "model")
    with pytest.raises(UsageError, match="no default model") as caught:
        measure(reviews, task=task)
    assert "assay finetune" in caught.value.cure
    with pytest.raises(MissingError, match=r"--task: gone\.csv is not there"):
        measure(reviews, task="gone.csv", model=model)
    with pytest.raises(UsageError, match=r"reviews\.csv:2: label '差' \(mapped to 'bad'\) is none of the model's labels: '差评', '好评'"):
        measure(reviews, task=task, model=model, labels="差=bad,好=好评")
    with pytest.raises(UsageError, match=r"--metric: only a file of your own"):
        measure(reviews, task="squad", metric="f1")
    (reviews / "reviews.csv").write_text("评论,标签\n好看,好,很\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"reviews\.csv:2: 3 columns, the header has 2"):
        measure(reviews, task=task, model=model)
    assert not list((reviews / "out").iterdir())


def test_the_command_line_says_what_is_wrong(reviews: Path) -> None:
    """Exit code 2, with the columns that there are and the flag that names one."""
    done = subprocess.run(
        [sys.executable, "run_bench.py", "--task", str(reviews / "reviews.csv"), "--model", str(reviews / "model")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    assert done.returncode == ExitCode.USAGE
    assert "its columns are not recognised" in done.stderr
    assert "'评论', '标签'" in done.stderr
    assert "--text-column" in done.stderr
