"""The data sets of GLUE: official layouts with their oddities, broken files, labels of models, and the score over all tasks."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tiny_tokenizers

from harness import glue
from harness.core import TaskOptions
from harness.errors import DataError, ExitCode, MissingError, UsageError
from harness.plugins import load
from harness.registered_models import REGISTERED

NAMES = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "mnli-mm", "qnli", "rte", "wnli")

MNLI_16 = (
    "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse\tsentence1\t"
    "sentence2\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label\n"
)
NUMBERED = "index\tsentence1\tsentence2\tlabel\n"
FILES = {
    "cola": 'x\t1\t\t"Quoted\ny\t0\t*\tThe cat the.',
    "sst2": 'sentence\tlabel\nso "good \t1\ndull\t0\n',
    "mrpc": '\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\tIt rained.\t"Rain fell.\n0\t9\t10\tNo.\tYes.\n',
    "stsb": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
    "0\tg\tf\t2012\t0001\tnone\tnone\tA dog.\tOne dog.\t4.750\n1\tg\tf\t2012\t0002\tnone\tnone\tA cat.\tA tax.\t0.000\n",
    "qqp": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n5\t1\t2\tWho?\tWho is it?\t1\n9\t3\t4\tWhere?\tWhen?\t0\n",
    "mnli": MNLI_16
    + "0\t1\t1n\tfiction\t( b )\t( c )\t(R)\t(S)\tIt is late.\tIt is not early.\ta\tb\tc\td\te\tentailment\n"
    + "1\t2\t2c\tfiction\t( b )\t( c )\t(R)\t(S)\tIt is late.\tIt is early.\ta\tb\tc\td\te\tcontradiction\n",
    "mnli-mm": "index\tsentence1\tsentence2\tgold_label\n0\tIt snows.\tIt is cold.\tneutral\n1\tIt snows.\tNo snow.\tcontradiction\n",
    "qnli": "index\tquestion\tsentence\tlabel\n0\tWho won?\tAda won.\tentailment\n1\tWho won?\tIt rained.\tnot_entailment\n",
    "rte": NUMBERED + "0\tAda died in 1852.\tAda is dead.\tentailment\n1\tAda won.\tAda lost.\tnot_entailment\n",
    "wnli": NUMBERED + "0\tThe cup fell on the tray. It broke.\tThe tray broke.\t0\n1\tAda saw Bo. She waved.\tAda waved.\t1\n",
}
EXPECTED = {
    "cola": (('"Quoted', "The cat the."), (), (1, 0)),
    "sst2": (('so "good ', "dull"), (), (1, 0)),
    "mrpc": (("It rained.", "No."), ('"Rain fell.', "Yes."), (1, 0)),
    "stsb": (("A dog.", "A cat."), ("One dog.", "A tax."), (4.75, 0.0)),
    "qqp": (("Who?", "Where?"), ("Who is it?", "When?"), (1, 0)),
    "mnli": (("It is late.", "It is late."), ("It is not early.", "It is early."), (0, 2)),
    "mnli-mm": (("It snows.", "It snows."), ("It is cold.", "No snow."), (1, 2)),
    "qnli": (("Who won?", "Who won?"), ("Ada won.", "It rained."), (0, 1)),
    "rte": (("Ada died in 1852.", "Ada won."), ("Ada is dead.", "Ada lost."), (0, 1)),
    "wnli": (("The cup fell on the tray. It broke.", "Ada saw Bo. She waved."), ("The tray broke.", "Ada waved."), (0, 1)),
}
METRICS = {"cola": "matthews", "stsb": "pearson"}


def module(name: str) -> ModuleType:
    return load("tasks", name)


def options(folder: Path, data: Path | None, labels: tuple[str, ...] = ()) -> TaskOptions:
    if not (folder / "tokenizer.json").exists():
        tiny_tokenizers.wordpiece(folder)
    return TaskOptions(data, folder, None, labels)


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / module(name).DATASET.file
    path.write_text(text, encoding="utf-8")
    return path


# ---------------------------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("name", NAMES)
def test_official_layouts(tmp_path: Path, name: str, ending: str) -> None:
    """Each layout is read by its own columns; quotes are characters, the byte-order mark and the line ends of Windows are not."""
    path = tmp_path / "dev.tsv"
    path.write_bytes(FILES[name].replace("\n", ending).encode())
    read = glue.read(module(name).DATASET, path)
    assert (read.first, read.second, read.labels) == EXPECTED[name]
    assert read.ids == ("0", "1")
    assert read.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", NAMES)
def test_broken_rows(tmp_path: Path, name: str) -> None:
    """A row with a column too many, a label that is none and a file without rows are named with file and line, have a cure and exit
    code 3."""
    dataset = module(name).DATASET
    lines = FILES[name].splitlines()
    last = lines[-1]
    label = [*dataset.labels][int(EXPECTED[name][2][1])] if dataset.labels else "0.000"
    spoiled = {
        "columns": f"{last}\tmore",
        f"{dataset.label} '7' is not": "\t".join("7" if cell == label else cell for cell in last.split("\t")),
    }
    for says, row in spoiled.items():
        path = written(tmp_path, name, "\n".join([*lines[:-1], row]) + "\n")
        with pytest.raises(DataError) as caught:
            glue.read(dataset, path)
        assert f"{path}:{len(lines)}: " in str(caught.value)
        assert says in str(caught.value)
        assert caught.value.cure
        assert caught.value.exit_code == ExitCode.MISSING
    with pytest.raises(DataError, match="is empty" if dataset.columns else "has a header but no rows"):
        glue.read(dataset, written(tmp_path, name, "\n" if dataset.columns else lines[0] + "\n"))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("sst2", "sentence\nnice\n", "dev.tsv:1: no column 'label'; the header names 'sentence'"),
        ("sst2", "sentence\tlabel\nnice\t1\n\nbad\t0\n", "dev.tsv:3: 1 columns, the header has 2"),
        ("sst2", "sentence\tlabel\nnice\t1\n \t0\n", "dev.tsv:3: the sentence is empty"),
        ("sst2", "sentence\tlabel\nnice\t\n", "dev.tsv:2: label '' is not 0 or 1"),
        ("rte", NUMBERED + "0\tAda won.\t\tentailment\n", "dev.tsv:2: the sentence2 is empty"),
        ("rte", NUMBERED + "0\ta\tb\t1\n", "dev.tsv:2: label '1' is not entailment or not_entailment"),
        ("cola", "index\tsentence\n0\tBill whistled.\n", "dev.tsv:1: 2 columns, the layout of CoLA has 4"),
        ("cola", "source\tlabel\tstar\tsentence\n", "dev.tsv:1: label 'label' is not 0 or 1"),
        ("mrpc", "Quality\t#1 ID\n", "dev.tsv:1: no column '#1 String' and '#2 String'"),
        ("mnli", "index\tsentence1\tsentence2\tgold_label\n0\ta\tb\t-\n", "dev_matched.tsv:2: gold_label '-' is not entailment or neutral"),
        ("stsb", "sentence1\tsentence2\tscore\na\tb\t5.1\n", "dev.tsv:2: score '5.1' is not a number from 0 to 5"),
        ("stsb", "sentence1\tsentence2\tscore\na\tb\tnan\n", "dev.tsv:2: score 'nan' is not a number"),
        ("qqp", "question1\tquestion2\tis_duplicate\na\tb\t1\t2\n", "dev.tsv:2: 4 columns, the header has 3"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, text: str, says: str) -> None:
    """What is wrong is said with file and line, in the words of the layout."""
    with pytest.raises(DataError) as caught:
        glue.read(module(name).DATASET, written(tmp_path, name, text))
    assert says in str(caught.value)


def test_not_utf8(tmp_path: Path) -> None:
    """A byte that is not UTF-8 is named with its line."""
    path = tmp_path / "dev.tsv"
    path.write_bytes(b"sentence\tlabel\nnice\t1\ncaf\xe9\t0\n")
    with pytest.raises(DataError, match=r"dev\.tsv:3: byte 0xe9"):
        glue.read(module("sst2").DATASET, path)


def test_oddities_of_qqp(tmp_path: Path) -> None:
    """Of QQP alone, rows with too few columns are left out and an empty question is kept, and line numbers still count every line."""
    text = FILES["qqp"] + "11\t5\t6\tbroken\n12\t7\t8\tWhy?\t\t0\n"
    read = glue.read(module("qqp").DATASET, written(tmp_path, "qqp", text))
    assert (read.first, read.second, read.labels) == (("Who?", "Where?", "Why?"), ("Who is it?", "When?", ""), (1, 0, 0))
    with pytest.raises(DataError, match=r"dev\.tsv:6: is_duplicate '2'"):
        glue.read(module("qqp").DATASET, written(tmp_path, "qqp", text + "13\t1\t2\ta\tb\t2\n"))
    task = module("qqp").create(options(tmp_path, written(tmp_path, "qqp", text)))
    assert task.samples.token_type_ids[-1] == 1  # the [SEP] of the empty second question


# ------------------------------------------------------------------------------------------------------------------------ tasks


@pytest.mark.parametrize("name", NAMES)
def test_folders(tmp_path: Path, name: str) -> None:
    """The file is found in its own folder, from GLUE's, from the folder above, and by itself; it compares with nothing, and says why."""
    dataset = module(name).DATASET
    inner = tmp_path / "glue" / dataset.folder
    inner.mkdir(parents=True)
    written(inner, name, FILES[name])
    labels = module(name).KIND.classes
    for data in (tmp_path, tmp_path / "glue", inner, inner / dataset.file):
        task = module(name).create(options(tmp_path, data, labels))
        assert (task.name, task.metric, len(task.samples), task.comparable) == (name, METRICS.get(name, "accuracy"), 2, False)
        assert task.data_name == f"{dataset.file} with 2 rows ({dataset.title} has {dataset.rows:,})"
        assert task.latency_bound_ns == 100_000_000
        assert task.samples.max_length == 128
    (inner / "other.tsv").write_text(FILES[name])
    assert module(name).create(options(tmp_path, inner / "other.tsv", labels)).data_name == "other.tsv"
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingError, match=f"holds none of {dataset.file}, {dataset.folder}/{dataset.file}, glue/{dataset.folder}"):
        module(name).create(options(tmp_path, tmp_path / "empty", labels))


