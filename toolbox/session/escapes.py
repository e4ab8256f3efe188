"""The tilde escapes of ssh(1), for what is typed into a raw terminal: `~.` `~?` `~~`, after a newline only."""

from enum import Enum, auto
from typing import Final

HELP: Final = (
    "\r\nSupported escape sequences:\r\n"
    "  ~.  leave the session (and stop the task)\r\n"
    "  ~?  this message\r\n"
    "  ~~  send the tilde itself\r\n"
    "(They are recognized immediately after a newline only.)\r\n"
)

_TILDE: Final = b"~"
_NEWLINES: Final = b"\r\n"


class Escape(Enum):
    """What the person asks of us instead of the far side."""

    LEAVE = auto()
    HELP = auto()


class Escapes:
    """Sorts what is typed. A tilde after a newline waits for the next character."""

    def __init__(self) -> None:
        self._at_start = True
        self._tilde = False

    def feed(self, typed: bytes) -> list[bytes | Escape]:
        """What to send, and what to do, in order. After LEAVE nothing follows."""
        if not self._tilde and _TILDE not in typed:
            self._at_start = typed[-1:] in _NEWLINES if typed else self._at_start
            return [typed] if typed else []
        found: list[bytes | Escape] = []
        plain = bytearray()
        for number in typed:
            key = bytes([number])
            if self._tilde:
                self._tilde = False
                escape = {b".": Escape.LEAVE, b"?": Escape.HELP}.get(key)
                if escape is not None:
                    found += [bytes(plain), escape] if plain else [escape]
                    plain.clear()
                    if escape is Escape.LEAVE:
                        return found
                    self._at_start = True
                    continue
                plain += _TILDE if key == _TILDE else _TILDE + key
            elif key == _TILDE and self._at_start:
                self._tilde = True
                continue
            else:
                plain += key
            self._at_start = key in _NEWLINES
        return [*found, bytes(plain)] if plain else found
