"""From start and end logits to the text of an answer, by the rules of the MLPerf reference for BERT (accuracy-squad.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

N_BEST = 20
"""Start and end positions of a window that are paired with each other."""
MAX_ANSWER_TOKENS = 30
NO_ANSWER = "empty"
"""What the reference answers where no pair is valid."""

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Span:
    """First and last token of an answer, as positions in the window's input, and the sum of their logits."""

    start: int
    end: int
    score: float


def best_span(start_logits: Floats, end_logits: Floats, starts: Flags, ends: Flags) -> Span | None:
    """Best valid pair of one window, None if there is none; all arguments (tokens,).

    Of the N_BEST highest start and end logits (the lower position first among equals), a pair is valid if its start is in `starts`
    (context tokens that have their maximum context here), its end in `ends` (context tokens), and the answer has 1 to
    MAX_ANSWER_TOKENS tokens. The highest sum wins; among equals the one with the higher start logit, then the higher end logit.
    Sums are made in double precision, as in the reference.
    """
    first, last = _highest(start_logits), _highest(end_logits)
    size = last - first[:, None] + 1
    valid = starts[first][:, None] & ends[last] & (size >= 1) & (size <= MAX_ANSWER_TOKENS)
    if not valid.any():
        return None
    sums = start_logits[first].astype(np.float64)[:, None] + end_logits[last].astype(np.float64)
    row, column = divmod(int(np.argmax(np.where(valid, sums, -np.inf))), len(last))
    if not valid[row, column]:  # every valid sum is -inf
        row, column = np.argwhere(valid)[0]
    return Span(int(first[row]), int(last[column]), float(sums[row, column]))


def null_score(start_logits: Floats, end_logits: Floats) -> float:
    """How much one window says that the question has no answer: start and end logit of its first token, [CLS], in double precision
    (run_squad.py of BERT, run_qa.py of transformers). A question's is the lowest of its windows."""
    return float(start_logits[0]) + float(end_logits[0])


def _highest(logits: Floats) -> NDArray[np.int64]:
    """Positions of the N_BEST highest logits, falling; the lower position first among equals (a stable sort)."""
    return np.argsort(-logits, kind="stable")[:N_BEST]


def best_window(spans: Iterable[Span | None]) -> tuple[int, Span] | None:
    """Window (by its place in `spans`) and span with the highest score over the windows of one question; the earlier one wins a tie."""
    found = [(number, span) for number, span in enumerate(spans) if span is not None]
    return max(found, key=lambda entry: entry[1].score, default=None)


def join_pieces(pieces: Sequence[str]) -> str:
    """WordPiece tokens as text: `##` glues a piece to the one before."""
    return " ".join(" ".join(pieces).replace(" ##", "").replace("##", "").split())


def project(normalized: str, original: str, basic: Callable[[str], Sequence[str]]) -> str:
    """The part of `original` whose tokens read `normalized`; all of `original` where it cannot be told (`get_final_text` of run_squad.py).

    `basic` splits a text into normalised words and punctuation, as the tokenizer does before it makes pieces: "Steve Smith's" gives
    "steve", "smith", "'", "s", so that "steve smith" leads back to "Steve Smith". Both are compared without spaces, character by
    character.
    """
    words = " ".join(basic(original))
    start = words.find(normalized)
    if start < 0 or not normalized:
        return original
    end = start + len(normalized) - 1
    places = [place for place, character in enumerate(original) if character != " "]
    if len(places) != len(words) - words.count(" ") or " " in (words[start], words[end]):
        return original
    first, last = (place - words.count(" ", 0, place) for place in (start, end))
    return original[places[first] : places[last] + 1]
