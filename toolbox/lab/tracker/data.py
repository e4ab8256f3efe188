"""The way to the database, to Redis and to the other services, as the environment says."""

import http.client
import socket
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:  # otherwise only where they are needed: two services use neither, and each is some megabytes
    import psycopg
    import redis

_SECONDS: Final = 3
_CONNECTION_LIFE: Final = 5.0  # seconds: a changed security group lets open connections be, so they must not live long
_DATABASE_URLS: Final = ("DATABASE_URL", "SQLALCHEMY_DATABASE_URI")

Row = tuple[Any, ...]


class Data:
    """One connection to each, made when it is needed and again when it is old; safe between threads."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.unreachable: tuple[type[Exception], ...] = (OSError, http.client.HTTPException)
        """What a service survives, and reports as not healthy: what it needs is away, refuses, or answers nonsense."""
        self._environ = environ
        self._lock = threading.RLock()
        self._database: psycopg.Connection[Row] | None = None
        self._opened = 0.0
        self._redis: redis.Redis | None = None
        self._redis_opened = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    def query(self, statement: str, *values: object) -> list[Row]:
        """Run one statement in a transaction of its own; its rows."""
        with self._lock:
            connection = self._connected()
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def command(self, *words: object) -> Any:
        """Redis's answer to one command."""
        with self._lock:
            return self._connected_redis().execute_command(*words)  # type: ignore[no-untyped-call]  # redis left it so

    def get(self, service: str, path: str) -> bytes:
        """What another service answers; raises OSError when it does not, or not with 200."""
        url = urlsplit(self._environ[f"{service.upper()}_URL"])
        host, port = url.hostname or "", url.port or 80
        connection = http.client.HTTPConnection(resolve(host, self._environ), port, timeout=_SECONDS)
        try:
            connection.request("GET", path, headers={"Host": host})
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise OSError(f"GET http://{url.netloc}{path} answered {response.status} {response.reason}")
        return body

    def drop(self) -> None:
        """Close what is open; the next use connects anew."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None
            self._close_redis()

    def _close_redis(self) -> None:
        if self._redis is not None:
            self._redis.close()
            self._redis = None

    def _connected(self) -> "psycopg.Connection[Row]":
        if self._database is not None and time.monotonic() - self._opened > _CONNECTION_LIFE:
            self._database.close()
            self._database = None
        if self._database is None:
            import psycopg
            from psycopg.conninfo import conninfo_to_dict, make_conninfo

            self._survive(psycopg.Error)
            dsn = self._dsn()
            if "TOOLBOX_RESOLVER" in self._environ:
                host = str(conninfo_to_dict(dsn).get("host") or self._environ.get("PGHOST", ""))
                dsn = make_conninfo(dsn, hostaddr=resolve(host, self._environ))
            self._database = psycopg.connect(dsn, connect_timeout=_SECONDS, autocommit=True, application_name="tracker")
            self._opened = time.monotonic()
        return self._database

    def _connected_redis(self) -> "redis.Redis":
        if self._redis is not None and time.monotonic() - self._redis_opened > _CONNECTION_LIFE:
            self._close_redis()
        if self._redis is None:
            import redis

            self._survive(redis.RedisError)
            url = urlsplit(self._environ["REDIS_URL"])
            host = url.hostname or ""
            netloc = url.netloc.replace(host, resolve(host, self._environ))
            self._redis = redis.Redis.from_url(
                url._replace(netloc=netloc).geturl(), socket_connect_timeout=_SECONDS, socket_timeout=_SECONDS
            )
            self._redis_opened = time.monotonic()
        return self._redis

    def _survive(self, error: type[Exception]) -> None:
        self.unreachable = tuple({*self.unreachable, error})

    def _dsn(self) -> str:
        """The URL without what only SQLAlchemy understands; "" leaves it to the PG* variables."""
        url = next((self._environ[name] for name in _DATABASE_URLS if name in self._environ), "")
        return url.replace("+asyncpg", "").replace("?ssl=", "?sslmode=")


def resolve(host: str, environ: Mapping[str, str]) -> str:
    """`host` itself, or its address where TOOLBOX_RESOLVER names a server that the system does not ask.

    Raises socket.gaierror, as the system's own resolver does.
    """
    resolver = environ.get("TOOLBOX_RESOLVER")
    if not resolver:
        return host
    import dns.exception
    import dns.resolver

    asked = dns.resolver.Resolver(configure=False)
    server, _, port = resolver.partition(":")
    asked.nameservers, asked.port = [server], int(port)
    try:
        return str(asked.resolve(host, "A", lifetime=_SECONDS)[0])
    except dns.exception.DNSException as error:
        raise socket.gaierror(socket.EAI_NONAME, f"Name or service not known: {host}") from error
