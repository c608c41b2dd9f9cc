"""Fine-tuning: order and rate, losses, checkpoints, spans as targets, and models of two layers trained for a few steps."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import models
from harness.commands import finetune as command_finetune
from harness.core import Samples
from harness.datafiles import read_squad
from harness.errors import AssayError, DataError, ExitCode, Interrupted, MissingError, RunError, UsageError
from harness.finetuning import data as finetune_data
from harness.finetuning import loop as finetune_loop
from harness.finetuning import model as finetune_model
from harness.finetuning import score as finetune_score
from harness.finetuning import spans as finetune_spans
from harness.finetuning import training as finetune
from harness.finetuning.checkpoint import Checkpoint
from harness.finetuning.loop import Recipe, Trainer, TrainingSet, batches, loss_of, rate_at
from harness.flags import Parser
from harness.progress import Silent
from harness.squad.windows import build
from harness.tokenization import load_vocabulary
from tests.tiny_models import WORDS, write_model

torch = pytest.importorskip("torch")


def has_peft() -> bool:
    from importlib.util import find_spec

    return find_spec("peft") is not None


with_peft = pytest.mark.skipif(not has_peft(), reason="peft is not installed (extra finetune)")

# ---------------------------------------------------------------------------------------------------------------- order and rate


@given(st.lists(st.integers(1, 60), min_size=1, max_size=300), st.integers(1, 9), st.integers(0, 3), st.integers(0, 3))
def test_an_epoch_holds_each_example_once(lengths: list[int], size: int, seed: int, epoch: int) -> None:
    """Every example is in one batch of an epoch, no batch is larger than asked, and there are as many as the plan counts on."""
    made = batches(np.array(lengths), size, seed, epoch)
    assert sorted(np.concatenate(made).tolist()) == list(range(len(lengths)))
    assert max(map(len, made)) <= size
    assert len(made) == Recipe(epochs=1, rate=1e-3, batch=size).steps(len(lengths))


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    """The same seed and epoch give the same batches, another of either gives others."""
    lengths = np.arange(1, 101)

    def order(seed: int, epoch: int) -> list[list[int]]:
        return [batch.tolist() for batch in batches(lengths, 8, seed, epoch)]

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)


def test_a_batch_is_of_similar_length() -> None:
    """With 320 examples of 1 to 320 tokens and batches of 10, each batch spans 9 tokens: all are sorted together."""
    assert {int(np.ptp(batch)) for batch in batches(np.arange(320), 10, 0, 0)} == {9}


@given(st.integers(1, 2000), st.floats(1e-6, 1e-1))
def test_the_rate_rises_to_its_peak_and_falls_to_nothing(steps: int, peak: float) -> None:
    """The rate is positive, reaches its peak and no more, never falls before the peak and never rises behind it, and would be 0 next."""
    rates = [rate_at(step, steps, peak) for step in range(steps)]
    top = rates.index(max(rates))
    assert min(rates) > 0
    assert max(rates) == pytest.approx(peak)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top + 1 :] == sorted(rates[top + 1 :], reverse=True)
    assert steps == 1 or rate_at(steps, steps, peak) == 0


def test_the_rate_by_hand() -> None:
    """Of 100 steps the first 6 rise by a sixth of the peak each, and the others fall by a 94th."""
    assert [rate_at(step, 100, 6.0) for step in (0, 1, 5, 6)] == pytest.approx([1, 2, 6, 6])
    assert rate_at(53, 100, 1.0) == pytest.approx(0.5)


def test_fewer_steps_follow_the_plan_of_all() -> None:
    """--max-steps makes fewer steps, and the rate of each is that of the whole plan."""
    recipe = Recipe(epochs=2, rate=1e-3, batch=4, max_steps=3)
    assert (recipe.steps(10), recipe.last(10)) == (6, 3)


# -------------------------------------------------------------------------------------------------------------------------- loss


def test_losses_by_hand() -> None:
    """Cross-entropy of even logits is log of the number of classes, of even spans log of the length; of values the squared error counts."""
    even = torch.zeros(2, 4)
    assert float(loss_of({"logits": even}, torch.tensor([0, 3]))) == pytest.approx(math.log(4))
    assert float(loss_of({"start_logits": even, "end_logits": even}, torch.tensor([[0, 1], [2, 3]]))) == pytest.approx(math.log(4))
    assert float(loss_of({"logits": torch.tensor([[1.0], [4.0]])}, torch.tensor([3.0, 4.0]))) == pytest.approx(2.0)


def test_spans_are_judged_at_both_ends() -> None:
    """A right start and a wrong end cost half of what both wrong cost."""
    sure = torch.tensor([[50.0, 0.0, 0.0]])
    right = float(loss_of({"start_logits": sure, "end_logits": sure}, torch.tensor([[0, 0]])))
    half = float(loss_of({"start_logits": sure, "end_logits": sure}, torch.tensor([[0, 2]])))
    assert right == pytest.approx(0.0)
    assert half == pytest.approx(25.0)


# -------------------------------------------------------------------------------------------------------------------- checkpoint


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    """What was saved is loaded, bit for bit, with the number of steps; a later one takes its place."""
    checkpoint = Checkpoint(tmp_path / "c.safetensors", "key")
    assert checkpoint.load() is None
    checkpoint.save(3, {"w": np.array([1.5], np.float32)})
    checkpoint.save(4, {"w": np.array([0.1, np.nan], np.float32)})
    step, tensors = checkpoint.load() or (0, {})
    assert step == 4
    assert tensors["w"].tobytes() == np.array([0.1, np.nan], np.float32).tobytes()
    assert [path.name for path in tmp_path.iterdir()] == ["c.safetensors"]


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    """A checkpoint made with other settings ends with a UsageError that says what to change, and stays."""
    Checkpoint(tmp_path / "c.safetensors", "one").save(1, {"w": np.zeros(1)})
    with pytest.raises(UsageError, match="another base, other data or another recipe"):
        Checkpoint(tmp_path / "c.safetensors", "two").load()
    assert (tmp_path / "c.safetensors").exists()


@pytest.mark.parametrize("where", [0, 5, 60, -1, None])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, where: int | None) -> None:
    """A checkpoint with a changed byte, or cut off, ends with a DataError that names it."""
    checkpoint = Checkpoint(tmp_path / "c.safetensors", "key")
    checkpoint.save(1, {"w": np.arange(40.0)})
    content = bytearray(checkpoint.path.read_bytes())
    if where is None:
        del content[-8:]
    else:
        content[where] ^= 1
    checkpoint.path.write_bytes(content)
    with pytest.raises((DataError, UsageError), match=r"c\.safetensors"):
        checkpoint.load()


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a checkpoint cannot be written the one before it remains, no half of a file is left, and the error names the file."""
    checkpoint = Checkpoint(tmp_path / "c.safetensors", "key")
    checkpoint.save(1, {"w": np.zeros(1)})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harness.store.os.fsync", full)
    with pytest.raises(MissingError, match="no space left"):
        checkpoint.save(2, {"w": np.ones(1)})
    assert (checkpoint.load() or (0, {}))[0] == 1
    assert len(list(tmp_path.iterdir())) == 1


