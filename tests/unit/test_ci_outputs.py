"""Where a check's result goes: GitHub's escaping and limits, names of formats, and files that cannot be written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.ci import github, measures, other_formats, outputs, wording
from harness.ci.github import Annotation
from harness.ci.measures import Measure
from harness.ci.outputs import Output
from harness.errors import MissingError, UsageError
from tests import example_checks, example_runs


def unescaped(text: str) -> str:
    """As the runner of GitHub Actions reads data: in this order."""
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%3A", ":").replace("%2C", ",").replace("%25", "%")


@given(st.text(), st.text())
def test_an_annotation_is_one_line_and_says_what_was_given(message: str, title: str) -> None:
    """No text ends the command early or begins another; the runner reads back what was written."""
    line = github.command(Annotation("error", message, title, "a,b:c.yaml", 7))
    assert "\n" not in line
    assert "\r" not in line
    properties, _, data = line.removeprefix("::error ").partition("::")
    named = dict(part.split("=", 1) for part in properties.split(","))
    assert {name: unescaped(named[name]) for name in ("file", "line")} == {"file": "a,b:c.yaml", "line": "7"}
    assert unescaped(named.get("title", "")) == title
    assert unescaped(data) == message


def test_an_annotation_is_escaped_exactly() -> None:
    """The order of actions/toolkit: per cent signs first, colons and commas in properties only."""
    assert github.command(Annotation("warning", "5%: a, b\r\nc", "t: 1, 2")) == "::warning title=t%3A 1%2C 2::5%25: a, b%0D%0Ac"
    assert github.command(Annotation("notice", "plain")) == "::notice::plain"


def test_no_more_annotations_of_a_kind_than_are_shown() -> None:
    """Ten errors at most; of more, the last says how many are left."""
    many = replace(example_checks.CHECKED, checks=(example_checks.SLOWER,) * 25 + (example_checks.FASTER,))
    found = github.annotated(many)
    assert [each.level for each in found] == ["error"] * 10 + ["notice"]
    assert found[9].message == "16 more are in the step summary"


def test_a_file_that_cannot_be_made_keeps_no_other_from_being_written(tmp_path: Path) -> None:
    """Figures of a check without any are an error that is told; the other files are there."""
    wanted = [Output("bencher", tmp_path / "b.json"), Output("junit", tmp_path / "j.xml")]
    (problem,) = outputs.write_all(example_checks.NOTHING, wanted)
    assert isinstance(problem, MissingError)
    assert [file.name for file in tmp_path.iterdir()] == ["j.xml"]


def test_what_rounds_to_nothing_has_no_minus() -> None:
    """Points and shares alike; the interval of accuracy is one of 99 %."""
    assert wording.signed(-0.001) == wording.signed(-0.0) == "+0.00"
    lost = replace(example_checks.SLOWER, kind="accuracy", unit="f1", change=1e-6, low=0.0, high=0.0025)
    assert wording.change(lost) == "+0.00 points"
    assert wording.interval(lost) == "99 % interval -0.25 to +0.00 points"
    assert wording.measured(lost) == "both over the same examples"


def test_a_check_that_measured_nothing_is_an_error() -> None:
    """Nothing measured is never silent."""
    (found,) = github.annotated(example_checks.NOTHING)
    assert (found.level, found.message) == ("error", "nothing was measured; no check was left")


@given(st.dictionaries(st.from_regex(r"[a-z][a-z-]{0,8}", fullmatch=True), st.text(st.characters(exclude_characters="\r")), max_size=4))
def test_outputs_are_read_back_as_they_were(named: dict[str, str]) -> None:
    """No value can end itself: the file, read line by line as the runner does, gives the values again."""
    lines, found = github.outputs(named).split("\n"), {}
    while lines != [""]:
        name, _, delimiter = lines.pop(0).partition("<<")
        end = lines.index(delimiter)
        found[name] = "\n".join(lines[:end])
        lines = lines[end + 1 :]
    assert found == named


def test_a_value_that_holds_its_own_delimiter_gets_another() -> None:
    """An attacker who knows the rule sets no second output."""
    first = github.outputs({"a": "x"}).split("\n")[0].removeprefix("a<<")
    text = github.outputs({"a": f"{first}\nb=evil\n{first}"})
    assert text.split("\n")[-2] not in (first, "")
    assert text.split("\n")[0] == f"a<<{text.split(chr(10))[-2]}"


@pytest.mark.parametrize("written", [0, 1000, github.MOST_SUMMARY - 10, github.MOST_SUMMARY])
@pytest.mark.parametrize("size", [10, github.MOST_SUMMARY, 2 * github.MOST_SUMMARY])
def test_a_summary_stays_within_its_limit(written: int, size: int) -> None:
    """Together with what is there it is never larger than 1 MiB, in bytes; what is cut is cut at a line and said."""
    text = "zeile µ\n" * (size // 9)
    kept = github.summary(text, written)
    assert written + len(kept.encode()) <= github.MOST_SUMMARY
    if kept != text and kept:
        body, _, note = kept.partition("\n\n*")
        assert text.startswith(body)
        assert "1 MiB" in note


def test_to_github_appends_to_the_files_of_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What earlier commands of the step wrote stays."""
    summary, values = tmp_path / "summary", tmp_path / "values"
    for variable, file in ((outputs.SUMMARY, summary), (outputs.VALUES, values)):
        file.write_text("before\n")
        monkeypatch.setenv(variable, str(file))
    outputs.write(example_checks.GREEN, outputs.parse("github"))
    assert summary.read_text().startswith("before\n# passed: main (3f2a1c0)")
    assert values.read_text().startswith("before\nverdict<<")
    assert capsys.readouterr().out.startswith("::notice title=improvement%3A server::")


