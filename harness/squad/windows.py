"""SQuAD questions and contexts as model inputs: one or more overlapping windows for each question.

The rules are those of the MLPerf reference for BERT (language/bert of mlcommons/inference, from Google's run_squad.py). With the uncased
BERT vocabulary, length 384 and stride 128 the official dev set gives 10,833 windows, equal to the reference's in every token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.core import Int32
from harness.datafiles import SquadData
from harness.errors import DataError, UsageError
from harness.features import Arrays, check_ragged
from harness.tokenization import PairTemplate, Vocabulary, encode, pair_template

QUESTION_TOKENS = 64
STRIDE = 128

TYPES = {
    "input_ids": "int32",
    "token_type_ids": "int8",
    "max_context": "bool",
    "offsets": "int64",
    "question": "int32",
    "first": "int32",
    "start": "int32",
    "size": "int32",
    "context_offsets": "int64",
    "owner_first": "int32",
    "owner_last": "int32",
    "context_ids": "int32",
}
"""Arrays of the features. Ragged over the windows' tokens: ids, segments, and whether this window is the one in which the token has the
most context (False outside the context). Per window: its question, the position of its first context token, which token of the context that
is, and how many there are. Ragged over the contexts' tokens: their ids and owners, see `context_owners`."""

WORD = re.compile("[^ \t\r\n\u202f]+")
"""Words of a context: space, tab, CR, LF and the narrow no-break space end a word, every other character belongs to one."""


def windows(length: int, room: int, stride: int = STRIDE) -> list[tuple[int, int]]:
    """(start, size) of the windows of at most `room` tokens that cover `length` tokens, each `stride` (or a whole window, if that is
    less) behind the one before."""
    spans = []
    start = 0
    while start < length:
        size = min(room, length - start)
        spans.append((start, size))
        if start + size == length:
            break
        start += min(size, stride)
    return spans


def max_context(spans: Sequence[tuple[int, int]]) -> list[NDArray[np.bool_]]:
    """For each window and each of its tokens, whether no other window gives the token more context.

    Context is the smaller of the tokens to the left and to the right, plus 0.01 x window size; the first window wins a tie
    (`_check_is_max_context` of run_squad.py).
    """
    scores = np.full((len(spans), max(start + size for start, size in spans)), -1.0)
    for row, (start, size) in zip(scores, spans, strict=True):
        left = np.arange(size)
        row[start : start + size] = np.minimum(left, left[::-1]) + 0.01 * size
    best = scores.argmax(axis=0)
    return [best[start : start + size] == number for number, (start, size) in enumerate(spans)]


def context_owners(data: SquadData, vocabulary: Vocabulary) -> Arrays:
    """Tokens of all contexts, end to end, with the part of the text that each belongs to.

    WordPiece: contexts are tokenised word by word; both owners are the index of the word. Otherwise a context is tokenised as a whole,
    and the owners are the first character and the one behind the last.
    """
    ids: list[int] = []
    first: list[int] = []
    last: list[int] = []
    offsets = [0]
    texts = [WORD.findall(context) for context in data.contexts] if vocabulary.wordpiece else data.contexts
    for number, encoding in enumerate(encode(vocabulary.tokenizer, texts)):
        if not encoding.ids:
            raise DataError(f"{data.path}: context {number} gives no tokens: {data.contexts[number][:40]!r}", "Remove it or fill it in.")
        ids += encoding.ids
        if vocabulary.wordpiece:
            owners = [word for word in encoding.word_ids if word is not None]
            first += owners
            last += owners
        else:
            first += [begin for begin, _ in encoding.offsets]
            last += [end for _, end in encoding.offsets]
        offsets.append(len(ids))
    return {
        "context_ids": np.array(ids, np.int32),
        "owner_first": np.array(first, np.int32),
        "owner_last": np.array(last, np.int32),
        "context_offsets": np.array(offsets, np.int64),
    }


def build(data: SquadData, vocabulary: Vocabulary, max_length: int) -> Arrays:
    """Features of all questions, in file order. Raises UsageError if `max_length` leaves no room for the context."""
    contexts = context_owners(data, vocabulary)
    template = pair_template(vocabulary.tokenizer, data.questions[0].text, data.contexts[data.questions[0].context])
    rows = _Rows(template)
    questions = encode(vocabulary.tokenizer, [question.text.lstrip() for question in data.questions])
    for number, (question, encoding) in enumerate(zip(data.questions, questions, strict=True)):
        asked = np.array(encoding.ids[:QUESTION_TOKENS], np.int32)
        room = max_length - len(asked) - template.special_tokens
        if room < 1:
            raise UsageError(
                f"a maximum length of {max_length} tokens leaves no room for the context of question {question.id!r}",
                f"Use a model that takes at least {QUESTION_TOKENS + template.special_tokens + STRIDE} tokens.",
            )
        begin, end = contexts["context_offsets"][question.context : question.context + 2]
        rows.add(number, asked, contexts["context_ids"][begin:end], windows(int(end - begin), room))
    return rows.arrays() | contexts


class _Rows:
    """Windows, collected."""

    def __init__(self, template: PairTemplate) -> None:
        self.before, self.between, self.after = (np.array(part, np.int32) for part in (template.before, template.between, template.after))
        self.types = template.types
        self.ids: list[Int32] = []
        self.segments: list[NDArray[np.int8]] = []
        self.max_context: list[NDArray[np.bool_]] = []
        self.where: list[tuple[int, int, int, int]] = []

    def add(self, number: int, asked: Int32, context: Int32, spans: Sequence[tuple[int, int]]) -> None:
        first = len(self.before) + len(asked) + len(self.between)
        behind = np.zeros(len(self.after), np.bool_)
        head = (*self.types[0], *[self.types[1]] * len(asked), *self.types[2])
        for (start, size), best in zip(spans, max_context(spans), strict=True):
            self.ids.append(np.concatenate([self.before, asked, self.between, context[start : start + size], self.after]))
            self.segments.append(np.array([*head, *[self.types[3]] * size, *self.types[4]], np.int8))
            self.max_context.append(np.concatenate([np.zeros(first, np.bool_), best, behind]))
            self.where.append((number, first, start, size))

    def arrays(self) -> Arrays:
        question, first, start, size = np.ascontiguousarray(np.array(self.where, np.int32).T)
        return {
            "input_ids": np.concatenate(self.ids),
            "token_type_ids": np.concatenate(self.segments),
            "max_context": np.concatenate(self.max_context),
            "offsets": np.cumsum([0, *map(len, self.ids)], dtype=np.int64),
            "question": question,
            "first": first,
            "start": start,
            "size": size,
        }


def check(arrays: Arrays, data: SquadData) -> None:
    """Raises ValueError unless `arrays` have the names, types and lengths of what `build` makes of `data`."""
    groups = {
        "offsets": ("input_ids", "token_type_ids", "max_context"),
        "context_offsets": ("context_ids", "owner_first", "owner_last"),
    }
    check_ragged(arrays, TYPES, groups)
    if any(len(arrays[name]) != len(arrays["offsets"]) - 1 for name in ("question", "first", "start", "size")):
        raise ValueError("the features do not have one entry for each window")
    if len(arrays["context_offsets"]) - 1 != len(data.contexts) or not np.array_equal(
        np.unique(arrays["question"]), np.arange(len(data.questions))
    ):
        raise ValueError("the features are of another number of questions or contexts")
