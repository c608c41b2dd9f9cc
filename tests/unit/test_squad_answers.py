"""From logits to text, against the rules written out one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.squad.answers import Flags, Floats, Span, best_span, best_window, join_pieces, project


def slow_best_span(start: Floats, end: Floats, starts: Flags, ends: Flags) -> Span | None:
    """Section by section as run_squad.py does it: two ranked lists, all pairs, a stable sort."""

    def ranked(logits: Floats) -> list[int]:
        return [place for place, _ in sorted(enumerate(logits.tolist()), key=lambda entry: entry[1], reverse=True)][:20]

    pairs = []
    for first in ranked(start):
        for last in ranked(end):
            if not starts[first] or not ends[last] or last < first or last - first + 1 > 30:
                continue
            pairs.append(Span(first, last, float(start[first]) + float(end[last])))
    return sorted(pairs, key=lambda pair: pair.score, reverse=True)[0] if pairs else None


@st.composite
def window(draw: st.DrawFn) -> tuple[Floats, Floats, Flags, Flags]:
    size = draw(st.integers(1, 60))
    # few different values, so that ties are common
    logits = hnp.arrays(np.float32, size, elements=st.sampled_from([-2.0, -0.5, 0.0, 0.125, 0.25, 3.0]))
    flags = hnp.arrays(np.bool_, size)
    ends = draw(flags)
    return draw(logits), draw(logits), ends & draw(flags), ends


@given(window())
def test_best_span_is_the_reference_rule(arguments: tuple[Floats, Floats, Flags, Flags]) -> None:
    """The vectorised choice is the written-out one, in every tie."""
    assert best_span(*arguments) == slow_best_span(*arguments)


def spans(start: list[float], end: list[float]) -> tuple[int, int] | None:
    anywhere = np.ones(len(start), np.bool_)
    found = best_span(np.array(start, np.float32), np.array(end, np.float32), anywhere, anywhere)
    return None if found is None else (found.start, found.end)


def test_ties_go_to_the_lower_position() -> None:
    """Of equal logits the lower position wins, for the start and for the end."""
    assert spans([0, 5, 5, 0], [0, 0, 7, 7]) == (1, 2)


def test_answers_have_at_most_thirty_tokens() -> None:
    """30 tokens are an answer, 31 are none."""
    start, end = [0.0] * 40, [-1.0] * 40
    start[0], end[29], end[30] = 9.0, 5.0, 6.0
    assert spans(start, end) == (0, 29)


def test_no_valid_pair() -> None:
    """None where every end comes before every start among the 20 best, though a worse pair would do."""
    start = [0.0] * 21 + [1.0] * 20
    end = [1.0] * 20 + [0.0] * 21
    assert spans(start, end) is None


def test_infinite_logits_can_be_chosen() -> None:
    """A pair of -inf is still a pair if it is the only valid one."""
    nothing = np.full(3, -np.inf, np.float32)
    only = np.array([False, True, False])
    assert best_span(nothing, nothing, only, only) == Span(1, 1, -np.inf)


def test_half_precision_is_summed_in_double() -> None:
    """Sums do not overflow or round in the precision of the logits."""
    logits = np.array([60000.0], np.float16)
    one = np.array([True])
    found = best_span(logits, logits, one, one)
    assert found is not None
    assert found.score == 120000.0


def test_first_window_wins_a_tie() -> None:
    """Over the windows of a question the highest score wins, the earlier window among equals; windows without a pair are passed over."""
    assert best_window([None, Span(1, 2, 3.0), Span(4, 4, 3.0), Span(0, 0, 1.0)]) == (1, Span(1, 2, 3.0))
    assert best_window([None, None]) is None


@pytest.mark.parametrize(
    ("pieces", "text"),
    [(["den", "##ver"], "denver"), (["##ing", "a", "##b", "c"], "ing ab c"), (["[UNK]", ",", "x"], "[UNK] , x"), (["#", "#"], "# #")],
)
def test_join_pieces(pieces: list[str], text: str) -> None:
    """Pieces are glued to the one before, also where the first is the end of a word."""
    assert join_pieces(pieces) == text


def basic(text: str) -> list[str]:
    """A stand-in for BERT's basic tokenizer: lower case, without accents on e, punctuation apart."""
    for mark in ",.'()$":
        text = text.replace(mark, f" {mark} ")
    return text.lower().replace("é", "e").split()


@pytest.mark.parametrize(
    ("normalized", "original", "text"),
    [
        ("steve smith", "Steve Smith's", "Steve Smith"),
        ("cafe", "Café,", "Café"),
        ("$ 5", "$5.", "$5"),
        ("denver", "(Denver", "Denver"),
        ("( 1990", "(1990)", "(1990"),
        ("elsewhere", "Denver Broncos", "Denver Broncos"),
        ("[UNK]", "☃", "☃"),
        ("", "Denver", "Denver"),
        ("b c", "a b c d", "b c"),
    ],
)
def test_project(normalized: str, original: str, text: str) -> None:
    """The normalised answer leads back to the same characters of the original, or to all of it where it cannot be found."""
    assert project(normalized, original, basic) == text


def test_project_gives_up_when_lengths_differ() -> None:
    """Where normalisation drops or adds characters the whole original words are the answer."""
    assert project("no", "№ 5", lambda text: ["no", "5"]) == "№ 5"


@given(st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=6), st.data())
def test_project_inverts_lower_case(words: list[str], data: st.DataObject) -> None:
    """With lower case as the only change, any run of words comes back as written (its first place in the text)."""
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, len(words) - 1))
    run = " ".join(words[first : last + 1])
    assert project(run, " ".join(words).upper(), lambda text: text.lower().split()) == run.upper()
