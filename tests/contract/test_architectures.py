"""One suite for every kind of encoder, from text to answer: what Assay asks and hears is what transformers itself would ask and hear.

PyTorch is asked with every head; backends that run an exported graph with spans, whose attention, positions and mask are all there is to
get wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray

from harness import classification, models
from harness.batching import Policy, collate
from harness.core import Backend, Batch, Model, Samples, Task, TaskOptions
from harness.datafiles import Question, SquadData
from harness.runtimes.torch_model import open_model
from harness.squad import task as squad_task
from tests import backend_cases
from tests.backend_cases import OUTPUTS
from tests.tiny_models import ARCHITECTURES, POSITIONS, Architecture, write_architecture

QA, CLASSES = "question-answering", "sequence-classification"
HEADS = {"spans": (QA, 2), "classes": (CLASSES, 3), "value": (CLASSES, 1)}
TOLERANCE = 1e-4  # of logits with a standard deviation near 1: FP32 in another order of additions, kernels of other runtimes
BATCHED = Policy("fifo", 32)

TEXTS = (
    "the river",
    "The bridge, opened in 1932, crosses the river.",
    "Is the bridge green?",
    "caf\u00e9 'north' (2) \"old\"",
    "The river the bridge the river the bridge.",
)
OTHERS = ("a bridge", "It is painted green.", "yes", "12, 34", "The bridge?")
CONTEXTS = ("The bridge is in the north.", "It is green.", "The old river.")
QUESTIONS = ((0, "Where is the bridge?"), (0, "What is in the north?"), (1, "What colour?"), (2, "Is it old?"))


@dataclass(frozen=True)
class Case:
    """A model loaded in the backend, the same one opened by transformers, and the task it was made for."""

    architecture: Architecture
    model: Model
    backend: Backend
    module: Any
    outputs: int
    asked: Task

    @property
    def samples(self) -> Samples:
        return self.asked.samples


def options_of(model: Model, max_length: int | None = None) -> TaskOptions:
    limits = [each for each in (max_length, models.max_positions(model)) if each is not None]
    return TaskOptions(data=None, tokenizer=model.folder, cache=None, max_length=min(limits, default=None))


def labelled(model: Model, outputs: int, first: tuple[str, ...], second: tuple[str, ...] = (), max_length: int | None = None) -> Task:
    kind = classification.Kind("toy", ("no", "yes", "maybe")[: outputs if outputs > 1 else 0], "accuracy", lambda *_: {})
    ids = tuple(str(number) for number in range(len(first)))
    examples = classification.Examples(Path("toy.tsv"), "0" * 64, first, second, (0.0,) * len(first), ids)
    return classification.make(kind, examples, options_of(model, max_length), data_name="toy", comparable=False)


def questions(model: Model) -> Task:
    asked = tuple(Question(str(number), text, context, ("the",)) for number, (context, text) in enumerate(QUESTIONS))
    data = SquadData(Path("toy.json"), "0" * 64, CONTEXTS, asked, 0)
    return squad_task.make(squad_task.SquadTask, data, options_of(model), data_name="toy", comparable=False)


EXPORTING = [backend_cases.Case(name, info.precisions[0]) for name, info in backend_cases.INFOS.items() if name not in ("null", "pytorch")]
NATIVE = backend_cases.Case("pytorch", "fp32")
CASES = [(name, head, NATIVE) for name in ARCHITECTURES for head in HEADS]
CASES += [(name, "spans", case) for name in ARCHITECTURES for case in EXPORTING]


def named(parts: tuple[str, str, backend_cases.Case]) -> str:
    return "-".join(map(str, parts))


def only(wanted: Callable[[tuple[str, str, backend_cases.Case]], bool]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [case for case in CASES if wanted(case)], ids=named, indirect=True)


classifiers = only(lambda case: case[1] != "spans")
native = only(lambda case: case[2] == NATIVE)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("architectures")


@pytest.fixture(scope="session", params=CASES, ids=named)
def case(request: pytest.FixtureRequest, folder: Path) -> Iterator[Case]:
    name, kind, runtime = request.param
    head, outputs = HEADS[kind]
    place = folder / f"{name}-{kind}"
    if not place.exists():
        write_architecture(place, name, head, outputs)
    model = models.resolve(str(place), head, cache=folder / "cache")
    backend = backend_cases.opened(runtime, model, folder / "exported")
    asked = questions(model) if head == QA else labelled(model, outputs, TEXTS, OTHERS)
    yield Case(ARCHITECTURES[name], model, backend, open_model(model), outputs, asked)
    backend.close()


def batch_of(case: Case, indices: list[int], policy: Policy = BATCHED) -> Batch:
    return collate(case.samples, np.array(indices), policy)


def answers(case: Case, batch: Batch, predict: Callable[[Batch], Mapping[str, NDArray[Any]]] | None = None) -> list[NDArray[np.float32]]:
    """One array for each row: logits, or start and end logits of its real tokens."""
    found = (predict or case.backend.predict)(batch)
    rows = zip(*(found[name].copy() for name in OUTPUTS[case.model.head]), strict=True)
    return [
        np.stack([values[:length] if case.model.head == QA else values for values in row])
        for row, length in zip(rows, batch.lengths, strict=True)
    ]


def assert_same(first: list[NDArray[np.float32]], second: list[NDArray[np.float32]]) -> None:
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, atol=TOLERANCE, rtol=TOLERANCE)


def random_samples(case: Case, lengths: list[int]) -> Samples:
    """Inputs of ordinary tokens, with a first and a second part."""
    vocabulary, rng = case.module.config.vocab_size, np.random.default_rng(0)
    types = [np.arange(length) >= length // 2 for length in lengths]
    return Samples(
        rng.integers(5, vocabulary, sum(lengths)).astype(np.int32),
        np.concatenate(types).astype(np.int8),
        np.cumsum([0, *lengths]),
        case.samples.pad_id,
        max(lengths),
    )


def own_tokenizer(case: Case) -> Any:
    """The class that transformers has for this architecture, not the one that AutoTokenizer may fall back to."""
    kind = "Bert" if case.architecture.prefix == "Electra" else case.architecture.prefix
    return getattr(transformers, f"{kind}TokenizerFast").from_pretrained(str(case.model.folder))


def own_batch(case: Case) -> Any:
    """The task's texts as transformers lays them out: its own special tokens, segments, padding and mask.

    Segments are asked for where the model has them: ALBERT's tokenizer makes them in transformers 4, and in 5 only when asked.
    """
    if case.model.head == QA:
        texts = [text for _, text in QUESTIONS], [CONTEXTS[context] for context, _ in QUESTIONS]
    else:
        texts = list(TEXTS), list(OTHERS)
    types = case.architecture.types
    return own_tokenizer(case)(
        *texts, padding=True, truncation=True, max_length=POSITIONS, return_token_type_ids=types, return_tensors="pt"
    )


# ----------------------------------------------------------------------------------------------------------------------- inputs


@native
def test_inputs_are_those_of_transformers(case: Case) -> None:
    """Ids, segments, padding and mask of a batch are what the architecture's own tokenizer makes of the same texts."""
    own, batch = own_batch(case), batch_of(case, list(range(len(case.samples))))
    width = own["input_ids"].shape[1]
    assert batch.lengths.max() == width
    assert batch.input_ids[:, :width].tolist() == own["input_ids"].tolist()
    assert (batch.input_ids[:, width:] == case.module.config.pad_token_id).all()
    assert batch.attention_mask[:, :width].tolist() == own["attention_mask"].tolist()
    if case.architecture.types:
        assert batch.token_type_ids[:, :width].tolist() == own["token_type_ids"].tolist()
        assert 1 in own["token_type_ids"]


