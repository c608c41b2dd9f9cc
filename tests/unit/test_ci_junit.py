"""JUnit XML: the shape that Jenkins' and GitLab's readers take, whatever the texts hold."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.ci import junit, junit_cases
from harness.ci.junit import Case, Suite
from harness.ci.result import to_json
from harness.document import Document
from harness.errors import UsageError
from reports import junit as plugin
from tests import example_checks, example_runs

CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase", "system-out", "system-err"},
    "testcase": {"properties", "skipped", "error", "failure", "system-out", "system-err"},
    "properties": {"property"},
}
REQUIRED = {"testsuite": {"name", "tests"}, "testcase": {"name", "classname"}, "property": {"name", "value"}}
ALLOWED = {
    "testsuites": {"name", "time", "tests", "failures", "errors", "skipped", "disabled"},
    "testsuite": {"name", "tests", "failures", "errors", "time", "disabled", "skipped", "timestamp", "hostname", "id", "package"},
    "testcase": {"name", "classname", "time", "assertions", "status", "file"},
    "property": {"name", "value"},
    "failure": {"message", "type"},
    "error": {"message", "type"},
    "skipped": {"message"},
}
"""Elements and attributes of the junit-10 schema of Jenkins' xUnit plugin, of those that are used here."""

TIMES = re.compile(r"\d+\.\d{3}")


def validated(text: str) -> ET.Element:
    """The root, after everything that the schema says of it was looked at."""
    root = ET.fromstring(text.encode())
    assert root.tag == "testsuites"
    for element in root.iter():
        assert {child.tag for child in element} <= CHILDREN.get(element.tag, set()), element.tag
        assert REQUIRED.get(element.tag, set()) <= set(element.attrib) <= ALLOWED.get(element.tag, set()), element.tag
        if "time" in element.attrib:
            assert TIMES.fullmatch(element.attrib["time"])
    for suite in [root, *root.iter("testsuite")]:
        cases = list(suite.iter("testcase"))
        assert int(suite.attrib["tests"]) == len(cases)
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.attrib[attribute]) == sum(case.find(tag) is not None for case in cases)
    for case in root.iter("testcase"):
        assert sum(child.tag in ("failure", "error", "skipped") for child in case) <= 1
    return root


TEXTS = st.text(st.characters(exclude_categories=()), max_size=40)
CASES = st.builds(
    Case,
    classname=TEXTS,
    name=TEXTS,
    outcome=st.sampled_from(["passed", "failure", "error", "skipped"]),
    message=TEXTS,
    text=TEXTS,
    kind=TEXTS,
    seconds=st.none() | st.floats(0, 1e6),
    properties=st.dictionaries(TEXTS, TEXTS, max_size=3),
)


@given(st.lists(CASES, max_size=4), TEXTS)
@settings(max_examples=200, deadline=None)
def test_whatever_the_texts_hold_the_file_keeps_its_shape(cases: list[Case], name: str) -> None:
    """Any characters, also those that XML cannot hold and lone surrogates: well-formed, valid, and as many cases as were given."""
    root = validated(junit.render([Suite(name, cases)]))
    assert len(list(root.iter("testcase"))) == len(cases)


