"""From environment variables to the database they point to. Pure; no value of a variable ever reaches an error.

Understood: URLs (libpq's, PostgreSQL 34.1.1.2, and SQLAlchemy's `postgresql+driver://`), libpq's keyword strings
(34.1.1.1), and families of variables (PGHOST …, POSTGRES_HOST …, DB_HOST …).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from toolbox.errors import ToolboxError
from toolbox.model.secret import Secret

_PORT: Final = 5432
_SCHEME: Final = re.compile(r"(?P<base>[a-z0-9]+)(?:\+[a-z0-9_]+)?://", re.IGNORECASE)
_OURS: Final = ("postgres", "postgresql")
_OTHERS: Final = (
    "mysql",
    "mariadb",
    "sqlite",
    "mssql",
    "oracle",
    "mongodb",
    "redis",
    "rediss",
    "amqp",
    "http",
    "https",
)
# The password ends at the first `@` behind which a whole address stands: so it may itself hold `/`, `:`, `?` and `@`.
_REST: Final = re.compile(
    r"""(?:(?P<user>[^:/?@]*)(?::(?P<password>.*?))?@)?
        (?P<hosts>[^/?@]*)
        (?:/(?P<database>[^?@]*))?
        (?:\?(?P<query>(?:[\w.-]+=[^&]*)(?:&[\w.-]+=[^&]*)*&?)?)?""",
    re.VERBOSE | re.DOTALL,
)
_HOST: Final = re.compile(r"(?:\[(?P<ipv6>[^\]]*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>.*))?")
_KEYWORD: Final = re.compile(r"\s*(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)*))(?=\s|$)", re.DOTALL)
_TLS_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# Settings that decide whether libpq can log in, and mean nothing to us (PostgreSQL 34.1.2).
_CERTIFICATE: Final = ("sslcert", "sslkey", "sslpassword", "sslcrl", "sslcrldir", "sslcertmode")
_HANDSHAKE: Final = ("sslsni", "sslnegotiation", "ssl_min_protocol_version", "ssl_max_protocol_version")
_LOGIN: Final = ("channel_binding", "require_auth", "passfile", "krbsrvname", "options")
_SECRETS: Final = ("sslpassword",)
_PRIMARY: Final = ("read-write", "primary")
# asyncpg and JDBC say `ssl=true`, and both verify then.
_TLS_WORDS: Final = {"true": "verify-full", "1": "verify-full", "on": "verify-full"} | dict.fromkeys(
    ("false", "0", "off"), "disable"
)
# Variables that say together where the database is: a prefix and, for each setting, the endings in use for it.
PREFIXES: Final = ("PG", "POSTGRES_", "DB_", "DATABASE_")
_ENDINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "host": ("HOST", "HOSTNAME", "SERVER"),
    "port": ("PORT",),
    "user": ("USER", "USERNAME"),
    "password": ("PASSWORD", "PASS"),
    "dbname": ("DB", "DATABASE", "NAME", "DBNAME"),
    "sslmode": ("SSLMODE", "SSL_MODE", "SSL"),
    "sslrootcert": ("SSLROOTCERT", "SSL_ROOT_CERT"),
    "sslcert": ("SSLCERT", "SSL_CERT"),
    "sslkey": ("SSLKEY", "SSL_KEY"),
    "target_session_attrs": ("TARGETSESSIONATTRS",),
}
# libpq and asyncpg take these where a URL is silent (PostgreSQL 34.15); what else libpq takes, it takes by itself.
_DEFAULTS: Final[Mapping[str, str]] = {
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}
_CANDIDATE_WORDS: Final = frozenset(
    ["ALEMBIC", "AURORA", "DATABASE", "DB", "DSN", "PG", "POSTGRES", "POSTGRESQL", "PSQL", "RDS", "SQL", "SQLALCHEMY"]
)
_MAX_CANDIDATES: Final = 30
_MAX_LENGTH: Final = 8192
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class DsnError(ToolboxError):
    """A variable is set and does not say where the database is; the sentence names it, without its value."""

    def __init__(self, variable: str, what: str, next_step: str = "") -> None:
        self.variable = variable
        self.what = what
        super().__init__(
            f"The variable {variable} {what}.",
            cause="dsn-malformed",
            next_step=next_step or f"Correct the secret or the environment entry behind {variable}.",
        )


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host and a port; a host that begins with `/` is the directory of a Unix socket.

    With an `address` (libpq's hostaddr) the host's name is not resolved, but still the one in the certificate.
    """

    host: str
    port: int = _PORT
    address: str = ""

    @property
    def is_socket(self) -> bool:
        """Whether it is reached without a network."""
        return self.host.startswith("/")

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class DatabaseTarget:
    """Where a database is and who we are there. `variable` says which variables told us.

    `user` and `database` are "" where nothing was said: the client's defaults count then. `more` are settings for libpq
    as they stand; `primary`: a standby will not do (target_session_attrs).
    """

    variable: str
    endpoints: tuple[Endpoint, ...]
    database: str = ""
    user: str = ""
    password: Secret | None = None
    tls: str = "prefer"
    root_certificate: str | None = None
    more: Mapping[str, str | Secret] = field(default_factory=dict)
    primary: bool = False

    def __str__(self) -> str:
        hosts = ",".join(map(str, self.endpoints))
        return f"{self.user}@{hosts}/{self.database}" if self.user else f"{hosts}/{self.database}"


