"""Hostile text becomes one bounded line in which every character is what it looks like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolbox.model.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain – ünïcode √", "plain – ünïcode √"),
        ("two\nlines\tand\r\nmore  ", "two lines and more"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b31m", "\\x9b31m"),
        ("user\u202etxt.exe", "user\\u202etxt.exe"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\udcff", "\\udcff"),
        ("\U000e0041", "\\U000e0041"),
        ("", ""),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_what_is_too_long_is_cut_and_says_so() -> None:
    assert printable("x" * 100, 10) == "x" * 9 + "…"
    assert printable("x" * 10, 10) == "x" * 10
    assert printable("\x1b" * 10, 10) == "\\x1b\\x1b\\…"
    assert printable("a" + " " * 100 + "b", 10) == "a…"


@given(st.text(), st.integers(min_value=1, max_value=50))
def test_always_printable_and_bounded(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
