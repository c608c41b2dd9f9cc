"""`assay score`: predictions made elsewhere against made-up data, and what is said about those that do not fit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import cli, plugins
from harness.classification import Examples, Kind
from harness.config import DATA_VARIABLE
from harness.errors import DataError, ExitCode
from harness.prediction_files import read_no_answer, read_texts
from harness.predictions import LabelScorer

Score = Callable[..., tuple[int, Any, str]]

CONTEXT = "The Rhine flows north through Cologne, past old bridges."


def squad(folder: Path, name: str, questions: Mapping[str, list[str]]) -> Path:
    qas = [
        {"id": key, "question": f"{key}?", "answers": [{"text": text, "answer_start": CONTEXT.index(text)} for text in texts]}
        for key, texts in questions.items()
    ]
    path = folder / name
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": CONTEXT, "qas": qas}]}]}))
    return path


@pytest.fixture
def score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Score:
    """Exit code, parsed output and stderr of `assay score` on files that are given as text."""
    monkeypatch.setitem(cli.VERBS, "score", "predictions made elsewhere, scored against the data")
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    squad(tmp_path, "dev-v1.1.json", {"a": ["Rhine"], "b": ["old bridges"]})
    squad(tmp_path, "dev-v2.0.json", {"a": ["Rhine"], "b": ["old bridges"], "c": []})

    def run(task: str, predictions: str, *flags: str, na: str | None = None) -> tuple[int, Any, str]:
        (tmp_path / "predictions").write_text(predictions)
        flags = ("--task", task, "--data", str(tmp_path), "--predictions", str(tmp_path / "predictions"), *flags)
        if na is not None:
            (tmp_path / "na.json").write_text(na)
            flags += ("--na-probs", str(tmp_path / "na.json"))
        code = cli.main(["score", *flags])
        said = capsys.readouterr()
        return code, json.loads(said.out, parse_constant=pytest.fail) if said.out else None, said.err

    return run


# ------------------------------------------------------------------------------------------------------------------------ SQuAD


def test_squad(score: Score) -> None:
    """Scores by the names of run.json, counts, and exit code 0."""
    code, out, err = score("squad", '{"b": "bridges", "a": "the rhine!"}')
    assert (code, err) == (0, "")
    assert out == {
        "task": "squad",
        "data": "dev-v1.1.json",
        "comparable": False,
        "metric": "f1",
        "scores": {"exact_match": 50.0, "f1": pytest.approx(250 / 3), "examples": 2.0},
        "counts": {"predictions": 2, "missing": 0, "unknown": 0},
        "missing": [],
        "unknown": [],
    }


def test_missing_and_unknown_questions(score: Score) -> None:
    """A question without a prediction is wrong, a prediction without a question is passed over; both are named and counted."""
    code, out, err = score("squad", '{"a": "Rhine", "x": "1", "y": "2"}')
    assert code == 0
    assert (out["scores"]["f1"], out["counts"]) == (50.0, {"predictions": 3, "missing": 1, "unknown": 2})
    assert (out["missing"], out["unknown"]) == (["b"], ["x", "y"])
    assert "1 id of dev-v1.1.json without a prediction: b\n" in err
    assert "predictions passed over, not in dev-v1.1.json: x, y\n" in err


def test_only_five_ids_are_named(score: Score) -> None:
    """Of many ids five are named and all are counted."""
    _, out, err = score("squad", json.dumps({"a": "", "b": "", **{f"x{number}": "" for number in range(9)}}))
    assert (out["counts"]["unknown"], out["unknown"]) == (9, ["x0", "x1", "x2", "x3", "x4"])
    assert "x0, x1, x2, x3, x4 ..." in err


@pytest.mark.parametrize(
    ("predictions", "says"),
    [
        ('{"a": "1", "b": "2", "a": "3"}', "1 id ('a') given more than once"),
        ('{"x": "1", "y": "2"}', "2 ids ('x', 'y'), none of them in dev-v1.1.json"),
        ("{}", "holds no prediction for dev-v1.1.json"),
        ('{"a": 7}', "the prediction of 'a' is 7.0, not a text"),
        ('{"a": null}', "the prediction of 'a' is null, not a text"),
        ('{"a": {"text": "x"}}', "the prediction of 'a' is an object, not a text"),
        ('{"a": ["x"]}', "the prediction of 'a' is an array, not a text"),
        ('["Rhine"]', "is an array, not an object"),
        ('"Rhine"', 'is "Rhine", not an object'),
        ('{"a": "x",\n "b" "y"}', "predictions:2:6: is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("", "the file is empty"),
        ("index\tprediction\n0\t1\n", "predictions:1:1: is not JSON"),
    ],
)
def test_files_that_are_refused(score: Score, predictions: str, says: str) -> None:
    """Repeated ids, other data, other types and other formats end with exit code 3 and name what is wrong."""
    code, out, err = score("squad", predictions)
    assert (code, out) == (ExitCode.MISSING, None)
    assert says in err
    assert "cure: " in err


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "a ", "\u00e9", ""]), st.text(max_size=3)), max_size=6))
def test_every_key_of_a_json_object_is_read(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]) -> None:
    """Keys that stand there twice come twice, in the order of the file."""
    path = tmp_path_factory.mktemp("pairs") / "p.json"
    path.write_text("{" + ", ".join(f"{json.dumps(key)}: {json.dumps(text)}" for key, text in pairs) + "}")
    assert read_texts(path) == pairs


def test_squad2_without_no_answer_scores(score: Score) -> None:
    """An empty text is the only right answer where there is none; without no-answer scores there is no best threshold."""
    code, out, _ = score("squad2", '{"a": "Rhine", "b": "", "c": ""}')
    assert code == 0
    assert out["scores"] == {
        "exact_match": pytest.approx(200 / 3),
        "f1": pytest.approx(200 / 3),
        "examples": 3.0,
        "exact_match_has_answer": 50.0,
        "f1_has_answer": 50.0,
        "examples_has_answer": 2.0,
        "exact_match_no_answer": 100.0,
        "f1_no_answer": 100.0,
        "examples_no_answer": 1.0,
    }


def test_squad2_with_no_answer_scores(score: Score) -> None:
    """Above the threshold, 1.0 as in the official script or as given, an answer is none; the best threshold stands beside."""
    predictions, na = '{"a": "Rhine", "b": "bridges", "c": "Cologne"}', '{"a": -1, "b": 0.5, "c": 0.75, "unknown": 3}'
    _, out, _ = score("squad2", predictions, na=na)
    assert out["scores"]["exact_match_no_answer"] == 0.0
    assert (out["scores"]["best_exact_match"], out["scores"]["best_exact_match_threshold"]) == (pytest.approx(200 / 3), -1.0)
    assert (out["scores"]["best_f1"], out["scores"]["best_f1_threshold"]) == (pytest.approx(800 / 9), 0.5)
    _, out, _ = score("squad2", predictions, "--na-threshold", "0.6", na=na)
    assert (out["scores"]["exact_match_no_answer"], out["scores"]["f1_has_answer"]) == (100.0, pytest.approx(250 / 3))


@pytest.mark.parametrize(
    ("na", "says"),
    [
        ('{"a": 1}', "2 ids ('b', 'c') without a no-answer score"),
        ('{"a": 1, "b": 1, "c": 1, "b": 2}', "1 id ('b') given more than once"),
        ('{"a": NaN, "b": 1, "c": 1}', "the no-answer score of 'a' is NaN"),
        ('{"a": 1e999, "b": 1, "c": 1}', "the no-answer score of 'a' is Infinity"),
        ('{"a": true, "b": 1, "c": 1}', "the no-answer score of 'a' is true"),
        ('{"a": "0.5", "b": 1, "c": 1}', "the no-answer score of 'a' is \"0.5\""),
    ],
)
def test_no_answer_scores_that_are_refused(score: Score, na: str, says: str) -> None:
    """Every prediction needs one finite number; what is not one is named, with exit code 3."""
    code, out, err = score("squad2", '{"a": "Rhine", "b": "", "c": ""}', na=na)
    assert (code, out) == (ExitCode.MISSING, None)
    assert f"na.json: {says}" in err


def test_long_numbers(tmp_path: Path) -> None:
    """A whole number of more digits than a float holds is no finite number, and no crash."""
    path = tmp_path / "na.json"
    path.write_text('{"a": ' + "9" * 5000 + "}")
    with pytest.raises(DataError, match="the no-answer score of 'a' is Infinity"):
        read_no_answer(path)


@pytest.mark.parametrize(
    ("task", "flags", "says"),
    [
        ("squad", ("--na-probs", "x.json"), "--na-probs: the questions of this task all have an answer"),
        ("squad", ("--na-threshold", "0"), "--na-threshold: the questions of this task all have an answer"),
        ("squad2", ("--na-threshold", "0"), "--na-threshold: there are no no-answer scores"),
        ("squad2", ("--na-threshold", "nan"), "--na-threshold: nan is no number"),
        ("squad2", ("--na-threshold", "x"), "--na-threshold: invalid float value"),
        ("squad3", (), "--task: there is no task squad3"),
    ],
)
def test_flags_that_do_not_go_together(score: Score, task: str, flags: tuple[str, ...], says: str) -> None:
    """Flags that this task has no use for end with exit code 2 and their name."""
    code, out, err = score(task, '{"a": "Rhine"}', *flags)
    assert (code, out) == (ExitCode.USAGE, None)
    assert says in err


def test_predictions_have_to_be_named(score: Score, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --predictions exit code 2, with a file that is not there 3."""
    assert cli.main(["score", "--task", "squad", "--data", str(tmp_path)]) == ExitCode.USAGE
    assert "--predictions is missing" in capsys.readouterr().err
    assert cli.main(["score", "--data", str(tmp_path), "--predictions", str(tmp_path / "nowhere")]) == ExitCode.MISSING
    assert "nowhere: cannot be read" in capsys.readouterr().err


