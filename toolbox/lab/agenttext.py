"""What amazon-ssm-agent does to a terminal's output, and how it splits a command: its quirks, faithfully."""

import re
from typing import Final

_LONGEST_RUNE: Final = 4
_RUNE: Final = re.compile(
    rb"[\x00-\x7f]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]"
    rb"|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}"
)
_REPLACEMENT: Final = "\ufffd".encode()
_SEPARATORS: Final = " \t\r\n"


def banner(text: str) -> str:
    """A failure, as the agent words it in channel_closed."""
    return f"\n----------ERROR-------\n{text}\n\n"


class HeldBack:
    """The agent's output loop: a trailing incomplete character waits, U+FFFD loses all but its first byte."""

    def __init__(self) -> None:
        self._held = b""

    def pass_on(self, data: bytes) -> bytes:
        """What the agent sends on after reading `data`; up to three bytes stay, for ever if nothing follows."""
        data = self._held + data
        cut = self._first_doubtful(data)
        self._held = data[cut:]
        return data[:cut].replace(_REPLACEMENT, _REPLACEMENT[:1])

    def _first_doubtful(self, data: bytes) -> int:
        """Where the first character starts that is not valid, or is U+FFFD, within the last three bytes.

        A character that reaches into them starts at most three bytes before, and UTF-8 tells its starts apart.
        """
        nearly_end = len(data) - (_LONGEST_RUNE - 1)
        position = max(0, nearly_end - (_LONGEST_RUNE - 1))
        while position < len(data):
            rune = _RUNE.match(data, position)
            doubtful = rune is None or rune[0] == _REPLACEMENT
            if doubtful and position >= nearly_end:
                return position
            position = rune.end() if rune else position + 1
        return len(data)


class UnclosedQuote(ValueError):
    """A command whose quote never ends."""


def split_command(command: str) -> list[str]:
    """`command` in words as google/shlex splits it, which is what the agent does in a container.

    Not Python's shlex: a backslash inside double quotes yields the next character whatever it is, and `#` starts a
    comment only at the start of a word. Raises UnclosedQuote, also for a backslash at the very end.
    """
    words: list[str] = []
    position = 0
    while position < len(command):
        character = command[position]
        if character in _SEPARATORS:
            position += 1
        elif character == "#":
            end = command.find("\n", position)
            position = len(command) if end < 0 else end
        else:
            word, position = _word(command, position)
            words.append(word)
    return words


def _word(command: str, position: int) -> tuple[str, int]:
    """The word that starts at `position`, and where it ends."""
    letters: list[str] = []
    quote = ""
    while position < len(command):
        character = command[position]
        position += 1
        if character == "\\" and quote != "'":
            if position == len(command):
                raise UnclosedQuote("EOF found after escape character")
            letters.append(command[position])
            position += 1
        elif quote:
            if character == quote:
                quote = ""
            else:
                letters.append(character)
        elif character in "'\"":
            quote = character
        elif character in _SEPARATORS:
            break
        else:
            letters.append(character)
    if quote:
        raise UnclosedQuote("EOF found when expecting closing quote")
    return "".join(letters), position
