"""What the server's last error was, apart from its words, which may be in any language.

libpq keeps the fields of a failed login's error to itself and has only words for us; its trace (PostgreSQL 34.13,
PQtrace) holds them all.
"""

import contextlib
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

_ERROR: Final = "\tErrorResponse\t"
# PostgreSQL 55.8: C is the SQLSTATE, R the routine in the server's source.
_FIELDS: Final = re.compile(r'.*? C "(?P<state>[0-9A-Z]{5})"(?:.* R "(?P<routine>\w+)")?', re.DOTALL)
_KEPT: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class ServerError:
    """The SQLSTATE of an error, and the server's routine that raised it ("" where it does not say)."""

    state: str
    routine: str = ""


class Trace:
    """Listens to one login of libpq's, until it is closed.

    The trace goes into a pipe that never blocks: whatever a server sends, memory stays bounded (what is too much is
    lost), and the password that may be part of it touches no file.
    """

    def __init__(self, connection: "PGconn") -> None:
        self._connection = connection
        self._text = ""
        self._pipe: tuple[int, int] | None = None
        if sys.platform == "linux":  # psycopg traces nowhere else
            self._pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            connection.trace(self._pipe[1])

    def last_error(self) -> ServerError | None:
        """The last error that the server sent; None where it sent none, or the trace does not show it."""
        if self._pipe:
            self._flush()
            self._connection.trace(self._pipe[1])
        _, found, fields = self._text.rpartition(_ERROR)
        match = _FIELDS.match(fields) if found else None
        return ServerError(match["state"], match["routine"] or "") if match else None

    def close(self) -> None:
        """Listen no longer; must come before the connection is finished."""
        if self._pipe:
            self._flush()
            for descriptor in self._pipe:
                os.close(descriptor)
            self._pipe = None

    def _flush(self) -> None:
        """Take what there is, and stop. Only an end makes C's stdio write all that it holds; what it kept, it would
        write at the end of the process, to whatever file has the number then.
        """
        self._drain()
        self._connection.untrace()
        self._drain()

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._pipe and (data := os.read(self._pipe[0], _KEPT)):
                self._text = (self._text + data.decode(errors="replace"))[-_KEPT:]