# ------------------------------------------------------------------------------------------------------------------------- spans


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random encoder of two layers, without a head."""
    return write_model(tmp_path_factory.mktemp("base") / "encoder", "BertModel", add_pooling_layer=True)


def squad_file(path: Path, context: str, answer: str, start: int, *more: dict[str, Any]) -> Path:
    first = {"id": "a", "question": "w1 w2", "answers": [{"text": answer, "answer_start": start}]}
    path.write_text(json.dumps({"data": [{"title": "", "paragraphs": [{"context": context, "qas": [first, *more]}]}]}))
    return path


def spans_of(path: Path, encoder: Path, max_length: int = 40) -> tuple[list[list[str]], int]:
    """The pieces that the targets of each window stand for, and how many windows are kept."""
    data, vocabulary = read_squad(path, unanswerable=True), load_vocabulary(encoder)
    arrays = build(data, vocabulary, max_length)
    targets, kept = finetune_spans.targets(data, finetune_spans.squad_starts(path), arrays, vocabulary)
    rows = np.split(arrays["input_ids"], arrays["offsets"][1:-1])
    return [vocabulary.pieces(row[first : last + 1]) for row, (first, last) in zip(rows, targets.tolist(), strict=True)], len(kept)


def test_targets_stand_for_the_answer(tmp_path: Path, encoder: Path) -> None:
    """The tokens from first to last target are those of the answer that stands at `answer_start`, not of an earlier one like it."""
    path = squad_file(tmp_path / "s.json", "w5 w6 w7 w5 w6 w8", "w5 w6", 9)
    data, vocabulary = read_squad(path), load_vocabulary(encoder)
    arrays = build(data, vocabulary, 40)
    targets, _ = finetune_spans.targets(data, finetune_spans.squad_starts(path), arrays, vocabulary)
    assert targets.tolist() == [[7, 8]]  # [CLS] w1 w2 [SEP] w5 w6 w7 w5 w6 w8 [SEP]
    assert spans_of(path, encoder) == ([["w5", "w6"]], 1)


def test_targets_leave_punctuation_of_a_word_out(tmp_path: Path, encoder: Path) -> None:
    """Of the word "(w5)," only the answer's own token is the target."""
    assert spans_of(squad_file(tmp_path / "s.json", "w9 (w5), w7", "w5", 4), encoder)[0] == [["w5"]]


