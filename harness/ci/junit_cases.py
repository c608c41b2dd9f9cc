"""Which JUnit cases a check, a run and a comparison are. Pure.

Failures are what was found: a regression, an INVALID run, a missed accuracy. Errors are what could not be found out. What was not judged
is skipped, with the reason; it never counts as passed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness import card, units
from harness.ci import wording
from harness.ci.junit import Case, Outcome, Suite, part
from harness.ci.result import Check, Checked, from_json
from harness.core import Run
from harness.errors import EXIT_CODE_MEANING, ExitCode

_OUTCOME: dict[str, Outcome] = {
    "regression": "failure",
    "improvement": "passed",
    "unchanged": "passed",
    "undecided": "skipped",
    "skipped": "skipped",
    "error": "error",
}


# ------------------------------------------------------------------------------------------------------------------------- checks


def of_checked(checked: Checked) -> Suite:
    """A suite with a case for each check. Where there is none, an error says so: a file without cases would be read as green."""
    properties = {"base": checked.base, "head": checked.head, "machine": checked.machine, "exit code": str(checked.exit_code)}
    properties |= {f"noise floor {name}": units.share(value) for name, value in sorted(checked.floor.items())}
    cases = [_check(check, checked) for check in checked.checks] or [_nothing(checked)]
    return Suite(
        "assay ci check", cases, checked.started_utc, "", checked.seconds, {name: value for name, value in properties.items() if value}
    )


def of_check_record(record: Mapping[str, Any]) -> Suite:
    """The same of a stored check.json. Raises ValueError for what is none."""
    return of_checked(from_json(record))


def _check(check: Check, checked: Checked) -> Case:
    outcome = _OUTCOME[check.verdict]
    return Case(
        classname=_classname(check.scenario, check.task, check.backend),
        name=f"{check.name}: {check.kind}",
        outcome=outcome,
        message=wording.one_line(check.text),
        text="\n".join(filter(None, [check.text, check.cure and f"cure: {check.cure}", wording.figures(check)])),
        kind=check.verdict if outcome != "passed" else "",
        properties=_facts(check, checked),
    )


def _facts(check: Check, checked: Checked) -> dict[str, str]:
    """What a program that reads the file may want; shares, positive is worse."""
    floor = None if check.kind == "accuracy" else checked.floor.get(check.scenario)
    facts = {
        "series": check.series or None,
        "verdict": check.verdict,
        "change": check.change,
        "interval_low": check.low,
        "interval_high": check.high,
        "gate": check.gate,
        "floor": floor,
        "base": check.base_value,
        "head": check.head_value,
        "unit": check.unit or None,
        "blocks": check.blocks,
        "rounds": check.rounds,
        "confirmed": None if check.confirmed is None else str(check.confirmed).lower(),
    }
    return {name: f"{value:.9g}" if isinstance(value, float) else str(value) for name, value in facts.items() if value is not None}


def _nothing(checked: Checked) -> Case:
    why = "; ".join(checked.warnings) or "the check has no entry that was measured"
    return Case("assay.ci", "something was measured", "error", "nothing was measured", f"nothing was measured: {why}", "nothing measured")


# --------------------------------------------------------------------------------------------------------------------------- runs


def of_runs(runs: Sequence[Run]) -> list[Suite]:
    """A suite for each run: its verdict, its accuracy, and that all was answered."""
    return [_run(run) for run in runs]


def _run(run: Run) -> Suite:
    made, settings = card.make(run), run.config
    classname = _classname(*(str(settings.get(key) or "") for key in ("scenario", "task", "backend")))
    cases = [*_verdict(run, made, classname), _accuracy(run, classname), _answered(run, classname)]
    properties = {"run": run.run_id, "machine": made.machine, "commit": str((run.conditions.get("git") or {}).get("commit") or "")}
    properties["headline"] = _headline(made)
    seconds = sum(value for value in run.timings.values() if value is not None) or None
    host = str(run.conditions.get("hostname") or "")
    return Suite(made.title, cases, run.started_utc, host, seconds, {name: value for name, value in properties.items() if value})


def _verdict(run: Run, made: card.Card, classname: str) -> Iterator[Case]:
    """Whether the number counts by the scenario's rules; what accuracy has to say is a case of its own."""
    reasons = [reason for reason in made.reasons if reason.code != "accuracy"]
    said = "\n".join(f"{reason.text}\ncure: {reason.cure}" if reason.cure else reason.text for reason in reasons)
    facts = "\n".join([_headline(made), *(f"{name}: {text}" for name, text in made.rows), *(f"warning: {line}" for line in made.warnings)])
    meaning = EXIT_CODE_MEANING.get(_code(run), "")
    message = wording.one_line(reasons[0].text) if reasons else made.word
    outcome: Outcome = "passed"
    if _code(run) in (ExitCode.FAILED, ExitCode.INTERRUPTED):
        outcome = "error"
    elif reasons or (made.word not in (card.VALID, card.MISSED)):
        outcome = "failure"
    yield Case(classname, "verdict", outcome, message, f"{said}\n\n{facts}" if said else facts, meaning, run.timings.get("run"))