def test_official_by_checksum_alone(tmp_path: Path) -> None:
    """A file is called official and comparable by its checksum, not by its name or rows; with other bytes that is said."""
    path = written(tmp_path, "sst2", FILES["sst2"])
    dataset = replace(module("sst2").DATASET, rows=2)
    read = glue.read(dataset, path)
    assert glue.name_of(dataset, read) == "dev.tsv with the 2 rows of SST-2 dev, but not a checksum known here"
    assert not glue.is_official(dataset, read)
    official = replace(dataset, sha256=read.sha256, rows=3)
    assert glue.name_of(official, read) == "SST-2 dev"
    assert glue.is_official(official, read)
    assert not glue.is_official(replace(dataset, sha256=""), replace(read, sha256=""))


@pytest.mark.parametrize(
    ("name", "labels", "classes"),
    [
        ("cola", ("acceptable", "Unacceptable"), (1, 0)),
        ("sst2", ("POS", "neg"), (1, 0)),
        ("mrpc", ("equivalent", "not_equivalent"), (1, 0)),
        ("mrpc", ("not paraphrase", "paraphrase"), (0, 1)),
        ("qqp", ("duplicate", "not duplicate"), (1, 0)),
        ("mnli", ("CONTRADICTION", "NEUTRAL", "ENTAILMENT"), (2, 1, 0)),
        ("mnli-mm", ("contradiction", "entailment", "neutral"), (2, 0, 1)),
        ("qnli", ("not-entailment", "entailment"), (1, 0)),
        ("rte", (), (0, 1)),
        ("rte", ("LABEL_0", "LABEL_1"), (0, 1)),
        ("wnli", (), (0, 1)),
    ],
)
def test_labels_of_models(tmp_path: Path, name: str, labels: tuple[str, ...], classes: tuple[int, ...]) -> None:
    """Names that models on the hub have are understood in any order and case; without names GLUE's own order holds."""
    task = module(name).create(options(tmp_path, written(tmp_path, name, FILES[name]), labels))
    logits = np.eye(len(classes), dtype=np.float32)
    assert tuple(task.decide(0, {"logits": row}) for row in logits) == classes


