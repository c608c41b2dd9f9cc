"""Plugins are found by file name, entry point or path, and imported only when asked for."""

import importlib.metadata
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import plugins
from harness.errors import MissingError, UsageError

BACKEND = '''"""Runs on paper.

More about it.
"""
REQUIRES: tuple[str, ...] = ("numpy", "surely_not_installed")
PRECISIONS = ("fp32", "int8")
raise RuntimeError("imported")
def create(options): ...
'''


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with empty plugin folders, on the import path, and no entry points."""
    root = tmp_path / "house"
    for kind in plugins.KINDS:
        (root / kind).mkdir(parents=True)
    monkeypatch.setattr(plugins, "ROOT", root)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: ())
    return root


def put(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_a_plugin_is_described_without_import(house: Path) -> None:
    """Summary, needs and precisions are read from the text; the file, which raises when imported, is not run."""
    file = put(house / "backends", "paper_engine.py", BACKEND)
    (info,) = plugins.describe("backends")
    assert (info.name, info.summary, info.file) == ("paper-engine", "Runs on paper", file)
    assert info.precisions == ("fp32", "int8")
    assert info.missing == ("surely_not_installed",)
    assert "backends.paper_engine" not in sys.modules


def test_helpers_and_private_files_are_no_plugins(house: Path) -> None:
    """Only a file with the factory of its kind counts."""
    put(house / "tasks", "helper.py", "def split(text): ...\n")
    put(house / "tasks", "_hidden.py", "def create(options): ...\n")
    put(house / "tasks", "real.py", "def create(options): ...\n")
    put(house / "reports", "wrong.py", "def create(options): ...\n")
    assert [info.name for info in plugins.describe("tasks")] == ["real"]
    assert plugins.describe("reports") == []


def test_a_factory_may_be_imported_or_assigned(house: Path) -> None:
    """`from x import create` and `create = ...` define it as well as `def`."""
    put(house / "tasks", "first.py", "from somewhere import make as create\n")
    put(house / "tasks", "second.py", "create = None\n")
    assert [info.name for info in plugins.describe("tasks")] == ["first", "second"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("def create(options):\n  return (\n", "syntax error in line 2"),
        ('REQUIRES = tuple(["a"])\ndef create(options): ...\n', "REQUIRES in line 1 is not a literal"),
        ('REQUIRES = "torch"\ndef create(options): ...\n', "REQUIRES in line 1 is not a tuple"),
    ],
)
def test_a_plugin_that_cannot_be_read_is_listed_with_its_problem(house: Path, text: str, problem: str) -> None:
    """A broken file shows in the list and raises only when it is loaded."""
    file = put(house / "tasks", "broken.py", text)
    assert [info.problem for info in plugins.describe("tasks")] == [problem]
    with pytest.raises(UsageError) as caught:
        plugins.load("tasks", "broken")
    assert str(caught.value) == f"{file}: {problem}"


def test_an_unknown_name_is_answered_with_what_there_is(house: Path) -> None:
    """The error names the place and the names that exist; the cure the nearest."""
    for name in ("server", "single_stream"):
        put(house / "scenarios", f"{name}.py", "def create(): ...\n")
    with pytest.raises(UsageError) as caught:
        plugins.find("scenarios", "Single_Streem", "--scenario")
    assert str(caught.value) == "--scenario: there is no scenario Single_Streem"
    assert caught.value.cure == "did you mean single-stream? scenarios: server, single-stream"


def test_a_missing_requirement_names_the_pip_command(house: Path) -> None:
    """Loading a plugin whose needs are not installed says what to install, before importing it."""
    put(house / "backends", "paper.py", BACKEND)
    with pytest.raises(MissingError, match="backend paper needs surely_not_installed") as caught:
        plugins.load("backends", "paper")
    assert caught.value.cure == "pip install surely-not-installed"


def test_a_plugin_given_by_path_is_loaded_once(tmp_path: Path) -> None:
    """A .py file anywhere is a backend or task; loading it again gives the same module."""
    file = put(tmp_path, "mine.py", '"""Mine."""\ndef create(options):\n    return 42\n')
    module = plugins.load("backends", str(file))
    assert module.create(None) == 42
    assert plugins.load("backends", str(file)) is module


def test_workers_that_are_threads_load_a_file_whole(tmp_path: Path) -> None:
    """While one thread executes the file, another waits for it instead of taking the half-made module."""
    file = put(tmp_path, "slow_engine.py", "import time\ntime.sleep(0.1)\ndef create(options):\n    return 42\n")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: plugins.load("backends", str(file)).create(None), range(4)))
    assert answers == [42] * 4


@pytest.mark.parametrize(
    ("kind", "text", "error", "message"),
    [
        ("backends", None, MissingError, "is not there"),
        ("backends", "x = 1\n", UsageError, "defines no function create"),
        ("backends", "def create(:\n", UsageError, "syntax error in line 1"),
        ("scenarios", "def create(): ...\n", UsageError, "scenarios are found by name, not by path"),
        ("backends", "import surely_not_installed\ndef create(options): ...\n", MissingError, "cannot be imported"),
    ],
)
def test_a_wrong_path_is_told(tmp_path: Path, kind: plugins.Kind, text: str | None, error: type[Exception], message: str) -> None:
    """No file, no factory, no Python, or a kind that has no paths: each has its own message."""
    file = tmp_path / "mine_wrong.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(error, match=message):
        plugins.load(kind, str(file))


def test_two_plugins_of_one_name_are_an_error(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package cannot replace a plugin silently."""
    put(house / "backends", "paper.py", BACKEND)
    other = put(house, "stranger_plugin.py", BACKEND)
    monkeypatch.syspath_prepend(str(house))
    point = importlib.metadata.EntryPoint("paper", "stranger_plugin", "assay.backends")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: (point,) if group == "assay.backends" else ())
    with pytest.raises(UsageError, match=r"two backends are called paper") as caught:
        plugins.describe("backends")
    assert str(other) in str(caught.value)


