"""Can the database be reached, logged in to and queried? One session, read only, every phase timed."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from toolbox.model.result import Cause, Json, Phase, Result, Status
from toolbox.model.text import printable
from toolbox.net.fault import Fault
from toolbox.net.reach import Reach, reach
from toolbox.net.resolver import Resolver
from toolbox.probes import postgres_faults
from toolbox.probes.context import Context, not_checked, skipped
from toolbox.probes.dsn import PREFIXES, DatabaseTarget, DsnError, Endpoint, candidates, find_target
from toolbox.probes.hints import network_hint
from toolbox.probes.postgres_login import Login, log_in
from toolbox.probes.postgres_query import QueryFault, Row, rows
from toolbox.probes.postgres_tls import explain

if TYPE_CHECKING:
    from psycopg import AsyncConnection

CONNECT: Final = "db.connect"
QUERY: Final = "db.query"
_NO_TARGET: Final = "database"
_SQL: Final = """
    SELECT current_setting('server_version'), pg_is_in_recovery(), current_database(), current_user,
           pg_has_role('pg_monitor', 'member')
"""
_GRACE_SECONDS: Final = 0.5  # for the server to end a statement by itself
# What a server says only to a login that pg_hba.conf has admitted.
_PAST_HBA: Final = (Cause.AUTH_FAILED, Cause.DB_UNKNOWN_DATABASE, Cause.PERMISSION_DENIED)
_VAGUE: Final = (Cause.TLS_UNTRUSTED, Cause.TLS_HANDSHAKE)
# Read only, and nobody waits for us: pg_get_viewdef and the like hang behind an exclusive lock.
_SESSION: Final = "-c default_transaction_read_only=on -c lock_timeout=2s -c statement_timeout={milliseconds}"
_FACTS: Final = ("server_version", "in_recovery", "database", "user", "is_monitor")


@dataclass(frozen=True, slots=True)
class _Way:
    """An endpoint of the target, and how far we came on the way to it; a Unix socket needs no way."""

    endpoint: Endpoint
    reach: Reach | None

    @property
    def is_open(self) -> bool:
        return self.reach is None or self.reach.open_address is not None

    @property
    def fault(self) -> Fault | None:
        return self.reach.fault if self.reach else None

    def facts(self) -> dict[str, Json]:
        attempts = self.reach.attempts if self.reach else ()
        tried: list[Json] = [
            {
                "address": attempt.address,
                "seconds": round(attempt.seconds, 6),
                "error": attempt.fault.text if attempt.fault else None,
            }
            for attempt in attempts
        ]
        known_by = self.reach.resolution.source if self.reach else None
        return {"host": self.endpoint.host, "port": self.endpoint.port, "resolved_by": known_by, "addresses": tried}


async def run(context: Context) -> tuple[Result, ...]:
    """Probe the database that the environment names; `unknown` where it names none, or none that we understand."""
    names = context.inventory.variables.database_url
    try:
        target = find_target(context.environ, names)
    except DsnError as error:
        unclear = not_checked(CONNECT, _NO_TARGET, f"the variable {error.variable} {error.what}", hint=error.next_step)
        return unclear, skipped(QUERY, _NO_TARGET, "it is not known where the database is")
    if target is None:
        looked_for: list[Json] = [*names, *(f"{prefix}HOST" for prefix in PREFIXES)]
        likely: list[Json] = [*candidates(context.environ)]
        unclear = not_checked(
            CONNECT,
            _NO_TARGET,
            "no variable says where the database is",
            hint="Set DATABASE_URL, or name the variable in the inventory's variables.database_url.",
            facts={"looked_for": looked_for, "candidates": likely},
        )
        return unclear, skipped(QUERY, _NO_TARGET, "it is not known where the database is")
    return await probe(
        target,
        resolver=context.resolver,
        connect_timeout=context.connect_timeout,
        timeout=context.probe_timeout,
    )


async def probe(
    target: DatabaseTarget, *, resolver: Resolver, connect_timeout: float, timeout: float
) -> tuple[Result, ...]:
    """`db.connect` and `db.query` for `target`.

    Resolving and connecting take at most `connect_timeout` seconds each, the login and the query `timeout` each.
    """

    async def find_way(endpoint: Endpoint) -> _Way:
        if endpoint.is_socket:
            return _Way(endpoint, None)
        return _Way(endpoint, await reach(endpoint.host, endpoint.port, resolver, timeout=connect_timeout))

    ways = await asyncio.gather(*map(find_way, target.endpoints))
    way = next((way for way in ways if way.is_open), None)
    if way is None:
        return _unreached(target, ways), skipped(QUERY, str(target), "the database cannot be connected to")
    login = await _log_in(target, way, timeout)
    connected = _connected(target, ways, way, login)
    if login.connection is None:
        return connected, skipped(QUERY, str(target), "the login failed")
    try:
        return connected, await query(target, login.connection, timeout)
    finally:
        await login.connection.close()


async def _log_in(target: DatabaseTarget, way: _Way, timeout: float) -> Login:
    """Log in. A second try follows only where it tells more: without what a pooler declines, with TLS where it may be
    wanted, and by a handshake of our own where libpq does not say what was wrong with a certificate.
    """
    address = way.reach.open_address if way.reach else None
    parameters = login_parameters(target, way.endpoint, address, timeout)
    login = await log_in(parameters, timeout=timeout)
    if postgres_faults.declines_options(login.words):
        del parameters["options"]
        login = await log_in(parameters, timeout=timeout)
    if login.cause is Cause.DB_NO_HBA_ENTRY and target.tls == "disable":
        encrypted = await log_in(parameters | {"sslmode": "require"}, timeout=timeout)
        if encrypted.connection:
            await encrypted.connection.close()
        if encrypted.connection or encrypted.cause in _PAST_HBA:
            return replace(login, cause=Cause.DB_SSL_REQUIRED)
    if login.cause in _VAGUE and address and target.tls in ("verify-ca", "verify-full"):
        fault = await explain(target, way.endpoint, address, timeout=timeout)
        return replace(login, cause=fault.cause, words=fault.text) if fault else login
    return login


def login_parameters(
    target: DatabaseTarget, endpoint: Endpoint, address: str | None, timeout: float
) -> dict[str, str | int]:
    """What libpq is told to log in at `address` (None for a Unix socket); what the target leaves open is left to it.

    The session is read only, and each of its statements ends after `timeout` seconds.
    """
    given: dict[str, str | int | None] = {
        "host": endpoint.host,
        "hostaddr": address,
        "port": endpoint.port,
        "user": target.user or None,
        "password": target.password.reveal() if target.password else None,
        "dbname": target.database or None,
        "sslmode": target.tls,
        "sslrootcert": target.root_certificate,
        "gssencmode": "disable",
        "application_name": "toolbox",
        "options": _SESSION.format(milliseconds=int(timeout * 1000)),
    }
    return {name: value for name, value in given.items() if value is not None}


def _unreached(target: DatabaseTarget, ways: Sequence[_Way]) -> Result:
    """`db.connect` when no endpoint has an address that accepts: what broke on the way to the first."""
    fault, reached = ways[0].fault, ways[0].reach
    assert fault is not None
    assert reached is not None
    return _failed(CONNECT, target, ways[0].endpoint, fault.cause, fault.text, reached.phases, _hosts(ways))


def _connected(target: DatabaseTarget, ways: Sequence[_Way], way: _Way, login: Login) -> Result:
    """`db.connect` after a login: failed, or `warn` when another address or host is dead, or `ok`."""
    phases = (way.reach.phases if way.reach else ()) + login.phases
    facts = _hosts(ways)
    if login.connection is None:
        return _failed(CONNECT, target, way.endpoint, login.cause, login.words, phases, facts)
    facts["encrypted"] = bool(login.connection.pgconn.ssl_in_use)
    half = next((other for other in ways if other.fault), None)
    if half and half.fault:
        failed = _failed(CONNECT, target, half.endpoint, half.fault.cause, half.fault.text, phases, facts)
        return replace(
            failed, status=Status.WARN, summary="can connect to the database, but not at all of its addresses"
        )
    return Result(CONNECT, str(target), Status.OK, "can connect to the database", None, phases, facts)


async def query(target: DatabaseTarget, connection: "AsyncConnection[Row]", timeout: float) -> Result:
    """`db.query`: a row that any user may read, and what it tells about the server."""
    start = time.monotonic()
    answer = await rows(connection, _SQL, timeout=timeout + _GRACE_SECONDS)
    phases = (Phase("query", time.monotonic() - start),)
    if not isinstance(answer, QueryFault) and [len(row) for row in answer] != [len(_FACTS)]:
        answer = QueryFault(Cause.PROTOCOL_MISMATCH, "the answer is not the row that was asked for")
    if isinstance(answer, QueryFault):
        return _failed(QUERY, target, target.endpoints[0], answer.cause, answer.words, phases, {})
    facts: dict[str, Json] = {
        name: value if isinstance(value, bool) else printable(str(value))
        for name, value in zip(_FACTS, answer[0], strict=True)
    }
    return Result(QUERY, str(target), Status.OK, "can query the database", None, phases, facts)


def _failed(
    check: str,
    target: DatabaseTarget,
    endpoint: Endpoint,
    cause: Cause | None,
    words: str,
    phases: tuple[Phase, ...],
    facts: dict[str, Json],
) -> Result:
    """A failed check; `words` are the server's or the system's own, from which the password is taken out."""
    secret = target.password.reveal() if target.password else ""
    safe = printable(words.replace(secret, str(target.password)) if secret else words)
    hint = postgres_faults.hint(cause, target.variable) or (
        network_hint(cause, variable=target.variable, port=endpoint.port) if cause else None
    )
    summary = postgres_faults.summary(cause) or f"cannot {'connect to' if check == CONNECT else 'query'} the database"
    return Result(check, str(target), Status.FAIL, summary, cause, phases, {**facts, "error": safe}, hint)


def _hosts(ways: Sequence[_Way]) -> dict[str, Json]:
    return {"hosts": [way.facts() for way in ways]}