@pytest.mark.parametrize("labels", [(), ("LABEL_0", "LABEL_1", "LABEL_2")])
@pytest.mark.parametrize("name", ["mnli", "mnli-mm"])
def test_order_of_mnli_is_never_guessed(tmp_path: Path, name: str, labels: tuple[str, ...]) -> None:
    """A model for MNLI without label names is refused: models do not agree on an order."""
    with pytest.raises(UsageError, match="do not say which is entailment, which is neutral and which is contradiction"):
        module(name).create(options(tmp_path, written(tmp_path, name, FILES[name]), labels))


def test_registered_models_are_understood() -> None:
    """Label names that the registry states for a model are understood by its task."""
    from harness.classification import class_order

    checked = 0
    for model in REGISTERED.values():
        if model.task in NAMES and model.labels:
            class_order(module(model.task).KIND, model.labels)
            checked += 1
    assert checked >= 2


# ------------------------------------------------------------------------------------------------------------------------ score


def test_scores_that_count(tmp_path: Path) -> None:
    """`glue` is the mean of a task's metrics: both of MRPC, Matthews alone for CoLA, both correlations of STS-B."""
    labels, decisions = [1, 0, 1, 1], [1, 1, 1, 0]
    mrpc = module("mrpc").KIND.scorer(labels, decisions)
    assert mrpc == pytest.approx({"accuracy": 50, "f1": 200 / 3, "glue": (50 + 200 / 3) / 2})
    cola = module("cola").KIND.scorer(labels, decisions)
    assert cola == pytest.approx({"matthews": -100 / 3, "accuracy": 50, "glue": -100 / 3})
    stsb = module("stsb").KIND.scorer([1, 2, 3], [1, 2, 9])
    assert set(stsb) == {"pearson", "spearman", "glue"}
    assert stsb["glue"] == pytest.approx((stsb["pearson"] + 100) / 2)
    assert module("rte").KIND.scorer(labels, decisions) == {"accuracy": 50, "glue": 50}