def test_an_entry_point_is_a_plugin(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package brings a plugin, in a package of its own, without being imported for the list."""
    package = house / "stranger"
    package.mkdir()
    put(package, "__init__.py", "raise RuntimeError('imported')\n")
    put(package, "fast.py", '"""Fast."""\nPRECISIONS = ("fp8",)\ndef create(options): ...\n')
    monkeypatch.syspath_prepend(str(house))
    point = importlib.metadata.EntryPoint("very_fast", "stranger.fast", "assay.backends")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: (point,) if group == "assay.backends" else ())
    (info,) = plugins.describe("backends")
    assert (info.name, info.summary, info.precisions, info.module) == ("very-fast", "Fast", ("fp8",), "stranger.fast")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("pytorch", ("pytorch", "", ())),
        ("pytorch:fp32", ("pytorch", "fp32", ())),
        ("pytorch:amp+compile+packed", ("pytorch", "amp", ("compile", "packed"))),
        ("pytorch+compile", ("pytorch", "", ("compile",))),
        ("mine/engine.py", ("mine/engine.py", "", ())),
        ("mine/engine.py:int8", ("mine/engine.py", "int8", ())),
        ("my+c:odd/engine.py:int8+fast", ("my+c:odd/engine.py", "int8", ("fast",))),
    ],
)
def test_a_backend_is_written_with_its_precision(text: str, parts: tuple[str, str, tuple[str, ...]]) -> None:
    """name[:precision][+option...], also for files."""
    assert plugins.split_backend(text) == parts


def test_a_precision_is_one_the_backend_declares(house: Path) -> None:
    """The first is the default; an unknown one is an error; `*` leaves it to the plugin."""
    put(house / "backends", "paper.py", BACKEND)
    put(house / "backends", "null.py", 'PRECISIONS = ("none", "*")\ndef create(options): ...\n')
    assert plugins.find_backend("paper")[1] == "fp32"
    assert plugins.find_backend("paper:int8")[1] == "int8"
    assert plugins.find_backend("null:2ms")[1] == "2ms"
    with pytest.raises(UsageError, match="paper has no precision int4"):
        plugins.find_backend("paper:int4")


def test_an_option_is_one_the_backend_declares(house: Path) -> None:
    """An option that the plugin does not list, or that is written twice, is an error that says what there is."""
    put(house / "backends", "paper.py", BACKEND + '\nOPTIONS = ("ink", "glue")\n')
    put(house / "backends", "plain.py", BACKEND)
    assert plugins.find_backend("paper:int8+ink+glue")[1:] == ("int8", ("ink", "glue"))
    with pytest.raises(UsageError, match=r"paper has no option \+inc") as caught:
        plugins.find_backend("paper+inc")
    assert "ink" in caught.value.cure
    with pytest.raises(UsageError, match=r"\+ink is written twice"):
        plugins.find_backend("paper+ink+ink")
    with pytest.raises(UsageError, match=r"plain has no option \+ink"):
        plugins.find_backend("plain+ink")


def test_the_projects_own_plugins_can_be_read() -> None:
    """Every plugin of this project has a summary, no problem, and a name that is spelled with -."""
    for kind in plugins.KINDS:
        found = plugins.describe(kind)
        assert found
        for info in found:
            assert info.summary
            assert not info.problem
            assert "_" not in info.name
