"""Scores of a user's own task: metrics of classes and values, and of answers in any script. Pure."""

from __future__ import annotations

import unicodedata

import numpy as np

from harness import metrics
from harness.metrics import Values

_SCRIPTS = (
    (0x2E80, 0x2FDF),  # radicals
    (0x3005, 0x3007),  # iteration mark, closing mark, zero
    (0x3021, 0x3029),  # Hangzhou numerals
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),  # Katakana extensions
    (0x3400, 0x4DBF),  # Han, extension A
    (0x4E00, 0x9FFF),  # Han
    (0xF900, 0xFAFF),  # Han, compatibility
    (0xFF66, 0xFF9F),  # Katakana, half width
    (0x20000, 0x3FFFF),  # Han, extensions B and on
)
"""Code points of scripts that are written without spaces and whose characters count as words: Han and Kana (Unicode 15 blocks)."""


def separated(text: str) -> str:
    """`text` with each Han or Kana character standing alone and without Unicode punctuation, so that its words can be counted: so F1 is
    computed on Chinese by CMRC 2018 and MLQA (mixed segmentation). A text without characters of East Asian scripts is unchanged.
    """
    if not any(_alone(character) or _wide(character) for character in text):
        return text
    kept = (character for character in text if unicodedata.category(character)[0] != "P")
    return "".join(f" {character} " if _alone(character) else character for character in kept)


def _alone(character: str) -> bool:
    return character >= "\u2e80" and any(first <= ord(character) <= last for first, last in _SCRIPTS)


def _wide(character: str) -> bool:
    """In CJK Symbols and Punctuation, CJK Compatibility Forms, or Halfwidth and Fullwidth Forms."""
    return "\u3000" <= character <= "\u303f" or "\ufe30" <= character <= "\ufe4f" or "\uff00" <= character <= "\uffef"


def of_classes(labels: Values, decisions: Values, positive: int | None) -> dict[str, float]:
    """`accuracy`, `f1` and `matthews` in points; `f1` is that of class `positive`, or the mean over the classes where it is None."""
    true, decided = np.asarray(labels, np.float64), np.asarray(decisions, np.float64)
    if positive is None:
        f1 = metrics.macro_f1(true, decided)
    else:
        f1 = metrics.binary_f1((true == positive).astype(np.float64), (decided == positive).astype(np.float64))
    return {"accuracy": metrics.accuracy(true, decided), "f1": f1, "matthews": metrics.matthews(true, decided)}


def of_values(values: Values, predictions: Values) -> dict[str, float]:
    """`pearson` and `spearman` in points."""
    return {"pearson": metrics.pearson(values, predictions), "spearman": metrics.spearman(values, predictions)}
