from hypothesis import given, settings
from hypothesis import strategies as st

from toolbox.lab.runtime.output import LONGEST_LINE, Lines


def test_lines_come_whole_whatever_the_reads_are() -> None:
    lines = Lines()
    assert lines.feed(b"one\ntw") == ["one"]
    assert lines.feed(b"o\r\n\nthree") == ["two", ""]
    assert lines.end() == ["three"]
    assert lines.end() == []


def test_an_endless_line_is_cut_and_never_kept_whole() -> None:
    lines = Lines()
    cut = [line for _ in range(9) for line in lines.feed(b"x" * (LONGEST_LINE // 4))]
    assert cut == ["x" * LONGEST_LINE] * 2
    assert lines.end() == ["x" * (LONGEST_LINE // 4)]


def test_invalid_utf_8_is_replaced() -> None:
    assert Lines().feed(b"a\xffb\n") == ["a�b"]


@settings(deadline=None)  # other tests share the machine
@given(st.lists(st.binary(max_size=40), max_size=20))
def test_how_it_is_split_into_reads_does_not_matter(reads: list[bytes]) -> None:
    pieces, whole = Lines(), Lines()
    in_pieces = [line for read in reads for line in pieces.feed(read)] + pieces.end()
    assert in_pieces == whole.feed(b"".join(reads)) + whole.end()
