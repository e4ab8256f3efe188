"""The agent's quirks, as they were observed on AWS's own code."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolbox.lab.agenttext import HeldBack, UnclosedQuote, split_command


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("", []),
        ("  \t\r\n ", []),
        ("toolbox relay", ["toolbox", "relay"]),
        (
            """a 'b c' "d\\$e" f#g "h\\ni" $HOME | # x""",
            ["a", "b c", "d$e", "f#g", "hni", "$HOME", "|"],
        ),
        ("a'b'\"c\"d", ["abcd"]),
        ("''", [""]),
        ('x "" y', ["x", "", "y"]),
        ("a\\ b", ["a b"]),
        ("'a\\b'", ["a\\b"]),
        ("# all\nb", ["b"]),
        ("sh -c 'echo \"$PATH\"'", ["sh", "-c", 'echo "$PATH"']),
    ],
)
def test_splits_as_google_shlex(command: str, words: list[str]) -> None:
    assert split_command(command) == words


@pytest.mark.parametrize("command", ["'", 'a "b', "a\\", '"\\"'])
def test_an_open_quote_is_an_error(command: str) -> None:
    with pytest.raises(UnclosedQuote):
        split_command(command)


@settings(deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="'"), max_size=8), max_size=6))
def test_single_quotes_protect_everything(words: list[str]) -> None:
    assert split_command(" ".join(f"'{word}'" for word in words)) == words


def test_a_split_character_waits_for_its_rest() -> None:
    agent = HeldBack()
    assert agent.pass_on(b"a\xe2\x82") == b"a"
    assert agent.pass_on(b"\xac") == "€".encode()


def test_the_replacement_character_is_cut_once_something_follows() -> None:
    agent = HeldBack()
    assert agent.pass_on(b"\xef\xbf\xbd") == b""
    assert agent.pass_on(b"abcd") == b"\xefabcd"


def test_invalid_bytes_pass_once_four_follow() -> None:
    agent = HeldBack()
    assert agent.pass_on(b"\xffab") == b""
    assert agent.pass_on(b"cd") == b"\xffabcd"


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20), max_size=10))
def test_nothing_but_the_replacement_character_changes(pieces: list[bytes]) -> None:
    agent = HeldBack()
    got = b"".join(map(agent.pass_on, pieces)) + agent.pass_on(b"end.")
    assert got == (b"".join(pieces) + b"end.").replace(b"\xef\xbf\xbd", b"\xef")
