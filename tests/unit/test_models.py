"""What `--model` may be, and what is said when it is not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from harness import embedded, inputs, models, plugins
from harness.cached import MANIFEST
from harness.config import load
from harness.core import Model
from harness.errors import DataError, MissingError
from harness.registered_models import REGISTERED, Registered
from tests.tiny_models import HIDDEN, POSITIONS, VOCABULARY, change_config, write_model, write_tokenizer

QA, CLASSES = "question-answering", "sequence-classification"


@pytest.fixture(scope="session")
def spans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "spans")


@pytest.fixture
def folder(spans: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may damage."""
    import shutil

    return Path(shutil.copytree(spans, tmp_path / "model"))


def resolve(name: str | Path, head: Any = QA, **options: Any) -> Model:
    options = {"cache": Path(name).parent / "cache", "say": lambda line: None} | options
    return models.resolve(str(name), head, **options)


# ------------------------------------------------------------------------------------------------------------------------ folders


def test_folder(spans: Path) -> None:
    """A folder that save_pretrained wrote is used where it is; size and number of parameters are those of its weights file."""
    model = resolve(spans)
    weights = load_file(spans / "model.safetensors")
    assert model.folder == spans
    assert model.name == "spans"
    assert model.head == QA
    assert model.bytes == (spans / "model.safetensors").stat().st_size
    assert model.parameters == sum(values.size for values in weights.values())
    assert models.labels(model) == []
    assert models.max_positions(model) == POSITIONS


def test_hash_covers_weights_and_configuration(folder: Path) -> None:
    """The same bytes elsewhere have the same sha256; another weight or setting has another; the vocabulary does not count."""
    before = resolve(folder).sha256
    moved = folder.rename(folder.parent / "moved")
    assert resolve(moved).sha256 == before
    (moved / "vocab.txt").write_text("other")
    assert resolve(moved).sha256 == before
    change_config(moved, layer_norm_eps=1e-6)
    after = resolve(moved).sha256
    assert after != before
    weights = load_file(moved / "model.safetensors")
    weights["qa_outputs.bias"] += 1
    save_file(weights, moved / "model.safetensors", {"format": "pt"})
    assert resolve(moved).sha256 not in (before, after)


def test_shards(folder: Path) -> None:
    """Weights in shards count like weights in one file; a missing shard is named."""
    whole = resolve(folder)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    halves = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, keys in halves.items():
        save_file({key: weights[key] for key in keys}, folder / file, {"format": "pt"})
    index = {"weight_map": {key: file for file, keys in halves.items() for key in keys}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    sharded = resolve(folder)
    assert sharded.parameters == whole.parameters
    assert sharded.sha256 != whole.sha256
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(DataError, match="model-00002-of-00002"):
        resolve(folder)


def test_labels_by_id(tmp_path: Path) -> None:
    """Labels come in the order of their ids, not of the file; transformers' placeholders are no labels."""
    folder = write_model(tmp_path / "m", "BertForSequenceClassification", num_labels=3)
    assert models.labels(resolve(folder, CLASSES)) == []
    change_config(folder, id2label={"2": "contradiction", "0": "entailment", "1": "neutral"})
    assert models.labels(resolve(folder, CLASSES)) == ["entailment", "neutral", "contradiction"]
    change_config(folder, id2label={"x": "y"})
    with pytest.raises(DataError, match="id2label"):
        models.labels(resolve(folder, CLASSES))


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        ({"max_position_embeddings": 512}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": None}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 0}, 513),
        ({"model_type": "mpnet", "max_position_embeddings": 514, "pad_token_id": 0}, 512),
        ({"model_type": "xlnet", "max_position_embeddings": None}, None),
    ],
)
def test_longest_input(folder: Path, settings: dict[str, Any], limit: int | None) -> None:
    """RoBERTa counts positions from its padding id plus one, MPNet always from 2; a model without a limit has none."""
    model = resolve(folder)
    change_config(folder, **settings)
    assert models.max_positions(model) == limit


