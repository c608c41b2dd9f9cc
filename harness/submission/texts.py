"""Files of a submission that people read: the README of each result and of the source folder, calibration.md, NOT_SUBMITTABLE.md.

What is said of results that MLCommons has not reviewed follows the MLPerf Results Messaging Guidelines (mlcommons/policies,
MLPerf_Results_Messaging_Guidelines.adoc): sections 1 (the word "unverified" beside each score, and a sentence), 3.2 (footnote) and 11
(the sign beside each use of the name, the legend).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.submission.checks import Finding, Rules, scores_of
from harness.submission.files import ShortLog, plain, precision_of
from harness.submission.runs import Entry, Part, StoredRun, metric

UNVERIFIED = "Result not verified by MLCommons Association."
"""Prescribed by section 1 of the guidelines."""

LEGEND = (
    "The MLPerf™ name and logo are trademarks of MLCommons Association in the United States and other countries. All rights reserved. "
    "Unauthorized use strictly prohibited. See www.mlcommons.org for more information."
)
"""Prescribed by section 11.2 of the guidelines."""

NOT_SUBMITTABLE = "NOT_SUBMITTABLE.md"
_HEADING = "## "


def label(rules: Rules, scenario: str) -> str:
    """Suite, version, division, benchmark and scenario: what a footnote must name."""
    return f"MLPerf™ {rules.round} Inference {rules.division.capitalize()} {rules.benchmark} {scenario}"


def score(entry: Entry) -> str:
    """The performance of a scenario, "unverified" beside it."""
    found = metric(entry.scenario, entry.performance.detail) if entry.performance else None
    return f"unverified {found[0]:.6g} {found[1]}" if found else "no performance"


def footnote(rules: Rules, scenarios: Sequence[str]) -> str:
    """What must stand beside every score."""
    return "\n".join([*(f"Unverified {label(rules, scenario)}. {UNVERIFIED}" for scenario in scenarios), LEGEND])


def result_readme(entry: Entry, rules: Rules, system: str, logs: Mapping[Part, ShortLog]) -> str:
    """README.md beside the measurements of one scenario. `logs`: the accuracy logs by part."""
    lines = [f"# {rules.benchmark}, {entry.scenario}, on {system}", "", f"Score: {score(entry)}"]
    if entry.accuracy and (scores := scores_of(entry.accuracy)):
        lines.append(f"Accuracy: unverified F1 {plain(scores[1])}, exact match {plain(scores[0])}")
    lines += ["", footnote(rules, [entry.scenario]), "", "## Runs", ""]
    lines += [f"- {part}: `{stored.name}`, started {stored.run.started_utc}" for part, stored in entry.parts.items()]
    lines += ["", "The settings of each run, and how to repeat it, are in the source folder of this benchmark.", "", "## Accuracy logs", ""]
    lines.append("The whole log of each part stays in the folder of its run, under the name `mlperf_log_accuracy.json`:")
    lines.append("")
    lines += [f"- {part}: `{entry.parts[part].name}`, {log.size:,} bytes, sha256 {log.sha256}" for part, log in logs.items()]
    return "\n".join(lines) + "\n"


def source_readme(benchmark: str) -> str:
    """README.md of the source folder of a benchmark: the same for all systems."""
    return (
        f"# {benchmark} with Assay\n\n"
        "These results were measured with Assay. It makes LoadGen's traffic, serves it with the backend that the settings name, and\n"
        "scores the answers. Its version and commit are in the README of each system and scenario below this folder.\n\n"
        "Each of these folders holds the settings of its runs, one file for each part. To repeat one, with the version given there:\n\n"
        "    pip install assay==VERSION\n"
        "    assay run --config SYSTEM/SCENARIO/performance.yaml --data FOLDER\n\n"
        "FOLDER holds dev-v1.1.json of SQuAD v1.1. Paths of other files are given in the settings by their last part.\n"
        "Tokenisation and scoring are not timed; everything between them is.\n"
    )


def repeat_readme(entry: Entry, rules: Rules, system: str) -> str:
    """README.md with the versions and command lines of one system and scenario."""
    lines = [f"# {system}, {entry.scenario}", ""]
    for part, stored in entry.parts.items():
        conditions, git = stored.run.conditions, stored.run.conditions.get("git") or {}
        libraries = conditions.get("libraries") or {}
        changed = ", with changes that are not in it" if git.get("dirty") else ""
        commit = f"commit {git['commit']}{changed}" if git.get("commit") else "no commit known"
        lines += [
            f"{_HEADING}{part}",
            "",
            f"    assay run --config {part}.yaml --data FOLDER",
            "",
            f"- Assay {libraries.get('assay', 'of unknown version')}, {commit}; traffic by {_engine(stored)}; seeds of {rules.round}",
            f"- backend: {stored.run.config.get('backend')}, {precision_of(stored.run.backend) or 'no precision'}, device "
            f"{stored.run.backend.get('device')}",
            f"- model: {_model(stored)}",
            f"- Python {conditions.get('python')}; " + ", ".join(f"{name} {version}" for name, version in libraries.items()),
            "",
        ]
    return "\n".join(lines)


def _engine(stored: StoredRun) -> str:
    engine = stored.run.config.get("engine", "native")
    return f"LoadGen {stored.detail.get('loadgen_version')}" if engine == "mlcommons" else "Assay's own engine"


def _model(stored: StoredRun) -> str:
    model = stored.run.model
    return f"{model['name']}, {model['parameters']:,} parameters, sha256 {model['sha256']}" if model else "none"


def calibration(runs: Sequence[StoredRun]) -> str:
    """calibration.md where nothing was quantised: what the weights are, and that no calibration data was used."""
    precisions = sorted({precision_of(stored.run.backend) for stored in runs})
    kept = (
        "The weights are used in FP32, as the model's file holds them."
        if precisions == ["fp32"]
        else f"The products are computed in {', '.join(precisions)}."
    )
    return f"# Calibration\n\n{kept} No quantisation was done, and no calibration data was used.\n"


def not_submittable(before: str, title: str, found: Sequence[Finding]) -> str:
    """NOT_SUBMITTABLE.md with the findings of one export under `title`, in place of what it said of it before; empty if it says nothing."""
    sections = _sections(before)
    sections.pop(title, None)
    if found:
        sections[title] = "\n".join(f"- {finding}" for finding in found)
    if not sections:
        return ""
    body = "\n\n".join(f"{_HEADING}{name}\n\n{text}" for name, text in sections.items())
    return f"# Not submittable\n\nThese results break rules of the benchmark. Do not submit or publish them.\n\n{body}\n"


def _sections(text: str) -> dict[str, str]:
    parts = text.split("\n" + _HEADING)[1:]
    return {name.strip(): body.strip() for name, _, body in (part.partition("\n") for part in parts)}