def test_windows_without_the_answer_point_at_cls(tmp_path: Path, encoder: Path) -> None:
    """Of a context in several windows those that do not hold all of the answer have [CLS] as their target."""
    context = " ".join(f"w{number}" for number in range(10, 50))
    found, kept = spans_of(squad_file(tmp_path / "s.json", context, "w40 w41", context.index("w40")), encoder, max_length=25)
    assert found == [["[CLS]"], ["w40", "w41"]]
    assert kept == 2
    over_both = squad_file(tmp_path / "t.json", context, "w29 w30", context.index("w29"))
    assert spans_of(over_both, encoder, max_length=25)[0] == [["[CLS]"], ["[CLS]"]]


def test_unanswerable_questions_point_at_cls(tmp_path: Path, encoder: Path) -> None:
    """A question of SQuAD 2.0 without an answer is trained on, with [CLS] as its target."""
    path = squad_file(tmp_path / "s.json", "w5 w6", "w6", 3, {"id": "b", "question": "w3", "answers": [], "is_impossible": True})
    assert spans_of(path, encoder) == ([["w6"], ["[CLS]"]], 2)


def test_misplaced_answers_are_left_out(tmp_path: Path, encoder: Path) -> None:
    """A question whose answer does not stand at `answer_start` is not trained on, and is counted."""
    path = squad_file(
        tmp_path / "train-v1.1.json", "w5 w6", "w6", 0, {"id": "b", "question": "w3", "answers": [{"text": "w5", "answer_start": 0}]}
    )
    prepared = finetune_data.prepare(finetune_data.find("squad", path, {}), encoder, 40)
    assert (len(prepared.data.samples), prepared.left_out) == (1, 1)
    assert prepared.data.targets.tolist() == [[3, 3]]
    assert "1 questions are left out" in list(finetune_data.lines(prepared))[1]


# -------------------------------------------------------------------------------------------------------------------------- data


