"""The import rules that `make check` does not see: heavy libraries, cycles through local imports, and what plugin files declare."""

from __future__ import annotations

import ast
import graphlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest

from harness.checkpoint import Head
from harness.plugin_info import KINDS, Kind, PluginInfo, read
from harness.registered_models import REGISTERED

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("harness", *KINDS)
SHARED_BY_BACKENDS = ROOT / "harness" / "runtimes"
FILES = sorted(file for folder in (*FOLDERS, "assay") for file in (ROOT / folder).rglob("*.py") if file.parent != SHARED_BY_BACKENDS)

FINETUNE = {f"harness/finetuning/{name}.py" for name in ("training", "loop", "model", "score")}

LOCAL = {
    "torch": {"harness/checkpoint.py", "harness/doctoring/examination.py", "harness/peak_kernels.py", *FINETUNE},
    "transformers": {"harness/models.py", "harness/tokenization.py", "backends/pytorch.py", "harness/finetuning/model.py"},
    "tokenizers": {"harness/tokenization.py"},
    "huggingface_hub": {"harness/hub.py"},
    "safetensors": {"harness/embedded.py", "harness/lora.py", "harness/finetuning/checkpoint.py", "harness/finetuning/model.py"},
    "pyarrow": {
        "harness/comparing/stored.py",
        "harness/history/exporting.py",
        "harness/store.py",
        "harness/telemetry/parquet.py",
        "harness/traffic_file.py",
    },
    "rich": {"reports/terminal.py"},
    "jinja2": {"reports/html.py"},
    "plotly": {"reports/html.py"},
}
"""Files that import a heavy library inside the functions that need it."""

AT_IMPORT = {"torch": {"backends/pytorch.py"}}
"""Files that need a heavy library when they are imported: a backend is imported only when it was chosen."""

WITHOUT_NUMPY = {"cli", "flags", "config", "config_file", "plugins", "plugin_info", "registered_models", "suggest", "units", "errors"}
"""Modules of harness behind --help and `list`, besides the verbs: numpy alone would double the time to an answer."""


@dataclass(frozen=True)
class Import:
    """`module` as written, or with a name imported from it that may be a module; `local` inside a function, `typing` for types only."""

    file: str
    module: str
    local: bool
    typing: bool

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


def imports(file: Path) -> Iterator[Import]:
    """Every import statement of a file, those in functions and under TYPE_CHECKING too."""
    name = file.relative_to(ROOT).as_posix()

    def walk(node: ast.AST, local: bool, typing: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(name, alias.name, local, typing) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{name}: a relative import"
                yield Import(name, str(child.module), local, typing)
                yield from (Import(name, f"{child.module}.{alias.name}", local, typing) for alias in child.names)
            else:
                checking = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(child, local or inside, typing or checking)

    yield from walk(ast.parse(file.read_bytes(), str(file)), local=False, typing=False)


ALL = [found for file in FILES for found in imports(file)]


@pytest.mark.parametrize("library", LOCAL)
def test_heavy_libraries_are_imported_where_they_are_needed_and_nowhere_else(library: str) -> None:
    """The files that import a heavy library are the listed ones, and do so inside functions, except the backend it runs."""
    found = [entry for entry in ALL if entry.top == library and not entry.typing]
    assert {entry.file for entry in found if not entry.local} == AT_IMPORT.get(library, set())
    assert {entry.file for entry in found if entry.local} == LOCAL[library]


def test_the_way_to_help_and_list_is_free_of_numpy() -> None:
    """The verbs, the flags and the configuration import neither numpy nor a module of ours that does, before they run."""
    ours = {
        entry.module.removeprefix("harness.")
        for entry in ALL
        if entry.file.startswith("harness/commands/") and not entry.local and not entry.typing
    }
    with_numpy = {Path(entry.file).stem for entry in ALL if entry.top == "numpy" and entry.file.startswith("harness/")}
    assert not WITHOUT_NUMPY & with_numpy
    assert not ours & with_numpy


def test_no_module_imports_itself_in_a_circle() -> None:
    """The graph of all imports, local ones included, can be sorted; a circle would be named."""
    modules = {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in FILES if file.relative_to(ROOT).parts[0] in FOLDERS}
    graph = {name: {entry.module for entry in imports(file)} & set(modules) for name, file in modules.items()}
    order = list(graphlib.TopologicalSorter(graph).static_order())
    places = [order.index(name) for name in ("harness.core", "harness.ledger", "harness.session", "harness.commands.run")]
    assert places == sorted(places)


def test_the_package_files_of_the_folders_are_empty() -> None:
    """Importing one plugin or module imports none of its neighbours."""
    for file in FILES:
        assert file.name != "__init__.py" or file.parent.name == "assay" or not file.read_bytes().strip(), file


# ----------------------------------------------------------------------------------------------------------------------- plugins


def plugins(kind: Kind) -> list[tuple[Path, PluginInfo]]:
    files = sorted(file for file in (ROOT / kind).glob("*.py") if not file.name.startswith("_"))
    read_files = ((file, read(kind, file, file.stem, None)) for file in files)
    return [(file, info) for file, info in read_files if info is not None]


EVERY = [pytest.param(file, info, id=f"{kind}/{file.stem}") for kind in KINDS for file, info in plugins(kind)]


@pytest.mark.parametrize(("file", "info"), EVERY)
def test_every_plugin_says_in_literals_what_it_is(file: Path, info: PluginInfo) -> None:
    """A one-line summary, REQUIRES, and what its kind declares: precisions, head and default model, or file extension."""
    assert info.problem == ""
    assert 10 <= len(info.summary) <= 140
    assert "REQUIRES" in {ast.unparse(node.target) for node in ast.parse(file.read_bytes()).body if isinstance(node, ast.AnnAssign)}
    declared = {
        "tasks": bool(info.suffixes) or (info.head in get_args(Head) and (not info.default_model or info.default_model in REGISTERED)),
        "backends": bool(info.precisions),
        "scenarios": True,
        "reports": info.extension.isalnum(),
    }
    assert declared[info.kind]


@pytest.mark.parametrize(("file", "info"), EVERY)
def test_every_plugin_requires_what_it_imports(file: Path, info: PluginInfo) -> None:
    """REQUIRES names each library the file imports, so that `list` tells what is missing; numpy is always there."""
    foreign = {entry.top for entry in imports(file)} - set(sys.stdlib_module_names) - set(FOLDERS) - {"numpy"}
    assert foreign <= set(info.requires)


@pytest.mark.parametrize(("file", "info"), [param for param in EVERY if param.id and param.id.startswith("tasks/")])
def test_every_task_names_a_model_with_its_own_head(file: Path, info: PluginInfo) -> None:
    """The default model of a task, where it has one, was trained for that task (of SQuAD 2.0 for 1.1) and answers with its head."""
    if info.default_model:
        model = REGISTERED[info.default_model]
        assert (model.head, model.task) == (info.head, "squad" if file.stem == "squad2" else file.stem)
