"""mlperf_log_accuracy.json: the answers of an accuracy run, or some of those of a performance run (specification, section 9.3). Pure.

A record holds the bytes of one answer in upper-case hexadecimal. The text comes in pieces, so that no more than one answer is held at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.core import Answer, Output
from harness.errors import BackendError, DataError
from harness.phases import Phase

_RECORD = re.compile(
    r'\{ "seq_id" : (\d+), "qsl_idx" : (\d+), (?:"token_data" : "[^"]*", )?"data" : "([0-9A-Fa-f]*)"(?:, "token_count" : \d+)? \}(,?)'
)


@dataclass(frozen=True, slots=True)
class Record:
    """One answer: the sample's number in the test, its index in the library, the bytes of the answer."""

    seq_id: int
    qsl_idx: int
    data: bytes


def payload(outputs: Sequence[Output], answer: Answer) -> bytes:
    """Bytes of an answer as MLPerf's scorers read them: float32, low byte first.

    Outputs of one value per token come first, one column each: start and end logits give (length, 2) in C order, as accuracy-squad.py
    reads it. The others follow one after another. Raises BackendError for an output that is not there.
    """
    for output in outputs:
        if output.name not in answer:
            raise BackendError(f"an answer holds no {output.name}", "return every output that the task names")
    columns = [answer[output.name] for output in outputs if output.per_token]
    flat = [np.stack(columns, axis=-1)] if columns else []
    flat += [answer[output.name] for output in outputs if not output.per_token]
    return b"".join(np.ascontiguousarray(array, "<f4").tobytes() for array in flat)


def records(phase: Phase, chosen: NDArray[np.bool_], data: Callable[[int], bytes]) -> Iterator[Record]:
    """Records of a phase in order of completion. `chosen`: (rows,) which rows are logged (`accuracy_log.selected`; all of them in an
    accuracy phase); `data` gives the bytes of the answer to a row. Rows that were not served have no record."""
    columns = phase.columns
    rows = np.flatnonzero(chosen & columns.served)
    for row in rows[np.argsort(columns.done_ns[rows], kind="stable")].tolist():
        yield Record(phase.first_sample + row, int(columns.sample[row]), data(row))


def render(records: Iterable[Record]) -> Iterator[str]:
    """Text of the file, in pieces; records of all phases of a test form one list."""
    yield "["
    comma = ""
    for record in records:
        yield f'{comma}\n{{ "seq_id" : {record.seq_id}, "qsl_idx" : {record.qsl_idx}, "data" : "{record.data.hex().upper()}" }}'
        comma = ","
    yield "\n]\n"


def read(text: str) -> list[Record]:
    """The records of an accuracy log, in its order; token data and counts of language models are passed over. Raises DataError, with
    the line, for what is no record."""
    lines = text.rstrip("\n").split("\n")
    if lines[0] != "[" or lines[-1] != "]" or len(lines) < 2:
        raise _damaged(len(lines), "the list has no end" if lines[0] == "[" else "not a list")
    last = len(lines) - 1
    return [_record(line, number, last) for number, line in enumerate(lines[1:-1], 2)]


def _record(line: str, number: int, last: int) -> Record:
    found = _RECORD.fullmatch(line)
    if found is None:
        raise _damaged(number, f"not a record: {line[:60]!r}")
    if (found[4] == ",") != (number < last):
        raise _damaged(number, "a comma is missing" if number < last else "a comma too many")
    try:
        return Record(int(found[1]), int(found[2]), bytes.fromhex(found[3]))
    except ValueError:
        raise _damaged(number, "data are not hexadecimal bytes") from None


def _damaged(number: int, what: str) -> DataError:
    return DataError(f"accuracy log, line {number}: {what}", "the file is damaged or cut short: copy it again, or run again")
