"""Questions on contexts as training examples: for each window the tokens at which the answer begins and ends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.core import Int64
from harness.datafiles import SquadData, decode, read_bytes
from harness.features import Arrays
from harness.squad.windows import WORD
from harness.tokenization import Vocabulary, encode

NOWHERE = (0, 0)
"""Target of a window that does not hold the answer: [CLS], as in run_squad.py."""


def squad_starts(path: Path) -> list[int | None]:
    """`answer_start` of the first answer of each question of a SQuAD file that `read_squad` takes, None without an answer."""
    document: Any = json.loads(decode(read_bytes(path), path))
    paragraphs = (paragraph for article in document["data"] for paragraph in article["paragraphs"])
    questions = (question for paragraph in paragraphs for question in paragraph["qas"])
    return [question["answers"][0]["answer_start"] if question["answers"] else None for question in questions]


def first_places(data: SquadData) -> list[int | None]:
    """Where the first answer of each question stands first in its context; None where it does not, or there is none."""
    found = (data.contexts[question.context].find(question.answers[0]) if question.answers else -1 for question in data.questions)
    return [place if place >= 0 else None for place in found]


def targets(data: SquadData, starts: Sequence[int | None], arrays: Arrays, vocabulary: Vocabulary) -> tuple[Int64, Int64]:
    """First and last token of the first answer in each window, (windows, 2), as positions in the input; and the windows to train on.

    `arrays` are what `squad_windows.build` made of `data`, `starts` the place of each question's first answer in characters. A window
    without the answer has NOWHERE. Windows of a question whose answer does not stand where `starts` says are left out.
    """
    finder = _Finder(data, arrays, vocabulary)
    spans = [finder.span(number, start) for number, start in enumerate(starts)]
    made = np.zeros((len(arrays["question"]), 2), np.int64)
    kept = []
    for window, number in enumerate(arrays["question"].tolist()):
        span = spans[number]
        if span is None:
            if data.questions[number].answers:
                continue
        else:
            made[window] = _in_window(span, *(int(arrays[name][window]) for name in ("first", "start", "size")))
        kept.append(window)
    return made, np.array(kept, np.int64)


def _in_window(span: tuple[int, int], first: int, start: int, size: int) -> tuple[int, int]:
    """A span of the context's tokens in an input whose position `first` holds token `start` and that has `size` of them."""
    begin, end = span
    return (begin - start + first, end - start + first) if start <= begin and end < start + size else NOWHERE


class _Finder:
    """From characters of a context to its tokens."""

    def __init__(self, data: SquadData, arrays: Arrays, vocabulary: Vocabulary) -> None:
        self.data, self.arrays, self.vocabulary = data, arrays, vocabulary
        texts = [question.answers[0] if question.answers else "" for question in data.questions]
        self.answers = [encoding.ids for encoding in encode(vocabulary.tokenizer, texts)] if vocabulary.wordpiece else []

    def span(self, number: int, start: int | None) -> tuple[int, int] | None:
        """First and last token of a question's first answer, counted in its context; None without one that stands at `start`."""
        question = self.data.questions[number]
        context = self.data.contexts[question.context]
        if start is None or start < 0 or not question.answers or not context.startswith(question.answers[0], start):
            return None
        end = start + len(question.answers[0])
        begin, stop = self.arrays["context_offsets"][question.context : question.context + 2]
        first, last = (self.arrays[name][begin:stop] for name in ("owner_first", "owner_last"))
        if self.vocabulary.wordpiece:
            words = [(word.start(), word.end()) for word in WORD.finditer(context)]
            touched = [place for place, (left, right) in enumerate(words) if left < end and right > start]
            inside = np.flatnonzero((first >= touched[0]) & (first <= touched[-1])) if touched else np.empty(0, np.int64)
        else:
            inside = np.flatnonzero((first < end) & (last > start))
        if not len(inside):  # the answer is made of characters that the tokenizer drops
            return None
        return self._tightened(number, int(inside[0]), int(inside[-1]), int(begin))

    def _tightened(self, number: int, first: int, last: int, offset: int) -> tuple[int, int]:
        """The part of the words' tokens that equals the answer's own, where there is one: "(1895)" holds the answer "1895"
        (_improve_answer_span of run_squad.py)."""
        wanted = self.answers[number] if self.answers else []
        there = self.arrays["context_ids"][offset + first : offset + last + 1].tolist()
        for shift in range(len(there) - len(wanted) + 1) if wanted else ():
            if there[shift : shift + len(wanted)] == wanted:
                return first + shift, first + shift + len(wanted) - 1
        return first, last