def test_out_is_what_is_printed(score: Score, tmp_path: Path) -> None:
    """--out writes the same JSON; a file that cannot be written ends with exit code 3."""
    _, out, _ = score("squad", '{"a": "Rhine"}', "--out", str(tmp_path / "scores.json"))
    assert json.loads((tmp_path / "scores.json").read_text()) == out
    code, _, err = score("squad", '{"a": "Rhine"}', "--out", str(tmp_path / "no" / "scores.json"))
    assert code == ExitCode.MISSING
    assert "--out: " in err


def test_data_of_the_variable_and_the_built_in_set(
    score: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --data the folder of ASSAY_DATA is scored against, and without both the built-in set."""
    (tmp_path / "predictions").write_text('{"a": "Rhine"}')
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    assert cli.main(["score", "--predictions", str(tmp_path / "predictions")]) == 0
    assert json.loads(capsys.readouterr().out)["data"] == "dev-v1.1.json"
    monkeypatch.delenv(DATA_VARIABLE)
    assert cli.main(["score", "--predictions", str(tmp_path / "predictions")]) == ExitCode.MISSING
    assert "none of them in built-in sample set" in capsys.readouterr().err


def test_a_task_that_cannot_score(score: Score, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task file without a scorer is told what it lacks."""
    monkeypatch.setattr(plugins, "load", lambda kind, name: SimpleNamespace())
    code, _, err = score("squad", "{}")
    assert code == ExitCode.USAGE
    assert "squad cannot score predictions" in err


# ----------------------------------------------------------------------------------------------------------- classes and values


def hits(truths: Any, predictions: Any) -> dict[str, float]:
    return {"accuracy": 100.0 * sum(map(float.__eq__, map(float, truths), predictions)) / len(truths)}


CLASSES = Kind("pairs", ("entailment", "not_entailment"), "accuracy", hits, {"entail": "entailment"})
VALUES = Kind("values", (), "accuracy", hits)


def plugin(kind: Kind, labels: tuple[float, ...], comparable: bool = True) -> SimpleNamespace:
    texts = tuple(f"text {number}" for number in range(len(labels)))
    examples = Examples(Path("dev.tsv"), "0" * 64, texts, (), labels, tuple(map(str, range(len(labels)))))
    return SimpleNamespace(scorer=lambda data: LabelScorer(kind, examples, data_name="pairs dev", comparable=comparable))


@pytest.fixture
def classes(score: Score, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, Any, str]]:
    """`score` on four examples of the classes 0, 1, 1, 0."""
    monkeypatch.setattr(plugins, "load", lambda kind, name: plugin(CLASSES, (0.0, 1.0, 1.0, 0.0)))
    return lambda text, *flags: score("sst2", text, *flags)


