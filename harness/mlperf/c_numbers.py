"""Numbers as C reads them: strtoull and strtod on text that a person wrote. Pure."""

from __future__ import annotations

import re
from fractions import Fraction

_INTEGER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_HEX = re.compile(r"[+-]?0x(?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(?:p[+-]?[0-9]+)?", re.IGNORECASE)
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?([0-9]+))?", re.IGNORECASE)
_NOT_FINITE = re.compile(r"([+-]?(?:inf|nan))(?:(?<=inf)inity|(?<=nan)\([0-9a-z_]*\))?", re.IGNORECASE)
_LONGEST = 64
"""Digits of a number that is still looked at; Python refuses to read integers of thousands of digits."""

WORD = 2**64


def is_number(text: str) -> bool:
    """Whether strtod reads all of it; whatever strtoul reads whole, strtod does too."""
    return any(form.fullmatch(text) for form in (_DECIMAL, _HEX, _NOT_FINITE))


def c_integer(text: str) -> int:
    """strtoull with base 0: 0x is hexadecimal, a leading 0 octal, a minus wraps at 2^64, it stops at the first character it cannot read
    ("2.7" is 2, "abc" is 0), and what is too large is 2^64 - 1."""
    found = _INTEGER.match(text)
    if found is None:
        return 0
    digits = found[0].lstrip("+-")
    base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10
    value = int(digits, base) if len(digits.lstrip("0")) <= _LONGEST else WORD
    if value >= WORD:
        return WORD - 1
    return -value % WORD if found[0][0] == "-" else value


def c_double(text: str) -> float:
    """strtod of a text that `is_number` accepts."""
    if odd := _NOT_FINITE.fullmatch(text):
        return float(odd[1])
    if _HEX.fullmatch(text):
        try:
            return float.fromhex(text)
        except OverflowError:
            return float("-inf" if text[0] == "-" else "inf")
    return float(text)


def meant_number(text: str) -> Fraction | None:
    """The number that a person reads there; None where it is none, or too long for one to be meant."""
    decimal = _DECIMAL.fullmatch(text)
    if len(text) > _LONGEST or (decimal and len(decimal[1] or "") > 3) or not (decimal or _HEX.fullmatch(text)):
        return None
    if decimal:
        return Fraction(text)
    return Fraction(int(text, 16)) if _INTEGER.fullmatch(text) else Fraction(c_double(text))
