"""A real PostgreSQL for the lab and for tests: made, seeded, started and stopped.

Durability is switched off: nothing in a lab is worth an fsync.
"""

import asyncio
import os
import secrets
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote

from toolbox.errors import LabError
from toolbox.lab.children import send
from toolbox.lab.leash import leashed
from toolbox.lab.postgres_programs import find_programs

if TYPE_CHECKING:
    from psycopg import AsyncConnection

DATABASE: Final = "tracker"
_SEED: Final = Path(__file__).with_name("seed.sql")
_READY: Final = b"database system is ready to accept connections"
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 10.0
_LOG_LIMIT: Final = 8 << 20
_TAIL: Final = 4096

Mode = Literal["smart", "fast", "immediate"]
# PostgreSQL 15, 19.5 'Shutting Down the Server'
_STOP_SIGNALS: Final[Mapping[Mode, signal.Signals]] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}

_CONFIGURATION: Final[Mapping[str, str]] = {
    "unix_socket_directories": "",
    "shared_buffers": "16MB",
    "max_wal_size": "64MB",
    "min_wal_size": "8MB",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "password_encryption": "scram-sha-256",
    "lc_messages": "C",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d %a ",
    "log_lock_waits": "on",
}


class Role(StrEnum):
    """Who may log in: the superuser, the schema's owner, the services, and a read-only role with pg_monitor."""

    SUPERUSER = "postgres"
    OWNER = "tracker_owner"
    APP = "tracker_app"
    PROBE = "tracker_probe"


def _new_passwords() -> dict[Role, str]:
    return {role: secrets.token_urlsafe(18) for role in Role}


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """What a server is made of. `directory` holds all its files; `programs` is where `postgres` and `initdb` are.

    With `certificate` and `key` (PEM files) it also speaks TLS; `hba` replaces the lines of pg_hba.conf, `more` adds to
    postgresql.conf. Passwords count when the data directory is made and stay as they were then.
    """

    directory: Path
    port: int
    address: str = "127.0.0.1"
    passwords: Mapping[Role, str] = field(default_factory=_new_passwords, repr=False)
    max_connections: int = 100
    certificate: Path | None = None
    key: Path | None = None
    hba: tuple[str, ...] = ("host all all all scram-sha-256",)
    programs: Path | None = None
    more: Mapping[str, str | int] = field(default_factory=dict)


