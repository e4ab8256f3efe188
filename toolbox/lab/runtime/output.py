"""What a container prints, as lines."""

from typing import Final

LONGEST_LINE: Final = 256 * 1024  # bytes; CloudWatch Logs' limit for one event, at which awslogs cuts too


class Lines:
    """Cuts a stream of bytes into lines without their newlines; invalid UTF-8 is replaced, long lines are cut."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that are complete now."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        lines = [piece for line in whole for piece in _pieces(line)]
        while len(self._rest) >= LONGEST_LINE:
            lines.append(_text(self._rest[:LONGEST_LINE]))
            self._rest = self._rest[LONGEST_LINE:]
        return lines

    def end(self) -> list[str]:
        """What was left without a newline."""
        rest, self._rest = self._rest, b""
        return _pieces(rest) if rest else []


def _pieces(line: bytes) -> list[str]:
    line = line.removesuffix(b"\r")
    return [_text(line[start : start + LONGEST_LINE]) for start in range(0, len(line) or 1, LONGEST_LINE)]


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")
