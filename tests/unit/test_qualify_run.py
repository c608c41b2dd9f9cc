"""A qualification from beginning to end, with checks that measure nothing."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.config import load
from harness.errors import DataError, ExitCode, MissingError, UsageError
from harness.qualifying import levels, run, state, thermometer
from harness.qualifying.check import Check, Context, Finding, Qualification, from_json, to_json
from harness.qualifying.run import Plan
from harness.qualifying.stop import Reason, Stopped, watched
from tests.qualifications import check, fact, qualification


def plan(folder: Path, *checks: Check, **more: object) -> Plan:
    folder.mkdir(exist_ok=True)
    config = load({"backend": "null", "task": "sst2", "telemetry": 0, "out": str(folder)})
    return Plan("quick", checks, config, folder, **more)  # type: ignore[arg-type]


def outcomes(found: Qualification) -> dict[str, tuple[str, str]]:
    return {finding.name: (finding.outcome, finding.code) for finding in found.findings}


def raising(error: BaseException) -> Check:
    def does(context: Context) -> Finding:
        raise error

    return check("broken", does)


# ------------------------------------------------------------------------------------------------------------------------ verdict


@pytest.mark.parametrize(
    ("findings", "verdict", "code"),
    [
        ([fact("a"), fact("b", "WARN")], "ACCEPTED", ExitCode.OK),
        ([fact("a"), fact("b", "FAIL", required=False), fact("c", "SKIP", required=False)], "ACCEPTED", ExitCode.OK),
        ([fact("a"), fact("b", "FAIL"), fact("c", "SKIP")], "REJECTED", ExitCode.QUALIFICATION),
        ([fact("a"), fact("b", "SKIP")], "NOT QUALIFIED", ExitCode.NOTHING_MEASURED),
        ([fact("a", required=False)], "NOT QUALIFIED", ExitCode.NOTHING_MEASURED),
    ],
)
def test_the_verdict_is_the_worst_of_the_required(findings: list[Finding], verdict: str, code: ExitCode) -> None:
    """A failure rejects, a skip or nothing required qualifies nothing, and what is not required decides nothing."""
    found = qualification(*findings)
    assert (found.verdict, found.exit_code) == (verdict, code)


def test_an_unfinished_qualification_accepts_nothing() -> None:
    """Incomplete is NOT QUALIFIED, but a fault that was found stays found."""
    assert qualification(fact("a"), complete=False).verdict == "NOT QUALIFIED"
    assert qualification(fact("a", "FAIL"), complete=False).verdict == "REJECTED"


def test_a_stored_verdict_must_be_that_of_its_findings() -> None:
    """to_json and from_json keep everything; a verdict that was improved by hand is refused."""
    record = json.loads(json.dumps(to_json(qualification(fact("a", "FAIL")))))
    assert from_json(record) == qualification(fact("a", "FAIL"))
    with pytest.raises(ValueError, match="its findings make it REJECTED"):
        from_json({**record, "verdict": "ACCEPTED"})


# -------------------------------------------------------------------------------------------------------------------------- frame


def test_checks_run_in_turn_and_share_what_they_keep(tmp_path: Path) -> None:
    """One check's value is the next one's, what can be closed is closed, and all findings are there with the time they took."""
    closed = []

    class Crew:
        def close(self) -> None:
            closed.append(True)

    def first(context: Context) -> list[Finding]:
        context.keep["crew"] = Crew()
        return [fact("first"), fact("more")]

    def second(context: Context) -> Finding:
        assert isinstance(context.keep["crew"], Crew)
        assert context.task == "sst2"
        return fact("second")

    found = run.run(plan(tmp_path / "q", check("first", first), check("second", second)))
    assert outcomes(found) == {"first": ("PASS", "BROKEN"), "more": ("PASS", "BROKEN"), "second": ("PASS", "BROKEN")}
    assert (found.verdict, found.complete, found.done, closed) == ("ACCEPTED", True, ("first", "second"), [True])
    assert found.subject["backend"] == "null"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(MissingError("no such library"), "SKIP"), (UsageError("bad"), "FAIL"), (DataError("damaged"), "FAIL"), (ValueError("oh"), "FAIL")],
)
def test_an_error_always_reaches_the_verdict(tmp_path: Path, error: Exception, outcome: str) -> None:
    """What a check raises is its finding, with the text of the error, and the checks behind it still run."""
    found = run.run(plan(tmp_path / "q", raising(error), check("after")))
    assert outcomes(found) == {"broken": (outcome, "CHECK_ERROR"), "after": ("PASS", "BROKEN")}
    assert str(error) in found.findings[0].text
    assert found.verdict in ("REJECTED", "NOT QUALIFIED")


def test_a_check_without_a_finding_qualifies_nothing(tmp_path: Path) -> None:
    """An empty list is a skip, not a pass."""
    found = run.run(plan(tmp_path / "q", check("mute", lambda context: [])))
    assert (outcomes(found), found.verdict) == ({"mute": ("SKIP", "CHECK_ERROR")}, "NOT QUALIFIED")


def test_a_check_that_hangs_is_ended(tmp_path: Path) -> None:
    """After its limit it fails with CHECK_TIMEOUT, even where it catches every Exception, and the next one runs."""

    def hangs(context: Context) -> Finding:
        while True:
            try:
                time.sleep(30)
            except Exception:
                continue

    found = run.run(plan(tmp_path / "q", check("hangs", hangs, limit_s=0.2), check("after")))
    assert outcomes(found) == {"hangs": ("FAIL", "CHECK_TIMEOUT"), "after": ("PASS", "BROKEN")}


def test_model_and_data_that_cannot_be_had_are_a_finding(tmp_path: Path) -> None:
    """The checks that need none still run; without a subject nothing is accepted."""
    (tmp_path / "q").mkdir()
    config = load({"backend": "pytorch:fp32", "task": "sst2", "model": str(tmp_path), "offline": True, "telemetry": 0})
    found = run.run(Plan("quick", [check("timer")], config, tmp_path / "q"))
    assert found.verdict != "ACCEPTED"
    assert outcomes(found)["subject"][0] in ("SKIP", "FAIL")
    assert outcomes(found)["timer"][0] == "PASS"


# -------------------------------------------------------------------------------------------------------- interruption and limits


def test_what_looks_back_begins_anew_in_each_session(tmp_path: Path) -> None:
    """Before the first check of the session that ran into Ctrl-C, and of the one that went on; done, it is not begun again."""
    begun: list[str] = []
    looking = replace(check("looking"), last=True, begin=lambda context: begun.append(context.level))
    run.run(plan(tmp_path / "q", raising(KeyboardInterrupt()), looking))
    run.run(plan(tmp_path / "q", check("broken"), looking, before=state.resumable(tmp_path / "q")))
    assert begun == ["quick", "quick"]


def test_ctrl_c_keeps_what_is_done_and_goes_on_later(tmp_path: Path) -> None:
    """The interrupted check and those behind it are skipped: NOT QUALIFIED; resumed, only they run, and the gap is recorded. The time of
    the interrupted check counts."""

    def interrupted(context: Context) -> Finding:
        time.sleep(0.3)
        raise KeyboardInterrupt

    first = run.run(plan(tmp_path / "q", check("done"), check("broken", interrupted), check("after")))
    assert first.seconds >= 0.3
    assert outcomes(first) == {"done": ("PASS", "BROKEN"), "broken": ("SKIP", "INTERRUPTED"), "after": ("SKIP", "INTERRUPTED")}
    assert (first.verdict, first.complete) == ("NOT QUALIFIED", False)

    def not_again(context: Context) -> Finding:
        raise AssertionError

    before = state.resumable(tmp_path / "q")
    second = run.run(plan(tmp_path / "q", check("done", not_again), check("broken"), check("after"), before=before))
    assert (second.verdict, second.done, len(second.resumed)) == ("ACCEPTED", ("done", "broken", "after"), 1)
    assert second.resumed[0]["seconds"] >= 0
    assert second.started_utc == first.started_utc
    state.finish(tmp_path / "q", second)
    with pytest.raises(MissingError, match="is finished"):
        state.resumable(tmp_path / "q")


def test_a_killed_qualification_leaves_what_it_had_done(tmp_path: Path) -> None:
    """What lies on disk while a check runs holds all findings before it; a damaged file is refused."""
    seen = []

    def look(context: Context) -> Finding:
        seen.append(state.resumable(context.folder))
        return fact("look")

    run.run(plan(tmp_path / "q", check("first"), check("look", look)))
    assert [finding.name for finding in seen[0].findings] == ["first"]
    assert not seen[0].complete
    file = tmp_path / "q" / state.PARTIAL
    file.write_text(file.read_text().replace('"PASS"', '"WARN"', 1))
    with pytest.raises(DataError, match="was changed"):
        state.resumable(tmp_path / "q")


def test_the_time_limit_ends_everything_and_can_be_gone_on_from(tmp_path: Path) -> None:
    """TIME_LIMIT: a skip of what was not reached, no fault of the machine."""
    found = run.run(plan(tmp_path / "q", check("long", lambda context: time.sleep(30)), check("after"), time_limit_s=0.3))  # type: ignore[arg-type, return-value]
    assert outcomes(found) == {"long": ("SKIP", "TIME_LIMIT"), "after": ("SKIP", "TIME_LIMIT")}
    assert (found.complete, found.done) == (False, ())


def test_heat_ends_everything_and_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TEMPERATURE_LIMIT: the check that was running fails, the rest is not run."""

    class Hot:
        running = True

        def rows(self) -> Hot:
            return self

        def latest(self) -> dict[str, float]:
            return {"gpu0_celsius": 91.0, "gpu0_watts": 500.0}

        def __enter__(self) -> Hot:
            return self

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr(thermometer, "beside", lambda pid, interval_s: Hot())
    found = run.run(plan(tmp_path / "q", check("load", lambda context: time.sleep(30)), check("after"), max_celsius=85.0))  # type: ignore[arg-type, return-value]
    assert outcomes(found) == {"load": ("FAIL", "TEMPERATURE_LIMIT"), "after": ("SKIP", "TEMPERATURE_LIMIT")}
    assert "gpu0_celsius reached 91 °C" in found.findings[0].text
    assert found.verdict == "REJECTED"


