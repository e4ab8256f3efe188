"""What the far side says is shown as every other hostile text is."""

from hypothesis import given
from hypothesis import strategies as st

from toolbox.model.text import printable
from toolbox.session.failures import lines, safe


def test_it_is_one_line_and_says_where_it_was_cut() -> None:
    assert safe(b"no\n\x1b[2J such\tfile") == "no \\x1b[2J such file"
    assert safe(b"x" * 1000) == "x" * 199 + "…"
    assert lines(b"one\r\n\n\x07two\n") == ("one", "\\x07two")


@given(st.text(max_size=200))
def test_there_is_one_way_to_show_hostile_text(text: str) -> None:
    assert safe(text.encode("utf-8", "replace")) == printable(text.encode("utf-8", "replace").decode(), 200)