def test_outside_of_github_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the step's variables only the annotations are printed."""
    for variable in (outputs.SUMMARY, outputs.VALUES):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    outputs.write(example_checks.CHECKED, Output(outputs.GITHUB))
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out.count("::error") == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("junti=x.xml", "there is no format junti"),
        ("junit", "no file"),
        ("junit=", "no file"),
        ("github=x", "github writes to the places of the running step"),
        ("json=/no/such/folder/x.json", "cannot be written"),
        ("json=.", "cannot be written"),
    ],
)
def test_an_output_that_cannot_be_is_refused_at_once(text: str, said: str) -> None:
    """Before anything is measured, with a cure."""
    with pytest.raises(UsageError, match=said) as caught:
        outputs.parse(text)
    assert caught.value.cure


def test_a_text_that_no_file_can_hold_is_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lone surrogate in a name (a file name that is no UTF-8) is shown escaped, everywhere."""
    odd = replace(example_checks.CHECKED, head="x\udc80", checks=(replace(example_checks.SLOWER, name="n\udc80"),))
    monkeypatch.setenv(outputs.SUMMARY, str(tmp_path / "summary"))
    monkeypatch.setenv(outputs.VALUES, str(tmp_path / "values"))
    monkeypatch.setattr(outputs.github, "annotated", lambda *_: [])
    for text in ("github", *(f"{form}={tmp_path / form}" for form in ("junit", "json", "markdown", "bencher"))):
        outputs.write(odd, outputs.parse(text))
    assert all("dc80" in file.read_text(encoding="utf-8") for file in tmp_path.iterdir())


@pytest.mark.parametrize("form", ["junit", "json", "markdown", "bencher", "openmetrics", "github-action-benchmark"])
def test_a_file_holds_the_whole_text(form: str, tmp_path: Path) -> None:
    """What is written is the format's text, in place of what was there."""
    file = tmp_path / "out"
    file.write_text("older")
    outputs.write(example_checks.CHECKED, outputs.parse(f"{form}={file}"))
    assert file.read_text(encoding="utf-8") == outputs.FORMATS[form](example_checks.CHECKED)


def test_a_folder_that_is_gone_is_missing(tmp_path: Path) -> None:
    """Gone between the beginning and the end: an error with the file's name."""
    with pytest.raises(MissingError, match="cannot be written"):
        outputs.write(example_checks.CHECKED, Output("json", tmp_path / "gone" / "x.json"))


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (0, "passed"),
        (7, "REGRESSION"),
        (9, "NOTHING MEASURED"),
        (4, "FAILED"),
        (6, "ACCURACY MISSED"),
        (130, "INTERRUPTED"),
        (42, "FAILED"),
    ],
)
def test_only_exit_code_0_is_called_passed(code: int, word: str) -> None:
    """A code that nobody knows is FAILED."""
    assert wording.word(replace(example_checks.CHECKED, exit_code=code)) == word


# ------------------------------------------------------------------------------------------------------------------------ trackers


def test_only_results_are_exported() -> None:
    """An INVALID run is no figure of any tracker; where there is nothing else, that is an error and no empty file."""
    found = measures.of_runs([example_runs.VALID, example_runs.INVALID], [None, None])
    assert {each.figure for each in found} == {"throughput", "p50 latency", "p90 latency", "p99 latency", "f1"}
    with pytest.raises(MissingError, match="INVALID"):
        measures.of_runs([example_runs.INVALID, example_runs.FAILED], [None, None])


def test_a_percentile_of_too_few_queries_is_no_figure() -> None:
    """Below early stopping's floor (p99: 662 at no query over; 459 here) a percentile is left out."""
    few = example_runs.changed(example_runs.VALID, counts={"queries": 70, "samples": 70})
    names = [each.figure for each in measures.of_runs([few], [None])]
    assert "p90 latency" in names
    assert "p99 latency" not in names


def test_two_runs_of_one_name_are_refused() -> None:
    """A tracker would keep one of the two, nobody knows which."""
    with pytest.raises(UsageError, match="there twice"):
        measures.of_runs([example_runs.VALID, example_runs.VALID], [None, None])


def test_the_interval_of_a_check_is_that_of_its_change() -> None:
    """Head at 100 of base 108: a time 7.25 to 8.76 % longer is 100.7 to 99.3 samples a second, ends in order."""
    (found,) = (each for each in measures.of_checked(example_checks.CHECKED) if each.figure == "throughput")
    assert found.low == pytest.approx(100 * 1.08 / 1.0876)
    assert found.high == pytest.approx(100 * 1.08 / 1.0725)


def test_one_direction_a_file() -> None:
    """A file for customSmallerIsBetter has no throughput; asking for what is not there names the other format."""
    smaller = json.loads(other_formats.github_action_benchmark(measures.of_checked(example_checks.CHECKED), "lower"))
    assert {entry["unit"] for entry in smaller} == {"ms"}
    rate = Measure("a", "throughput", "throughput", 5.0, "samples/s", "higher")
    with pytest.raises(MissingError) as caught:
        other_formats.github_action_benchmark([rate], "lower")
    assert "github-action-benchmark-bigger" in caught.value.cure


@given(st.text())
def test_labels_of_openmetrics_are_one_line(subject: str) -> None:
    """Quotes, backslashes and line ends in a name do not end the label."""
    text = other_formats.openmetrics([Measure(subject, "p50 latency", "latency", 2e6, "ns", "lower")])
    lines = text.split("\n")
    assert len(lines) == 5
    assert lines[2].endswith(',figure="p50 latency"} 0.002')
    assert lines[3:] == ["# EOF", ""]