def test_glue_score() -> None:
    """The score is the mean over tasks, the two sets of MNLI counting as one; WNLI is in."""
    scores = {name: {"glue": 80.0} for name in NAMES} | {"mnli": {"glue": 60.0}, "mnli-mm": {"glue": 70.0}, "wnli": {"glue": 55.0}}
    assert glue.glue_score(scores) == (pytest.approx((7 * 80 + 65 + 55) / 9), ())


def test_glue_score_of_some_tasks() -> None:
    """The score is over the tasks that ran, and names the others in a fixed order; one half of MNLI stands for both."""
    scores = {"stsb": {"glue": 90.0, "pearson": 91.0}, "mnli": {"glue": 60.0}}
    assert glue.glue_score(scores) == (75.0, ("cola", "sst2", "mrpc", "qqp", "mnli-mm", "qnli", "rte", "wnli"))
    with pytest.raises(ValueError, match="no task of GLUE has a score"):
        glue.glue_score({})
    with pytest.raises(ValueError, match="squad: no task of GLUE"):
        glue.glue_score(scores | {"squad": {"f1": 77.0}})


def test_tasks_of_the_score_are_the_tasks() -> None:
    """Each task that counts has a file, which states metric, rows and a title of its own."""
    assert {name for parts in glue.COUNTED for name in parts} == set(NAMES)
    titles = {module(name).DATASET.title for name in NAMES}
    assert len(titles) == len(NAMES)
    rows = {name: module(name).DATASET.rows for name in NAMES}
    assert rows == {
        "cola": 1_043, "sst2": 872, "mrpc": 408, "stsb": 1_500, "qqp": 40_430, "mnli": 9_815, "mnli-mm": 9_832, "qnli": 5_463, "rte": 277,
        "wnli": 71,
    }  # fmt: skip