def sst2(folder: Path, train: int = 24, dev: int = 10) -> Path:
    """SST-2 of words: a sentence with an even first word is positive."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in (("train.tsv", train), ("dev.tsv", dev)):
        rows = [
            f"{' '.join(WORDS[5 + (number * 7 + place) % 100] for place in range(1 + number % 5))}\t{number % 2}" for number in range(count)
        ]
        (folder / name).write_text("\n".join(["sentence\tlabel", *rows, ""]))
    return folder


def test_training_and_dev_file_are_found(tmp_path: Path) -> None:
    """A folder of the task, of GLUE or above it holds train.tsv and dev.tsv; a file is trained on, and the dev file lies beside it."""
    folder = sst2(tmp_path / "glue" / "SST-2")
    for data in (folder, tmp_path / "glue", tmp_path, folder / "train.tsv"):
        source = finetune_data.find("sst2", data, {})
        assert (source.train, source.dev) == (folder / "train.tsv", folder / "dev.tsv")


def test_official_names_of_training_files(tmp_path: Path) -> None:
    """MNLI's dev_matched.tsv stands beside train.tsv, SQuAD's dev-v1.1.json beside train-v1.1.json or its part."""
    for task, name in (("mnli", "MNLI/train.tsv"), ("squad", "squad/train-v1.1.partial.json"), ("squad2", "train-v2.0.json")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
        assert finetune_data.find(task, tmp_path, {}).train == tmp_path / name


def test_no_training_file(tmp_path: Path) -> None:
    """A folder without the training file ends with a MissingError that lists where it was looked for."""
    with pytest.raises(MissingError, match=r"holds none of train\.tsv, CoLA/train\.tsv, glue/CoLA/train\.tsv"):
        finetune_data.find("cola", tmp_path, {})


@pytest.mark.parametrize(
    ("rows", "where"),
    [
        ("sentence\tlabel\nw1\t0\nw2\t7\n", r"train\.tsv:3: label '7'"),
        ("sentence\tlabel\nw1\t0\nw2\n", r"train\.tsv:3: 1 columns"),
        ("sentence\tlabel\nw1\t0\n \t1\n", r"train\.tsv:3: the sentence is empty"),
        ("text\tlabel\nw1\t0\n", r"train\.tsv:1: no column 'sentence'"),
        ("index\tsentence\n0\tw1\n", r"train\.tsv:1: no column 'label'"),
        ("sentence\tlabel\n", r"train\.tsv: has a header but no rows"),
        ("", r"train\.tsv: the file is empty"),
        ("sentence\tlabel\nw1\t0\nw2\t0\n", r"train\.tsv: no row has the label 'positive'"),
    ],
)
def test_wrong_training_files_are_named(tmp_path: Path, encoder: Path, rows: str, where: str) -> None:
    """A label that is none, a wrong column, an empty file and a class without examples are errors with file and line."""
    (tmp_path / "train.tsv").write_text(rows)
    with pytest.raises(DataError, match=where):
        finetune_data.prepare(finetune_data.find("sst2", tmp_path, {}), encoder, None)


def test_classes_of_a_task_are_the_outputs_in_order(tmp_path: Path, encoder: Path) -> None:
    """Output 1 of a model for SST-2 is called positive and its examples are those with label 1."""
    prepared = finetune_data.prepare(finetune_data.find("sst2", sst2(tmp_path), {}), encoder, None)
    assert prepared.labels == ("negative", "positive")
    assert prepared.data.targets.tolist() == [number % 2 for number in range(24)]
    assert prepared.data.targets.dtype == np.int64


def test_values_have_one_output(tmp_path: Path, encoder: Path) -> None:
    """STS-B gives float32 targets and a model with one output."""
    header = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"
    (tmp_path / "train.tsv").write_text(f"{header}\n0\ta\tb\tc\td\te\tf\tw1\tw2\t2.5\n1\ta\tb\tc\td\te\tf\tw3\tw4\t5.0\n")
    prepared = finetune_data.prepare(finetune_data.find("stsb", tmp_path, {}), encoder, None)
    assert prepared.labels == (finetune_data.VALUE,)
    assert (prepared.data.targets.tolist(), prepared.data.targets.dtype) == ([2.5, 5.0], np.float32)


def own_files(folder: Path) -> tuple[Path, Path]:
    rows = ["text,label", *(f"w{number} w{number + 1},{'yes' if number % 2 else 'no'}" for number in range(16))]
    for name in ("train.csv", "dev.csv"):
        (folder / name).write_text("\n".join([*rows, ""]))
    return folder / "train.csv", folder / "dev.csv"


def test_own_labels_become_the_outputs(tmp_path: Path, encoder: Path) -> None:
    """The labels of one's own file, sorted, name the outputs; --task is the dev file, --data the training file."""
    train, dev = own_files(tmp_path)
    source = finetune_data.find(str(dev), train, {})
    prepared = finetune_data.prepare(source, encoder, None)
    assert prepared.labels == ("no", "yes")
    assert prepared.data.targets.tolist()[:3] == [0, 1, 0]
    task = finetune_data.dev_task(source, encoder, prepared.labels, 32)
    assert task is not None
    assert len(task.samples) == 16


def test_own_yaml_says_how_to_read_both_files(tmp_path: Path, encoder: Path) -> None:
    """A YAML file names the dev file, its columns and labels; the training file is read the same way."""
    for name in ("train.csv", "dev.csv"):
        (tmp_path / name).write_text("said,verdict\nw1 w2,j\nw3,n\n")
    (tmp_path / "my.yaml").write_text("data: dev.csv\ncolumns:\n  text: said\n  label: verdict\nlabels:\n  j: yes\n  n: no\n")
    source = finetune_data.find(str(tmp_path / "my.yaml"), tmp_path / "train.csv", {})
    prepared = finetune_data.prepare(source, encoder, None)
    assert prepared.labels == ("no", "yes")
    assert prepared.data.targets.tolist() == [1, 0]
    assert finetune_data.dev_task(source, encoder, prepared.labels, 32) is not None