def find_target(environ: Mapping[str, str], urls: Sequence[str]) -> DatabaseTarget | None:
    """The database that the first of the variables `urls` names, else the first family; None if none is set.

    Raises DsnError when the variable that counts cannot be understood.
    """
    for variable in urls:
        if environ.get(variable):
            defaults = {setting: environ[name] for setting, name in _DEFAULTS.items() if environ.get(name)}
            return parse(environ[variable], variable, defaults)
    for prefix in PREFIXES:
        names = _family(environ, prefix)
        if "host" in names:
            return _from_family(environ, names)
    return None


def candidates(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The names, at most 30, of variables that look as if they spoke of a database; no value is looked at."""
    names = (name for name in sorted(environ) if _CANDIDATE_WORDS & set(_words(name)) and name.isprintable())
    return tuple(name for name, _ in zip(names, range(_MAX_CANDIDATES), strict=False))


def parse(text: str, variable: str, defaults: Mapping[str, str] | None = None) -> DatabaseTarget:
    """The database that a URL or a keyword string points to; raises DsnError, which names `variable`.

    `defaults` are settings that count where the text is silent.
    """
    if text != text.strip() or text[:1] in "\"'":
        raise DsnError(variable, "begins or ends with white space or quotes")
    if text.startswith("{"):
        raise DsnError(
            variable, "holds JSON where a URL is expected", "Name the JSON key in the secret's valueFrom: ARN:key::."
        )
    if _CONTROL.search(text) or len(text) > _MAX_LENGTH:
        raise DsnError(variable, f"holds a control character, or more than {_MAX_LENGTH} characters")
    scheme = _SCHEME.match(text)
    if scheme:
        return _target({**(defaults or {}), **_url(text, scheme, variable)}, variable)
    if "=" in text:
        return _target({**(defaults or {}), **_keywords(text, variable)}, variable)
    raise DsnError(variable, "is neither a URL (postgresql://…) nor a keyword string (host=… dbname=…)")


def _url(text: str, scheme: re.Match[str], variable: str) -> dict[str, str]:
    base = scheme["base"].lower()
    if base not in _OURS:
        shown = f"is a {base} URL" if base in _OTHERS else "has an unknown scheme"  # it might be half a password
        raise DsnError(variable, f"{shown}, not one of PostgreSQL (postgresql://…)")
    match = _REST.fullmatch(text, scheme.end())
    if match is None:
        raise DsnError(variable, "is not a URL of the form postgresql://user:password@host:port/database")
    parts = {key: unquote(value) for key, value in match.groupdict(default="").items() if key not in ("hosts", "query")}
    settings = {"user": parts["user"], "password": parts["password"], "dbname": parts["database"]}
    # SQLAlchemy repeats `host=` for several hosts; of everything else the last one counts.
    several: list[str] = []
    for pair in filter(None, (match["query"] or "").split("&")):
        key, _, value = pair.partition("=")
        settings[key] = unquote(value)
        several += [unquote(value)] if key == "host" else []
    if match["hosts"]:
        settings["host"] = unquote(match["hosts"])
    elif several:
        settings["host"] = ",".join(several)
    return settings


def _keywords(text: str, variable: str) -> dict[str, str]:
    """The pairs of a keyword string; a backslash makes the next character plain."""
    settings: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _KEYWORD.match(text, position)
        if match is None:
            raise DsnError(variable, f"is not a keyword string: no 'key=value' from character {position + 1} on")
        settings[match[1]] = re.sub(r"\\(.)", r"\1", match[2] if match[2] is not None else match[3], flags=re.DOTALL)
        position = match.end()
    return settings


def _family(environ: Mapping[str, str], prefix: str) -> dict[str, str]:
    """For each setting the variable of this family that is set, the first in order."""
    names = {
        setting: next((name for name in (prefix + ending for ending in endings) if environ.get(name)), None)
        for setting, endings in _ENDINGS.items()
    }
    return {setting: name for setting, name in names.items() if name}


def _from_family(environ: Mapping[str, str], names: Mapping[str, str]) -> DatabaseTarget:
    for name in names.values():
        if _CONTROL.search(environ[name]) or environ[name] != environ[name].strip():
            raise DsnError(name, "begins or ends with white space, or holds a control character")
    return _target({setting: environ[name] for setting, name in names.items()}, names["host"])


def _target(settings: Mapping[str, str], variable: str) -> DatabaseTarget:
    if any("\0" in value for value in settings.values()):
        raise DsnError(variable, "holds a NUL character")
    password = settings.get("password")
    return DatabaseTarget(
        variable=variable,
        endpoints=tuple(_endpoints(settings, variable)),
        database=settings.get("dbname", ""),
        user=settings.get("user", ""),
        password=Secret(password) if password else None,
        tls=_tls(settings, variable),
        root_certificate=settings.get("sslrootcert") or None,
        more={
            name: Secret(settings[name]) if name in _SECRETS else settings[name]
            for name in (*_CERTIFICATE, *_HANDSHAKE, *_LOGIN)
            if settings.get(name)
        },
        primary=settings.get("target_session_attrs") in _PRIMARY,
    )


def _endpoints(settings: Mapping[str, str], variable: str) -> Iterator[Endpoint]:
    """Each host with its port: `host:port`, or as many ports as hosts, or one for all (PostgreSQL 34.1.1.3)."""
    hosts = (settings.get("host") or settings.get("hostaddr") or "").split(",")
    addresses = (settings.get("hostaddr") if settings.get("host") else "") or "," * (len(hosts) - 1)
    ports = settings.get("port", "").split(",")
    if not all(hosts) and settings.get("service"):
        raise DsnError(variable, "names a service, not a host", "Service files are not read: name the host in the URL.")
    if not all(hosts):
        raise DsnError(variable, "names no host")
    if len(ports) not in (1, len(hosts)):
        raise DsnError(variable, f"names {len(hosts)} hosts but {len(ports)} ports")
    if addresses.count(",") != len(hosts) - 1:
        raise DsnError(variable, f"names {len(hosts)} hosts and another number in hostaddr")
    ports = ports if len(ports) > 1 else ports * len(hosts)
    for host, port, address in zip(hosts, ports, addresses.split(","), strict=True):
        if host.startswith("/") or (host.count(":") > 1 and not host.startswith("[")):
            yield Endpoint(host, _number(port, variable), address)
            continue
        match = _HOST.fullmatch(host)
        name = match and (match["ipv6"] or match["name"])
        if match is None or not name or not name.isprintable() or re.search(r"[\s/?#@\\]", name):
            raise DsnError(variable, "names a host that cannot be one")
        yield Endpoint(name, _number(match["port"] or port, variable), address)


def _number(port: str, variable: str) -> int:
    if not port:
        return _PORT
    if not port.isascii() or not port.isdecimal() or not 0 < int(port[:6]) < 1 << 16:
        raise DsnError(variable, "has a port that is not a number from 1 to 65535")
    return int(port)


def _tls(settings: Mapping[str, str], variable: str) -> str:
    said = (settings.get("ssl") or settings.get("sslmode") or "prefer").lower()
    mode = _TLS_WORDS.get(said, said)
    if mode not in _TLS_MODES:
        raise DsnError(variable, f"asks for TLS in a way that is none of {', '.join(_TLS_MODES)}")
    return mode


def _words(name: str) -> Iterator[str]:
    upper = name.upper()
    if upper.startswith("PG"):
        yield "PG"
    yield from re.split(r"[^A-Z]+", upper)