def test_a_temperature_that_nobody_can_read_is_not_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--max-celsius where no sensor is: an error before anything runs, no false safety."""
    monkeypatch.setattr(thermometer, "PATIENCE_S", 0.0)
    monkeypatch.setattr(thermometer, "_hottest", lambda stream: None)
    with pytest.raises(MissingError, match="no temperature can be read"):
        run.run(plan(tmp_path / "q", check("load"), max_celsius=85.0))


def test_a_watch_ends_with_its_block() -> None:
    """Nothing is raised after the block, the handler of the signal is the former one, and other threads are left alone."""
    before = signal.getsignal(signal.SIGALRM)
    with watched(0.05):
        pass
    time.sleep(0.1)
    assert signal.getsignal(signal.SIGALRM) is before

    def look() -> Iterator[Reason | None]:
        yield None
        while True:
            yield ("HOT", "too hot")

    looks = look()
    with pytest.raises(Stopped, match="too hot") as stopped, watched(60, lambda: next(looks)):
        time.sleep(30)
    assert stopped.value.code == "HOT"
    done: list[bool] = []

    def elsewhere() -> None:
        with watched(0.0):
            done.append(True)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert done == [True]


# ------------------------------------------------------------------------------------------------------------------------- levels


def test_checks_are_ordered_by_cost_and_named_once() -> None:
    """Cheap ones first, those that look back last; two of one name are an error."""
    listed = levels.ordered([check("back", last=True, seconds=0), check("dear", seconds=9), check("cheap", seconds=1)])
    assert [each.name for each in listed] == ["cheap", "dear", "back"]
    with pytest.raises(UsageError, match="two checks are called cheap"):
        levels.ordered([check("cheap"), check("cheap")])


@pytest.mark.parametrize(("level", "most_s"), [("quick", 30), ("standard", 240)])
def test_every_level_has_checks_within_its_time(level: str, most_s: float) -> None:
    """What is found below checks/ is planned to take no longer than the level may, and has a required check."""
    found = levels.of(level, levels.known())
    assert any(each.required for each in found)
    assert sum(each.seconds for each in found) < most_s


def test_the_soak_belongs_to_the_long_level() -> None:
    """It is the longest check there, and in no other level."""
    long = levels.of("long", levels.known())
    assert max(long, key=lambda each: each.seconds).name == "soak"
    assert "soak" not in {each.name for each in levels.of("standard", levels.known())}
