"""What a failed login to PostgreSQL means: the words of the server and of libpq, as causes. Pure.

A SQLSTATE that settles it goes before words (src/backend and src/interfaces/libpq in PostgreSQL's source), since those
may be in the server's own language; where neither is known, the cause is None.
"""

import re
from typing import Final

from toolbox.model.result import Cause
from toolbox.probes.postgres_trace import ServerError

# The first that fits counts: what is certain stands before what is general.
_WORDS: Final = tuple(
    (re.compile(pattern), cause)
    for pattern, cause in (
        (r"no pg_hba\.conf entry|pg_hba\.conf rejects|requires a valid client certificate", Cause.DB_NO_HBA_ENTRY),
        (r"authentication failed|no password supplied|[Rr]ole \".*\" does not exist", Cause.AUTH_FAILED),
        (r"database \".*\" does not exist", Cause.DB_UNKNOWN_DATABASE),
        (r"too many (clients|connections)|connection slots are reserved", Cause.DB_TOO_MANY_CONNECTIONS),
        # PgBouncer and RDS Proxy speak for themselves, with a SQLSTATE that says nothing (08P01).
        (r"no such user|has no credentials for the role", Cause.AUTH_FAILED),
        (r"no such database", Cause.DB_UNKNOWN_DATABASE),
        (r"no more connections allowed|waiting to acquire database connection", Cause.DB_TOO_MANY_CONNECTIONS),
        (r"query_wait_timeout", Cause.DB_SLOW),
        (r": +SSL required|requires TLS connections|allowed only with SSL connections", Cause.DB_SSL_REQUIRED),
        (r"starting up|not yet accepting connections|in recovery mode", Cause.DB_STARTING_UP),
        (r"shutting down|terminating connection due to administrator", Cause.DB_SHUTTING_DOWN),
        (r"permission denied|not permitted to log in|not currently accepting", Cause.PERMISSION_DENIED),
        (r"does not support SSL|invalid response to SSL|expected authentication request", Cause.PROTOCOL_MISMATCH),
        (r"does not match host name", Cause.TLS_HOSTNAME),
        (r"certificate verify failed|root certificate file|certificate could not be", Cause.TLS_UNTRUSTED),
        (r"SSL.*(unsupported protocol|protocol version|version number|version too low)", Cause.TLS_PROTOCOL),
        (r"SSL (SYSCALL )?error", Cause.TLS_HANDSHAKE),
        (r"Connection refused|No such file or directory", Cause.TCP_REFUSED),
        (r"Connection timed out|timeout expired", Cause.TCP_TIMEOUT),
        (r"No route to host|unreachable", Cause.TCP_UNREACHABLE),
        (r"closed the connection|Connection reset|Broken pipe|unexpected EOF", Cause.TCP_RESET),
    )
)

_SUMMARIES: Final = {
    Cause.AUTH_FAILED: "the database refuses the user or the password",
    Cause.DB_UNKNOWN_DATABASE: "the server has no database of this name",
    Cause.DB_SSL_REQUIRED: "the server admits this login only over TLS",
    Cause.DB_NO_HBA_ENTRY: "the server's pg_hba.conf does not admit this login",
    Cause.DB_TOO_MANY_CONNECTIONS: "the database has no connection left",
    Cause.DB_STARTING_UP: "the database is starting up",
    Cause.DB_SHUTTING_DOWN: "the database is shutting down",
    Cause.DB_READ_ONLY: "the database can be connected to, but only read",
    Cause.DB_SLOW: "the database accepts connections, but does not answer in time",
    Cause.PERMISSION_DENIED: "the database does not let this user in",
    Cause.PROTOCOL_MISMATCH: "the other side does not speak what was expected",
    Cause.DNS_NXDOMAIN: "the database's name does not exist",
    Cause.DNS_SERVFAIL: "the name server fails on the database's name",
    Cause.DNS_REFUSED: "the name server refuses to answer",
    Cause.DNS_TIMEOUT: "the name server does not answer",
    Cause.DNS_NO_ADDRESS: "the database's name has no address",
    Cause.TCP_REFUSED: "the database refuses connections",
    Cause.TCP_TIMEOUT: "the database does not answer",
    Cause.TCP_UNREACHABLE: "there is no way to the database",
    Cause.TCP_RESET: "the connection to the database was cut",
}