@classifiers
@pytest.mark.parametrize("second", [(), OTHERS], ids=["single", "pairs"])
@pytest.mark.parametrize("length", [8, 11, POSITIONS])
def test_cut_inputs_are_those_of_transformers(case: Case, second: tuple[str, ...], length: int) -> None:
    """Single texts and pairs that are too long are cut as the architecture's own tokenizer cuts them."""
    samples = labelled(case.model, case.outputs, TEXTS, second, length).samples
    pairs = [list(second)] if second else []
    own = own_tokenizer(case)(list(TEXTS), *pairs, truncation=True, max_length=length)["input_ids"]
    assert [samples.input_ids[start:end].tolist() for start, end in zip(samples.offsets[:-1], samples.offsets[1:], strict=True)] == own
    assert max(map(len, own)) <= length


@native
def test_padding_id_is_the_models(case: Case) -> None:
    """Inputs are filled with the model's own padding id: some models count positions by it."""
    assert case.samples.pad_id == case.module.config.pad_token_id


# ---------------------------------------------------------------------------------------------------------------------- answers


def test_answers_are_those_of_transformers(case: Case) -> None:
    """From text to logits, tokenizer and model of transformers give what task, collation and backend give."""
    own, batch = own_batch(case), batch_of(case, list(range(len(case.samples))))
    with torch.inference_mode():
        wanted = case.module(**own)
    rows = zip(*(wanted[name].numpy() for name in OUTPUTS[case.model.head]), strict=True)
    cut = [
        np.stack([values[:length] if case.model.head == QA else values for values in row])
        for row, length in zip(rows, batch.lengths, strict=True)
    ]
    assert_same(answers(case, batch), cut)
    assert cut[0].shape == ((2, batch.lengths[0]) if case.model.head == QA else (1, case.outputs))


