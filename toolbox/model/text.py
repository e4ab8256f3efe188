"""Text from servers, logs and sessions, made fit to be shown: it may be meant to fool a terminal or a reader."""

from typing import Final

LIMIT: Final = 500


def printable(text: str, limit: int = LIMIT) -> str:
    """`text` in one line of at most `limit` characters, in which every character is what it looks like.

    White space becomes single spaces; control, escape, bidirectional and invisible characters (what Unicode calls not
    printable) become `\\x1b`-like escapes.
    """
    # A character becomes ten at most, and what is cut need not be looked at.
    line = " ".join(text[: limit + 1].split()) if len(text) > limit else " ".join(text.split())
    if not line.isprintable():
        line = "".join(character if character.isprintable() else _escaped(character) for character in line)
    return line if len(line) <= limit and len(text) <= limit else f"{line[: limit - 1]}…"


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
