"""Where each file of a submission lies, and what is in it: the layout of rounds v5.0 and v5.1, and that of v6.0 and v6.1.

Sources: PERFORMANCE_LOG_PATH and its neighbours (constants.py of the submission checker) and the file lists of the checker before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.submission import files as export_files
from harness.submission import texts as export_texts
from harness.submission.checks import Rules, scores_of
from harness.submission.files import ShortLog
from harness.submission.runs import (
    ACCURACY,
    BASELINE,
    COMPLIANCE,
    DETAIL,
    SCORED,
    SUMMARY,
    VERIFY_ACCURACY,
    VERIFY_PERFORMANCE,
    Entry,
    Part,
    StoredRun,
)

Content = bytes | Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Names that paths are made of. `folder`: of the benchmark, its own name but for a model that is mapped to it."""

    rules: Rules
    submitter: str
    system: str
    folder: str

    @property
    def v6(self) -> bool:
        return self.rules.round.startswith("v6")

    @property
    def root(self) -> str:
        return f"{self.rules.division}/{self.submitter}"

    @property
    def source(self) -> str:
        return f"{self.root}/{'src' if self.v6 else 'code'}/{self.folder}"

    @property
    def calibration(self) -> str:
        return f"{self.root}/documentation/calibration.md" if self.v6 else f"{self.root}/calibration.md"

    @property
    def mapping(self) -> str:
        return f"{self.root}/model_mapping.json"

    def of(self, kind: str, scenario: str) -> str:
        """Folder of a scenario; `kind`: results, and in v5 measurements or compliance."""
        return f"{self.root}/{kind if not self.v6 else 'results'}/{self.system}/{self.folder}/{scenario}"

    def owned(self, scenario: str) -> list[str]:
        """Folders that belong to a scenario alone."""
        kinds = ("results",) if self.v6 else ("results", "measurements", "compliance")
        return [*(self.of(kind, scenario) for kind in kinds), f"{self.source}/{self.system}/{scenario}"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """What the submitter says: the system's description, how the weights were quantised ("" for no file), what was retrained."""

    system: str
    calibration: str
    retraining: str


def files(entries: Sequence[Entry], place: Place, documents: Documents) -> dict[str, Content]:
    """All files of these entries, by path below the tree, in order. Raises MissingError for an accuracy log that cannot be read."""
    found: dict[str, Content] = {f"{place.root}/systems/{place.system}.json": documents.system.encode()}
    if documents.calibration:
        found[place.calibration] = documents.calibration.encode()
    found[f"{place.source}/README.md"] = export_texts.source_readme(place.rules.benchmark).encode()
    for entry in entries:
        for name, content in _entry(entry, place, documents.retraining):
            found[name] = content.encode() if isinstance(content, str) else content
    return dict(sorted(found.items()))


def with_mapping(before: str, place: Place) -> str:
    """model_mapping.json with this model added."""
    known = json.loads(before) if before else {}
    return json.dumps({**known, place.folder: place.rules.benchmark}, indent=2) + "\n"


def _entry(entry: Entry, place: Place, retraining: str) -> Iterator[tuple[str, str | Content]]:
    logs: dict[Part, ShortLog] = {
        part: export_files.accuracy_log(stored) for part, stored in entry.parts.items() if part != "performance" and _has_log(stored)
    }
    measured = place.of("measurements", entry.scenario)
    main = next(iter(entry.parts.values()))
    name = "measurements" if place.v6 else f"{place.system}_{entry.scenario}"
    yield f"{measured}/{name}.json", export_files.measurements(main, retraining)
    yield f"{measured}/user.conf", export_files.user_conf(main)
    yield f"{measured}/README.md", export_texts.result_readme(entry, place.rules, place.system, logs)
    yield from _sources(entry, place)
    results = place.of("results", entry.scenario)
    if entry.performance:
        yield from _logs(f"{results}/performance/run_1", entry.performance)
    if entry.accuracy:
        yield from _logs(f"{results}/accuracy", entry.accuracy)
        yield f"{results}/accuracy/{SCORED}", export_files.accuracy_text(scores_of(entry.accuracy), logs["accuracy"])
        yield f"{results}/accuracy/{ACCURACY}", logs["accuracy"].kept
    if entry.test01:
        yield from _audit(f"{place.of('compliance', entry.scenario)}/TEST01", entry.test01, logs.get("test01"))


def _sources(entry: Entry, place: Place) -> Iterator[tuple[str, str]]:
    folder = f"{place.source}/{place.system}/{entry.scenario}"
    yield f"{folder}/README.md", export_texts.repeat_readme(entry, place.rules, place.system)
    for part, stored in entry.parts.items():
        yield f"{folder}/{part}.yaml", export_files.settings(stored)


def _audit(folder: str, stored: StoredRun, log: ShortLog | None) -> Iterator[tuple[str, str | Content]]:
    yield f"{folder}/{VERIFY_ACCURACY}", stored.folder / VERIFY_ACCURACY
    yield f"{folder}/{VERIFY_PERFORMANCE}", stored.folder / VERIFY_PERFORMANCE
    yield from _logs(f"{folder}/performance/run_1", stored)
    if log is not None:
        yield f"{folder}/accuracy/{SCORED}", export_files.audited_text(stored, log)
        yield f"{folder}/accuracy/{ACCURACY}", log.kept
    for name in (BASELINE, COMPLIANCE):
        if (stored.folder / name).is_file():
            yield f"{folder}/accuracy/{name}", stored.folder / name


def _logs(folder: str, stored: StoredRun) -> Iterator[tuple[str, Path]]:
    for name in (DETAIL, SUMMARY):
        yield f"{folder}/{name}", stored.folder / name


def _has_log(stored: StoredRun) -> bool:
    return (stored.folder / ACCURACY).is_file()