@pytest.mark.parametrize(
    "spelled",
    [
        ("entailment", "not_entailment", "not_entailment", "not_entailment"),
        ("0", "1", "1", "1"),
        ("ENTAIL", "Not-Entailment", " not entailment ", "1"),
    ],
)
def test_labels_are_words_or_numbers(classes: Score, spelled: tuple[str, ...]) -> None:
    """A class is its name, another spelling of it, or its number; rows come in any order, columns are found by the header."""
    rows = [f"{label}\t{number}" for number, label in enumerate(spelled)]
    code, out, _ = classes("prediction\tindex\n" + "\n".join(reversed(rows)) + "\n")
    assert (code, out["scores"]) == (0, {"accuracy": 75.0, "examples": 4.0})
    assert (out["data"], out["comparable"], out["metric"]) == ("pairs dev", True, "accuracy")


def test_line_ends_of_windows(classes: Score) -> None:
    """Carriage returns and a byte-order mark are no part of the labels."""
    assert classes("\ufeffindex\tprediction\r\n0\t0\r\n1\t1\r\n2\t1\r\n3\t0\r\n")[1]["scores"]["accuracy"] == 100.0


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("0\t0\n1\t1\n2\t1\n", "1 id ('3') of pairs dev without a prediction"),
        ("0\t0\n1\t1\n2\t1\n3\t0\n1\t0\n", "1 id ('1') given more than once"),
        ("0\t0\n1\t1\n2\t1\n3\t0\n4\t0\n07\t0\n", "2 ids ('4', '07') not in pairs dev"),
        ("0\t0\n1\tmaybe\n2\t1\n3\t0\n", "predictions:3: prediction 'maybe' is no class of this task"),
        ("0\t0\n1\t2\n2\t1\n3\t0\n", "predictions:3: prediction '2' is no class of this task"),
        ("0\t0\n1\n2\t1\n3\t0\n", "predictions:3: 1 columns, the header has 2"),
        ("0\t0\n1\t\n2\t1\n3\t0\n", "predictions:3: prediction '' is no class"),
    ],
)
def test_rows_that_are_refused(classes: Score, rows: str, says: str) -> None:
    """A row that is missing, repeated, unknown or no class is named, with exit code 3."""
    code, out, err = classes("index\tprediction\n" + rows)
    assert (code, out) == (ExitCode.MISSING, None)
    assert says in err


