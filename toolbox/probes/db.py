"""Can the database be reached, logged in to and queried? One session, read only, every phase timed."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from toolbox.model.result import Cause, Json, Phase, Result, Status
from toolbox.model.secret import Secret
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
# What is said about the login itself, and not about the server where it was tried.
_JUDGED: Final = (*_PAST_HBA, Cause.DB_NO_HBA_ENTRY, Cause.DB_SSL_REQUIRED)
_MAX_LOGINS: Final = 3
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
    def open_addresses(self) -> tuple[str | None, ...]:
        """Where one may log in; None stands for a Unix socket."""
        return self.reach.open_addresses if self.reach else (None,)

    @property
    def fault(self) -> Fault | None:
        return self.reach.fault if self.reach else None

    @property
    def is_half_known(self) -> bool:
        """Whether the only trouble is a name server that was silent about IPv4 or IPv6."""
        return bool(self.reach and self.reach.attempts and self.fault and self.fault is self.reach.resolution.fault)

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


@dataclass(frozen=True, slots=True)
class _Entry:
    """A login that was tried, and the way to where."""

    way: _Way
    login: Login


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

    Resolving and connecting take at most `connect_timeout` seconds each, the query and each try to log in `timeout`.
    """

    async def find_way(endpoint: Endpoint) -> _Way:
        if endpoint.is_socket:
            return _Way(endpoint, None)
        host = endpoint.address or endpoint.host
        return _Way(endpoint, await reach(host, endpoint.port, resolver, timeout=connect_timeout))

    ways = await asyncio.gather(*map(find_way, target.endpoints))
    if not any(way.open_addresses for way in ways):
        return _unreached(target, ways), skipped(QUERY, str(target), "the database cannot be connected to")
    entries = await _enter(target, ways, timeout)
    login = entries[-1].login
    connected = _connected(target, ways, entries)
    if login.connection is None:
        return connected, skipped(QUERY, str(target), "the login failed")
    try:
        return connected, await query(target, login.connection, timeout)
    finally:
        await login.connection.close()


async def _enter(target: DatabaseTarget, ways: Sequence[_Way], timeout: float) -> list[_Entry]:
    """Logins at one address after the other until one succeeds, or a server has judged the login itself: as libpq does
    (PostgreSQL 34.1.1.3), and clients that try all addresses. At least one address must be open; each login has
    `timeout` seconds, and there are three at most.
    """
    entries: list[_Entry] = []
    doors = [(way, address) for way in ways for address in way.open_addresses]
    for way, address in doors[:_MAX_LOGINS]:
        login = await _log_in(target, way.endpoint, address, timeout)
        entries.append(_Entry(way, login))
        if login.connection or login.cause in _JUDGED:
            break
    return entries


async def _log_in(target: DatabaseTarget, endpoint: Endpoint, address: str | None, timeout: float) -> Login:
    """Log in. A second try follows only where it tells more: without what a pooler declines, with TLS where it may be
    wanted, and by a handshake of our own where libpq does not say what was wrong with a certificate.
    """
    parameters = login_parameters(target, endpoint, address, timeout)
    login = await log_in(parameters, timeout=timeout)
    if postgres_faults.declines_options(login.words):
        parameters["options"] = str(target.more.get("options", ""))
        login = await log_in(parameters, timeout=timeout)
    if target.primary and login.connection and login.connection.pgconn.parameter_status(b"in_hot_standby") == b"on":
        await login.connection.close()
        return Login(login.phases, cause=Cause.DB_READ_ONLY, words="target_session_attrs wants a primary: a standby")
    if login.cause is Cause.DB_NO_HBA_ENTRY and target.tls == "disable":
        encrypted = await log_in(parameters | {"sslmode": "require"}, timeout=timeout)
        if encrypted.connection:
            await encrypted.connection.close()
        if encrypted.connection or encrypted.cause in _PAST_HBA:
            return replace(login, cause=Cause.DB_SSL_REQUIRED)
    if login.cause in _VAGUE and address:
        fault = await explain(target, endpoint, address, timeout=timeout)
        return replace(login, cause=fault.cause, words=fault.text) if fault else login
    return login


def login_parameters(
    target: DatabaseTarget, endpoint: Endpoint, address: str | None, timeout: float
) -> dict[str, str | int]:
    """What libpq is told to log in at `address` (None for a Unix socket); what the target leaves open is left to it.

    The session is read only, and each of its statements ends after `timeout` seconds.
    """
    ours = _SESSION.format(milliseconds=int(timeout * 1000))
    more = {name: value.reveal() if isinstance(value, Secret) else value for name, value in target.more.items()}
    given: dict[str, str | int | None] = {
        **more,
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
        "options": f"{more['options']} {ours}" if "options" in more else ours,
        # Our session is read only by our own choice: libpq, whose environment may ask for another, must not judge it.
        "target_session_attrs": "any",
    }
    return {name: value for name, value in given.items() if value is not None}


def _unreached(target: DatabaseTarget, ways: Sequence[_Way]) -> Result:
    """`db.connect` when no endpoint has an address that accepts: what broke on the way to the first."""
    fault, reached = ways[0].fault, ways[0].reach
    assert fault is not None
    assert reached is not None
    return _failed(CONNECT, target, ways[0].endpoint, fault.cause, fault.text, reached.phases, _hosts(ways))


def _connected(target: DatabaseTarget, ways: Sequence[_Way], entries: Sequence[_Entry]) -> Result:
    """`db.connect` after the logins: failed, or `warn` when another address or host is dead, or `ok`."""
    last, facts = entries[-1], _hosts(ways)
    login = last.login
    phases = (last.way.reach.phases if last.way.reach else ()) + tuple(
        phase for entry in entries for phase in entry.login.phases
    )
    if login.connection is None:
        # Where all are in trouble the first tells most; where a server has judged the login, that is the answer.
        told = last if login.cause in _JUDGED else entries[0]
        return _failed(CONNECT, target, told.way.endpoint, told.login.cause, told.login.words, phases, facts)
    facts["encrypted"] = bool(login.connection.pgconn.ssl_in_use)
    dead: list[tuple[Endpoint, Cause | None, str]] = [
        (way.endpoint, way.fault.cause, way.fault.text) for way in ways if way.fault
    ]
    dead += [(entry.way.endpoint, entry.login.cause, entry.login.words) for entry in entries[:-1]]
    if dead:
        endpoint, cause, words = dead[0]
        failed = _failed(CONNECT, target, endpoint, cause, words, phases, facts)
        silent = next((way.is_half_known for way in ways if way.fault), False)
        but = "a name server answers only half of the questions" if silent else "not at all of its addresses"
        return replace(failed, status=Status.WARN, summary=f"can connect to the database, but {but}")
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
