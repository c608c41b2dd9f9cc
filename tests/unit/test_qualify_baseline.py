"""Baselines: what is learned, what is refused, what a file must be, and how findings are held against one."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import MissingError, UsageError
from harness.qualifying import baseline, baseline_file, judging, signing
from harness.qualifying.baseline import Baseline, learn
from harness.qualifying.check import Finding
from tests.qualifications import SUBJECT, fact, figure, qualification


def learned(*values: float) -> Baseline:
    known = None
    for number, value in enumerate(values or (100.0, 101.0, 99.0)):
        known = learn(known, qualification(figure(value=value), fact("timer")), f"{number}")
    assert known is not None
    return known


def judged(known: Baseline, *findings: Finding) -> dict[str, Finding]:
    return {finding.name: finding for finding in judging.judge(findings, known, "standard")}


# ----------------------------------------------------------------------------------------------------------------------- learning


def test_figures_are_learned_and_facts_are_not() -> None:
    """What a check judges itself, or only tells, is no part of a baseline."""
    own = figure("own", expected=90.0, tolerance=1.0)
    known = learn(None, qualification(figure(details={"values": [98, 102]}), own, figure("told", better=None), fact("timer")), "x")
    assert set(known.accepted[0].figures) == {"offline_throughput"}
    assert known.accepted[0].figures["offline_throughput"].error == pytest.approx(2.5066, abs=1e-3)


def test_a_figure_that_a_baseline_judged_is_learned_again() -> None:
    """A measurement that passed against an older baseline is a further example."""
    passed = judged(learned(), figure(value=100.5))["offline_throughput"]
    assert passed.expected == 100.0
    assert learn(learned(), qualification(passed, started_utc="later"), "9").accepted[-1].figures["offline_throughput"].value == 100.5


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (qualification(figure(), fact("memory", "FAIL")), "memory did not pass"),
        (qualification(figure(), fact("memory", "SKIP")), "memory did not pass"),
        (qualification(figure(), complete=False), "did not finish"),
        (qualification(fact("timer")), "nothing was measured"),
        (qualification(figure(), subject={**SUBJECT, "backend": "pytorch:int8"}), "backend: pytorch:fp32 → pytorch:int8"),
    ],
)
def test_what_is_no_example_of_a_good_machine_is_not_learned(found: object, said: str) -> None:
    """A failed, skipped or unfinished measurement, one of nothing, and one of something else are refused by name."""
    with pytest.raises(UsageError, match=said):
        learn(learned(), found, "new")  # type: ignore[arg-type]


def test_a_measurement_is_learned_once() -> None:
    """The same qualification.json counts once, however often it is named."""
    with pytest.raises(UsageError, match="was learned before"):
        learn(learned(), qualification(), "0")


# ------------------------------------------------------------------------------------------------------------------------ judging


def test_a_slow_figure_fails_with_its_own_code_and_a_margin() -> None:
    """10 % below a baseline of three within 1 % is beyond it: FAIL with the code of the check, expected, tolerance and negative margin."""
    known = learned(100.0, 100.4, 99.6)
    found = judged(known, figure(value=90.0))["offline_throughput"]
    limit = known.figures[0].limit
    assert limit is not None
    assert limit.low is not None
    assert (found.outcome, found.code, found.expected) == ("FAIL", "THROUGHPUT_LOW", 100.0)
    assert found.tolerance == pytest.approx(100.0 - limit.low)
    assert found.margin == pytest.approx((90.0 - limit.low) / 100)
    assert judged(known, figure(value=99.9))["offline_throughput"].outcome == "PASS"


def test_a_figure_that_the_baseline_lacks_is_skipped_not_passed() -> None:
    """Nothing to hold it against: SKIP; so is one with fewer than three measurements, or in another unit."""
    assert judged(learned(), figure(), figure("gemm"))["gemm"].outcome == "SKIP"
    assert "fewer than 3" in judged(learned(100.0, 101.0), figure())["offline_throughput"].text
    assert judged(learned(), figure(unit="queries/s"))["offline_throughput"].outcome == "SKIP"


def test_a_figure_that_was_not_measured_is_missed() -> None:
    """What the baseline has at this level and the machine does not is a required skip: NOT_MEASURED."""
    found = judged(learned(), fact("timer"))["offline_throughput"]
    assert (found.code, found.outcome, found.required) == ("NOT_MEASURED", "SKIP", True)
    assert "offline_throughput" not in {each.name for each in judging.judge([fact("timer")], learned(), "quick")}


def test_what_its_check_failed_stays_failed() -> None:
    """A baseline makes no failure good, and judges nothing that a check judged itself."""
    own = figure("own", value=1.0, expected=90.0)
    found = judged(learned(), figure(outcome="FAIL"), own)
    assert found["offline_throughput"].outcome == "FAIL"
    assert found["own"] == own


def test_another_model_is_named_and_nothing_is_compared() -> None:
    """MODEL_WRONG with both hashes; figures are skipped, for they say nothing about the machine."""
    other = qualification(subject={**SUBJECT, "model": {"name": "minilm-squad", "sha256": "c" * 64}})
    about = {finding.name: finding for finding in judging.subject_findings(learned(), other)}
    assert (about["baseline_model"].code, about["baseline_model"].outcome) == ("MODEL_WRONG", "FAIL")
    assert "aaaa" in about["baseline_model"].text
    assert "cccc" in about["baseline_model"].text
    assert [about["baseline_data"].outcome, about["baseline_hardware"].outcome] == ["PASS", "PASS"]
    assert not judging.comparable(list(about.values()))
    assert [each.outcome for each in judging.not_compared(other.findings)] == ["SKIP", "PASS"]


def test_a_lost_core_is_other_hardware() -> None:
    """The fingerprint says which part of the machine is not what it was."""
    machine = {**qualification().machine, "hardware": {"cpu": {"model": "Fast 9000", "usable_cores": 7}, "gpus": []}}
    found = [*judging.subject_findings(learned(), qualification(machine=machine))][-1]
    assert (found.code, found.outcome) == ("HARDWARE_OTHER", "FAIL")
    assert "cpu.usable_cores: 8 → 7" in found.text


def test_a_baseline_that_would_miss_a_tenth_says_so() -> None:
    """A tolerance over 10 % is a warning with the cure."""
    assert any("learn more" in line for line in judging.wide(learned(100.0, 110.0, 90.0)))
    assert not judging.wide(learned(100.0, 100.1, 99.9))


# -------------------------------------------------------------------------------------------------------------------------- files


def test_a_baseline_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Everything, and the hash with it; the content is canonical, so the same baseline has the same hash."""
    kept = baseline_file.write(tmp_path / "b.json", learned())
    assert baseline_file.read(tmp_path / "b.json", "--baseline") == learned()
    assert baseline_file.write(tmp_path / "c.json", learned()).sha256 == kept.sha256