def test_own_questions_are_found_in_their_contexts(tmp_path: Path, encoder: Path) -> None:
    """One's own questions on contexts become spans: the answer where it stands first."""
    rows = [{"question": "w1", "context": "w5 w6 w7", "answer": "w6 w7"}, {"question": "w2", "context": "w8 w9", "answer": "w9"}]
    for name in ("train.jsonl", "dev.jsonl"):
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)))
    prepared = finetune_data.prepare(finetune_data.find(str(tmp_path / "dev.jsonl"), tmp_path / "train.jsonl", {}), encoder, 40)
    assert prepared.data.targets.tolist() == [[4, 5], [4, 4]]


def test_own_file_with_one_class(tmp_path: Path, encoder: Path) -> None:
    """A training file in which all rows have one label is an error that names it."""
    for name in ("train.csv", "dev.csv"):
        (tmp_path / name).write_text("text,label\nw1,yes\nw2,yes\n")
    with pytest.raises(DataError, match=r"train\.csv: every row has the label 'yes'"):
        finetune_data.prepare(finetune_data.find(str(tmp_path / "dev.csv"), tmp_path / "train.csv", {}), encoder, None)


# ---------------------------------------------------------------------------------------------------------------------- training


def request(folder: Path, encoder: Path, **changed: Any) -> finetune.Request:
    """Six steps on the small SST-2."""
    recipe = {"epochs": 2, "rate": 1e-2, "batch": 8} | {
        name: changed.pop(name) for name in ("epochs", "rate", "max_steps") if name in changed
    }
    options: dict[str, Any] = {"task": "sst2", "data": sst2(folder / "data"), "out": folder / "out", "base": str(encoder)}
    return finetune.Request(
        **options | {"recipe": Recipe(**recipe), "rank": 4, "checkpoint_every": 2, "command": "assay finetune"} | changed
    )


def run(asked: finetune.Request, tmp_path: Path) -> finetune.Finished:
    return finetune.finetune(asked, cache=tmp_path / "cache", offline=True, screen=Silent())


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> dict[str, bytes]:
    """Files of a training without an interruption, with LoRA."""
    if not has_peft():
        pytest.skip("peft is not installed (extra finetune)")
    folder = tmp_path_factory.mktemp("whole")
    run(request(folder, encoder), folder)
    return content(folder / "out")


def test_the_folder_is_a_model(tmp_path: Path, finished: dict[str, bytes]) -> None:
    """What was written opens as a model with the task's labels, has an adapter and a card, and no checkpoint."""
    for name, data in finished.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    model = models.resolve(str(tmp_path), "sequence-classification", cache=tmp_path / "cache")
    assert models.labels(model) == ["negative", "positive"]
    assert {"adapter/adapter_config.json", "adapter/adapter_model.safetensors", "README.md", "finetune.json"} < set(finished)
    assert "checkpoint.safetensors" not in finished
    adapter = json.loads(finished["adapter/adapter_config.json"])
    assert adapter["target_modules"] == [
        "attention.output.dense",
        "attention.self.key",
        "attention.self.query",
        "attention.self.value",
        "intermediate.dense",
        "output.dense",
        "pooler.dense",
    ]
    assert (adapter["modules_to_save"], adapter["r"], adapter["lora_alpha"], adapter["base_model_name_or_path"]) == (
        ["classifier"],
        4,
        32,
        "encoder",
    )


def test_the_card_has_recipe_data_and_scores(finished: dict[str, bytes]) -> None:
    """The model card says what was trained on what, and its scores are those of the record."""
    card, record = finished["README.md"].decode(), json.loads(finished["finetune.json"])
    for part in (
        "LoRA of rank 4, alpha 32",
        "train.tsv: 24 samples",
        "| epochs, batch | 2, 8 |",
        "| steps | 6 |",
        "peak 0.01",
        "## Licence",
        "assay finetune",
    ):
        assert part in card
    assert f"| accuracy | {record['before']['accuracy']:.3f} | {record['after']['accuracy']:.3f} |" in card
    assert str(Path.home()) not in card
    assert (record["steps"], record["after"]["examples"]) == (6, 10)


