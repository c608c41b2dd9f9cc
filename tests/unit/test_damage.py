"""Preparing a run, stopped at every line and with every file damaged: the end state is the same, and nothing wrong is ever used."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from harness import downloads, embedded, models
from harness.core import Model, TaskOptions
from harness.datafiles import Question, SquadData
from harness.errors import MissingError
from harness.features import cached_features, check_ragged
from harness.squad import task as squad_task
from tests.fake_hub import COMMIT, FakeHub, serving
from tests.tiny_models import HIDDEN, write_model

HARNESS = Path(models.__file__).parent
QA = "question-answering"
TRACED = {
    str(HARNESS / name) for name in ("cached.py", "downloads.py", "embedded.py", "features.py", "hub.py", "models.py", "tokenization.py")
}
DATA = SquadData(
    Path("toy.json"),
    "0" * 64,
    ("w1 w2 w3 w4 w5 w6", "w7 w8 w9"),
    (Question("a", "w1 w2", 0, ("w3",)), Question("b", "w9", 1, ("w8",))),
    0,
)


@dataclass(frozen=True)
class Prepared:
    """What a run would use: the models, the bytes of their folders, and the tokenised data."""

    models: tuple[Model, ...]
    files: dict[str, str]
    features: dict[str, bytes]


def prepare(cache: Path, *, offline: bool = False) -> Prepared:
    """An embedded model whose base is fetched, a model of the hub whose tokenizer has to be made, and data tokenised for both."""
    found, files, features = [], {}, {}
    for name in ("minilm-squad", f"acme/model@{COMMIT}"):
        model = models.resolve(name, QA, cache=cache, offline=offline, say=lambda line: None)  # type: ignore[arg-type]
        options = TaskOptions(None, model.folder, cache / "features", max_length=models.max_positions(model))
        task = squad_task.make(squad_task.SquadTask, DATA, options, data_name="toy", comparable=False)
        found.append(dataclasses.replace(model, folder=model.folder.relative_to(cache)))
        used = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
        files |= {f"{name}/{file}": digest(model.folder / file) for file in used if (model.folder / file).exists()}
        features[name] = task.samples.input_ids.tobytes() + task.samples.token_type_ids.tobytes() + task.samples.offsets.tobytes()
    return Prepared(tuple(found), files, features)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def state(cache: Path) -> dict[str, str]:
    """sha256 of every file of the cache but locks."""
    files = (path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(cache)): digest(path) for path in files}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    """A hub with a tiny base and a tiny model that has a vocabulary alone, and an adapter for the base; retries do not wait."""
    from huggingface_hub import constants, file_download

    folder = tmp_path_factory.mktemp("sources")
    base = write_model(folder / "base", "BertModel", add_pooling_layer=True)
    whole = {name: (base / name).read_bytes() for name in downloads.BASE_FILES}
    plain = write_model(folder / "plain", fast=False)
    write_adapter(folder / "adapters" / "squad")
    published = {name: hashlib.sha256(content).hexdigest() for name, content in whole.items()}
    with serving(FakeHub()) as hub, pytest.MonkeyPatch.context() as patch:
        hub.add(downloads.BASE_REPO, whole, downloads.BASE_REVISION)
        hub.add("acme/model", {path.name: path.read_bytes() for path in plain.iterdir()})
        for name in ("ASSAY_BASE_MODEL", "HF_HUB_OFFLINE", "HF_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setenv("HF_ENDPOINT", hub.endpoint)
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        patch.setattr(constants, "HF_HUB_CACHE", str(folder / "library"))
        patch.setattr(file_download, "time", types.SimpleNamespace(sleep=lambda seconds: None))
        patch.setattr(downloads, "CHECKOUT_BASE", folder / "nowhere" / "base")
        patch.setattr(downloads, "pip_download", lambda requirement, into: pytest.fail("asked the package index"))
        for module in (downloads, embedded):
            patch.setattr(module, "BASE_FILES", published)
        patch.setattr(embedded, "ADAPTERS", folder / "adapters")
        yield hub


def write_adapter(folder: Path) -> None:
    rng, target = np.random.default_rng(0), "base_model.model.bert.encoder.layer.0.attention.self.query"
    folder.mkdir(parents=True)
    weights = {
        f"{target}.lora_A.weight": rng.normal(size=(4, HIDDEN)),
        f"{target}.lora_B.weight": rng.normal(size=(HIDDEN, 4)),
        "base_model.model.qa_outputs.weight": rng.normal(size=(2, HIDDEN)),
        "base_model.model.qa_outputs.bias": rng.normal(size=2),
    }
    save_file({name: values.astype(np.float16) for name, values in weights.items()}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 8}))


@pytest.fixture(scope="module")
def whole(sources: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Prepared]:
    """A cache that was prepared without interruption, and what came of it."""
    cache = tmp_path_factory.mktemp("whole") / "cache"
    return cache, prepare(cache)


# ------------------------------------------------------------------------------------------------------------------- interruption


def lines_of(function: Callable[[], Any], stop: tuple[str, int] | None = None) -> list[tuple[str, int]]:
    """Run `function`, with Ctrl-C when it first comes to the line `stop`; the lines of the traced modules in the order of arrival."""
    seen: dict[tuple[str, int], None] = {}

    def line(frame: Any, event: str, argument: Any) -> Any:
        if event == "line":
            place = (frame.f_code.co_filename, frame.f_lineno)
            if place == stop and place not in seen:
                seen[place] = None
                raise KeyboardInterrupt
            seen[place] = None
        return line

    def call(frame: Any, event: str, argument: Any) -> Any:
        return line if frame.f_code.co_filename in TRACED and frame.f_code.co_name != "<module>" else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        function()
    finally:
        sys.settrace(before)
    return list(seen)


unclosed = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""Stopped between `open` and the `with` that would close it, a file is closed by the garbage collector, which says so."""