_HINTS: Final = {
    Cause.AUTH_FAILED: (
        "Compare the secret behind {variable} with the database's user; after a rotation, restart what still holds the "
        "old password."
    ),
    Cause.DB_UNKNOWN_DATABASE: "Check the database name in {variable}.",
    Cause.DB_SSL_REQUIRED: "Add sslmode=require (SQLAlchemy with asyncpg: ssl=require) to {variable}.",
    Cause.DB_NO_HBA_ENTRY: "Admit this user, database and network in pg_hba.conf, or correct {variable}.",
    Cause.DB_TOO_MANY_CONNECTIONS: "Find out which service holds the connections; restarting that one frees them.",
    Cause.DB_STARTING_UP: "Wait a minute and try again; look for a restart or a failover in the database's events.",
    Cause.DB_SHUTTING_DOWN: "Look for a restart, a failover or maintenance in the database's events.",
    Cause.DB_READ_ONLY: "Find out where the primary is, and name it in {variable}; look for a failover in its events.",
    Cause.DB_SLOW: "Look at the database's load, its locks and its log: it is there, but does not get to answering.",
    Cause.PERMISSION_DENIED: "Check the rights of the user in {variable}: LOGIN, and CONNECT on the database.",
}


def cause_of(words: str) -> Cause | None:
    """The cause behind a failed login's words, None when they are none that we know."""
    return next((cause for pattern, cause in _WORDS if pattern.search(words)), None)


def declines_options(words: str) -> bool:
    """Whether a pooler declined the login only for the settings in its `options` (PgBouncer, RDS Proxy)."""
    return re.search(r"unsupported startup parameter|support command-line options", words) is not None


# PostgreSQL, appendix A. 57P03 (starting up, or shutting down) is left to the words.
_STATES: Final = {
    "28P01": Cause.AUTH_FAILED,
    "3D000": Cause.DB_UNKNOWN_DATABASE,
    "42501": Cause.PERMISSION_DENIED,
    "53300": Cause.DB_TOO_MANY_CONNECTIONS,
    "57014": Cause.DB_SLOW,
    "57P01": Cause.DB_SHUTTING_DOWN,
    "57P02": Cause.DB_SHUTTING_DOWN,
}
_NOT_AUTHORISED: Final = "28000"
_HBA_ROUTINE: Final = "ClientAuthentication"  # src/backend/libpq/auth.c


def cause_of_login(error: ServerError | None, words: str) -> Cause | None:
    """The cause behind a failed login: of `error`, the server's last one, and of libpq's words."""
    if error is None:
        return cause_of(words)
    known = _STATES.get(error.state) or cause_of(words)
    if known is None and error.state == _NOT_AUTHORISED:
        return Cause.DB_NO_HBA_ENTRY if error.routine == _HBA_ROUTINE else Cause.AUTH_FAILED
    return known


def cause_of_state(state: str | None, words: str) -> Cause | None:
    """The cause behind a failed statement: its SQLSTATE, or the words where the connection died and gave none."""
    return _STATES.get(state) if state else cause_of(words)


def summary(cause: Cause | None) -> str | None:
    """What happened, without the details; None for a cause that says nothing about a database."""
    if cause and cause.startswith("tls-"):
        return "no TLS connection to the database comes about"
    return _SUMMARIES.get(cause) if cause else None


def hint(cause: Cause | None, variable: str) -> str | None:
    """What to do next about a cause that only databases have; None for any other."""
    words = _HINTS.get(cause) if cause else None
    return words.format(variable=variable) if words else None
