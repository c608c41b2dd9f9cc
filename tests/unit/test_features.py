"""The feature cache: believed only when it is whole and is what was asked for."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest

from harness.features import Arrays, Features, cached_features, check_ragged, fingerprint

TYPES = {"values": "int32", "offsets": "int64"}


class Builder:
    """Builds small features and counts how often."""

    def __init__(self, size: int = 3) -> None:
        self.size = size
        self.calls = 0

    def __call__(self) -> Arrays:
        self.calls += 1
        return {"values": np.arange(self.size, dtype=np.int32), "offsets": np.array([0, self.size], np.int64)}


def check(arrays: Arrays) -> None:
    check_ragged(arrays, TYPES, {"offsets": ("values",)})


def ask(folder: Path | None, build: Builder, key: str = "k") -> Features:
    found = cached_features(folder, "toy", key, build, check)
    assert found.arrays["values"].tolist() == list(range(build.size))
    return found


def cache_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_built_once(tmp_path: Path) -> None:
    """The second call reads what the first wrote, and leaves no other file."""
    build = Builder()
    assert ask(tmp_path / "deep" / "er", build).note == "built"
    assert ask(tmp_path / "deep" / "er", build).note == f"read from {cache_file(tmp_path / 'deep' / 'er')}"
    assert build.calls == 1


def test_no_folder_no_cache() -> None:
    """Without a folder features are built each time."""
    build = Builder()
    ask(None, build)
    assert ask(None, build).note == "built; no cache"
    assert build.calls == 2


def test_other_key_other_features(tmp_path: Path) -> None:
    """Another key never reads the features of the first."""
    ask(tmp_path, Builder(3), "one")
    ask(tmp_path, Builder(4), "two")
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["empty", "garbage", "truncated", "flipped", "header"])
def test_damaged_file_is_rebuilt(tmp_path: Path, damage: str) -> None:
    """A file that is empty, garbage, cut short or has one wrong bit is built again, which the note says, and is whole afterwards."""
    build = Builder()
    ask(tmp_path, build)
    path = cache_file(tmp_path)
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(
        {
            "empty": b"",
            "garbage": b"PK\x03\x04" + bytes(range(256)),
            "truncated": content[:middle],
            "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "header": content[:3],
        }[damage]
    )
    assert ask(tmp_path, build).note.startswith("rebuilt: ")
    assert build.calls == 2
    assert ask(tmp_path, build).note.startswith("read from")


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    """No prefix of a cache file is believed."""
    build = Builder()
    ask(tmp_path, build)
    path = cache_file(tmp_path)
    content = path.read_bytes()
    for size in range(0, len(content), 37):
        path.write_bytes(content[:size])
        assert ask(tmp_path, build).note.startswith("rebuilt: ")


def test_file_of_another_key_is_rebuilt(tmp_path: Path) -> None:
    """A file that says it belongs to another key is not believed, whatever its name."""
    ask(tmp_path, Builder(3), "one")
    other = cache_file(tmp_path)
    ask(tmp_path, Builder(4), "two")
    path = next(path for path in tmp_path.iterdir() if path != other)
    path.write_bytes(other.read_bytes())
    build = Builder(4)
    assert "belongs to other data" in ask(tmp_path, build, "two").note
    assert build.calls == 1


def save(path: Path, body: bytes, key: bytes) -> None:
    path.write_bytes(b"assay-features " + key + b" " + hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


@pytest.mark.parametrize(
    "arrays",
    [
        {"values": np.arange(3, dtype=np.int32)},
        {"values": np.arange(3, dtype=np.int64), "offsets": np.array([0, 3])},
        {"values": np.zeros((3, 1), np.int32), "offsets": np.array([0, 3])},
        {"values": np.arange(3, dtype=np.int32), "offsets": np.array([0, 2])},
        {"values": np.arange(3, dtype=np.int32), "offsets": np.array([0, 4, 3])},
        {"values": np.arange(3, dtype=np.int32), "offsets": np.array([], np.int64)},
        {"values": np.array([{}, []], dtype=object), "offsets": np.array([0, 2])},
    ],
)
def test_wrong_shapes_are_rebuilt(tmp_path: Path, arrays: Arrays) -> None:
    """A file with the right key and checksum but other arrays than expected (pickled ones among them) is built again."""
    build = Builder()
    ask(tmp_path, build)
    path = cache_file(tmp_path)
    body = io.BytesIO()
    np.savez(body, **arrays)
    save(path, body.getvalue(), path.read_bytes().split(b" ")[1])
    assert ask(tmp_path, build).note.startswith("rebuilt: ")


def test_zip_that_is_none_is_rebuilt(tmp_path: Path) -> None:
    """A file with the right key and checksum that is no archive is built again."""
    build = Builder()
    ask(tmp_path, build)
    path = cache_file(tmp_path)
    save(path, b"PK\x03\x04 not really", path.read_bytes().split(b" ")[1])
    assert ask(tmp_path, build).note.startswith("rebuilt: ")


def test_cache_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    """Where the folder cannot be made the features are built, and the note says that they were not kept."""
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    note = ask(blocker / "cache", Builder()).note
    assert note.startswith("built; not kept: ")


def test_full_disk_leaves_no_partial_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails half-way leaves nothing behind."""

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert "No space left" in ask(tmp_path, Builder()).note
    assert list(tmp_path.iterdir()) == []


def test_fingerprint_covers_everything() -> None:
    """Data, vocabulary and every setting change the fingerprint; the order of the settings does not."""
    prints = {
        fingerprint("d", "v", {"a": 1, "b": 2}),
        fingerprint("e", "v", {"a": 1, "b": 2}),
        fingerprint("d", "w", {"a": 1, "b": 2}),
        fingerprint("d", "v", {"a": 1, "b": 3}),
        fingerprint("d", "v", {"a": 1}),
    }
    assert len(prints) == 5
    assert fingerprint("d", "v", {"b": 2, "a": 1}) in prints
