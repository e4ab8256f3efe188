"""One login to PostgreSQL, step by step, so that TLS and authentication are timed apart.

libpq is driven by hand (PostgreSQL 34.1.3, PQconnectPoll): psycopg's own connect hides the steps, resolves names a
second time and tells no phase.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolbox.model.result import Cause, Phase
from toolbox.net.descriptor import ready
from toolbox.probes.postgres_faults import cause_of_login
from toolbox.probes.postgres_trace import Trace

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.pq.abc import PGconn


@dataclass(frozen=True, slots=True)
class Login:
    """A logged-in `connection`, or the `cause` (None: unknown) and the `words` of the failure. Its user closes it."""

    phases: tuple[Phase, ...]
    connection: "AsyncConnection[tuple[object, ...]] | None" = None
    cause: Cause | None = None
    words: str = ""


async def log_in(parameters: Mapping[str, str | int], *, timeout: float) -> Login:
    """Connect and log in within `timeout` seconds. `parameters` are libpq's; `hostaddr` keeps it from resolving."""
    from psycopg import pq
    from psycopg.conninfo import make_conninfo

    connection = pq.PGconn.connect_start(make_conninfo("", **parameters).encode())
    steps, trace = _Steps(), Trace(connection)
    try:
        async with asyncio.timeout(timeout):
            done = await _poll(connection, steps, trace)
        words, error = connection.get_error_message(), trace.last_error()
    except TimeoutError:
        trace.close()
        connection.finish()
        # It accepted a moment ago, but need not again: its backlog may have filled up.
        cause = Cause.TCP_TIMEOUT if steps.current == "dial" else Cause.DB_SLOW
        return Login(steps.phases(), cause=cause, words=f"no answer to the login within {timeout:g} s")
    except BaseException:
        trace.close()
        connection.finish()
        raise
    trace.close()
    if done:
        return Login(steps.phases(), await _dressed(connection))
    connection.finish()
    return Login(steps.phases(), cause=cause_of_login(error, words), words=words)


class _Steps:
    """How long each step took. The dial is not told: net.py has timed one, and a second is our own doing."""

    def __init__(self) -> None:
        self.encrypted = False
        self._seconds = {"dial": 0.0}
        self.current = "dial"
        self._since = time.monotonic()

    def enter(self, step: str) -> None:
        """From now on the time is that of `step`."""
        now = time.monotonic()
        self._seconds[self.current] += now - self._since
        self._seconds.setdefault(step, 0.0)
        self.current, self._since = step, now

    def phases(self) -> tuple[Phase, ...]:
        """The steps so far; where the server had no TLS to offer, asking for it was part of `auth`."""
        self.enter(self.current)
        seconds = {step: time for step, time in self._seconds.items() if step != "dial"}
        if "auth" in seconds and not self.encrypted:
            seconds["auth"] += seconds.pop("tls", 0.0)
        return tuple(Phase(step, time) for step, time in seconds.items())


async def _poll(connection: "PGconn", steps: _Steps, trace: Trace) -> bool:
    """Drive the login to its end; whether it succeeded."""
    from psycopg.pq import ConnStatus, PollingStatus

    names = {ConnStatus.STARTED: "dial", ConnStatus.SSL_STARTUP: "tls", ConnStatus.AWAITING_RESPONSE: "auth"}
    if connection.status == ConnStatus.BAD:  # a Unix socket that is not there fails at once
        return False
    polling, before = PollingStatus.WRITING, ConnStatus.STARTED
    while polling not in (PollingStatus.OK, PollingStatus.FAILED):
        await ready(connection.socket, writing=polling == PollingStatus.WRITING)
        polling, now = PollingStatus(connection.connect_poll()), ConnStatus(connection.status)
        steps.encrypted = steps.encrypted or connection.ssl_in_use
        if now in names:
            steps.enter(names[now])
        if (before, now) == (ConnStatus.AWAITING_RESPONSE, ConnStatus.STARTED):
            cause = cause_of_login(trace.last_error(), connection.get_error_message())
            # libpq repeats a refused login with, or without, TLS: for a wrong password that is one try too many.
            if cause is not Cause.DB_NO_HBA_ENTRY:
                return False
        before = now
    return polling == PollingStatus.OK


async def _dressed(connection: "PGconn") -> "AsyncConnection[tuple[object, ...]]":
    """The connection of psycopg around a logged-in one of libpq's; each statement is a transaction of its own."""
    from psycopg import AsyncConnection

    dressed: AsyncConnection[tuple[object, ...]] = AsyncConnection(connection)
    await dressed.set_autocommit(True)
    return dressed