# ------------------------------------------------------------------------------------------------------------------- bad folders


def refused(kind: type[Exception], match: str, name: str | Path, head: str = QA, **options: Any) -> str:
    with pytest.raises(kind, match=match) as caught:
        resolve(name, head, **options)
    cure: str = caught.value.cure  # type: ignore[attr-defined]
    assert cure, "every error has a cure"
    return cure


def test_no_folder(tmp_path: Path) -> None:
    """A path that is not there is said to be missing, and is not looked up on the hub."""
    refused(MissingError, "no such folder", tmp_path / "nothing")
    refused(MissingError, "no such folder", "./nothing")


def test_no_configuration(folder: Path) -> None:
    """A folder without config.json is no model folder."""
    (folder / "config.json").unlink()
    refused(DataError, r"no config\.json", folder)


def test_damaged_configuration(folder: Path) -> None:
    """A config.json that is not JSON is named with its line; one that is not an object is named."""
    (folder / "config.json").write_text('{\n"a": 1,\n}')
    refused(DataError, r"config\.json:3", folder)
    (folder / "config.json").write_text("[]")
    refused(DataError, "JSON object", folder)


@pytest.mark.parametrize("architectures", [["BertModel"], ["BertForMaskedLM"], ["BertForSequenceClassification"], None])
def test_other_head(folder: Path, architectures: list[str] | None) -> None:
    """A model without the wanted head is refused with what it has and what is wanted."""
    change_config(folder, architectures=architectures)
    found = architectures[0] if architectures else "not given"
    refused(DataError, f"no question-answering head.*{found}.*ForQuestionAnswering", folder)


def test_no_weights(folder: Path) -> None:
    """A folder without weights is refused, and what it has instead is named."""
    (folder / "model.safetensors").unlink()
    (folder / "tf_model.h5").write_bytes(b"")
    refused(DataError, r"no weights.*tf_model\.h5", folder)


def test_truncated_weights(folder: Path) -> None:
    """Weights that were cut off are refused by their size, without loading them; so is a file that is something else."""
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1000])
    refused(DataError, f"{len(content)} bytes expected by its header, {len(content) - 1000} found", folder)
    path.write_bytes(content[:100])
    refused(DataError, "header is damaged", folder)
    path.write_bytes(b"<html>not found</html>" * 10)
    refused(DataError, "not a safetensors file", folder)
    path.write_bytes(b"")
    refused(DataError, "not a safetensors file", folder)


def test_no_vocabulary(folder: Path) -> None:
    """A folder without any tokenizer file is refused."""
    (folder / "vocab.txt").unlink()
    (folder / "tokenizer.json").unlink()
    refused(DataError, r"no tokenizer\.json and no vocabulary", folder)


