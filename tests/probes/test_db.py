"""The database probe against real servers: every test asserts the cause."""

import asyncio
import contextlib
import os
import signal
import socket
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from tests.support.certificates import DAY, Authority
from tests.support.databases import database
from tests.support.nameservers import deaf_to_aaaa
from tests.support.sockets import answering, black_hole, free_port, silent
from tests.support.waiting import until
from toolbox import inventory
from toolbox.lab.dns import NXDOMAIN, Answer, NameServer
from toolbox.lab.postgres import Postgres, PostgresSettings, Role
from toolbox.lab.postgres_programs import find_programs
from toolbox.model.result import Cause, Result, Status
from toolbox.net.resolver import Resolver, Server
from toolbox.probes import db
from toolbox.probes.context import Context
from toolbox.probes.dsn import DatabaseTarget, Endpoint, parse
from toolbox.probes.postgres_login import log_in
from toolbox.probes.postgres_query import QueryFault, rows

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOWHERE = Resolver((Server("127.0.0.1", 9),), attempts=1)
FEW = 12


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Postgres]:
    directory = tmp_path_factory.mktemp("db")
    async with database(directory, PostgresSettings(directory, 0, max_connections=FEW)) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tls_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Postgres]:
    """Speaks TLS as db.lab, admits only TLS, and only to the database tracker (the superuser may do more)."""
    directory = tmp_path_factory.mktemp("tls")
    pair = Authority(directory).issue("db.lab")
    hba = (
        "host all postgres all scram-sha-256",
        "host all tracker_owner all scram-sha-256",
        "hostssl tracker all all scram-sha-256",
    )
    settings = PostgresSettings(directory, 0, certificate=pair.certificate, key=pair.key, hba=hba)
    async with database(directory, settings) as server:
        yield server


async def run(dsn: str, *, resolver: Resolver = NOWHERE, timeout: float = 3.0) -> tuple[Result, Result]:
    connect, query = await db.probe(
        parse(dsn, "DATABASE_URL"), resolver=resolver, connect_timeout=min(timeout, 0.5), timeout=timeout
    )
    assert (connect.check, query.check) == ("db.connect", "db.query")
    return connect, query


def assert_failed(results: tuple[Result, Result], cause: Cause) -> None:
    connect, query = results
    assert (connect.status, connect.cause) == (Status.FAIL, cause)
    assert connect.hint
    assert query.status is Status.SKIPPED
    assert query.summary


@contextlib.asynccontextmanager
async def names(records: dict[str, Answer]) -> AsyncIterator[Resolver]:
    server = NameServer(lambda name, address: records.get(name, NXDOMAIN), port=0)
    await server.listen("127.0.0.1")
    try:
        yield Resolver((Server("127.0.0.1", server.port),), attempts=1)
    finally:
        await server.aclose()


async def test_a_good_database_is_ok_and_every_phase_is_timed(server: Postgres) -> None:
    async with names({"db.lab": Answer(("127.0.0.1",))}) as resolver:
        connect, query = await run(server.dsn(Role.APP, host="db.lab"), resolver=resolver)
    assert (connect.status, query.status) == (Status.OK, Status.OK)
    assert [phase.name for phase in connect.phases] == ["dns", "tcp", "auth"]
    assert [phase.name for phase in query.phases] == ["query"]
    assert all(0 < phase.seconds < 1 for phase in (*connect.phases, *query.phases))
    assert query.facts["database"] == "tracker"
    assert query.facts["user"] == "tracker_app"
    assert connect.facts["encrypted"] is False


async def test_the_wheel_s_postgresql_17_is_ok_too(tmp_path: Path) -> None:
    programs = find_programs({"TOOLBOX_LAB_POSTGRES": "wheel"})
    async with database(tmp_path, PostgresSettings(tmp_path, 0, programs=programs)) as server:
        connect, query = await run(server.dsn(Role.PROBE))
    assert (connect.status, query.status) == (Status.OK, Status.OK)
    assert str(query.facts["server_version"]).startswith("17.")


async def test_sqlalchemy_urls_are_understood(server: Postgres) -> None:
    dsn = server.dsn(Role.APP, query="ssl=prefer").replace("postgresql:", "postgresql+asyncpg:")
    assert [result.status for result in await run(dsn)] == [Status.OK, Status.OK]