def mixed_equals_single(case: Case, predict: Callable[[Batch], Mapping[str, NDArray[Any]]] | None = None) -> None:
    samples = random_samples(case, [5, 40, 17, POSITIONS, 8])
    together = answers(case, collate(samples, np.arange(5), BATCHED), predict)
    single = [answers(case, collate(samples, np.array([row]), BATCHED), predict)[0] for row in range(5)]
    assert_same(together, single)


def test_mixed_lengths(case: Case) -> None:
    """A batch of mixed lengths gives each row what it is given alone."""
    mixed_equals_single(case)


@pytest.mark.parametrize("width", [24, 40, POSITIONS])
def test_padding(case: Case, width: int) -> None:
    """Neither how much padding there is nor what stands in it changes an answer."""
    samples = random_samples(case, [5, 21, 17])
    plain = answers(case, collate(samples, np.arange(3), BATCHED))
    wider = collate(replace(samples, max_length=width), np.arange(3), Policy("fixed", 32))
    assert wider.input_ids.shape == (3, width)
    assert_same(answers(case, wider), plain)
    other = np.where(wider.attention_mask == 1, wider.input_ids, 6)
    assert_same(answers(case, replace(wider, input_ids=other)), plain)


def test_order(case: Case) -> None:
    """Rows in another order have the same answers in that order."""
    samples = random_samples(case, [9, 30, 17, 30])
    order = np.array([2, 0, 3, 1])
    forward = answers(case, collate(samples, np.arange(4), BATCHED))
    assert_same(answers(case, collate(samples, order, BATCHED)), [forward[row] for row in order])


@native
def test_longest_input(case: Case) -> None:
    """The longest input is as long as the model's positions allow, whatever it counts them from: one token more does not fit."""
    limit = models.max_positions(case.model)
    assert limit == POSITIONS == case.module.config.max_position_embeddings - case.architecture.lost
    longest, longer = (collate(random_samples(case, [length]), np.array([0]), Policy("fixed", 1)) for length in (limit, limit + 1))
    assert np.isfinite(answers(case, longest)[0]).all()
    with pytest.raises((IndexError, RuntimeError)):
        case.backend.predict(longer)


@classifiers
def test_long_texts_fit(case: Case) -> None:
    """A text beyond the model's positions is cut to them, and is answered."""
    task = labelled(case.model, case.outputs, ("the bridge " * 200, "x " * 300), ("green? " * 100, "y"))
    assert task.samples.lengths.tolist() == [POSITIONS, POSITIONS]
    assert np.isfinite(answers(case, collate(task.samples, np.arange(2), BATCHED))).all()


def test_token_types(case: Case) -> None:
    """Segments change the answer of a model that has them, and are kept from one that has not."""
    batch = collate(random_samples(case, [20]), np.array([0]), BATCHED)
    plain, swapped = (answers(case, replace(batch, token_type_ids=types))[0] for types in (batch.token_type_ids, 1 - batch.token_type_ids))
    assert (np.abs(plain - swapped).max() > 1e-3) == case.architecture.types


@native
def test_decisions(case: Case) -> None:
    """The task understands the answers: the class of the highest logit, the value itself, or a span."""
    (answer,) = answers(case, batch_of(case, [0]))
    decided = case.asked.decide(0, dict(zip(OUTPUTS[case.model.head], answer, strict=True)))
    if case.model.head == QA:
        assert len(decided) == 2
    elif case.outputs == 1:
        assert decided == pytest.approx(float(answer[0, 0]), rel=5e-3)
    else:
        assert decided == int(answer.argmax())


# -------------------------------------------------------------------------------------------------------------- the suite can fail


@native
def test_a_backend_without_mask_is_found_out(case: Case) -> None:
    """A backend that reads the padding as text does not pass."""
    with pytest.raises(AssertionError):
        mixed_equals_single(case, lambda batch: case.backend.predict(replace(batch, attention_mask=np.ones_like(batch.attention_mask))))


def test_suite_sees_the_architectures() -> None:
    """All six kinds of encoder are in the suite, with two padding ids besides 0 and with and without token types."""
    assert {"Bert", "Roberta", "Electra", "DistilBert", "Albert", "MPNet"} == {each.prefix for each in ARCHITECTURES.values()}
    assert {each.settings.get("pad_token_id", 0) for each in ARCHITECTURES.values()} == {0, 1, 4}
    assert {each.types for each in ARCHITECTURES.values()} == {True, False}
