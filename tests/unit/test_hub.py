"""Models of the hub, against a server on this machine: what is fetched, resumed, refused, found again and said."""

from __future__ import annotations

import hashlib
import shutil
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import hub
from harness.cached import MANIFEST
from harness.errors import DataError, MissingError
from harness.models import resolve
from tests.fake_hub import COMMIT, FakeHub, git_sha1, serving

WEIGHTS = bytes(range(256)) * 20  # 5,120 bytes
FILES = {
    "config.json": b'{"a": 1}',
    "model.safetensors": WEIGHTS,
    "tokenizer.json": b'{"version": "1.0"}',
    "tokenizer_config.json": b"{}",
    "vocab.txt": b"[PAD]\n[UNK]\n",
}
UNWANTED = {
    "README.md": b"words",
    "model.onnx": b"graph",
    "pytorch_model.bin": b"pickle",
    "onnx/model.onnx": b"graph",
    ".gitattributes": b"*",
}
OTHER = "f" * 40


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache of the hub's library, no token, no proxy, retries without waiting, and small blocks so that cuts fall between them."""
    from huggingface_hub import constants, file_download

    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "library"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 64)
    monkeypatch.setattr(file_download, "time", types.SimpleNamespace(sleep=lambda seconds: None))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serving(FakeHub()) as fake:
        fake.add("acme/model", FILES | UNWANTED)
        monkeypatch.setenv("HF_ENDPOINT", fake.endpoint)
        yield fake


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def snapshot(cache: Path, repo: str = "acme/model", revision: str | None = COMMIT, **options: Any) -> Path:
    options = {"offline": False, "allow_pickle": False, "say": lambda line: None} | options
    return hub.hub_snapshot(repo, revision, cache=cache, **options)


def contents(folder: Path) -> dict[str, bytes]:
    """Files by name, without the manifest."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST}


def leftovers(cache: Path) -> list[str]:
    """Files of the cache that are neither locks nor of a finished folder."""
    found = [path.relative_to(cache) for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return sorted(str(path) for path in found if any(part.startswith(".") for part in path.parts))


# ------------------------------------------------------------------------------------------------------------- what is fetched


def test_what_a_model_needs_and_no_more(fake: FakeHub, cache: Path) -> None:
    """Configuration, weights and tokenizer are fetched, each once, at the commit; afterwards nobody is asked, online or offline."""
    folder = snapshot(cache)
    assert contents(folder) == FILES
    assert folder == cache / "hub" / "acme--model" / COMMIT
    assert all(COMMIT in asked.path for asked in fake.asked if not asked.path.startswith("/storage/"))
    assert sorted(asked.path.rpartition("/")[2] for asked in fake.asked if "/resolve/" in asked.path and asked.method == "GET") == sorted(
        FILES
    )
    assert leftovers(cache) == []
    fake.asked.clear()
    assert snapshot(cache) == snapshot(cache, offline=True) == folder
    assert fake.asked == []


def test_one_weights_file_is_enough(fake: FakeHub, cache: Path) -> None:
    """Beside model.safetensors other variants and shards are left alone; without it all shards come with their index."""
    shards = {f"model-0000{number}-of-00002.safetensors": b"x" * number for number in (1, 2)} | {"model.safetensors.index.json": b"{}"}
    fake.add("acme/both", FILES | shards | {"model.fp16.safetensors": b"half"})
    assert contents(snapshot(cache, "acme/both")) == FILES
    whole = {name: content for name, content in FILES.items() if name != "model.safetensors"}
    fake.add("acme/shards", whole | shards | {"other.safetensors": b"y"})
    assert contents(snapshot(cache, "acme/shards")) == whole | shards


def test_a_branch_is_asked_for_and_remembered(fake: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A branch, a tag or nothing is looked up on each use and followed; when the hub is gone or --offline, its last commit is used."""
    fake.refs["v1.0"] = COMMIT
    first = snapshot(cache, revision=None)
    assert first.name == snapshot(cache, revision="v1.0").name == COMMIT
    newer = FILES | {"config.json": b'{"a": 2}'}
    fake.add("acme/model", newer, OTHER)
    fake.refs["main"] = OTHER
    assert snapshot(cache, revision=None, offline=True) == first
    second = snapshot(cache, revision=None)
    assert contents(second) == newer
    assert snapshot(cache, revision="v1.0") == first
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert snapshot(cache, revision=None) == second
    assert snapshot(cache, revision="v1.0") == first