@pytest.mark.parametrize("checked", [example_checks.CHECKED, example_checks.GREEN, example_checks.NOTHING])
def test_a_check_is_valid_and_the_same_each_time(checked: object) -> None:
    """The schema holds, and the same check gives the same bytes."""
    text = junit.render([junit_cases.of_checked(checked)])  # type: ignore[arg-type]
    validated(text)
    assert text == junit.render([junit_cases.of_checked(checked)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("check", "tag"),
    [
        (example_checks.SLOWER, "failure"),
        (example_checks.LESS_ACCURATE, "failure"),
        (example_checks.BROKEN, "error"),
        (example_checks.DOUBTFUL, "skipped"),
        (example_checks.SKIPPED, "skipped"),
        (example_checks.FASTER, None),
        (example_checks.SAME, None),
    ],
)
def test_what_a_check_found_decides_what_its_case_is(check: object, tag: str | None) -> None:
    """Regressions fail, errors are errors, what was not decided is skipped with its reason, and only what was shown passes."""
    root = validated(junit.render([junit_cases.of_checked(replace(example_checks.CHECKED, checks=(check,)))]))  # type: ignore[arg-type]
    case = next(root.iter("testcase"))
    verdicts = [child for child in case if child.tag in ("failure", "error", "skipped")]
    assert [child.tag for child in verdicts] == ([tag] if tag else [])
    assert all(child.attrib["message"] for child in verdicts)


def test_the_failure_has_sentence_cure_and_figures() -> None:
    """What a reader of the report needs stands in the case itself: sentence, cure, change, interval, gate and floor."""
    root = validated(junit.render([junit_cases.of_checked(example_checks.CHECKED)]))
    case = next(each for each in root.iter("testcase") if each.attrib["name"] == "squad fast: throughput")
    failure = case.find("failure")
    assert failure is not None
    assert example_checks.SLOWER.cure in str(failure.text)
    facts = {each.attrib["name"]: each.attrib["value"] for each in case.iter("property")}
    wanted = {"change": "0.08", "interval_low": "0.0725", "interval_high": "0.0876", "gate": "0.03", "floor": "0.009"}
    assert wanted.items() <= facts.items()


def test_runs_are_valid_and_one_number_is_never_bare() -> None:
    """Every kind of run keeps the schema; the headline of one that missed its accuracy says that it is no result."""
    runs = [
        example_runs.VALID,
        example_runs.INVALID,
        example_runs.ACCURACY_MISSED,
        example_runs.NULL,
        example_runs.INTERRUPTED,
        example_runs.FAILED,
    ]
    validated(plugin.render_runs(runs, [None] * len(runs)))
    assert "not a result: completed samples per second 61.2" in plugin.render(example_runs.ACCURACY_MISSED)


def comparison(**changes: object) -> dict[str, object]:
    ratio = {"value": 2.0, "low": 1.9, "high": 2.1, "blocks": 6, "sign_p": 0.03}
    settings = {"scenario": "offline", "task": "squad", "backend": "pytorch:amp"}
    missed = {"metric": "f1", "value": 61.0, "target": 87.3}
    results = {"samples_per_second": {"median": 10.0, "ratio": ratio, "word": "faster", "certain": True}}
    first = {"name": "a", "settings": settings, "problem": "", "counts": True, "accuracy": None, "results": results}
    rest = [{**first, "name": "b", "counts": False, "accuracy": missed}, {**first, "name": "c", "problem": "out of memory", "results": {}}]
    return {
        "started_utc": "2026-08-21T10:11:12",
        "reference": "a",
        "winner": None,
        "blocks": 6,
        "figures": [{"name": "samples_per_second", "unit": "samples/s"}],
        "candidates": [first, *rest],
        **changes,
    }


def document(kind: str, record: dict[str, object]) -> Document:
    return Document(kind, "", "", "plain", "", record=json.loads(json.dumps(record)))


def test_a_comparison_has_a_case_for_each_candidate() -> None:
    """One that failed is an error, one below its accuracy target a failure, one that is merely slower passes."""
    root = validated(plugin.render_document(document("comparison", comparison())))
    found = {case.attrib["name"]: [child.tag for child in case if child.tag != "properties"] for case in root.iter("testcase")}
    assert found == {"a": ["system-out"], "b": ["failure"], "c": ["error"]}


def test_a_stored_check_is_the_same_suite() -> None:
    """check.json, reported later, gives the file that the check itself gave."""
    found = plugin.render_document(document("check", to_json(example_checks.CHECKED)))
    assert found == junit.render([junit_cases.of_checked(example_checks.CHECKED)])


def test_what_judges_nothing_is_no_junit() -> None:
    """A sweep as JUnit is refused, with what can be given."""
    with pytest.raises(UsageError, match="a report of sweep has no verdicts"):
        plugin.render_document(document("sweep", {}))
