"""What a probe says: statuses, causes, phases, results, and the exit code that follows from them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


class Cause(StrEnum):
    """The first thing that broke, as a stable machine word. A new one is one line here and one in the README."""

    DNS_NXDOMAIN = "dns-nxdomain"
    DNS_SERVFAIL = "dns-servfail"
    DNS_REFUSED = "dns-refused"
    DNS_TIMEOUT = "dns-timeout"
    DNS_NO_ADDRESS = "dns-no-address"
    TCP_REFUSED = "tcp-refused"
    TCP_TIMEOUT = "tcp-timeout"
    TCP_UNREACHABLE = "tcp-unreachable"
    TCP_RESET = "tcp-reset"
    TCP_PARTIAL = "tcp-partial"
    TLS_EXPIRED = "tls-expired"
    TLS_EXPIRES_SOON = "tls-expires-soon"
    TLS_NOT_YET_VALID = "tls-not-yet-valid"
    TLS_UNTRUSTED = "tls-untrusted"
    TLS_SELF_SIGNED = "tls-self-signed"
    TLS_CHAIN_INCOMPLETE = "tls-chain-incomplete"
    TLS_HOSTNAME = "tls-hostname"
    TLS_PROTOCOL = "tls-protocol"
    TLS_HANDSHAKE = "tls-handshake"
    PROTOCOL_MISMATCH = "protocol-mismatch"
    AUTH_FAILED = "auth-failed"
    PERMISSION_DENIED = "permission-denied"
    DB_UNKNOWN_DATABASE = "db-unknown-database"
    DB_SSL_REQUIRED = "db-ssl-required"
    DB_NO_HBA_ENTRY = "db-no-hba-entry"
    DB_TOO_MANY_CONNECTIONS = "db-too-many-connections"
    DB_STARTING_UP = "db-starting-up"
    DB_SHUTTING_DOWN = "db-shutting-down"
    DB_READ_ONLY = "db-read-only"
    DB_SLOW = "db-slow"


@dataclass(frozen=True, slots=True)
class Phase:
    """One timed step of a check: `dns`, `tcp`, `tls`, `auth`, `query`, …; seconds on the monotonic clock."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Result:
    """One check of one target. `target` holds no secret; `cause` is None when nothing broke."""

    check: str
    target: str
    status: Status
    summary: str
    cause: Cause | None = None
    phases: tuple[Phase, ...] = ()
    facts: Mapping[str, Json] = field(default_factory=dict)
    hint: str | None = None


_WORST_FIRST = (Status.FAIL, Status.UNKNOWN, Status.WARN, Status.OK)
_EXIT_CODES = {Status.FAIL: 2, Status.UNKNOWN: 3, Status.WARN: 1, Status.OK: 0, Status.SKIPPED: 0}


def worst(statuses: Iterable[Status]) -> Status:
    """The worst of `statuses`: fail, unknown, warn, ok; `skipped` counts only where there is nothing else."""
    present = set(statuses)
    if not present:
        return Status.OK
    return next((status for status in _WORST_FIRST if status in present), Status.SKIPPED)


def exit_code(statuses: Iterable[Status]) -> int:
    """The exit code of a command with these statuses: fail 2, unknown 3, warn 1, else 0."""
    return _EXIT_CODES[worst(statuses)]
