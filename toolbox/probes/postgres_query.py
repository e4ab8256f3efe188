"""Statements with a clock of our own, since the server's statement_timeout does not help when the server hangs."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolbox.model.result import Cause
from toolbox.probes.postgres_faults import cause_of_state

if TYPE_CHECKING:
    from psycopg import AsyncConnection

Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class QueryFault:
    """Why a statement gave no rows: the cause (None: unknown) and the server's words, which may be hostile."""

    cause: Cause | None
    words: str


async def rows(connection: "AsyncConnection[Row]", statement: str, *, timeout: float) -> list[Row] | QueryFault:
    """The rows of a statement. After `timeout` seconds without an answer the connection is cut, and of no more use."""
    import psycopg

    cut = asyncio.Event()
    try:
        with _cut_after(connection, timeout, cut):
            return await (await connection.execute(statement.encode())).fetchall()
    except psycopg.Error as error:
        if cut.is_set():
            return QueryFault(Cause.DB_SLOW, f"no answer to the query within {timeout:g} s")
        return QueryFault(cause_of_state(error.sqlstate, str(error)), str(error))


@contextmanager
def _cut_after(connection: "AsyncConnection[Row]", seconds: float, cut: asyncio.Event) -> Iterator[None]:
    """Cut the connection's socket after `seconds`, unless the block has ended.

    A timeout that cancels would have psycopg ask the server, which hangs, to cancel the statement, for 5 s more.
    """

    def cut_it() -> None:
        cut.set()
        with socket.socket(fileno=os.dup(connection.fileno())) as sock:
            sock.shutdown(socket.SHUT_RDWR)

    timer = asyncio.get_running_loop().call_later(seconds, cut_it)
    try:
        yield
    finally:
        timer.cancel()
