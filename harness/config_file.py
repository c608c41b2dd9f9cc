"""Settings from a YAML file, each with the line it stands on. The run.json of a stored run works too: its settings are taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from harness.errors import MissingError, UsageError

RESOLVED = "resolved"
"""Key of a stored configuration that holds what the rules made of it: a result, not a setting."""

Entry = tuple[str, int, Any]
"""Key as written, line, value."""


def read(file: Path, flag: str = "--config") -> list[Entry]:
    """Entries in the file's order; `flag` named it. Raises MissingError if it cannot be read, UsageError (with line) if it is not a mapping
    of settings."""
    loader = yaml.SafeLoader(_text(file, flag))
    try:
        node = loader.get_single_node()
        if node is None:
            return []
        return list(_entries(loader, _settings_node(file, node)))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{file}:{line}: not YAML: {error.problem}", "write one `key: value` per line") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{file}: not YAML: {error}", "write one `key: value` per line") from None
    finally:
        loader.dispose()


def _text(file: Path, flag: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{flag}: {file} is not UTF-8 text", "give a YAML file") from None
    except OSError as error:
        raise MissingError(f"{flag}: {file} cannot be read: {error.strerror}", "give an existing file") from error


def _settings_node(file: Path, node: yaml.Node) -> yaml.MappingNode:
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{file}:{node.start_mark.line + 1}: not a mapping of settings", "write one `key: value` per line")
    parts = {key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)}
    stored = parts.get("config") if "run_id" in parts else None
    if not isinstance(stored, yaml.MappingNode):
        return node
    stored.value = [(key, value) for key, value in stored.value if key.value != RESOLVED]
    return stored


def _entries(loader: yaml.SafeLoader, node: yaml.MappingNode) -> Iterator[Entry]:
    for key, value in node.value:
        yield (
            str(loader.construct_object(key, deep=True)),
            key.start_mark.line + 1,
            loader.construct_object(value, deep=True),
        )
