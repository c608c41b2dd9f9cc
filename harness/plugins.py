"""Finds tasks, backends, scenarios and reports, and imports only the one that is asked for.

A plugin is a file that defines its kind's factory (`create`, for reports `render`) in the top-level folder of that kind, an entry point in
the group `assay.<kind>` of any installed package, or, for a task or backend, any .py file given by its path. The file name is the
plugin's name, `_` in the file being `-` on the command line. What a plugin says about itself is read from its text, not by import.

A task may also be a data file: the plugin that names its ending in SUFFIXES reads it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from harness.errors import MissingError, UsageError
from harness.plugin_info import FACTORY, KINDS, Kind, PluginInfo, read, spelled
from harness.suggest import advice

__all__ = [
    "KINDS",
    "BackendName",
    "FoundBackend",
    "Kind",
    "PluginInfo",
    "describe",
    "find",
    "find_backend",
    "install",
    "load",
    "spelled",
    "split_backend",
]

ROOT = Path(__file__).resolve().parent.parent
"""The folder that holds the plugin folders: the checkout, or the installed package."""

_DISTRIBUTION = {"yaml": "pyyaml", "cv2": "opencv-python", "sklearn": "scikit-learn", "PIL": "pillow"}
_BY_PATH: tuple[Kind, ...] = ("tasks", "backends")
_IMPORTING = threading.RLock()  # workers that are threads load the same file at once; import_module has locks of its own


def describe(kind: Kind) -> list[PluginInfo]:
    """All plugins of a kind, by name, none imported. Raises UsageError when two have one name."""
    found: dict[str, PluginInfo] = {}
    for info in [*_in_folder(kind), *_entry_points(kind)]:
        if info.name in found:
            first = found[info.name]
            raise UsageError(
                f"two {kind} are called {info.name}: {first.file or first.module} and {info.file or info.module}",
                "rename one, or uninstall the package that brings it",
            )
        found[info.name] = info
    return [found[name] for name in sorted(found)]


def find(kind: Kind, name: str, origin: str = "") -> PluginInfo:
    """The plugin called `name`, the one in the file `name`, or the one that reads files such as `name`, with `name` as its source.

    Raises UsageError (with the names there are) or MissingError. `origin` says in the error where the name was written, such as `--task`.
    """
    where = origin or kind.removesuffix("s")
    if name.endswith(".py"):
        return _by_path(kind, name, where)
    plugins = {info.name: info for info in describe(kind)}
    if reader := _reader_of(name, plugins.values(), where):
        return reader
    if spelled(name) not in plugins:
        raise UsageError(f"{where}: there is no {kind.removesuffix('s')} {name}", advice(name, plugins, kind) + _endings(plugins.values()))
    info = plugins[spelled(name)]
    if info.suffixes:
        raise UsageError(f"{where}: {info.name} needs a file", f"name the file: {', '.join('*' + suffix for suffix in info.suffixes)}")
    return info


def _reader_of(name: str, plugins: Iterable[PluginInfo], where: str) -> PluginInfo | None:
    """The plugin that reads files with the ending of `name`, None where none does. Raises MissingError for a file that is not there."""
    readers = [info for info in plugins if Path(name).suffix.lower() in info.suffixes]
    if not readers:
        return None
    if len(readers) > 1:
        raise UsageError(f"{where}: {name} is read by {' and by '.join(info.name for info in readers)}", "uninstall one of them")
    source = Path(name).expanduser()
    if not source.is_file():
        raise MissingError(f"{where}: {name} is not there", "give an existing file")
    return replace(readers[0], source=source)


def _endings(plugins: Iterable[PluginInfo]) -> str:
    """What files there are readers for, as the end of a cure."""
    endings = [f"*{suffix}" for info in plugins for suffix in info.suffixes]
    return f"; or a file of your own: {', '.join(endings)}" if endings else ""


class BackendName(NamedTuple):
    """`name[:precision][+option...]` in its parts; precision "" is the plugin's first."""

    plugin: str
    precision: str
    options: tuple[str, ...]


class FoundBackend(NamedTuple):
    """The plugin that a name means, with the precision and options that it declares."""

    info: PluginInfo
    precision: str
    options: tuple[str, ...]


_BACKEND_NAME = re.compile(r"(?P<plugin>.*?\.py|[^:+]+)(:(?P<precision>[^+]*))?(?P<options>(\+[^+]*)*)")


def split_backend(text: str) -> BackendName:
    """ "onnxruntime:int8" -> ("onnxruntime", "int8", ()); "mine/engine.py" -> ("mine/engine.py", "", ())."""
    match = _BACKEND_NAME.fullmatch(text)
    if match is None:
        return BackendName(text, "", ())
    return BackendName(match["plugin"], match["precision"] or "", tuple(match["options"].split("+")[1:]))