@with_peft
@pytest.mark.parametrize(("stop", "error"), [*((stop, KeyboardInterrupt) for stop in range(6)), (3, ZeroDivisionError)])
def test_the_end_state_does_not_depend_on_interruptions(
    tmp_path: Path, encoder: Path, finished: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, stop: int, error: type[BaseException]
) -> None:
    """Stopped before any step and run again, every file of the model is the same, byte for byte, as without the stop."""
    whole = Trainer._one_step

    def broken(self: Trainer) -> float:
        if self.step == stop:
            raise error
        return whole(self)

    asked = request(tmp_path, encoder)
    monkeypatch.setattr(Trainer, "_one_step", broken)
    with pytest.raises((Interrupted, ZeroDivisionError)):
        run(asked, tmp_path)
    assert (asked.out / finetune.CHECKPOINT).exists() == (stop >= 2)
    monkeypatch.setattr(Trainer, "_one_step", whole)
    run(asked, tmp_path)
    assert content(asked.out) == finished


@with_peft
@pytest.mark.parametrize("name", ["write_model", "_scored", "write_whole"])
def test_an_interruption_behind_the_last_step_costs_no_step(
    tmp_path: Path, encoder: Path, finished: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Stopped while the model is written, scored or described, the next run trains no step again and ends with the same files."""
    asked = request(tmp_path, encoder)

    def broken(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(finetune, name, broken)
        with pytest.raises(Interrupted, match="last checkpoint is kept"):
            run(asked, tmp_path)
    monkeypatch.setattr(Trainer, "_one_step", broken)
    run(asked, tmp_path)
    assert content(asked.out) == finished


@with_peft
def test_a_finished_training_is_not_done_again(tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same request once more changes no file and trains nothing; a different one is refused; a damaged model is refused."""
    asked = request(tmp_path, encoder, max_steps=1)
    assert not run(asked, tmp_path).before_this
    files = content(asked.out)
    monkeypatch.setattr(finetune, "build", None)
    assert run(asked, tmp_path).before_this
    assert content(asked.out) == files
    with pytest.raises(UsageError, match="a model of another base"):
        run(request(tmp_path, encoder, max_steps=1, rate=1e-3), tmp_path)
    (asked.out / "model.safetensors").write_bytes(files["model.safetensors"][:-1])
    with pytest.raises(DataError, match=r"model\.safetensors: is not what finetune\.json says"):
        run(asked, tmp_path)


@with_peft
def test_the_adapter_is_the_difference(tmp_path: Path, encoder: Path, finished: dict[str, bytes]) -> None:
    """Base and adapter merged by harness/lora.py give the weights of the model folder, and some differ from the base."""
    from safetensors.numpy import load, load_file

    from harness.lora import merge, read_adapter

    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).write_bytes(finished[f"adapter/{name}"])
    base = {f"bert.{name}": values for name, values in load_file(encoder / "model.safetensors").items()}
    merged, model = merge(base, *read_adapter(tmp_path)), load(finished["model.safetensors"])
    assert set(merged) == set(model)
    assert all(np.array_equal(merged[name], model[name]) for name in model)
    query = "bert.encoder.layer.0.attention.self.query.weight"
    assert not np.array_equal(model[query], base[query])
    assert np.array_equal(model["bert.embeddings.word_embeddings.weight"], base["bert.embeddings.word_embeddings.weight"])


