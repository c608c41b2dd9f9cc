"""What candidates must have in common to be compared, and what differs between them that a reader of a ratio wants to know. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness import card
from harness.comparing.results import Candidate, Comparison
from harness.comparing.seats import Facts
from harness.errors import UsageError

ALIKE = (
    *("task", "rules", "target_qps", "latency_bound", "percentile", "samples_per_query", "performance_samples", "issue", "same_index"),
    *("concatenate", "qsl_seed", "sample_seed", "schedule_seed", "accuracy", "accuracy_target", "accuracy_samples", "reference_score"),
)
"""Settings that say what is asked and how it is judged: a ratio between candidates that differ in one of them means nothing."""

Named = tuple[str, Facts]


def refuse(candidates: Sequence[Named]) -> None:
    """Raises UsageError for candidates that would not be asked the same, or could not be held against each other."""
    first = candidates[0]
    for other in candidates[1:]:
        _settings(first, other)
        _questions(first, other)
    if first[1].paced and any(facts.settings["target_qps"] is None for _, facts in candidates):
        raise UsageError(f"comparing in {first[1].scenario} needs one rate for all", "give --target-qps")


def _settings(first: Named, other: Named) -> None:
    for field in ALIKE:
        one, two = first[1].settings.get(field), other[1].settings.get(field)
        if one != two:
            flag = "--" + field.replace("_", "-")
            raise UsageError(f"{other[0]}: {flag} {two}, {first[0]} has {one}", "give all candidates the same task, traffic and gate")
    if other[1].scenario != first[1].scenario:
        raise UsageError(f"{other[0]}: {other[1].scenario}, {first[0]} plays {first[1].scenario}", "compare within one scenario")


def _questions(first: Named, other: Named) -> None:
    (name, one), (own, two) = first, other
    if (two.data_name, two.samples) != (one.data_name, one.samples):
        raise UsageError(
            f"{own} is asked {two.samples:,} samples of {two.data_name}, {name} {one.samples:,} of {one.data_name}",
            "compare on one task and one data set; models whose tokenizers cut texts differently need a task without windows",
        )
    same_model = one.model is not None and two.model is not None and one.model["sha256"] == two.model["sha256"]
    if same_model and two.fingerprint != one.fingerprint:
        raise UsageError(
            f"{own} is asked other questions than {name}, though of as many samples of {one.data_name}",
            "give both the same data; a project with data of its own needs data=... for all candidates",
        )


def said(found: Comparison) -> Iterator[str]:
    """Versions, commits and variables by which a candidate differs from the reference, a sentence a candidate."""
    reference = found.candidates[found.reference]
    for each in found.candidates:
        if different := "; ".join(_between(each, reference)):
            yield f"{each.name} ran in another environment than {reference.name}: {different}"
    for each in found.candidates:
        if searched := each.workers.get("search"):
            yield f"{each.name}: workers auto, a search ({searched['source']}) chose {_workers(each.workers)}"


def _workers(workers: Mapping[str, Any]) -> str:
    kind = "process" if workers["mode"] == "process" else "thread"
    many = "" if workers["workers"] == 1 else "es" if kind == "process" else "s"
    return f"{workers['workers']} {kind}{many} with {workers['threads']} CPU threads in all"


def _between(each: Candidate, reference: Candidate) -> Iterator[str]:
    ours, theirs = each.conditions, reference.conditions
    if ours.get("python") != theirs.get("python"):
        yield f"Python {ours.get('python')} against {theirs.get('python')}"
    yield from _versions(ours.get("libraries") or {}, theirs.get("libraries") or {})
    if ours.get("git") and theirs.get("git") and card.commit(ours["git"]) != card.commit(theirs["git"]):
        yield f"commit {card.commit(ours['git'])} against {card.commit(theirs['git'])}"
    yield from _versions(ours.get("environment") or {}, theirs.get("environment") or {})


def _versions(ours: Mapping[str, str], theirs: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*ours, *theirs}):
        if ours.get(name) != theirs.get(name):
            yield f"{name} {ours.get(name, 'absent')} against {theirs.get(name, 'absent')}"
