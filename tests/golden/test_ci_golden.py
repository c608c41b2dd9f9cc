"""Every output of a check and of runs, held against files that were read by people; ASSAY_WRITE_GOLDEN=1 writes them anew."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.ci import github
from harness.ci.outputs import FORMATS
from harness.ci.result import Checked
from harness.core import Run
from reports import bencher, github_action_benchmark, github_action_benchmark_bigger, junit, openmetrics
from tests import example_checks, example_runs

FOLDER = Path(__file__).parent / "ci"

CHECKS = {"red": example_checks.CHECKED, "green": example_checks.GREEN, "nothing": example_checks.NOTHING}
RUNS = [
    example_runs.VALID,
    example_runs.INVALID,
    example_runs.ACCURACY_MISSED,
    example_runs.NULL,
    example_runs.INTERRUPTED,
    example_runs.FAILED,
]
VALID = [example_runs.VALID, example_runs.NULL]

Several = Callable[[list[Run], list[None]], str]


def agree(name: str, text: str) -> None:
    file = FOLDER / name
    if os.environ.get("ASSAY_WRITE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize(("form", "ending"), [("junit", "xml"), ("markdown", "md")])
def test_a_check_is_reported_as_recorded(name: str, form: str, ending: str) -> None:
    """JUnit and Markdown of a red check, a green one, and one that measured nothing equal their golden files."""
    agree(f"{name}.{ending}", FORMATS[form](CHECKS[name]))


@pytest.mark.parametrize(
    ("form", "ending"),
    [("github-action-benchmark", "json"), ("github-action-benchmark-bigger", "json"), ("bencher", "json"), ("openmetrics", "txt")],
)
def test_the_figures_of_a_check_are_as_recorded(form: str, ending: str) -> None:
    """The files of three trackers equal their golden files."""
    agree(f"{form}.{ending}", FORMATS[form](example_checks.CHECKED))


@pytest.mark.parametrize("checked", CHECKS.values(), ids=CHECKS)
def test_github_s_annotations_and_outputs_are_as_recorded(checked: Checked, request: pytest.FixtureRequest) -> None:
    """What a step of GitHub Actions prints, and what it hands to later steps."""
    lines = [github.command(each) for each in github.annotated(checked, "assay-ci.yaml")]
    name = request.node.callspec.id
    agree(f"{name}.annotations.txt", "\n".join([*lines, "", github.outputs(github.values(checked))]))


def test_runs_as_junit_are_as_recorded() -> None:
    """VALID, INVALID, missed, interrupted and failed runs in one file: failures apart from errors, skips with reasons."""
    agree("runs.xml", junit.render_runs(RUNS, [None] * len(RUNS)))


@pytest.mark.parametrize(
    ("render", "name"),
    [
        (github_action_benchmark.render_runs, "runs-smaller.json"),
        (github_action_benchmark_bigger.render_runs, "runs-bigger.json"),
        (bencher.render_runs, "runs-bencher.json"),
        (openmetrics.render_runs, "runs-metrics.txt"),
    ],
    ids=["smaller", "bigger", "bencher", "openmetrics"],
)
def test_the_figures_of_runs_are_as_recorded(render: Several, name: str) -> None:
    """VALID runs, with accuracy and without, equal their golden files."""
    agree(name, render(VALID, [None] * len(VALID)))
