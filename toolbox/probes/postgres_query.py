"""Statements with a clock of our own, since the server's statement_timeout does not help when the server hangs."""

import asyncio
import contextlib
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from toolbox.model.result import Cause
from toolbox.probes.postgres_faults import cause_of_state

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from psycopg import AsyncConnection

Row = tuple[object, ...]
_MAX_ROWS: Final = 1000


@dataclass(frozen=True, slots=True)
class QueryFault:
    """Why a statement gave no rows: the cause (None: unknown) and the server's words, which may be hostile."""

    cause: Cause | None
    words: str


async def rows(connection: "AsyncConnection[Row]", statement: str, *, timeout: float) -> list[Row] | QueryFault:
    """The rows of a statement, at most 1000. Without an answer within `timeout` seconds, with more rows, or when
    cancelled, the connection is cut, and of no more use.
    """
    import psycopg

    work = asyncio.create_task(_fetch(connection, statement))
    try:
        done, _ = await asyncio.wait({work}, timeout=timeout)
    finally:
        # Cancelled, psycopg would ask the server, which hangs, to cancel the statement: for 5 s more.
        if not work.done():
            _cut(connection)
            await asyncio.wait({work})
    try:
        answer = work.result()
    except psycopg.Error as error:
        if not done:
            return QueryFault(Cause.DB_SLOW, f"no answer to the query within {timeout:g} s")
        return QueryFault(cause_of_state(error.sqlstate, str(error)), str(error))
    return answer


async def _fetch(connection: "AsyncConnection[Row]", statement: str) -> list[Row] | QueryFault:
    found: list[Row] = []
    stream = cast("AsyncGenerator[Row]", connection.cursor().stream(statement.encode()))  # declared as an iterator only
    async with contextlib.aclosing(stream) as answer:
        async for row in answer:
            if len(found) == _MAX_ROWS:
                await connection.close()
                return QueryFault(Cause.PROTOCOL_MISMATCH, "the answer has more rows than were asked for")
            found.append(row)
    return found


def _cut(connection: "AsyncConnection[Row]") -> None:
    with socket.socket(fileno=os.dup(connection.fileno())) as sock, contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