def find_backend(text: str, origin: str = "") -> FoundBackend:
    """What `name[:precision][+option...]` means; the plugin's first precision where none is written.

    Raises UsageError for a backend, precision or option that does not exist. A plugin with no literal PRECISIONS judges for itself, in
    `create`.
    """
    name, precision, options = split_backend(text)
    info, where = find("backends", name, origin), origin or "backend"
    precision = precision or next(iter(info.precisions), "")
    if info.precisions and not any(_same_precision(known, precision) for known in info.precisions):
        raise UsageError(f"{where}: {info.name} has no precision {precision}", advice(precision, info.precisions, "precisions"))
    for option in options:
        if option not in info.options:
            raise UsageError(f"{where}: {info.name} has no option +{option}", _options_advice(option, info))
        if options.count(option) > 1:
            raise UsageError(f"{where}: {text}: +{option} is written twice", "keep one")
    return FoundBackend(info, precision, options)


def _options_advice(option: str, info: PluginInfo) -> str:
    return advice(option, info.options, "options") if info.options else f"{info.name} has none: leave +{option} out"


def _same_precision(known: str, precision: str) -> bool:
    """A declared precision may end in `*`, which stands for anything (the null backend's service times)."""
    return precision.startswith(known[:-1]) if known.endswith("*") else precision == known


def load(kind: Kind, name: str) -> ModuleType:
    """Import the plugin called `name`. Raises what `find` raises, and MissingError when something it needs is not installed."""
    info = find(kind, name)
    if info.problem:
        raise UsageError(f"{info.file}: {info.problem}", "mend the file")
    if info.missing:
        raise MissingError(f"{kind.removesuffix('s')} {info.name} needs {', '.join(info.missing)}", install(info.missing))
    try:
        return importlib.import_module(info.module) if info.module else _import_file(info)
    except ImportError as error:
        raise MissingError(f"{info.file or info.module} cannot be imported: {error}", "install what it needs, or mend the file") from error


def install(modules: tuple[str, ...]) -> str:
    """The pip command that brings these modules."""
    return "pip install " + " ".join(_DISTRIBUTION.get(name, name.replace("_", "-")) for name in modules)


def _in_folder(kind: Kind) -> list[PluginInfo]:
    files = sorted(file for file in (ROOT / kind).glob("*.py") if not file.name.startswith("_"))
    infos = (read(kind, file, file.stem, f"{kind}.{file.stem}") for file in files)
    return [info for info in infos if info is not None]


def _entry_points(kind: Kind) -> list[PluginInfo]:
    from importlib.metadata import entry_points

    found = []
    for point in entry_points(group=f"assay.{kind}"):
        file = _source_of(point.module)
        info = read(kind, file, point.name, point.module) if file else None
        found.append(info or PluginInfo(kind, spelled(point.name), "", file, point.module, problem=f"{point.value} is no {kind} plugin"))
    return found


def _source_of(module: str) -> Path | None:
    """The file of a dotted module, found without importing its packages."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin else None
    for folder in spec.submodule_search_locations or ():
        stem = Path(folder, *rest)
        for file in (stem.with_suffix(".py"), stem / "__init__.py"):
            if file.is_file():
                return file
    return None


def _by_path(kind: Kind, text: str, where: str) -> PluginInfo:
    file = Path(text).expanduser()
    if kind not in _BY_PATH:
        raise UsageError(
            f"{where}: {text}: {kind} are found by name, not by path", advice(file.stem, (i.name for i in describe(kind)), kind)
        )
    if not file.is_file():
        raise MissingError(f"{where}: {text} is not there", "give an existing .py file")
    info = read(kind, file.resolve(), file.stem, None)
    if info is None:
        raise UsageError(f"{where}: {text} defines no function {FACTORY[kind]}", f"give it a `def {FACTORY[kind]}(options)`")
    if info.problem:
        raise UsageError(f"{where}: {text}: {info.problem}", "mend the file")
    return info


def _import_file(info: PluginInfo) -> ModuleType:
    """A plugin from its path, under a name of its own so that it hides no installed module."""
    if info.file is None:
        raise MissingError(f"{info.name}: no file", "give the path of a .py file")
    module_name = f"assay_plugin_{info.file.stem}_{hashlib.sha256(str(info.file).encode()).hexdigest()[:8]}"
    with _IMPORTING:
        return sys.modules.get(module_name) or _executed(module_name, info.file)


def _executed(name: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise MissingError(f"{file} cannot be imported", "give a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