def test_all_weights_can_be_trained_without_peft(tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--full trains embeddings too, writes no adapter, needs no peft, and resumes to the same bytes."""
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    whole = request(tmp_path, encoder, rank=0, epochs=1)
    run(whole, tmp_path)
    files = content(whole.out)
    assert not any(name.startswith("adapter") for name in files)
    assert json.loads(files["finetune.json"])["trained_weights"] == json.loads(files["finetune.json"])["all_weights"]
    again = request(tmp_path, encoder, rank=0, epochs=1, out=tmp_path / "again")
    with monkeypatch.context() as patch:
        patch.setattr(finetune, "write_model", None)
        patch.setattr(finetune_loop, "rate_at", lambda step, steps, peak: 1 / 0 if step == 2 else rate_at(step, steps, peak))
        with pytest.raises(ZeroDivisionError):
            run(again, tmp_path)
    run(again, tmp_path)
    assert content(again.out) == files


def test_lora_without_peft(tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without peft LoRA ends with a MissingError that says what to install, and what works without it."""
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(MissingError, match="needs peft") as raised:
        run(request(tmp_path, encoder), tmp_path)
    assert "assay[finetune]" in raised.value.cure
    assert "--full" in raised.value.cure


def test_a_loss_that_is_no_number_ends_the_training(tmp_path: Path, encoder: Path) -> None:
    """A rate at which the weights overflow ends with a RunError that names the step."""
    asked = request(tmp_path, encoder, rank=0, rate=1e30)
    with pytest.raises(RunError, match=r"the loss of step \d is (nan|inf)"):
        run(asked, tmp_path)


def test_training_learns(tmp_path: Path, encoder: Path) -> None:
    """Thirty steps on two sentences that differ bring the loss below a tenth of that of a coin."""
    samples = Samples(np.array([2, 7, 3, 2, 9, 3], np.int32), np.zeros(6, np.int8), np.array([0, 3, 6]), 0, 16)
    data = TrainingSet(samples, np.array([0, 1]))
    base = finetune_model.find_base(str(encoder), cache=tmp_path, offline=True, say=print)
    net = finetune_model.build(base, finetune_model.Shape("sequence-classification", ("a", "b"), 0, 1), 0, "cpu")
    trainer = Trainer(net.module, net.inputs, data, Recipe(epochs=30, rate=1e-2, batch=2, precision="fp32"))
    trainer.run(Checkpoint(tmp_path / "c", "k"), 100, lambda at: None)
    assert trainer.losses[-1] < 0.1 * math.log(2)


def test_the_whole_batch_moves_all_trained_weights(tmp_path: Path, encoder: Path) -> None:
    """The first step changes the head and the encoder, by about the rate in each weight (AdamW's first step is the rate times a sign)."""
    base = finetune_model.find_base(str(encoder), cache=tmp_path, offline=True, say=print)
    net = finetune_model.build(base, finetune_model.Shape("sequence-classification", ("a", "b"), 0, 1), 0, "cpu")
    before = net.inner.classifier.weight.detach().clone()
    samples = Samples(np.array([2, 7, 3], np.int32), np.zeros(3, np.int8), np.array([0, 3]), 0, 16)
    trainer = Trainer(net.module, net.inputs, TrainingSet(samples, np.array([0])), Recipe(epochs=1, rate=1e-3, batch=1, precision="fp32"))
    trainer.run(Checkpoint(tmp_path / "c", "k"), 1, lambda at: None)
    moved = (net.inner.classifier.weight.detach() - before).abs()
    assert float(moved.max()) == pytest.approx(1e-3, rel=0.1)


@pytest.mark.parametrize("architecture", ["RobertaModel", "ElectraModel", "DistilBertModel", "AlbertModel", "MPNetModel"])
@with_peft
def test_other_architectures(tmp_path: Path, architecture: str) -> None:
    """RoBERTa, ELECTRA, DistilBERT, ALBERT and MPNet train one step with LoRA, and the folder opens as a model with its scores."""
    settings = {"embedding_size": 16} if architecture in ("ElectraModel", "AlbertModel") else {}
    base = write_model(tmp_path / "base", architecture, **settings)
    done = run(request(tmp_path, base, max_steps=1, max_length=16), tmp_path)
    model = models.resolve(str(done.folder), "sequence-classification", cache=tmp_path / "cache")
    assert models.labels(model) == ["negative", "positive"]
    assert done.record["trained_weights"] < done.record["all_weights"]


@pytest.mark.parametrize(("labels", "kept"), [(2, True), (3, False)])
def test_a_head_that_fits_is_kept(tmp_path: Path, labels: int, kept: bool) -> None:
    """A base that has a head for as many classes starts with it; one for another number of classes gets a new one."""
    folder = write_model(tmp_path / "base", "BertForSequenceClassification", num_labels=labels)
    base = finetune_model.find_base(str(folder), cache=tmp_path, offline=True, say=print)
    net = finetune_model.build(base, finetune_model.Shape("sequence-classification", ("a", "b"), 0, 1), 0, "cpu")
    from safetensors.numpy import load_file

    head = load_file(folder / "model.safetensors")["classifier.weight"]
    found = net.inner.classifier.weight.detach().numpy()
    assert found.shape == (2, 32)
    assert np.array_equal(found, head) == kept


@with_peft
def test_questions_on_contexts_train(tmp_path: Path, encoder: Path) -> None:
    """SQuAD files train a model of spans, which is scored on the dev file and opens as one."""
    for name in ("train-v1.1.json", "dev-v1.1.json"):
        squad_file(tmp_path / name, "w5 w6 w7 w8", "w7", 6)
    done = run(request(tmp_path, encoder, task="squad", data=tmp_path, max_length=32, max_steps=2), tmp_path)
    assert set(done.record["after"]) == {"exact_match", "f1", "examples"}
    assert models.resolve(str(done.folder), "question-answering", cache=tmp_path / "cache").head == "question-answering"


@with_peft
def test_without_a_dev_file_nothing_is_scored(tmp_path: Path, encoder: Path) -> None:
    """A folder with a training file alone gives a model whose card says that it is not scored."""
    asked = request(tmp_path, encoder, max_steps=1)
    (asked.data / "dev.tsv").unlink()
    assert run(asked, tmp_path).record["after"] == {}
    assert "Not scored" in (asked.out / "README.md").read_text()


@with_peft
def test_the_score_is_that_of_the_folder(tmp_path: Path, encoder: Path) -> None:
    """The score in the record is what the written model gets when it is opened again."""
    asked = request(tmp_path, encoder)
    record = run(asked, tmp_path).record
    source = finetune_data.find("sst2", asked.data, {})
    task = finetune_data.dev_task(source, asked.out, ("negative", "positive"), 128)
    assert task is not None
    from transformers import AutoModelForSequenceClassification

    module = AutoModelForSequenceClassification.from_pretrained(str(asked.out))
    score = finetune_score.score(
        task, module, ("input_ids", "attention_mask", "token_type_ids"), "cpu", finetune_score.every(task), lambda count: None
    )
    assert score == record["after"]


# ----------------------------------------------------------------------------------------------------------------------- command


def parsed(*words: str) -> argparse.Namespace:
    parser = Parser(prog="assay finetune")
    command_finetune.add_arguments(parser)
    return parser.parse(list(words))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--epochs", "0"), "--epochs 0: must be 1 or more"),
        (("--batch", "-1"), "--batch -1: must be 1 or more"),
        (("--max-steps", "0"), "--max-steps 0: must be 1 or more"),
        (("--rate", "2"), "--rate 2: must be above 0 and below 1"),
        (("--seed", "-1"), "--seed -1: must be 0 or more"),
    ],
)
def test_flags_are_checked_before_anything_is_read(words: tuple[str, ...], message: str) -> None:
    """A number that makes no sense ends with a UsageError that names the flag."""
    with pytest.raises(UsageError, match=message):
        command_finetune.execute(parsed("--task", "sst2", "--data", "nowhere", *words))