def _headline(made: card.Card) -> str:
    """The number is never given bare."""
    if made.headline is None:
        return "nothing was measured"
    no_result = "below its accuracy target, not a result: " if made.headline.struck else ""
    return f"{no_result}{made.headline.name} {made.headline.text} ({made.headline.note})"


def _accuracy(run: Run, classname: str) -> Case:
    accuracy, seconds = run.accuracy, run.timings.get("accuracy")
    if accuracy is None:
        why = "the backend is no model" if run.backend.get("answers") is False else "accuracy was not checked"
        return Case(classname, "accuracy", "skipped", why)
    text = dict(card.make(run).rows).get("accuracy") or f"{accuracy['metric']} {units.score(accuracy['value'])}"
    if accuracy.get("passed") is None:
        return Case(classname, "accuracy", "skipped", f"no FP32 reference to hold it against: {text}", seconds=seconds)
    reason = next((each for each in run.verdict.get("reasons", ()) if each["code"] == "accuracy"), None)
    if accuracy["passed"]:
        return Case(classname, "accuracy", "passed", "", text, "", seconds)
    cure = f"\ncure: {reason['cure']}" if reason and reason["cure"] else ""
    return Case(classname, "accuracy", "failure", wording.one_line(text), text + cure, EXIT_CODE_MEANING[ExitCode.ACCURACY], seconds)


def _answered(run: Run, classname: str) -> Case:
    """An error or a lost sample makes every other number worthless."""
    asked, errors, lost = (run.counts.get(name, 0) for name in ("samples", "errors", "lost"))
    if not asked:
        return Case(classname, "answers", "skipped", "nothing was asked")
    text = f"{units.plural(asked, 'sample')} asked, {errors:,} ended in an error, {lost:,} were never answered"
    return Case(classname, "answers", "failure" if errors or lost else "passed", text, text, "errors")


def _code(run: Run) -> ExitCode:
    return next((code for code in ExitCode if code == run.exit_code), ExitCode.INTERNAL)


# -------------------------------------------------------------------------------------------------------------------- comparisons


def of_comparison(record: Mapping[str, Any]) -> Suite:
    """A suite with a case for each candidate of a comparison.json: it ended, its answers are good enough, and how it compares. A slower
    candidate fails nothing: which of them is wanted is not for a comparison to say."""
    first = record["candidates"][0]["settings"]
    properties = {"reference": record["reference"], "winner": record.get("winner") or "none", "blocks": str(record["blocks"])}
    cases = [_candidate(each, record) for each in record["candidates"]]
    return Suite(f"compare {first['scenario']} {first['task']}", cases, record["started_utc"], "", None, properties)


def _candidate(each: Mapping[str, Any], record: Mapping[str, Any]) -> Case:
    settings = each["settings"]
    classname = _classname(settings["scenario"], settings["task"], settings["backend"])
    cells = [(figure, (each["results"] or {}).get(figure["name"])) for figure in record["figures"]]
    facts = {figure["name"]: _ratio(cell, figure["unit"]) for figure, cell in cells if cell}
    text = "\n".join(f"{name}: {said}" for name, said in facts.items())
    if each["problem"]:
        return Case(classname, each["name"], "error", wording.one_line(each["problem"]), each["problem"], "failed", None, facts)
    if not each["counts"]:
        accuracy = each["accuracy"]
        missed = f"{accuracy['metric']} {units.score(accuracy['value'])} misses {units.score(accuracy['target'])}"
        return Case(classname, each["name"], "failure", missed, f"{missed}\n{text}", EXIT_CODE_MEANING[ExitCode.ACCURACY], None, facts)
    return Case(classname, each["name"], "passed", "", text, "", None, facts)


def _ratio(cell: Mapping[str, Any], unit: str) -> str:
    ratio, median = cell.get("ratio"), units.quantity(cell["median"], unit)
    if not ratio:
        return f"{median} (reference)"
    return f"{median}, {ratio['value']:.4f}x [{ratio['low']:.4f}, {ratio['high']:.4f}] {cell['word']}"


def _classname(scenario: str, task: str, backend: str) -> str:
    """`assay.offline.squad.pytorch:fp32`: readers group by what is before the dots."""
    return ".".join(["assay", *(part(each) for each in (scenario, task, backend))])