async def test_the_session_can_read_only_and_gives_up_early(server: Postgres) -> None:
    target = parse(server.dsn(Role.APP), "X")
    login = await log_in(db.login_parameters(target, target.endpoints[0], "127.0.0.1", 2.0), timeout=2)
    assert login.connection is not None
    async with login.connection as connection:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await connection.execute("DELETE FROM tracker.notifications")
        limits = await connection.execute(
            "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),"
            " current_setting('application_name')"
        )
        assert await limits.fetchone() == ("2s", "2s", "toolbox")


async def test_the_options_of_the_url_count_and_ours_stand_above_them(server: Postgres) -> None:
    target = parse(server.dsn(Role.APP, query="options=-c%20search_path%3Dtracker%20-c%20lock_timeout%3D9s"), "X")
    login = await log_in(db.login_parameters(target, target.endpoints[0], "127.0.0.1", 2.0), timeout=2)
    assert login.connection is not None
    async with login.connection as connection:
        answer = await connection.execute("SELECT current_setting('search_path'), current_setting('lock_timeout')")
        assert await answer.fetchone() == ("tracker", "2s")


async def test_a_standby_will_not_do_where_a_primary_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Postgres
) -> None:
    async with database(tmp_path) as standby:
        await standby.stop()
        standby.log.unlink()
        (tmp_path / "postgres" / "data" / "standby.signal").touch()
        waiting = Postgres(replace(standby.settings, more={"restore_command": "false"}))
        start = asyncio.create_task(waiting.start())
        await until(lambda: waiting.log.exists() and "read-only connections" in waiting.log.read_text())
        dsn = standby.dsn(Role.APP)
        wanted = f"{dsn}?target_session_attrs=read-write"
        assert [result.status for result in await run(dsn)] == [Status.OK, Status.OK]
        assert_failed(await run(wanted), Cause.DB_READ_ONLY)
        # The standby's password is one that the other server does not know: so it is asked, and not passed over.
        two = wanted.replace("/tracker?", f",127.0.0.1:{server.settings.port}/tracker?")
        assert_failed(await run(two), Cause.AUTH_FAILED)
        monkeypatch.setenv("PGTARGETSESSIONATTRS", "read-write")  # libpq must not judge our read-only session by it
        assert [result.status for result in await run(server.dsn(Role.APP))] == [Status.OK, Status.OK]
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start


async def test_one_probe_is_one_session(server: Postgres) -> None:
    with psycopg.connect(server.dsn(Role.SUPERUSER), autocommit=True) as superuser:
        before = superuser.execute("SELECT sessions FROM pg_stat_database WHERE datname = 'tracker'").fetchone()
        await run(server.dsn(Role.APP))
        assert before is not None

        def sessions() -> bool:
            now = superuser.execute("SELECT sessions FROM pg_stat_database WHERE datname = 'tracker'").fetchone()
            return now == (before[0] + 1,)

        await until(sessions, what="exactly one more session")


# The network


async def test_a_name_that_does_not_exist(server: Postgres) -> None:
    async with names({}) as resolver:
        results = await run(server.dsn(Role.APP, host="db.lab"), resolver=resolver)
    assert_failed(results, Cause.DNS_NXDOMAIN)
    assert [phase.name for phase in results[0].phases] == ["dns"]
    assert "DATABASE_URL" in (results[0].hint or "")


async def test_nobody_listens(server: Postgres) -> None:
    assert_failed(await run(server.dsn(Role.APP, port=free_port())), Cause.TCP_REFUSED)


async def test_nobody_answers(server: Postgres) -> None:
    with black_hole() as port:
        results = await run(server.dsn(Role.APP, port=port))
    assert_failed(results, Cause.TCP_TIMEOUT)
    assert str(port) in (results[0].hint or "")


async def test_one_of_two_addresses_is_dead_and_the_other_is_used(server: Postgres) -> None:
    async with names({"db.lab": Answer(("127.0.0.9", "127.0.0.1"))}) as resolver:
        connect, query = await run(server.dsn(Role.APP, host="db.lab"), resolver=resolver)
    assert (connect.status, connect.cause) == (Status.WARN, Cause.TCP_PARTIAL)
    assert query.status is Status.OK
    assert "127.0.0.9" in str(connect.facts["error"])