def test_rows_without_a_header(classes: Score) -> None:
    """The header is not optional: without it the first prediction would be lost."""
    code, _, err = classes("0\t0\n1\t1\n2\t1\n3\t0\n")
    assert code == ExitCode.MISSING
    assert "predictions:1: the header does not name index and prediction" in err


def test_allow_missing(classes: Score) -> None:
    """With --allow-missing what there is is scored, counted, and compares with nothing; nothing at all is still an error."""
    code, out, err = classes("index\tprediction\n3\t0\n1\t0\n", "--allow-missing")
    assert (code, out["scores"], out["comparable"]) == (0, {"accuracy": 50.0, "examples": 2.0}, False)
    assert (out["counts"], out["missing"]) == ({"predictions": 2, "missing": 2, "unknown": 0}, ["0", "2"])
    assert "2 ids of pairs dev without a prediction: 0, 2\n" in err
    assert classes("index\tprediction\n", "--allow-missing")[0] == ExitCode.MISSING


def test_values(score: Score, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that predicts a value takes numbers, and refuses what is no finite one, with its line."""
    monkeypatch.setattr(plugins, "load", lambda kind, name: plugin(VALUES, (2.5, 4.0)))
    assert score("stsb", "index\tprediction\n0\t2.50\n1\t4e0\n")[1]["scores"]["accuracy"] == 100.0
    for text in ("nan", "inf", "four", ""):
        code, _, err = score("stsb", f"index\tprediction\n0\t2.5\n1\t{text}\n")
        assert code == ExitCode.MISSING
        assert f"predictions:3: prediction {text!r} is no finite number" in err


def test_numbers_of_classes_without_an_agreed_order(score: Score, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where collections number the classes differently a number is refused, a word is not."""
    kind = Kind("nli", ("entailment", "neutral", "contradiction"), "accuracy", hits, ordered=False)
    monkeypatch.setattr(plugins, "load", lambda _, name: plugin(kind, (2.0,)))
    assert score("mnli", "index\tprediction\n0\tcontradiction\n")[1]["scores"]["accuracy"] == 100.0
    code, _, err = score("mnli", "index\tprediction\n0\t2\n")
    assert code == ExitCode.MISSING
    assert "Classes are entailment, neutral, contradiction." in err