def test_a_pinned_commit_is_used_whatever_the_branch_says(fake: FakeHub, cache: Path) -> None:
    """What a registered model pins is what comes, though the branch has moved on."""
    fake.add("acme/model", FILES | {"config.json": b'{"a": 2}'}, OTHER)
    fake.refs["main"] = OTHER
    assert contents(snapshot(cache)) == FILES


def test_order_of_places(fake: FakeHub, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of that name comes before every cache, Assay's cache before the library's, and both before the hub."""
    monkeypatch.chdir(tmp_path)
    used: list[Path] = []
    monkeypatch.setattr("harness.models._inspected", lambda name, folder, *rest: used.append(folder))

    def ask() -> Path:
        resolve(f"acme/model@{COMMIT}" if not Path("acme/model").exists() else "acme/model", "question-answering", cache=cache)
        return used[-1]

    ask()
    assert used[-1] == cache / "hub" / "acme--model" / COMMIT
    library = by_library(fake)
    fake.asked.clear()
    assert ask() == cache / "hub" / "acme--model" / COMMIT
    shutil.rmtree(cache)
    assert ask() == library
    (tmp_path / "acme" / "model").mkdir(parents=True)
    assert ask() == tmp_path / "acme" / "model"
    assert fake.asked == []


def test_pickles(fake: FakeHub, cache: Path) -> None:
    """Pickled weights are refused before a byte of them is fetched, unless they are allowed; beside safetensors they are never fetched."""
    pickled = {name: content for name, content in FILES.items() if name != "model.safetensors"} | {"pytorch_model.bin": b"pickle"}
    fake.add("acme/old", pickled)
    with pytest.raises(DataError, match=r"acme/old: weights are only there as pickle \(pytorch_model\.bin\)") as caught:
        snapshot(cache, "acme/old")
    assert "--allow-pickle" in caught.value.cure
    assert fake.contents() == []
    folder = snapshot(cache, "acme/old", allow_pickle=True)
    assert contents(folder) == pickled
    assert snapshot(cache, "acme/old", allow_pickle=True, offline=True) == folder
    with pytest.raises(MissingError):
        snapshot(cache, "acme/old", offline=True)
    assert contents(snapshot(cache, allow_pickle=True)) == FILES


def test_a_token_stays_with_the_hub(fake: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token goes to the hub, and not to the other host that has the bytes."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    snapshot(cache)
    assert {(asked.path.startswith("/storage/"), asked.authorized) for asked in fake.asked} == {(False, True), (True, False)}


# ------------------------------------------------------------------------------------------------------- interrupted and resumed


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("cuts", [[0], [1], [64], [2560], [5119], [100, 200, 300], [5000, 64]])
def test_a_cut_line_is_continued(fake: FakeHub, cache: Path, cuts: list[int], ranges: bool) -> None:
    """A connection cut in the middle is made again within the same call and goes on where it stopped if the server knows ranges."""
    fake.cut, fake.ranges = list(cuts), ranges
    assert contents(snapshot(cache)) == FILES
    asked = fake.contents()
    assert len(asked) == 1 + len(cuts)
    assert asked[-1].status == (206 if ranges and max(cuts) >= 64 else 200)
    if ranges:  # of each block that was not whole the received part is lost
        assert sum(each.sent for each in asked) < len(WEIGHTS) + 64 * len(cuts)
    assert leftovers(cache) == []


def give_up_after(fake: FakeHub, received: int) -> None:
    """The line is cut after `received` bytes and stays dead for as often as the library tries."""
    fake.cut = [received, *([0] * 5)]


@pytest.mark.parametrize("received", [64, 1024, 2560, 5056])
def test_the_next_attempt_continues(fake: FakeHub, cache: Path, received: int) -> None:
    """What a failed call received is kept, and the next call asks for the rest alone; files that were whole are not fetched again."""
    give_up_after(fake, received)
    with pytest.raises(MissingError, match=r"acme/model/model\.safetensors"):
        snapshot(cache)
    assert not (cache / "hub" / "acme--model" / COMMIT).exists()
    whole = {asked.path for asked in fake.asked if asked.method == "GET" and asked.status == 200 and "/resolve/" in asked.path}
    fake.asked.clear()
    said: list[str] = []
    assert contents(snapshot(cache, say=said.append)) == FILES
    assert [(each.start, each.status, each.sent) for each in fake.contents()] == [(received, 206, len(WEIGHTS) - received)]
    assert said == [f"acme/model/model.safetensors: continuing at byte {received:,} of 5,120 bytes"]
    assert whole.isdisjoint(asked.path for asked in fake.asked if asked.method == "GET")
    assert leftovers(cache) == []


def test_the_next_attempt_starts_afresh_without_ranges(fake: FakeHub, cache: Path) -> None:
    """A server that does not know ranges sends all again, and what was received before does not get into the file."""
    give_up_after(fake, 2560)
    with pytest.raises(MissingError):
        snapshot(cache)
    fake.ranges = False
    fake.asked.clear()
    assert contents(snapshot(cache)) == FILES
    assert [(each.start, each.status, each.sent) for each in fake.contents()] == [(2560, 200, len(WEIGHTS))]


@pytest.mark.parametrize("change", ["flipped", "longer", "whole but wrong", "other file"])
def test_a_damaged_remainder_is_not_built_upon(fake: FakeHub, cache: Path, change: str) -> None:
    """Where what was received before is no beginning of the file, the file is fetched anew."""
    give_up_after(fake, 2560)
    with pytest.raises(MissingError):
        snapshot(cache)
    (part,) = cache.rglob("model.safetensors")
    content = part.read_bytes()
    part.write_bytes(
        {
            "flipped": content[:-1] + bytes([content[-1] ^ 1]),
            "longer": WEIGHTS + b"more",
            "whole but wrong": WEIGHTS[::-1],
            "other file": b"<html>proxy</html>",
        }[change]
    )
    assert contents(snapshot(cache)) == FILES
    assert leftovers(cache) == []


def test_a_process_that_was_stopped(fake: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of a file leaves nothing under the final name, and the next call continues it."""
    from huggingface_hub import file_download

    def some(url: str, target: Any, **options: Any) -> None:
        target.write(WEIGHTS[:1000] if "safetensors" in url else FILES[url.rpartition("/")[2]])
        if "safetensors" in url:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(file_download, "http_get", some)
        with pytest.raises(KeyboardInterrupt):
            snapshot(cache)
    assert not (cache / "hub" / "acme--model" / COMMIT).exists()
    assert contents(snapshot(cache)) == FILES
    assert [each.start for each in fake.contents()] == [1000]


# ------------------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("name", ["model.safetensors", "vocab.txt"])
def test_wrong_checksum(fake: FakeHub, cache: Path, name: str) -> None:
    """Bytes that are not those whose checksum was stated are refused with both checksums and removed; afterwards the right ones come."""
    content = FILES[name]
    wrong = content[:-1] + bytes([content[-1] ^ 1])
    fake.sends[name] = wrong
    with pytest.raises(DataError) as caught:
        snapshot(cache)
    expected, found = ((hashlib.sha256(each).hexdigest() if name.endswith("safetensors") else git_sha1(each)) for each in (content, wrong))
    assert f"acme/model/{name}: checksum does not match: {expected} expected" in str(caught.value)
    if name.endswith("safetensors"):
        assert f"{found} found; removed" in str(caught.value)
    assert "proxy" in caught.value.cure
    assert list(cache.rglob(name)) == []
    fake.sends.clear()
    assert contents(snapshot(cache)) == FILES


@pytest.mark.parametrize("sent", [WEIGHTS + b"more", WEIGHTS[:3000], b""])
def test_wrong_size(fake: FakeHub, cache: Path, sent: bytes) -> None:
    """More or fewer bytes than stated are refused with both numbers and removed."""
    fake.sends["model.safetensors"] = sent
    with pytest.raises(DataError, match=f"acme/model/model.safetensors: 5120 bytes expected, {len(sent)} found; removed"):
        snapshot(cache)
    assert list(cache.rglob("model.safetensors")) == []
    fake.sends.clear()
    assert contents(snapshot(cache)) == FILES


def test_size_that_changes_under_way(fake: FakeHub, cache: Path) -> None:
    """A file that has become shorter since it was begun is refused, not mended from two versions."""
    give_up_after(fake, 2560)
    with pytest.raises(MissingError):
        snapshot(cache)
    fake.sends["model.safetensors"] = WEIGHTS[:4000]
    with pytest.raises(DataError, match="removed"):
        snapshot(cache)
    fake.sends.clear()
    assert contents(snapshot(cache)) == FILES


REPO, REVISION, FILE = "/api/models/acme/model", "/api/models/acme/model/revision", "/resolve/"


@pytest.mark.parametrize(
    ("path", "status", "headers", "words", "cure"),
    [
        (REPO, 404, {"X-Error-Code": "RepoNotFound"}, "the hub knows no such model", "Check the name"),
        (REPO, 401, {}, "the model is private, or your token is not accepted", "hf auth login"),
        (REPO, 401, {"X-Error-Message": "Invalid credentials in Authorization header"}, "your token is not accepted", "unset HF_TOKEN"),
        (REPO, 403, {"X-Error-Code": "GatedRepo"}, "grants access by request", "Ask for access"),
        (REPO, 403, {}, "your account may not read it", "Ask its owner"),
        (REPO, 429, {}, "too many requests", "Wait some minutes"),
        (REPO, 500, {}, "the hub answers 500", "Try again later"),
        (REPO, 503, {}, "the hub answers 503", "Try again later"),
        (REVISION, 404, {"X-Error-Code": "RevisionNotFound"}, "no such revision", "behind @"),
        (FILE, 404, {"X-Error-Code": "EntryNotFound"}, "a file is not there", "Check the name"),
        (FILE, 500, {}, "the hub answers 500", "Try again later"),
        ("/storage/", 403, {}, "your account may not read it", "Ask its owner"),
        ("/storage/", 502, {}, "the hub answers 502", "Try again later"),
    ],
)
def test_refusals(fake: FakeHub, cache: Path, path: str, status: int, headers: dict[str, str], words: str, cure: str) -> None:
    """Each refusal names the model, says what it means and what to do, and leaves no folder."""
    fake.answers[path] = (status, headers)
    with pytest.raises(MissingError, match=words) as caught:
        snapshot(cache, revision=None if path == REPO else COMMIT)
    assert "acme/model" in str(caught.value)
    assert cure in caught.value.cure
    assert not (cache / "hub" / "acme--model" / COMMIT).exists()


def test_unknown_names(fake: FakeHub, cache: Path) -> None:
    """A model and a revision that are not there are told apart, and so is a repository that holds no model."""
    with pytest.raises(MissingError, match="acme/none: the hub knows no such model"):
        snapshot(cache, "acme/none", None)
    with pytest.raises(MissingError, match="acme/model: the hub has no such revision"):
        snapshot(cache, revision="v9")
    fake.add("acme/data", {"README.md": b"rows"})
    with pytest.raises(DataError, match=r"acme/data: has no config\.json"):
        snapshot(cache, "acme/data")


def test_not_a_hub(fake: FakeHub, cache: Path) -> None:
    """A server that answers with something else, as a captive portal does, is no hub."""
    fake.answers["/api/"] = (200, {"Content-Type": "text/html"})
    with pytest.raises(MissingError, match="acme/model") as caught:
        snapshot(cache)
    assert "HF_ENDPOINT" in caught.value.cure


def test_unreachable(cache: Path) -> None:
    """A hub that refuses connections is said to be unreachable."""
    with pytest.raises(MissingError, match="cannot be reached for acme/model") as caught:
        snapshot(cache, revision=None)
    assert "HF_ENDPOINT" in caught.value.cure


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_offline(fake: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """--offline, or the library's own HF_HUB_OFFLINE, asks nobody and says what is not there."""
    if how == "variable":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for revision in (None, COMMIT, "v1.0"):
        with pytest.raises(MissingError, match="acme/model is not on this machine"):
            snapshot(cache, revision=revision, offline=how == "flag")
    assert fake.asked == []


# ----------------------------------------------------------------------------------------------------------- what is on this machine


DAMAGES = {
    "first byte": lambda content: bytes([content[0] ^ 0x20]) + content[1:],
    "middle byte": lambda content: (
        content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 1]) + content[len(content) // 2 + 1 :]
    ),
    "last byte": lambda content: content[:-1] + bytes([content[-1] ^ 4]),
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "longer": lambda content: content + b"\n",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_damaged_folder(fake: FakeHub, cache: Path, name: str, damage: str) -> None:
    """A file of the cached folder that is not what it was is refused offline, and fetched again online; nobody gets the damaged one."""
    folder = snapshot(cache)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / name).write_bytes(DAMAGES[damage](before[name]))
    if name == MANIFEST and damage == "longer":  # one line break more behind the JSON says nothing else
        assert contents(snapshot(cache, offline=True)) == FILES
        return
    with pytest.raises(DataError, match="not those of its manifest") as caught:
        snapshot(cache, offline=True)
    assert "--offline" in caught.value.cure
    said: list[str] = []
    assert snapshot(cache, say=said.append) == folder
    assert "fetching it again" in said[0]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_memory_of_a_branch(fake: FakeHub, cache: Path, damage: str) -> None:
    """Where a branch stood is looked up again; offline, a damaged note of it leads to no model."""
    folder = snapshot(cache, revision=None)
    note = cache / "hub" / "acme--model" / "refs" / "main"
    note.write_bytes(DAMAGES[damage](note.read_bytes()))
    with pytest.raises(MissingError):
        snapshot(cache, revision=None, offline=True)
    assert snapshot(cache, revision=None) == folder
    assert note.read_text() == COMMIT


def by_library(fake: FakeHub, names: tuple[str, ...] = tuple(FILES)) -> Path:
    """Fetched by the hub's own library into its own cache, as transformers does it."""
    from huggingface_hub import constants, hf_hub_download

    for name in names:
        path = hf_hub_download("acme/model", name, cache_dir=constants.HF_HUB_CACHE, endpoint=fake.endpoint)
    return Path(path).parent


def test_library_cache_is_used_in_place(fake: FakeHub, cache: Path) -> None:
    """What transformers fetched before is used where it lies, by commit without a request, by branch offline."""
    folder = by_library(fake)
    fake.asked.clear()
    assert snapshot(cache) == snapshot(cache, offline=True) == snapshot(cache, revision=None, offline=True) == folder
    assert fake.asked == []
    assert not cache.exists()


@pytest.mark.parametrize("absent", ["model.safetensors", "tokenizer.json and vocab.txt"])
def test_half_of_it_in_the_library_cache(fake: FakeHub, cache: Path, absent: str) -> None:
    """Where the library has only some of the files the model is fetched, and offline it is not there."""
    by_library(fake, tuple(name for name in FILES if name not in absent))
    with pytest.raises(MissingError, match="not on this machine"):
        snapshot(cache, offline=True)
    assert contents(snapshot(cache)) == FILES


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_damaged_library_cache(fake: FakeHub, cache: Path, name: str, damage: str) -> None:
    """A file that is not what the library stored it as is refused by name offline; online the model is fetched into Assay's cache."""
    stored = (by_library(fake) / name).resolve()
    stored.write_bytes(DAMAGES[damage](stored.read_bytes()))
    with pytest.raises(DataError, match=f"{name}: damaged"):
        snapshot(cache, offline=True)
    folder = snapshot(cache)
    assert folder.is_relative_to(cache)
    assert contents(folder) == FILES


def test_dangling_library_cache(fake: FakeHub, cache: Path) -> None:
    """A link of the library's cache whose file is gone is refused by name, or fetched."""
    folder = by_library(fake)
    (folder / "vocab.txt").resolve().unlink()
    with pytest.raises(DataError, match=r"vocab\.txt: leads nowhere"):
        snapshot(cache, offline=True)
    assert contents(snapshot(cache)) == FILES


def test_a_mirror_without_checksums(fake: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain SHA-1 is accepted as a checksum; an ETag that is none leaves the size to check; with neither the file is refused."""
    import huggingface_hub

    asked = huggingface_hub.get_hf_file_metadata

    def mirror(etag: str | None, size: bool) -> None:
        def metadata(url: str, **options: Any) -> Any:
            real = asked(url, **options)
            content = FILES[url.rpartition("/")[2]]
            given = hashlib.sha1(content).hexdigest() if etag == "sha1" else etag
            return types.SimpleNamespace(etag=given, size=real.size if size else None)

        monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", metadata)

    mirror("sha1", True)
    assert contents(snapshot(cache / "1")) == FILES
    mirror("W/x-5", True)
    assert contents(snapshot(cache / "2")) == FILES
    mirror(None, False)
    with pytest.raises(DataError, match="neither a checksum nor a size"):
        snapshot(cache / "3")