async def test_one_of_two_hosts_is_dead_and_the_other_is_used(server: Postgres) -> None:
    two = f"127.0.0.9:{server.settings.port},127.0.0.1:{server.settings.port}"
    dsn = server.dsn(Role.APP).replace(f"127.0.0.1:{server.settings.port}", two)
    connect, query = await run(dsn)
    assert (connect.status, connect.cause) == (Status.WARN, Cause.TCP_REFUSED)
    assert query.status is Status.OK


async def test_one_of_two_names_does_not_exist_and_the_other_is_used(server: Postgres) -> None:
    two = f"none.lab,127.0.0.1:{server.settings.port}"
    dsn = server.dsn(Role.APP).replace(f"127.0.0.1:{server.settings.port}", two)
    async with names({}) as resolver:
        connect, query = await run(dsn, resolver=resolver)
    assert (connect.status, connect.cause, query.status) == (Status.WARN, Cause.DNS_NXDOMAIN, Status.OK)
    assert "not at all" in connect.summary


async def test_a_name_server_that_answers_half_of_the_questions_is_a_warning(server: Postgres) -> None:
    async with names({"db.lab": Answer(("127.0.0.1",))}) as resolver, deaf_to_aaaa(resolver.servers[0]) as half:
        dsn = server.dsn(Role.APP, host="db.lab")
        connect, query = await run(dsn, resolver=replace(resolver, servers=(half,)))
    assert (connect.status, connect.cause, query.status) == (Status.WARN, Cause.DNS_TIMEOUT, Status.OK)
    assert "half" in connect.summary