def stopped_everywhere(whole: tuple[Path, Prepared], cache: Path, share: slice) -> int:
    reference, wanted = whole
    lines = lines_of(lambda: prepare(cache / "untouched"))
    for number, stop in enumerate(lines[share]):
        here = cache / str(number)
        with pytest.raises(KeyboardInterrupt):
            lines_of(lambda: prepare(here), stop)  # noqa: B023 - called at once
        assert prepare(here) == wanted, stop
        assert {name for name in state(here) if not name.endswith(".partial")} == set(state(reference)), stop
        found = state(here)
        assert [name for name, sha256 in state(reference).items() if found[name] != sha256] == [], stop
        shutil.rmtree(here)
    return len(lines)


STRIDE = int(os.environ.get("ASSAY_STOP_STRIDE", "12"))
"""Every how many lines; `make test-long` stops at each."""


@unclosed
def test_stopped_at_any_line(whole: tuple[Path, Prepared], tmp_path: Path) -> None:
    """Ctrl-C at one line after another, and once more: the same models, features and files as without it, nothing left over."""
    assert stopped_everywhere(whole, tmp_path, slice(min(5, STRIDE - 1), None, STRIDE)) > 200


@unclosed
def test_stopped_again_and_again(whole: tuple[Path, Prepared], tmp_path: Path) -> None:
    """Stops that follow each other, each at a later line, still end in the same state."""
    reference, wanted = whole
    lines = lines_of(lambda: prepare(tmp_path / "untouched"))
    for stop in lines[::40]:
        try:
            lines_of(lambda: prepare(tmp_path / "cache"), stop)
        except KeyboardInterrupt:
            continue
    assert prepare(tmp_path / "cache") == wanted
    assert state(tmp_path / "cache") == state(reference)


# ------------------------------------------------------------------------------------------------------------------------- damage


def damaged(content: bytes, kind: str, place: float) -> bytes:
    """`content` with a bit turned, a byte lost, a byte more, or the rest cut off at a share of its length."""
    at = min(int(place * len(content)), len(content) - 1)
    before, byte, behind = content[:at], content[at], content[at + 1 :]
    return {
        "bit": before + bytes([byte ^ (1 << at % 8)]) + behind,
        "lost": before + behind,
        "more": before + bytes([byte, 0]) + behind,
        "cut": before,
        "zeros": before + bytes(len(behind) + 1),
    }[kind]


KINDS = st.sampled_from(["bit", "lost", "more", "cut", "zeros", "gone"])
PLACES = st.floats(0, 1, exclude_max=True)


def stored_files(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file() and not path.is_symlink() and path.suffix != ".lock")


@given(choice=st.integers(0, 10_000), kind=KINDS, place=PLACES, offline=st.booleans())
@settings(max_examples=120, deadline=None)
def test_damaged_cache(whole: tuple[Path, Prepared], choice: int, kind: str, place: float, offline: bool) -> None:
    """Whichever file is damaged, and however: what comes out is what came out before, or an error; with a network it is never an error."""
    reference, wanted = whole
    cache = reference.parent / "damaged"
    shutil.rmtree(cache, ignore_errors=True)
    shutil.copytree(reference, cache, symlinks=True)
    files = stored_files(cache)
    path = files[choice % len(files)]
    if kind == "gone":
        path.unlink()
    else:
        path.write_bytes(damaged(path.read_bytes(), kind, place))
    try:
        found = prepare(cache, offline=offline)
    except MissingError as error:
        problem, found = error, None
    assert found == wanted or (offline and found is None and problem.cure)
    if found is not None and not offline:
        assert prepare(cache, offline=True) == wanted


@given(kind=KINDS.filter(lambda kind: kind != "gone"), place=PLACES)
@settings(max_examples=200, deadline=None)
def test_damaged_features(tmp_path_factory: pytest.TempPathFactory, kind: str, place: float) -> None:
    """A feature file that differs in any place from what was written is built again."""
    folder = tmp_path_factory.getbasetemp() / "features-to-damage"
    shutil.rmtree(folder, ignore_errors=True)
    values = {"values": np.arange(50, dtype=np.int32), "offsets": np.array([0, 20, 50], np.int64)}

    def read() -> Any:
        return cached_features(
            folder,
            "toy",
            "key",
            lambda: values,
            lambda found: check_ragged(found, {"values": "int32", "offsets": "int64"}, {"offsets": ("values",)}),
        )

    assert read().note == "built"
    (path,) = folder.iterdir()
    before = path.read_bytes()
    path.write_bytes(damaged(before, kind, place))
    after = read()
    assert path.read_bytes() == before
    assert after.note.startswith("rebuilt: ") or damaged(before, kind, place) == before
    assert {name: array.tolist() for name, array in after.arrays.items()} == {name: array.tolist() for name, array in values.items()}


def test_two_models_of_one_name(tmp_path: Path) -> None:
    """Two folders of one name and vocabulary, with other weights, never share the copy that is made for their tokenizer."""
    first = write_model(tmp_path / "1" / "model", fast=False)
    second = write_model(tmp_path / "2" / "model", fast=False, layer_norm_eps=1e-6)
    found = [models.resolve(str(folder), QA, cache=tmp_path / "cache") for folder in (first, second, first)]  # type: ignore[arg-type]
    assert found[0] == found[2]
    assert found[0].folder != found[1].folder
    assert json.loads((found[1].folder / "config.json").read_text())["layer_norm_eps"] == 1e-6
