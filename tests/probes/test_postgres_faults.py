"""The words of PostgreSQL and libpq, as they really come, and the causes behind them."""

import pytest

from toolbox.model.result import Cause
from toolbox.probes.hints import network_hint
from toolbox.probes.postgres_faults import cause_of, cause_of_state, declines_options, hint, summary

# Every cause of a login in words as PostgreSQL 13 to 17, RDS and libpq 16 to 18 have them.
WORDS = [
    ('FATAL:  password authentication failed for user "me"', Cause.AUTH_FAILED),
    ("fe_sendauth: no password supplied", Cause.AUTH_FAILED),
    ('FATAL:  role "me" does not exist', Cause.AUTH_FAILED),
    ('FATAL:  PAM authentication failed for user "me"', Cause.AUTH_FAILED),
    ('FATAL:  database "app" does not exist', Cause.DB_UNKNOWN_DATABASE),
    (
        'FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "me", database "app", no encryption',
        Cause.DB_NO_HBA_ENTRY,
    ),
    ('FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "me", database "app", SSL off', Cause.DB_NO_HBA_ENTRY),
    ('FATAL:  pg_hba.conf rejects connection for host "10.0.0.1", user "me"', Cause.DB_NO_HBA_ENTRY),
    ("FATAL:  sorry, too many clients already", Cause.DB_TOO_MANY_CONNECTIONS),
    ("FATAL:  remaining connection slots are reserved for non-replication superuser", Cause.DB_TOO_MANY_CONNECTIONS),
    ("FATAL:  remaining connection slots are reserved for roles with the SUPERUSER", Cause.DB_TOO_MANY_CONNECTIONS),
    ('FATAL:  too many connections for role "me"', Cause.DB_TOO_MANY_CONNECTIONS),
    ('FATAL:  too many connections for database "app"', Cause.DB_TOO_MANY_CONNECTIONS),
    ("FATAL:  the database system is starting up", Cause.DB_STARTING_UP),
    ("FATAL:  the database system is not yet accepting connections", Cause.DB_STARTING_UP),
    ("FATAL:  the database system is in recovery mode", Cause.DB_STARTING_UP),
    ("FATAL:  the database system is shutting down", Cause.DB_SHUTTING_DOWN),
    ("FATAL:  terminating connection due to administrator command", Cause.DB_SHUTTING_DOWN),
    ('FATAL:  role "me" is not permitted to log in', Cause.PERMISSION_DENIED),
    ('FATAL:  permission denied for database "app"', Cause.PERMISSION_DENIED),
    ('FATAL:  database "app" is not currently accepting connections', Cause.PERMISSION_DENIED),
    ("server does not support SSL, but SSL was required", Cause.PROTOCOL_MISMATCH),
    ("received invalid response to SSL negotiation: H", Cause.PROTOCOL_MISMATCH),
    ("expected authentication request from server, but received H", Cause.PROTOCOL_MISMATCH),
    ('server certificate for "a" does not match host name "b"', Cause.TLS_HOSTNAME),
    ("SSL error: certificate verify failed", Cause.TLS_UNTRUSTED),
    ('root certificate file "/root/.postgresql/root.crt" does not exist', Cause.TLS_UNTRUSTED),
    ("SSL error: unsupported protocol", Cause.TLS_PROTOCOL),
    ("SSL error: tlsv1 alert protocol version", Cause.TLS_PROTOCOL),
    ("SSL error: sslv3 alert handshake failure", Cause.TLS_HANDSHAKE),
    ("SSL SYSCALL error: EOF detected", Cause.TLS_HANDSHAKE),
    ("Connection refused\n\tIs the server running on that host?", Cause.TCP_REFUSED),
    ("Connection timed out", Cause.TCP_TIMEOUT),
    ("No route to host", Cause.TCP_UNREACHABLE),
    ("server closed the connection unexpectedly", Cause.TCP_RESET),
    ("FATAL:  connection requires a valid client certificate", Cause.DB_NO_HBA_ENTRY),
    # PgBouncer
    ("FATAL:  no such user: me", Cause.AUTH_FAILED),
    ("FATAL:  no such database: app", Cause.DB_UNKNOWN_DATABASE),
    ("FATAL:  no more connections allowed (max_client_conn)", Cause.DB_TOO_MANY_CONNECTIONS),
    ("FATAL:  query_wait_timeout", Cause.DB_SLOW),
    ("FATAL:  SSL required", Cause.DB_SSL_REQUIRED),
    # RDS Proxy
    ("FATAL:  This RDS Proxy requires TLS connections", Cause.DB_SSL_REQUIRED),
    ("FATAL:  IAM authentication is allowed only with SSL connections.", Cause.DB_SSL_REQUIRED),
    ("FATAL:  This RDS proxy has no credentials for the role me. Check the credentials.", Cause.AUTH_FAILED),
    ("FATAL:  Timed-out waiting to acquire database connection", Cause.DB_TOO_MANY_CONNECTIONS),
    ('FATAL:  database "TLS" is odd', None),
    ("FATAL:  Passwort-Authentifizierung fehlgeschlagen", None),
    ("", None),
]


@pytest.mark.parametrize(("words", "cause"), WORDS)
def test_words_have_causes(words: str, cause: Cause | None) -> None:
    assert cause_of(f'connection to server at "10.0.0.1", port 5432 failed: {words}') is cause


@pytest.mark.parametrize("cause", sorted({cause for _, cause in WORDS if cause}))
def test_every_cause_has_a_summary_and_exactly_one_hint(cause: Cause) -> None:
    assert summary(cause)
    hints = [hint(cause, "DATABASE_URL"), network_hint(cause, variable="DATABASE_URL", port=5432)]
    said = [text for text in hints if text]
    assert len(said) == 1
    assert said[0].endswith(".")
    assert "{" not in said[0]


@pytest.mark.parametrize(
    ("state", "words", "cause"),
    [
        ("57014", "canceling statement due to statement timeout", Cause.DB_SLOW),
        ("57P01", "", Cause.DB_SHUTTING_DOWN),
        ("42501", "", Cause.PERMISSION_DENIED),
        ("XX000", "server closed the connection", None),
        (None, "server closed the connection unexpectedly", Cause.TCP_RESET),
    ],
)
def test_states_go_before_words(state: str | None, words: str, cause: Cause | None) -> None:
    assert cause_of_state(state, words) is cause


@pytest.mark.parametrize(
    ("words", "declined"),
    [
        ("FATAL:  unsupported startup parameter: options", True),
        ("FATAL:  unsupported startup parameter in options: lock_timeout", True),
        ("FATAL:  Feature not supported: RDS Proxy currently doesn't support command-line options.", True),
        ('FATAL:  password authentication failed for user "options"', False),
    ],
)
def test_poolers_are_understood(words: str, declined: bool) -> None:
    assert declines_options(words) is declined
