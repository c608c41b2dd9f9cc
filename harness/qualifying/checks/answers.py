"""Silent corruption and determinism: known inputs again and again under load, every answer compared, weights hashed in between."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime

from harness import units
from harness.qualifying import worker_speed
from harness.qualifying.check import Check, Context, Finding, Outcome
from harness.qualifying.corruption import RULE_OF_THREE, SLICE_S, Changed, Examination, opened
from harness.qualifying.known_answers import Mismatch

LEAST_S, MOST_S = 15.0, 60.0
ENOUGH = 46_000
"""Answers that leave an alteration of one in 10,000 a chance of 1 % to go unseen: 0.9999^46,000 = 0.01."""
VALUES_KEPT = 200


def run(context: Context) -> list[Finding]:
    """Ask until there are enough answers, for `LEAST_S` to `MOST_S` seconds."""
    with opened(context) as found:
        start = time.monotonic()
        while not _enough(found, time.monotonic() - start):
            context.progress.phase(f"known answers: {units.count(found.tally.answers)} compared")
            found.repeat(SLICE_S)
        return list(findings(found))


def _enough(found: Examination, passed_s: float) -> bool:
    return passed_s >= MOST_S or (passed_s >= LEAST_S and found.tally.answers >= ENOUGH)


def findings(found: Examination) -> Iterator[Finding]:
    """What a tally says, and how fast the fixed work was."""
    yield answers(found)
    yield weights(found)
    yield determinism(found)
    yield from _agreement(found)
    yield from _speed(found)
    if found.alike:
        yield worker_speed.finding(found.tally.stretches, "workers_speed", found.places)


# ------------------------------------------------------------------------------------------------------------------------- answers


def answers(found: Examination) -> Finding:
    """Every answer against the first to the same input."""
    tally = found.tally
    bound = RULE_OF_THREE / max(tally.answers, 1)
    compared = "bit for bit" if found.tolerance == 0 else f"within {found.tolerance:g} of the largest answer"
    text = f"{units.count(tally.answers)} answers in {units.seconds(tally.seconds)} equal the first ones {compared}"
    text += f": fewer than one in {units.count(round(1 / bound))} is altered (95 %)"
    if tally.wrong:
        text = f"{units.count(tally.wrong)} of {units.count(tally.answers)} answers are not the first ones: {told(tally.mismatches[0])}"
    return Finding(
        code="ANSWERS_CHANGED",
        name="answers_repeat",
        outcome="FAIL" if tally.wrong else "PASS",
        text=text,
        measured=float(tally.wrong),
        unit="answers",
        n=tally.answers,
        expected=0.0,
        tolerance=0.0,
        margin=-float(tally.wrong),
        better="lower",
        next_step="take the machine out of service; test memory and the named core or GPU by itself" if tally.wrong else "",
        details={"mismatches": [asdict(each) for each in tally.mismatches], "calls": tally.calls, "bound_95": bound},
    )


def told(each: Mismatch) -> str:
    """Worker, cores, sample and time of a mismatch."""
    when = datetime.fromtimestamp(each.utc_ns / 1e9, UTC).isoformat(timespec="milliseconds")
    again = "and again when asked at once" if each.persistent else "and right when asked again"
    return (
        f"{each.where} at {when}, sample {each.sample} cut to {each.tokens} tokens, {each.values} values off by up to {each.largest:.3g}, "
        f"{again}"
    )


def weights(found: Examination) -> Finding:
    """Weights as the backend holds them, hashed every few seconds."""
    tally = found.tally
    if not found.hashes_weights:
        text = f"{found.described.get('runtime', 'the backend')} does not show its weights: a changed one is found by the answers alone"
        return Finding("WEIGHTS_CHANGED", "weights_held", "SKIP", text, required=False)
    text = f"the weights held by all workers had the same sha256 {units.plural(tally.hashed, 'time')}"
    if tally.changed:
        text = _changed(tally.changed[0])
    return Finding(
        code="WEIGHTS_CHANGED",
        name="weights_held",
        outcome="FAIL" if tally.changed else "PASS",
        text=text,
        measured=float(sum(len(each.tensors) for each in tally.changed)),
        unit="tensors",
        n=tally.hashed,
        expected=0.0,
        tolerance=0.0,
        margin=-float(len(tally.changed)),
        better="lower",
        next_step="take the machine out of service; test its memory (memtest, or the GPU's ECC counters)" if tally.changed else "",
        details={"changed": [asdict(each) for each in tally.changed]},
    )


def _changed(each: Changed) -> str:
    return f"worker {each.worker} held another {', '.join(each.tensors[:3])} at {each.to_utc} than at {each.from_utc}"


def determinism(found: Examination) -> Finding:
    """What the backend says of itself; known inputs that it did not answer are told too."""
    runtime = found.described.get("runtime", "the backend")
    skipped = f"; it does not answer {units.plural(len(found.refused), 'batch')} of short rows" if found.refused else ""
    if found.tolerance == 0:
        outcome: Outcome = "FAIL" if found.tally.wrong else "PASS"
        text = f"{runtime}: {'not ' if found.tally.wrong else ''}the same answers each time, bit for bit{skipped}"
        return Finding("NOT_DETERMINISTIC", "determinism", outcome, text, required=False, details={"refused": list(found.refused.values())})
    text = f"{runtime} is not deterministic by design: compared within {found.tolerance:g} of the largest answer{skipped}"
    return Finding("NOT_DETERMINISTIC", "determinism", "WARN", text, required=False)


def _agreement(found: Examination) -> Iterator[Finding]:
    """Workers of equal size do the same arithmetic: where their answers differ in a bit, one of them may be wrong all the time."""
    if found.agree is None:
        return
    if found.agree:
        yield Finding("WORKERS_DISAGREE", "workers_agree", "PASS", "all workers give the same answers bit for bit", required=False)
        return
    text = "workers with equally many cores give different answers to the same input"
    step = "pin one worker to each core or GPU in turn, and see which disagrees with the others"
    yield Finding("WORKERS_DISAGREE", "workers_agree", "WARN", text, required=False, next_step=step)


# --------------------------------------------------------------------------------------------------------------------------- speed


def _speed(found: Examination) -> Iterator[Finding]:
    """The full batches are the same work each time: their rate, held against the baseline, and its spread."""
    rates = found.tally.rates
    if not rates:
        return
    middle = statistics.median(rates)
    every = -(-len(rates) // VALUES_KEPT)
    yield Finding(
        code="THROUGHPUT_LOW",
        name="repeat_throughput",
        outcome="PASS",
        text=f"the same batches {units.plural(len(rates), 'time')}: {units.rate(middle, 'samples/s')} of a worker in the median",
        measured=middle,
        unit="samples/s",
        n=len(rates),
        better="higher",
        next_step="see clocks, heat and other work; compare the workers with each other",
        details={"values": rates[::every]},
    )
    yield _fastest(found)
    spread = 1.4826 * statistics.median(abs(rate - middle) for rate in rates) / middle
    text = f"the same work varies by {units.share(spread)} (standard deviation by the median absolute one)"
    yield Finding("NOISY", "repeat_spread", "PASS", text, spread, "1", len(rates), required=False)


def _fastest(found: Examination) -> Finding:
    """What the slowest worker reaches when nothing disturbs it. Others on the machine can only take time away, so the best of many is
    steadier than their median, and shows a worker that is slow by itself."""
    best = found.tally.best
    worker = min(best, key=lambda each: best[each])
    who = f" by worker {worker}, the slowest of {len(best)}" if len(best) > 1 else ""
    return Finding(
        code="THROUGHPUT_LOW",
        name="repeat_fastest",
        outcome="PASS",
        text=f"the same batches at their fastest{who}: {units.rate(best[worker], 'samples/s')}",
        measured=best[worker],
        unit="samples/s",
        n=len(found.tally.rates),
        better="higher",
        next_step="the worker is slow even when nobody disturbs it: see clocks, heat, and the cores or the device that it has",
        details={"workers": {str(each): rate for each, rate in best.items()}},
    )


ANSWERS = Check(
    code="ANSWERS_CHANGED",
    name="answers",
    title="silent corruption: the same inputs again and again, every answer compared",
    required=True,
    levels=("standard", "long"),
    seconds=70,
    run=run,
)