class Postgres:
    """One server. `start` and `stop` may alternate; the data stays until the directory is removed.

    The server gets SIGQUIT when the thread that started it ends, so it does not survive even a kill -9 of the lab.
    """

    def __init__(self, settings: PostgresSettings) -> None:
        self.settings = settings
        self._programs = settings.programs or find_programs()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether the server's process lives."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        """The process id of the server (postmaster) while it runs."""
        return self._process.pid if self._process and self.running else None

    @property
    def log(self) -> Path:
        """The server's log; at most 8 MB of each run."""
        return self.settings.directory / "postgres.log"

    def dsn(
        self, role: Role, *, database: str = DATABASE, host: str | None = None, port: int | None = None, query: str = ""
    ) -> str:
        """A `postgresql://` URL with the role's password; `host` and `port` where a gate stands in front."""
        password = quote(self.settings.passwords[role], safe="")
        where = f"{host or self.settings.address}:{port or self.settings.port}"
        return f"postgresql://{role}:{password}@{where}/{database}{'?' if query else ''}{query}"

    async def start(self) -> None:
        """Make the data directory if need be and start; returns when connections are accepted, raises LabError."""
        if self.running:
            return
        try:
            new = not self._complete.exists()
            if new:
                await self._initialise()
            self._configure()
            await self._run()
            if new:
                await self._seed()
                self._complete.touch()
        except BaseException:  # a cancelled start, too, leaves nothing running
            await self.stop("immediate")
            raise

    async def stop(self, mode: Mode = "fast") -> None:
        """Stop as `pg_ctl stop -m MODE` does; what has not ended after 10 s is killed. Nothing if it does not run."""
        if self._process is None or self._reader is None:
            return
        send(self._process, _STOP_SIGNALS[mode])
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        except TimeoutError:
            send(self._process, signal.SIGKILL)
            await self._process.wait()
        await self._reader
        self._process = self._reader = None

    async def exited(self) -> int:
        """Wait until the running server's process has ended, by whomever; its exit code."""
        if self._process is None:
            raise LabError("PostgreSQL was not started.", cause="lab-part-stopped")
        return await self._process.wait()

    @property
    def _data(self) -> Path:
        return self.settings.directory / "data"

    @property
    def _complete(self) -> Path:
        # Inside the data, so that both vanish together; written last, so that an interrupted start begins anew.
        return self._data / "seeded"

    @property
    def _has_statements(self) -> bool:
        return (self._programs.parent / "lib" / "pg_stat_statements.so").exists()

    async def _initialise(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)
        self.settings.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        password = self.settings.directory / "superuser-password"
        password.touch(mode=0o600)
        password.write_text(self.settings.passwords[Role.SUPERUSER])
        options = f"--username {Role.SUPERUSER} --encoding UTF8 --locale C --auth scram-sha-256 --wal-segsize 1"
        command = [str(self._programs / "initdb"), "--pgdata", str(self._data), "--pwfile", str(password)]
        process = await asyncio.create_subprocess_exec(
            *leashed(
                [*command, *options.split(), "--no-sync", "--no-instructions"],
                last_signal=signal.SIGKILL,
                not_root=True,
            ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=_environment(),
        )
        try:
            output, _ = await process.communicate()
        finally:
            password.unlink()
            send(process, signal.SIGKILL)
        if process.returncode != 0:
            raise _broken("PostgreSQL's data directory could not be made", output)

    def _configure(self) -> None:
        settings = self.settings
        values: dict[str, str | int] = {
            **_CONFIGURATION,
            "listen_addresses": settings.address,
            "port": settings.port,
            "max_connections": settings.max_connections,
        }
        if self._has_statements:
            values["shared_preload_libraries"] = "pg_stat_statements"
        if settings.certificate and settings.key:
            # A copy of the key: the server insists on its owner and mode.
            key = self._data / "server.key"
            key.touch(mode=0o600)
            key.write_bytes(settings.key.read_bytes())
            values |= {"ssl": "on", "ssl_cert_file": str(settings.certificate), "ssl_key_file": str(key)}
        values |= settings.more
        lines = [f"{name} = '{str(value).replace(chr(39), chr(39) * 2)}'\n" for name, value in values.items()]
        (self._data / "postgresql.conf").write_text("".join(lines))
        (self._data / "pg_hba.conf").write_text("\n".join([*settings.hba, ""]))

    async def _run(self) -> None:
        self._process = process = await asyncio.create_subprocess_exec(
            *leashed(
                [str(self._programs / "postgres"), "-D", str(self._data)], last_signal=signal.SIGQUIT, not_root=True
            ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(),
            start_new_session=True,  # Ctrl-C on the lab's terminal is the lab's business
        )
        assert process.stderr is not None
        ready = asyncio.Event()
        self._reader = asyncio.create_task(self._keep_log(process.stderr, ready))
        done, _ = await asyncio.wait(
            {self._reader, waiting := asyncio.create_task(ready.wait())},
            timeout=_START_SECONDS,
            return_when=asyncio.FIRST_COMPLETED,
        )
        waiting.cancel()
        if waiting not in done:
            raise _broken("PostgreSQL did not start", self.log.read_bytes())

    async def _keep_log(self, stream: asyncio.StreamReader, ready: asyncio.Event) -> None:
        """Write the server's log until its end, and tell when it says that it is ready."""
        end, size = b"", 0
        with self.log.open("wb", buffering=0) as file:
            while chunk := await stream.read(1 << 16):
                end = (end + chunk)[-_TAIL:]
                if not ready.is_set() and _READY in end:
                    ready.set()
                if size < _LOG_LIMIT:
                    size += file.write(chunk)

    async def _seed(self) -> None:
        from psycopg import sql

        async with await self._connect(Role.SUPERUSER, "postgres") as connection:
            for role in set(Role) - {Role.SUPERUSER}:
                password = sql.Literal(self.settings.passwords[role])
                create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), password)
                await connection.execute(create)
            await connection.execute("GRANT pg_monitor TO tracker_app, tracker_probe")
            await connection.execute("ALTER ROLE tracker_probe SET default_transaction_read_only = on")
            await connection.execute("CREATE DATABASE tracker OWNER tracker_owner")
        async with await self._connect(Role.SUPERUSER, DATABASE) as connection:
            if self._has_statements:
                await connection.execute("CREATE EXTENSION pg_stat_statements")
        async with await self._connect(Role.OWNER, DATABASE) as connection:
            await connection.execute(_SEED.read_bytes())

    async def _connect(self, role: Role, database: str) -> "AsyncConnection[tuple[object, ...]]":
        import psycopg

        return await psycopg.AsyncConnection.connect(self.dsn(role, database=database), autocommit=True)


def _environment() -> dict[str, str]:
    """A bare environment: PGDATA, LC_ALL and the like of whoever starts the lab must not reach the server."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _broken(sentence: str, output: bytes) -> LabError:
    lines = output[-_TAIL:].decode(errors="replace").strip().splitlines()
    return LabError(
        f"{sentence}.",
        cause="lab-part-failed",
        next_step="Read the lines below; a port or a directory that is in use is the usual reason.",
        detail=tuple(lines[-10:]),
    )