async def test_an_address_that_accepts_and_then_hangs_is_passed_over(server: Postgres, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"  # keeps the order, which name servers shuffle
    hosts.write_text("127.0.0.9 db.lab\n127.0.0.1 db.lab\n")
    with silent("127.0.0.9", server.settings.port):
        dsn = server.dsn(Role.APP, host="db.lab", query="sslmode=disable")
        connect, query = await run(dsn, resolver=replace(NOWHERE, hosts=hosts), timeout=0.5)
    assert (connect.status, connect.cause) == (Status.WARN, Cause.DB_SLOW)
    assert query.status is Status.OK
    # What the dead address cost is part of the whole.
    assert [phase.name for phase in connect.phases] == ["dns", "tcp", "auth", "auth"]
    # Its time is up 0.5 s after the login began, which is a moment before its first phase did.
    assert connect.phases[2].seconds > 0.4


async def test_a_host_that_cannot_log_anybody_in_is_passed_over(server: Postgres, tmp_path: Path) -> None:
    dsn = f"user=tracker_app password={server.settings.passwords[Role.APP]} dbname=tracker sslmode=disable"
    with answering(error_response(b"the database system is starting up", b"57P03")) as starting:
        ports = f"{starting},{server.settings.port}"
        connect, query = await run(f"{dsn} host=127.0.0.1,127.0.0.1 port={ports}")
        both = await run(f"{dsn} host=127.0.0.1,127.0.0.1 port={starting},{free_port()}")
    assert (connect.status, connect.cause) == (Status.WARN, Cause.DB_STARTING_UP)
    assert query.status is Status.OK
    assert_failed(both, Cause.DB_STARTING_UP)
    connect, query = await run(f"{dsn} host={tmp_path},127.0.0.1 port={server.settings.port}")
    assert (connect.status, connect.cause, query.status) == (Status.WARN, Cause.TCP_REFUSED, Status.OK)


async def test_a_wrong_password_is_not_tried_at_the_next_host(server: Postgres) -> None:
    with answering(error_response(b"password authentication failed")) as port:
        dsn = server.dsn(Role.APP, query="sslmode=disable")
        results = await run(dsn.replace("@127.0.0.1:", f"@127.0.0.1:{port},127.0.0.1:"))
    assert_failed(results, Cause.AUTH_FAILED)


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6")
async def test_an_address_of_ipv6_as_a_literal_and_as_all_that_a_name_has(tmp_path: Path) -> None:
    more = {"listen_addresses": "127.0.0.1,::1"}
    async with database(tmp_path, PostgresSettings(tmp_path, 0, more=more)) as server:
        async with names({"db.lab": Answer(alias="real.lab"), "real.lab": Answer(("::1",))}) as resolver:
            by_name = await run(server.dsn(Role.APP, host="db.lab"), resolver=resolver)
        literal = await run(server.dsn(Role.APP, host="[::1]"))
    assert [result.status for result in (*by_name, *literal)] == [Status.OK] * 4


async def test_cut_during_the_login(server: Postgres) -> None:
    with answering(b"", reset=True) as port:
        assert_failed(await run(server.dsn(Role.APP, port=port, query="sslmode=disable")), Cause.TCP_RESET)


@pytest.mark.parametrize("mode", ["disable", "prefer", "require"])
async def test_a_web_server_is_no_database(server: Postgres, mode: str) -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        results = await run(server.dsn(Role.APP, port=port, query=f"sslmode={mode}"))
    assert_failed(results, Cause.PROTOCOL_MISMATCH)


async def test_a_unix_socket_needs_no_network(tmp_path: Path) -> None:
    more = {"unix_socket_directories": str(tmp_path)}
    hba = ("local all all scram-sha-256", "host all all all scram-sha-256")
    async with database(tmp_path, PostgresSettings(tmp_path, 0, more=more, hba=hba)) as server:
        password = server.settings.passwords[Role.APP]
        dsn = f"host={tmp_path} port={server.settings.port} user=tracker_app password={password} dbname=tracker"
        connect, query = await run(dsn)
        missing = await run(dsn.replace(str(tmp_path), str(tmp_path / "none")))
    assert (connect.status, query.status) == (Status.OK, Status.OK)
    assert [phase.name for phase in connect.phases] == ["auth"]
    assert_failed(missing, Cause.TCP_REFUSED)


# The login


async def test_a_wrong_password(server: Postgres) -> None:
    dsn = server.dsn(Role.APP).replace(server.settings.passwords[Role.APP], "hunter2")
    results = await run(dsn)
    assert_failed(results, Cause.AUTH_FAILED)
    assert "hunter2" not in repr(results)
    assert [phase.name for phase in results[0].phases] == ["dns", "tcp", "auth"]


async def test_a_wrong_password_is_tried_once_even_where_tls_is_a_choice(tls_server: Postgres) -> None:
    def refusals() -> int:
        return tls_server.log.read_text().count("password authentication failed")

    before = refusals()
    dsn = tls_server.dsn(Role.APP).replace(tls_server.settings.passwords[Role.APP], "hunter2")
    assert_failed(await run(dsn), Cause.AUTH_FAILED)
    await until(lambda: refusals() > before)
    # The server has logged what followed before it answers this one.
    assert_failed(await run(tls_server.dsn(Role.APP, database="none")), Cause.DB_NO_HBA_ENTRY)
    assert refusals() == before + 1


async def test_an_unknown_user(server: Postgres) -> None:
    assert_failed(await run(server.dsn(Role.APP).replace("tracker_app", "nobody")), Cause.AUTH_FAILED)


async def test_no_password(server: Postgres) -> None:
    target = replace(parse(server.dsn(Role.APP), "X"), password=None)
    results = await db.probe(target, resolver=NOWHERE, connect_timeout=1, timeout=2)
    assert results[0].cause is Cause.AUTH_FAILED


async def test_an_unknown_database(server: Postgres) -> None:
    assert_failed(await run(server.dsn(Role.APP, database="none")), Cause.DB_UNKNOWN_DATABASE)


async def test_no_connection_left(server: Postgres) -> None:
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(psycopg.OperationalError):
            for _ in range(FEW):
                stack.enter_context(psycopg.connect(server.dsn(Role.APP)))
        assert_failed(await run(server.dsn(Role.APP)), Cause.DB_TOO_MANY_CONNECTIONS)


async def test_a_limit_of_the_role_is_a_full_database_for_it(server: Postgres) -> None:
    with psycopg.connect(server.dsn(Role.SUPERUSER), autocommit=True) as superuser:
        superuser.execute("ALTER ROLE tracker_probe CONNECTION LIMIT 0")
        assert_failed(await run(server.dsn(Role.PROBE)), Cause.DB_TOO_MANY_CONNECTIONS)
        superuser.execute("ALTER ROLE tracker_probe CONNECTION LIMIT -1 NOLOGIN")
        assert_failed(await run(server.dsn(Role.PROBE)), Cause.PERMISSION_DENIED)
        superuser.execute("ALTER ROLE tracker_probe LOGIN")


async def test_starting_up(tmp_path: Path) -> None:
    async with database(tmp_path) as server:
        await server.stop()
        server.log.unlink()
        (tmp_path / "postgres" / "data" / "standby.signal").touch()
        # A standby that waits for its archive is as long 'starting up' as a test needs.
        more = {"restore_command": "sleep 600"}
        waiting = Postgres(replace(server.settings, more=more))
        start = asyncio.create_task(waiting.start())
        await until(lambda: waiting.log.exists() and "was shut down" in waiting.log.read_text())
        assert_failed(await run(server.dsn(Role.APP)), Cause.DB_STARTING_UP)
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start


async def test_shutting_down(tmp_path: Path) -> None:
    async with database(tmp_path) as server:
        with psycopg.connect(server.dsn(Role.APP)):
            stop = asyncio.create_task(server.stop("smart"))
            await until(lambda: "smart shutdown" in server.log.read_text())
            assert_failed(await run(server.dsn(Role.APP)), Cause.DB_SHUTTING_DOWN)
        await stop


async def test_a_server_that_accepts_and_then_says_nothing(tmp_path: Path) -> None:
    async with database(tmp_path) as server:
        assert server.pid
        os.kill(server.pid, signal.SIGSTOP)
        results = await run(server.dsn(Role.APP, query="sslmode=disable"), timeout=0.3)
        os.kill(server.pid, signal.SIGCONT)
    assert_failed(results, Cause.DB_SLOW)
    assert results[0].phases[-1].name == "auth"


# TLS


async def test_tls_is_a_phase_of_its_own(tls_server: Postgres) -> None:
    connect, query = await run(tls_server.dsn(Role.APP, query="sslmode=require"))
    assert (connect.status, query.status) == (Status.OK, Status.OK)
    assert [phase.name for phase in connect.phases] == ["dns", "tcp", "tls", "auth"]
    assert connect.facts["encrypted"] is True


async def test_tls_is_required(tls_server: Postgres) -> None:
    results = await run(tls_server.dsn(Role.APP, query="sslmode=disable"))
    assert_failed(results, Cause.DB_SSL_REQUIRED)
    assert "sslmode=require" in (results[0].hint or "")


async def test_tls_that_is_only_allowed_is_tried_after_a_refusal(tls_server: Postgres) -> None:
    results = await run(tls_server.dsn(Role.APP, query="sslmode=allow"))
    assert [result.status for result in results] == [Status.OK, Status.OK]


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require"])
async def test_no_line_of_pg_hba_conf_fits(tls_server: Postgres, mode: str) -> None:
    dsn = tls_server.dsn(Role.APP, database="postgres", query=f"sslmode={mode}")
    assert_failed(await run(dsn), Cause.DB_NO_HBA_ENTRY)


async def test_tls_is_wanted_where_there_is_none(server: Postgres) -> None:
    assert_failed(await run(server.dsn(Role.APP, query="sslmode=require")), Cause.PROTOCOL_MISMATCH)


async def verified(server: Postgres, root: Path, host: str) -> tuple[Result, Result]:
    async with names({host: Answer(("127.0.0.1",))}) as resolver:
        dsn = server.dsn(Role.APP, host=host, query=f"sslmode=verify-full&sslrootcert={root}")
        return await run(dsn, resolver=resolver)


async def test_an_address_in_the_url_goes_before_the_name(tls_server: Postgres) -> None:
    root = tls_server.settings.directory.parent / "root.pem"
    query = f"sslmode=verify-full&sslrootcert={root}&hostaddr=127.0.0.1"
    results = await run(tls_server.dsn(Role.APP, host="db.lab", query=query))  # which no name server knows
    assert [result.status for result in results] == [Status.OK, Status.OK]


async def test_the_certificate_is_verified_against_the_name_not_the_address(tls_server: Postgres) -> None:
    root = tls_server.settings.directory.parent / "root.pem"
    assert [result.status for result in await verified(tls_server, root, "db.lab")] == [Status.OK, Status.OK]
    assert_failed(await verified(tls_server, root, "other.lab"), Cause.TLS_HOSTNAME)


async def test_a_certificate_of_an_unknown_authority(tls_server: Postgres, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, name="Somebody Else").root
    assert_failed(await verified(tls_server, stranger, "db.lab"), Cause.TLS_UNTRUSTED)
    # The same name on another key: libpq knows no word for it but 'SSL error'.
    impostor = Authority(tmp_path).root
    assert_failed(await verified(tls_server, impostor, "db.lab"), Cause.TLS_UNTRUSTED)
    assert_failed(await verified(tls_server, tmp_path / "none.pem", "db.lab"), Cause.TLS_UNTRUSTED)


async def test_an_expired_certificate_is_told_from_an_untrusted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("db.lab", since=-2 * DAY, until=-DAY)
    async with database(tmp_path, PostgresSettings(tmp_path, 0, certificate=pair.certificate, key=pair.key)) as server:
        assert_failed(await verified(server, authority.root, "db.lab"), Cause.TLS_EXPIRED)
        connect, _ = await run(server.dsn(Role.APP, query="sslmode=require"))
        assert connect.status is Status.OK
        # With a root certificate 'require' verifies, too (PostgreSQL 34.19.1), and with none there is one in HOME.
        require = await run(server.dsn(Role.APP, query=f"sslmode=require&sslrootcert={authority.root}"))
        assert_failed(require, Cause.TLS_EXPIRED)
        default = tmp_path / ".postgresql" / "root.crt"
        default.parent.mkdir()
        default.write_bytes(authority.root.read_bytes())
        monkeypatch.setenv("HOME", str(tmp_path))
        assert_failed(await run(server.dsn(Role.APP, query="sslmode=require")), Cause.TLS_EXPIRED)


async def test_no_root_certificate_is_said_and_not_explained_away(
    tls_server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    results = await run(tls_server.dsn(Role.APP, query="sslmode=verify-full"))
    assert_failed(results, Cause.TLS_UNTRUSTED)
    assert "root.crt" in str(results[0].facts["error"])


async def test_a_client_certificate_is_shown(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair, ours = authority.issue("db.lab"), authority.issue("tracker_app")
    hba = ("host all postgres,tracker_owner all scram-sha-256", "hostssl all all all cert")
    more = {"ssl_ca_file": str(authority.root)}
    settings = PostgresSettings(tmp_path, 0, certificate=pair.certificate, key=pair.key, hba=hba, more=more)
    async with database(tmp_path, settings) as server:
        query = f"sslmode=require&sslcert={ours.certificate}&sslkey={ours.key}"
        results = await run(server.dsn(Role.APP, query=query))
        assert_failed(await run(server.dsn(Role.APP, query="sslmode=require")), Cause.DB_NO_HBA_ENTRY)
        ours.key.chmod(0o644)  # libpq does not take it then
        connect, _ = await run(server.dsn(Role.APP, query=query))
    assert [result.status for result in results] == [Status.OK, Status.OK]
    assert connect.status is Status.FAIL
    assert "private key" in str(connect.facts["error"])


# Hostile servers


def error_response(message: bytes, state: bytes = b"28P01", routine: bytes = b"auth_failed") -> bytes:
    """PostgreSQL 55.7, ErrorResponse."""
    fields = b"SFATAL\0C" + state + b"\0M" + message + b"\0R" + routine + b"\0\0"
    return b"E" + struct.pack("!i", len(fields) + 4) + fields


async def test_what_a_server_says_is_bounded_printable_and_without_the_password(server: Postgres) -> None:
    message = b"\x1b]0;owned\x07 \xe2\x80\xae password authentication failed: hunter2 " + b"x" * 20_000
    with answering(error_response(message)) as port:
        dsn = f"postgresql://me:hunter2@127.0.0.1:{port}/app?sslmode=disable"
        results = await run(dsn)
    assert_failed(results, Cause.AUTH_FAILED)
    error = str(results[0].facts["error"])
    assert error.isprintable()
    assert len(error) <= 500
    assert "hunter2" not in repr(results)


@pytest.mark.parametrize(
    ("state", "routine", "cause"),
    [
        (b"28P01", b"auth_failed", Cause.AUTH_FAILED),
        (b"28000", b"ClientAuthentication", Cause.DB_NO_HBA_ENTRY),
        (b"28000", b"InitializeSessionUserId", Cause.AUTH_FAILED),
        (b"3D000", b"InitPostgres", Cause.DB_UNKNOWN_DATABASE),
        (b"53300", b"InitProcess", Cause.DB_TOO_MANY_CONNECTIONS),
        (b"42501", b"CheckMyDatabase", Cause.PERMISSION_DENIED),
        (b"57P03", b"ProcessStartupPacket", None),  # starting up or shutting down: only the words tell
        (b"XX000", b"", None),
    ],
)
async def test_a_server_that_speaks_another_language(state: bytes, routine: bytes, cause: Cause | None) -> None:
    message = b'Verbindung zu Server "TLS"\nfehlgeschlagen'
    with answering(error_response(message, state, routine)) as port:
        connect, query = await run(f"postgresql://me:pw@127.0.0.1:{port}/app?sslmode=disable")
    assert (connect.status, connect.cause) == (Status.FAIL, cause)
    assert query.status is Status.SKIPPED


async def test_a_flood_of_notices_before_the_error_neither_blocks_nor_is_kept() -> None:
    let_in = b"R\0\0\0\10\0\0\0\0"
    notice = b"N" + struct.pack("!i", 1007) + b"SNOTICE\0M" + b"x" * 992 + b"\0\0"
    with answering(let_in + notice * 300 + error_response(b"password authentication failed")) as port:
        results = await run(f"postgresql://me:pw@127.0.0.1:{port}/app?sslmode=disable")
    assert_failed(results, Cause.AUTH_FAILED)


@pytest.mark.parametrize("reply", [b"\0" * 64, b"R" + b"\xff" * 64, b"E\0\0\0\4", b"S", b"N"])
async def test_garbage_is_a_failure_within_its_time(reply: bytes) -> None:
    with answering(reply) as port:
        connect, _ = await run(f"postgresql://me:pw@127.0.0.1:{port}/app", timeout=1)
    assert connect.status is Status.FAIL


@contextlib.asynccontextmanager
async def pooler(server: Postgres) -> AsyncIterator[int]:
    """Passes logins on to `server`, but declines those that bring settings of ours, as PgBouncer does."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = await reader.read(4)
        if not length:  # the probe's first look
            writer.close()
            return
        startup = length + await reader.readexactly(int.from_bytes(length) - 4)
        if b"\0options\0" in startup:
            writer.write(error_response(b"unsupported startup parameter: options", b"08P01"))
            await writer.drain()
            writer.close()
            return
        behind, beyond = await asyncio.open_connection("127.0.0.1", server.settings.port)
        beyond.write(startup)
        await asyncio.gather(pipe(reader, beyond), pipe(behind, writer))

    async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        yield listener.sockets[0].getsockname()[1]


async def test_a_pooler_that_declines_options_is_used_without_them(server: Postgres) -> None:
    async with pooler(server) as port:
        results = await run(server.dsn(Role.APP, port=port, query="sslmode=disable"))
    assert [result.status for result in results] == [Status.OK, Status.OK]


def no_rows() -> bytes:
    """A server that lets everybody in and answers every query with nothing: AuthenticationOk, ready, complete."""
    ready = b"Z\0\0\0\5I"
    return b"R\0\0\0\10\0\0\0\0" + ready + b"T\0\0\0\6\0\0" + b"C\0\0\0\15SELECT 0\0" + ready


async def test_an_answer_that_was_not_asked_for_is_no_database(server: Postgres) -> None:
    target = parse("postgresql://me@127.0.0.1/app?sslmode=disable", "X")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        reply = no_rows()
        login = reply.index(b"T\0\0\0\6")
        writer.write(reply[:login])
        await reader.read(4096)
        writer.write(reply[login:])
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        endpoint = Endpoint("127.0.0.1", listener.sockets[0].getsockname()[1])
        login = await log_in(db.login_parameters(target, endpoint, "127.0.0.1", 2), timeout=2)
        assert login.connection is not None
        result = await db.query(target, login.connection, 2)
        await login.connection.close()
    assert (result.status, result.cause) == (Status.FAIL, Cause.PROTOCOL_MISMATCH)


# The environment


def context(environ: dict[str, str]) -> Context:
    return Context(environ, inventory.load(environ={}), NOWHERE, timeout=2)


async def test_no_variable_lists_names_and_no_values() -> None:
    connect, query = await db.run(context({"TRACKER_DB_DSN": "hunter2", "PATH": "/bin"}))
    assert (connect.status, connect.cause) == (Status.UNKNOWN, None)
    assert connect.facts["candidates"] == ["TRACKER_DB_DSN"]
    assert "DATABASE_URL" in str(connect.facts["looked_for"])
    assert "hunter2" not in repr(connect)
    assert query.status is Status.SKIPPED


async def test_a_malformed_variable_is_named_without_its_value() -> None:
    connect, _ = await db.run(context({"DATABASE_URL": "postgresql://me:hunter2@db:x/app"}))
    assert (connect.status, connect.cause) == (Status.UNKNOWN, None)
    assert "DATABASE_URL" in connect.summary
    assert "hunter2" not in repr(connect)


async def test_families_reach_the_database(server: Postgres) -> None:
    environ = {
        "DB_HOST": "127.0.0.1",
        "DB_PORT": str(server.settings.port),
        "DB_USER": "tracker_app",
        "DB_PASSWORD": server.settings.passwords[Role.APP],
        "DB_NAME": "tracker",
    }
    assert [result.status for result in await db.run(context(environ))] == [Status.OK, Status.OK]


# The query


async def logged_in(server: Postgres, timeout: float) -> tuple[DatabaseTarget, psycopg.AsyncConnection[Any]]:
    target = parse(server.dsn(Role.APP), "DATABASE_URL")
    login = await log_in(db.login_parameters(target, target.endpoints[0], "127.0.0.1", timeout), timeout=2)
    assert login.connection is not None
    return target, login.connection


async def test_a_backend_that_hangs_ends_the_query_in_time(server: Postgres) -> None:
    target, connection = await logged_in(server, 0.3)
    backend = connection.info.backend_pid
    os.kill(backend, signal.SIGSTOP)
    start = time.monotonic()
    try:
        result = await db.query(target, connection, timeout=0.3)
    finally:
        os.kill(backend, signal.SIGCONT)
        await connection.close()
    assert (result.status, result.cause) == (Status.FAIL, Cause.DB_SLOW)
    assert time.monotonic() - start < 2


def sent_and_unread(descriptor: int) -> bool:
    """Whether the other side of a connection on loopback has not yet read all that was sent."""
    port = socket.socket(fileno=os.dup(descriptor)).getsockname()[1]
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    # local address, remote address, state, tx:rx queue: the server's socket is the one whose remote port is ours
    return any(int(line[2].partition(":")[2], 16) == port and line[4].partition(":")[2] != "0" * 8 for line in lines)


async def test_an_interrupted_query_ends_at_once_even_on_a_server_that_hangs(server: Postgres) -> None:
    target, connection = await logged_in(server, 5)
    backend = connection.info.backend_pid
    os.kill(backend, signal.SIGSTOP)
    start = time.monotonic()
    try:
        asked = asyncio.create_task(db.query(target, connection, timeout=5))
        descriptor = connection.fileno()
        await until(lambda: sent_and_unread(descriptor), what="the query is on its way")
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
    finally:
        os.kill(backend, signal.SIGCONT)
        await connection.close()
    assert time.monotonic() - start < 1


async def test_more_rows_than_were_asked_for_are_not_kept(server: Postgres) -> None:
    _, connection = await logged_in(server, 5)
    answer = await rows(connection, "SELECT generate_series(1, 1000000000)", timeout=5)
    await connection.close()
    assert isinstance(answer, QueryFault)
    assert answer.cause is Cause.PROTOCOL_MISMATCH


async def test_a_session_that_an_administrator_ends(server: Postgres) -> None:
    target, connection = await logged_in(server, 2)
    with psycopg.connect(server.dsn(Role.SUPERUSER), autocommit=True) as superuser:
        superuser.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])
    result = await db.query(target, connection, timeout=2)
    assert (result.status, result.cause) == (Status.FAIL, Cause.DB_SHUTTING_DOWN)
    assert result.hint