def test_data_must_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --data and ASSAY_DATA there is nothing to train on."""
    monkeypatch.delenv("ASSAY_DATA", raising=False)
    with pytest.raises(UsageError, match="--data is not given"):
        command_finetune.execute(parsed("--task", "sst2"))


def test_ctrl_c_ends_with_its_exit_code(tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in training says where the checkpoint is and how to go on, and ends with exit code 130."""

    def broken(self: Trainer) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_one_step", broken)
    words = ["--task", "sst2", "--data", str(sst2(tmp_path / "d")), "--base", str(encoder), "--out", str(tmp_path / "o"), "--full"]
    with pytest.raises(AssayError) as raised:
        command_finetune.execute(parsed(*words))
    assert raised.value.exit_code == ExitCode.INTERRUPTED == 130
    assert raised.value.cure == "Run the same command again to go on."


def test_another_folder_is_not_overwritten(tmp_path: Path, encoder: Path) -> None:
    """--out with files of something else is refused before training."""
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds other files \(thesis\.txt\)"):
        command_finetune.execute(
            parsed("--task", "sst2", "--data", str(sst2(tmp_path / "d")), "--base", str(encoder), "--out", str(tmp_path / "o"), "--full")
        )


def test_the_command_prints_folder_and_scores(tmp_path: Path, encoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The result on stdout names the folder and the dev score before and after; a second call says that it was there."""
    words = [
        "--task",
        "sst2",
        "--data",
        str(sst2(tmp_path / "d")),
        "--base",
        str(encoder),
        "--out",
        str(tmp_path / "o"),
        "--full",
        "--max-steps",
        "1",
    ]
    assert command_finetune.execute(parsed(*words)) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"model in {tmp_path / 'o'}\n1 steps on 24 samples")
    assert "(10 examples): accuracy " in printed
    assert command_finetune.execute(parsed(*words)) == 0
    assert "nothing was done" in capsys.readouterr().out


def test_a_base_that_is_none(tmp_path: Path) -> None:
    """--base wants the word embedded or an existing folder with safetensors weights."""
    with pytest.raises(MissingError, match="--base: nowhere: no such folder"):
        finetune_model.find_base("nowhere", cache=tmp_path, offline=True, say=print)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(DataError, match="only there as pickle"):
        finetune_model.find_base(str(tmp_path), cache=tmp_path, offline=True, say=print)