def test_a_changed_baseline_is_refused(tmp_path: Path) -> None:
    """One figure edited by hand: the hash does not hold, exit code 2, and the cure says what to do."""
    file = tmp_path / "b.json"
    baseline_file.write(file, learned())
    record = json.loads(file.read_text())
    record["figures"][0]["limit"]["low"] = 1.0
    file.write_text(json.dumps(record))
    with pytest.raises(UsageError, match="was changed since it was learned") as error:
        baseline_file.read(file, "--baseline")
    assert "learn it anew" in error.value.cure


@pytest.mark.parametrize("text", ["[]", "{}", "no json", '{"schema": 1}', '{"kind": "qualification"}'])
def test_another_file_is_no_baseline(tmp_path: Path, text: str) -> None:
    """Whatever else a file holds is refused with its name."""
    file = tmp_path / "b.json"
    file.write_text(text)
    with pytest.raises(UsageError, match="is no baseline"):
        baseline_file.read(file, "--baseline")
    with pytest.raises(MissingError, match="cannot be read"):
        baseline_file.read(tmp_path / "none.json", "--baseline")


def test_a_sealed_file_of_another_schema_is_refused(tmp_path: Path) -> None:
    """A version that this Assay does not know is named, not guessed at."""
    from harness.qualifying.sealing import sealed

    file = tmp_path / "b.json"
    file.write_text(json.dumps(sealed({**baseline.to_json(learned()), "schema": 9})))
    with pytest.raises(UsageError, match="schema 9"):
        baseline_file.read(file, "--baseline")


