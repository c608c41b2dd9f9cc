"""Old runs out of a history. What decides anything today stays: accepted changes, and the newest points of each series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from harness.history.connection import told
from harness.history.database import History

BASELINES = 30
"""Points of each series that stay whatever their age, unless another number is asked for: what `ci check` judges the next one by."""

_NUMBERED = """SELECT id, run_id, why, ordered_utc, series, row_number() OVER
    (PARTITION BY series, why = '' ORDER BY ordered_utc DESC, started_utc DESC, run_id DESC) AS place FROM runs"""
_GOING = f"""SELECT id, run_id FROM ({_NUMBERED}) AS numbered WHERE ordered_utc < ?
    AND (why <> '' OR place > ?) AND (? OR run_id NOT IN (SELECT run_id FROM accepted)) ORDER BY ordered_utc, run_id"""
_PROTECTED = f"""SELECT run_id FROM ({_NUMBERED}) AS numbered WHERE ordered_utc < ? AND (why <> '' OR place > ?)
    AND run_id IN (SELECT run_id FROM accepted) ORDER BY run_id"""


@dataclass(frozen=True, slots=True)
class Pruned:
    """`going`: runs that go, oldest first; `accepted`: runs that would go too, but begin an accepted change (they stay unless it was asked
    for)."""

    going: Sequence[str]
    accepted: Sequence[str]


def prune(history: History, days: float, keep: int = BASELINES, accepted_too: bool = False, really: bool = False) -> Pruned:
    """Runs older than `days` go, but for the newest `keep` points of each series and for runs that begin an accepted change. Without
    `really` nothing is changed. Raises MissingError and DataError."""
    before = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds")
    accepted = [row[0] for row in history.asked(_PROTECTED, (before, keep))]
    if not really:
        return Pruned([row[1] for row in history.asked(_GOING, (before, keep, accepted_too))], accepted)
    with history.writing() as connection:
        going = connection.execute(_GOING, (before, keep, accepted_too)).fetchall()
        connection.executemany("DELETE FROM runs WHERE id = ?", [(number,) for number, _ in going])
        if accepted_too:
            connection.executemany("DELETE FROM accepted WHERE run_id = ?", [(run_id,) for _, run_id in going])
        connection.execute("DELETE FROM conditions WHERE hash NOT IN (SELECT conditions FROM runs)")
    with told(history.file):
        history.connection.execute("VACUUM")
    return Pruned([run_id for _, run_id in going], accepted)