def test_vocabulary_alone(tmp_path: Path) -> None:
    """Where only vocab.txt is there, a tokenizer.json is made from it in the cache; the model's own folder is left alone."""
    from tokenizers import Tokenizer

    folder = write_model(tmp_path / "m", fast=False)
    before = {path.name for path in folder.iterdir()}
    model = resolve(folder)
    assert model.folder.is_relative_to(tmp_path / "cache")
    assert {path.name for path in folder.iterdir()} == before
    assert Tokenizer.from_file(str(model.folder / "tokenizer.json")).encode("w1 w3").ids == [2, 6, 8, 3]
    assert (model.folder / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    write_tokenizer(folder)
    assert resolve(folder).sha256 == model.sha256


def test_pickles(folder: Path) -> None:
    """Pickled weights are refused unless allowed; then only a dictionary of tensors is read."""
    import torch

    weights = load_file(folder / "model.safetensors")
    count = resolve(folder).parameters
    (folder / "model.safetensors").unlink()
    torch.save({name: torch.from_numpy(values) for name, values in weights.items()}, folder / "pytorch_model.bin")
    assert "--allow-pickle" in refused(DataError, "pickle", folder)
    model = resolve(folder, allow_pickle=True)
    assert model.parameters == count
    assert model.allow_pickle
    torch.save({"x": Path("/")}, folder / "pytorch_model.bin")
    refused(DataError, "not a plain dictionary of tensors", folder, allow_pickle=True)


# -------------------------------------------------------------------------------------------------------------------------- names


def test_unknown_name() -> None:
    """A name that is nothing is refused with the nearest registered one."""
    assert "Did you mean minilm-squad?" in refused(MissingError, "unknown model 'minilm-squat'", "minilm-squat")
    assert "Did you mean" not in refused(MissingError, "unknown model", "zzz")


def test_name_with_another_head() -> None:
    """A registered name of another task is refused before anything is fetched, with names that fit."""
    assert "minilm-sst2" in refused(DataError, "question-answering head", "minilm-squad", CLASSES)


def test_name_to_fetch_by_hand() -> None:
    """A registered model that no hub has says where it is and what to do with it."""
    assert "zenodo" in refused(MissingError, "bert-large-squad", "bert-large-squad")


def test_hub_ids(monkeypatch: pytest.MonkeyPatch, spans: Path, tmp_path: Path) -> None:
    """owner/name and owner/name@revision go to the hub, registered names to their own id and revision."""
    asked: list[tuple[str, str | None]] = []

    def snapshot(repo: str, revision: str | None, **options: Any) -> Path:
        asked.append((repo, revision))
        return spans

    monkeypatch.setattr(models, "hub_snapshot", snapshot)
    assert models.resolve("acme/bert", QA, cache=tmp_path).name == "acme/bert"
    models.resolve("acme/bert@v1.0", QA, cache=tmp_path)
    models.resolve("distilbert-squad", QA, cache=tmp_path)
    registered = REGISTERED["distilbert-squad"]
    assert asked == [("acme/bert", None), ("acme/bert", "v1.0"), (registered.hub, registered.revision)]


@pytest.mark.parametrize(
    ("name", "head", "kind", "words"),
    [
        ("minilm-squat", QA, MissingError, "unknown model"),
        ("minilm-squad", CLASSES, DataError, "question-answering head"),
        ("bert-large-squad", QA, MissingError, "cannot be fetched automatically"),
        ("./nothing", QA, MissingError, "no such folder"),
        ("~/no such folder", QA, MissingError, "no such folder"),
    ],
)
def test_a_wrong_name_costs_nothing(monkeypatch: pytest.MonkeyPatch, name: str, head: Any, kind: type[Exception], words: str) -> None:
    """A name that cannot be resolved is refused without hashing, fetching or importing; so is a folder with another head."""
    for attribute in ("hub_snapshot", "merged_folder", "fingerprint", "count_parameters"):
        monkeypatch.setattr(models, attribute, lambda *arguments, **options: pytest.fail("did work"))
    with pytest.raises(kind, match=words):
        models.check_name(name, head)


def test_a_right_name_is_let_through(spans: Path) -> None:
    """Registered names, hub ids and folders with the head of the task pass; the folder's head is read."""
    for name in ("minilm-squad", "distilbert-squad", "acme/model", "acme/model@v1.0", str(spans)):
        models.check_name(name, QA)
    with pytest.raises(DataError, match="no sequence-classification head"):
        models.check_name(str(spans), CLASSES)


def test_registry_is_consistent() -> None:
    """Every registered model says where it comes from in exactly one way, and where its score is stated; a pinned revision is a commit."""
    for name, model in REGISTERED.items():
        assert name == model.name
        assert [bool(model.adapter), bool(model.hub), bool(model.by_hand)].count(True) == 1
        assert model.source
        assert model.scores or model.source == "no published score found"
        assert not model.adapter or (embedded.ADAPTERS / model.adapter / "adapter_config.json").is_file()
        assert not model.hub or model.hub.count("/") == 1
        assert model.revision is None or re.fullmatch(r"[0-9a-f]{40}", model.revision)


def test_registry_is_documented() -> None:
    """The table of docs/models-and-data.md has a row for each registered model that says what the registry says, in its order."""
    page = (Path(models.__file__).parent.parent / "docs" / "models-and-data.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if re.match(r"\| `[\w-]+` \|", line) and line.count("|") == 6]
    assert rows == [documented(model) for model in REGISTERED.values()]


def test_data_is_documented() -> None:
    """The table of data in docs/models-and-data.md names for each task the files it looks for, the official rows and the metric."""
    page = (Path(models.__file__).parent.parent / "docs" / "models-and-data.md").read_text(encoding="utf-8")
    for info in plugins.describe("tasks"):
        if info.suffixes:
            continue  # a user's own file has its own page
        task = plugins.load("tasks", info.name)
        glue = getattr(task, "DATASET", None)
        files = ", ".join(f"`{file}`" for file in (glue.files if glue else task.FILES))
        official = f"{glue.rows:,} | {task.KIND.metric}" if glue else f"{ {'squad': 10_570, 'squad2': 11_873}[info.name]:,} | f1"
        assert f"| {info.name} | {files} | {official} |\n" in page


def test_first_sight(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A wrong model name and a data folder without the task's file are refused before a model is resolved or a backend imported."""
    monkeypatch.setattr(models, "resolve", lambda *arguments, **options: pytest.fail("resolved a model"))
    with pytest.raises(MissingError, match="unknown model 'minilm-squat'"):
        inputs.check(load({"task": "squad", "model": "minilm-squat"}))
    with pytest.raises(DataError, match="sequence-classification head"):
        inputs.check(load({"task": "squad", "model": "minilm-sst2"}))
    with pytest.raises(MissingError, match=r"holds none of dev-v1\.1\.json"):
        inputs.check(load({"task": "squad", "data": str(tmp_path)}))
    (tmp_path / "dev-v1.1.json").write_text("{}")
    inputs.check(load({"task": "squad", "data": str(tmp_path)}))
    inputs.check(load({"task": "sst2"}))


def documented(model: Registered) -> str:
    """The row of a model in the table."""
    where = f"adapter `{model.adapter}` on the base" if model.adapter else f"`{model.hub}`" if model.hub else "by hand"
    if model.hub:
        where += f" at `{model.revision[:8]}`" if model.revision else ", newest"
    scores = ", ".join(f"{metric} {value:g}" for metric, value in model.scores.items()) or "none"
    return f"| `{model.name}` | {model.task} | {where} | {scores} | {model.source} |"


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """ASSAY_CACHE decides; without it the system's own cache folder does."""
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    assert models.default_cache() == tmp_path
    monkeypatch.delenv("ASSAY_CACHE")
    assert "assay" in str(models.default_cache())


# ----------------------------------------------------------------------------------------------------------------------- embedded


@pytest.fixture
def tiny_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny base and one adapter for each head in place of the real ones; gives the cache folder."""
    base = write_model(tmp_path / "base", "BertModel", add_pooling_layer=True)
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    tokenizer["truncation"] = {"max_length": 16, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    (base / "tokenizer.json").write_text(json.dumps(tokenizer))
    rng = np.random.default_rng(0)
    for name, head in (("squad", "qa_outputs"), ("sst2", "classifier")):
        target = "base_model.model.bert.encoder.layer.0.attention.self.query"
        weights = {
            f"{target}.lora_A.weight": rng.normal(size=(4, HIDDEN)).astype(np.float16),
            f"{target}.lora_B.weight": rng.normal(size=(HIDDEN, 4)).astype(np.float16),
            f"base_model.model.{head}.weight": rng.normal(size=(2, HIDDEN)).astype(np.float16),
            f"base_model.model.{head}.bias": rng.normal(size=2).astype(np.float16),
        }
        (tmp_path / "adapters" / name).mkdir(parents=True)
        save_file(weights, tmp_path / "adapters" / name / "adapter_model.safetensors")
        (tmp_path / "adapters" / name / "adapter_config.json").write_text('{"r": 4, "lora_alpha": 8}')
    monkeypatch.setattr(embedded, "ADAPTERS", tmp_path / "adapters")
    monkeypatch.setattr(embedded, "base_folder", lambda cache, **options: base)
    return tmp_path / "cache"


@pytest.mark.parametrize(("name", "head", "labels"), [("minilm-squad", QA, []), ("minilm-sst2", CLASSES, ["negative", "positive"])])
def test_merged_folder(tiny_embedded: Path, name: str, head: Any, labels: list[str]) -> None:
    """The merged model is an ordinary folder: transformers opens it with every weight found, and its tokenizer cuts nothing off."""
    import transformers
    from tokenizers import Tokenizer

    model = models.resolve(name, head, cache=tiny_embedded)
    auto = transformers.AutoModelForQuestionAnswering if head == QA else transformers.AutoModelForSequenceClassification
    opened, report = auto.from_pretrained(str(model.folder), output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert models.labels(model) == labels
    assert opened.config.num_labels == 2
    assert len(Tokenizer.from_file(str(model.folder / "tokenizer.json")).encode("w1 " * 50).ids) == 52
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(model.folder))
    assert tokenizer("w1 w3")["input_ids"] == [2, 6, 8, 3]
    assert tokenizer.vocab_size == VOCABULARY


def test_merged_weights(tiny_embedded: Path, tmp_path: Path) -> None:
    """The adapted weight is base + 2 B A, the rest is the base, and a question-answering model has no pooler."""
    model = models.resolve("minilm-squad", QA, cache=tiny_embedded)
    merged, base = load_file(model.folder / "model.safetensors"), load_file(tmp_path / "base" / "model.safetensors")
    adapter = load_file(tmp_path / "adapters" / "squad" / "adapter_model.safetensors")
    name = "encoder.layer.0.attention.self.query"
    a, b = (adapter[f"base_model.model.bert.{name}.lora_{side}.weight"].astype(np.float64) for side in "AB")
    np.testing.assert_allclose(merged[f"bert.{name}.weight"], base[f"{name}.weight"] + 2 * b @ a, rtol=1e-6)
    assert np.array_equal(merged["bert.embeddings.word_embeddings.weight"], base["embeddings.word_embeddings.weight"])
    assert not any("pooler" in key for key in merged)


def test_merged_once(tiny_embedded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second use neither fetches nor merges; a damaged copy is made again, byte for byte; another adapter has another folder."""
    first = models.resolve("minilm-sst2", CLASSES, cache=tiny_embedded)
    fetch = embedded.base_folder
    monkeypatch.setattr(embedded, "base_folder", lambda cache, **options: pytest.fail("asked for the base"))
    assert models.resolve("minilm-sst2", CLASSES, cache=tiny_embedded, offline=True) == first
    weights = first.folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    monkeypatch.setattr(embedded, "base_folder", fetch)
    assert models.resolve("minilm-sst2", CLASSES, cache=tiny_embedded) == first
    config = embedded.ADAPTERS / "sst2" / "adapter_config.json"
    config.write_text('{"r": 4, "lora_alpha": 16}')
    second = models.resolve("minilm-sst2", CLASSES, cache=tiny_embedded)
    assert second.folder != first.folder
    assert second.sha256 != first.sha256
    assert (first.folder / MANIFEST).is_file()


@pytest.mark.model
@pytest.mark.parametrize(
    ("name", "head", "parameters", "sha256"),
    [
        ("minilm-squad", QA, 22_566_146, "ba37b014697cedacae4f87c786dc7634b78f5208758d280dbb5a5818077bfaca"),
        ("minilm-sst2", CLASSES, 22_713_986, "adc42cfc2a9b3931e122cdd0cb862256e57222b83e10761e6627ea181d3606ac"),
    ],
)
def test_embedded_models(bert_tokenizer: Path, tmp_path: Path, name: str, head: Any, parameters: int, sha256: str) -> None:
    """The real embedded models merge to the same bytes on every machine."""
    model = models.resolve(name, head, cache=tmp_path)
    assert model.parameters == parameters
    assert model.sha256 == sha256
