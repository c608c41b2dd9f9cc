"""What a soak shows: whether speed, temperature, error counters and answers stayed what they were. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

import numpy as np

from harness import units
from harness.qualifying import worker_speed
from harness.qualifying.check import Finding, Outcome
from harness.qualifying.soak import Loop, Soak
from harness.steady import DRIFT, TREND_P, mann_kendall, theil_sen

LEAST_LOOPS = 8
"""With fewer, a trend at `TREND_P` cannot be shown: of 5 points in order the two-sided p is 0.03."""
PLATEAU_CELSIUS = 2.0
"""Rise over the last third of the soak below which the temperature has settled; sensors tell whole degrees."""
THROTTLED = 0.01
"""Share of the soak above which throttling fails it: the same that a run warns of."""
_COUNTERS = ("_ecc_corrected", "_ecc_uncorrected", "_remapped_rows", "_retired_pages")


def findings(found: Soak) -> list[Finding]:
    """All of them; `soak` is the first."""
    loops = found.loops
    made = [
        _lasted(found),
        _rate(loops),
        _drift(loops),
        _answers(loops),
        _weights(loops),
        _errors(loops),
        _throttled(loops),
        *_events(loops),
        *_workers(loops),
        *_sessions(found),
    ]
    return [*made, *_plateaus(loops), *_counters(loops)]


def _lasted(found: Soak) -> Finding:
    stood = f", gone on with {units.plural(len(found.sessions) - 1, 'time')}" if len(found.sessions) > 1 else ""
    text = f"{units.seconds(found.soaked_s)} of load in {units.plural(len(found.loops), 'loop')}{stood}"
    details = {"sessions": list(found.sessions), "started_utc": [loop.started_utc for loop in found.loops]}
    return Finding("SOAK_SHORT", "soak", "PASS", text, found.soaked_s, "s", len(found.loops), details=details)


def _rate(loops: Sequence[Loop]) -> Finding:
    rates = [loop.rate for loop in loops]
    unit, middle = loops[-1].unit, median(rates)
    text = f"{units.rate(middle, unit)} under lasting load, {units.rate(min(rates), unit)} in the slowest loop"
    step = "look for heat, power limits and other work at the time of the slow loops"
    details = {"values": rates}
    return Finding(
        "THROUGHPUT_LOW", "soak_throughput", "PASS", text, middle, unit, len(rates), better="higher", next_step=step, details=details
    )


def _drift(loops: Sequence[Loop]) -> Finding:
    """Theil and Sen's slope over the soak; it fails where Mann-Kendall's test finds it significant and it is a loss."""
    rates = np.array([loop.rate for loop in loops])
    name, code, step = "soak_drift", "THROUGHPUT_DRIFT", "see temperature and clocks over the soak: cooling that gives way, or a limit"
    if len(loops) < LEAST_LOOPS:
        text = f"{units.plural(len(loops), 'loop')}: a trend needs {LEAST_LOOPS}"
        return Finding(code, name, "SKIP", text, required=False, next_step="soak longer (--duration)")
    drift, p = float(theil_sen(rates)) * (len(rates) - 1) / float(np.median(rates)), mann_kendall(rates)
    outcome: Outcome = "FAIL" if drift <= -DRIFT and p < TREND_P else "PASS"
    text = f"throughput {'rose' if drift > 0 else 'fell'} by {abs(drift):.1%} from begin to end (p = {units.number(p, 2)})"
    return Finding(code, name, outcome, text, drift, "1", len(rates), 0.0, DRIFT, DRIFT + drift, "higher", next_step=step)


def _answers(loops: Sequence[Loop]) -> Finding:
    wrong, asked = sum(loop.wrong for loop in loops), sum(loop.answers for loop in loops)
    told = [line for loop in loops if loop.wrong for line in loop.told]
    text = f"{units.count(wrong)} of {units.count(asked)} answers were not the known ones" + (f": {told[0]}" if told else "")
    step = "the machine computes wrongly and does not say so: take it out of service, test memory and the named core or GPU"
    return _none("ANSWERS_CHANGED", "soak_answers", text, wrong, "answers", asked, step, told)


def _weights(loops: Sequence[Loop]) -> Finding:
    changed = sum(loop.changed for loop in loops)
    told = [line for loop in loops if loop.changed for line in loop.told]
    text = f"weights changed in memory {units.plural(changed, 'time')}" + (f": {told[-1]}" if told else "")
    step = "memory holds something else than was written: test memory, take the machine out of service"
    return _none("WEIGHTS_CHANGED", "soak_weights", text, changed, "changes", len(loops), step, told)


def _errors(loops: Sequence[Loop]) -> Finding:
    errors, asked = sum(loop.errors for loop in loops), sum(loop.answers for loop in loops)
    text = f"{units.count(errors)} of {units.count(asked)} samples were not answered"
    return _none("ANSWERS_LOST", "soak_errors", text, errors, "samples", asked, "see the runs of the soak", [])


def _throttled(loops: Sequence[Loop]) -> Finding:
    whole = sum(loop.seconds for loop in loops)
    names = sorted({name for loop in loops for name in loop.throttled})
    shares = {name: sum(loop.throttled.get(name, 0.0) * loop.seconds for loop in loops) / whole for name in names}
    worst = max(shares.values(), default=0.0)
    what = max(shares, key=shares.__getitem__, default="")
    text = f"{what} was throttled in {worst:.1%} of the soak" if worst else "nothing was throttled that can be read"
    code = "GPU_THROTTLED" if what.startswith("gpu") else "CPU_THROTTLED"
    outcome: Outcome = "FAIL" if worst > THROTTLED else "PASS"
    step = "see to cooling and power limits; a control group's quota is raised where it was set"
    return Finding(
        code, "soak_throttled", outcome, text, worst, "1", len(loops), 0.0, THROTTLED, THROTTLED - worst, "lower", next_step=step
    )


def _events(loops: Sequence[Loop]) -> Iterator[Finding]:
    said = [event for loop in loops for event in loop.events]
    if said:
        step = "look the number up in NVIDIA's list of XID errors; some want a reset, some another board"
        yield _none("DEVICE_EVENTS", "soak_events", f"{len(said)} events: {said[0]}", len(said), "events", len(loops), step, said)


def _workers(loops: Sequence[Loop]) -> Iterator[Finding]:
    """Against each other; of loops that had as many as the last."""
    if rates := [loop.workers for loop in loops if len(loop.workers) == len(loops[-1].workers) > 1]:
        yield worker_speed.finding(rates, "soak_workers")


def _sessions(found: Soak) -> Iterator[Finding]:
    """Whether what was asked again after an interruption was answered as before it. No more than a warning: an update of the software in
    between may change answers, too."""
    known = [(loop.started_utc, loop.known) for loop in found.loops if loop.known]
    if len(found.sessions) < 2 or not known:
        return
    first, others = known[0][1], {each for _, each in known}
    name, code = "soak_sessions", "ANSWERS_CHANGED"
    if len(others) == 1:
        text = f"the first answers of {units.plural(len(found.sessions), 'session')} are the same"
        yield Finding(code, name, "PASS", text, n=len(found.sessions), required=False)
    elif any(len(each) != len(first) for each in others):
        text = "sessions had unequally many workers, whose answers are not compared"
        yield Finding(code, name, "SKIP", text, n=len(found.sessions), required=False)
    else:
        since, other = next((when, each) for when, each in known if each != first)
        who = [f"worker {number}" for number, (before, after) in enumerate(zip(first, other, strict=True)) if before != after]
        text = f"{', '.join(who)} answered otherwise from {since} on than before the interruption"
        step = "if no software changed in between, qualify from the beginning, and test memory if it returns"
        yield Finding(code, name, "WARN", text, n=len(found.sessions), required=False, next_step=step)


def _plateaus(loops: Sequence[Loop]) -> Iterator[Finding]:
    """Of each thermometer: did it settle."""
    for name in _columns(loops, ("_celsius",)):
        means = [loop.telemetry[name]["mean"] for loop in loops if name in loop.telemetry]
        most = max(loop.telemetry[name]["max"] for loop in loops if name in loop.telemetry)
        last = means[-(-2 * len(means) // 3) :] or means[-1:]
        rise = last[-1] - last[0]
        settled = len(means) >= LEAST_LOOPS and rise <= PLATEAU_CELSIUS
        text = f"{name}: at most {most:g} °C, {'settled' if settled else 'not shown to have settled'}: {rise:+.1f} °C in the last third"
        step = "" if settled else "soak longer (--duration)"
        outcome: Outcome = "PASS" if settled else "WARN"
        yield Finding("NO_PLATEAU", f"soak_{name}", outcome, text, most, "°C", len(means), required=False, next_step=step)


def _counters(loops: Sequence[Loop]) -> Iterator[Finding]:
    """Of each error counter: what it rose by."""
    for name in _columns(loops, _COUNTERS):
        seen = [loop.telemetry[name] for loop in loops if name in loop.telemetry]
        rose = max(each["max"] for each in seen) - min(each["min"] for each in seen)
        step = "errors under load: watch it, or have the board replaced where they are not corrected"
        yield _none("ECC_ERRORS", f"soak_{name}", f"{name} rose by {rose:g} in the soak", rose, "errors", len(seen), step, [])


def _columns(loops: Sequence[Loop], endings: tuple[str, ...]) -> list[str]:
    return sorted({name for loop in loops for name in loop.telemetry if name.endswith(endings)})


def _none(code: str, name: str, text: str, count: float, unit: str, n: int, step: str, told: Sequence[str]) -> Finding:
    """Of what there may be none."""
    outcome: Outcome = "FAIL" if count else "PASS"
    details: Mapping[str, object] = {"told": list(told)} if told else {}
    return Finding(code, name, outcome, text, float(count), unit, n, 0.0, 0.0, -float(count), "lower", next_step=step, details=details)