# --------------------------------------------------------------------------------------------------------------------- signatures


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GnuPG home with a key of its own; short, for its sockets."""
    if shutil.which("gpg") is None:
        pytest.skip("gpg is not installed")
    import tempfile

    home = Path(tempfile.mkdtemp(prefix="gpg"))
    words = ["gpg", "--homedir", str(home), "--batch", "--passphrase", "", "--quick-generate-key", "signer@example.org", "ed25519", "sign"]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("gpg makes no key here")
    return home


def test_a_signature_holds_for_the_file_that_was_signed(tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed and verified; changed afterwards, with the hash made anew, it is refused; learning more withdraws the signature."""
    monkeypatch.setenv("GNUPGHOME", str(key))
    file, signer = tmp_path / "b.json", signing.parse("gpg:signer@example.org", "--sign")
    baseline_file.write(file, learned(), signer)
    assert signing.signed(file) == ["gpg"]
    assert baseline_file.read(file, "--baseline", signing.parse("gpg", "--verify")) == learned()
    with pytest.raises(UsageError, match="it was signed by"):
        baseline_file.read(file, "--baseline", signing.parse("gpg:ABCDEF0123456789", "--verify"))
    forged = tmp_path / "forged.json"
    baseline_file.write(forged, learned(50.0, 51.0, 49.0))
    shutil.copy(signing.signature(file, "gpg"), signing.signature(forged, "gpg"))
    with pytest.raises(UsageError, match="BAD signature"):
        baseline_file.read(forged, "--baseline", signing.parse("gpg", "--verify"))
    baseline_file.write(file, learned())
    assert signing.signed(file) == []


def test_a_signature_that_is_asked_for_must_be_there(tmp_path: Path) -> None:
    """Exit code 2 with the name of the file that lacks; programs and keys that are not there are named."""
    file = tmp_path / "b.json"
    baseline_file.write(file, learned())
    with pytest.raises(UsageError, match=r"has no signature b\.json\.asc"):
        baseline_file.read(file, "--baseline", signing.Signer("gpg", "", "--verify"))
    with pytest.raises(UsageError, match="is no signer"):
        signing.parse("pgp", "--sign")
    with pytest.raises(UsageError, match="is no signer"):
        signing.parse("minisign", "--sign")


def test_minisign_is_called_with_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for minisign that signs by copying: verified with the file as it is, refused after a change."""
    program = tmp_path / "minisign"
    check = 'cmp -s "$last" "$5" || { echo "Signature verification failed"; exit 1; }'
    program.write_text(f'#!/bin/sh\nfor last; do :; done\ncase "$1" in -S) cp "$last" "$5";; -V) {check};; esac\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    keyfile, file = tmp_path / "key", tmp_path / "b.json"
    with pytest.raises(MissingError, match="is not there"):
        signing.parse(f"minisign:{keyfile}", "--sign")
    keyfile.write_text("key")
    signer = signing.parse(f"minisign:{keyfile}", "--sign")
    baseline_file.write(file, learned(), signer)
    assert signing.check(file, signer) == "minisign, key"
    file.write_text(file.read_text() + " ")
    with pytest.raises(UsageError, match="Signature verification failed"):
        signing.check(file, replace(signer, flag="--verify"))
