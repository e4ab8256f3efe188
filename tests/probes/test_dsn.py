"""From environment variables to a database: every form in use, and no secret in anything that is shown."""

import copy
import pickle
from collections.abc import Mapping
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolbox.model.secret import Secret
from toolbox.probes.dsn import DatabaseTarget, DsnError, Endpoint, candidates, find_target, parse

URLS = ("DATABASE_URL", "DB_URL")
HOST = (Endpoint("db.lab", 5432),)


def target(**fields: object) -> DatabaseTarget:
    values: dict[str, object] = {"variable": "X", "endpoints": HOST, "database": "app", "user": "me"}
    return DatabaseTarget(**{**values, "password": Secret("pw"), **fields})  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://me:pw@db.lab:5432/app", target()),
        ("postgres://me:pw@db.lab/app", target()),
        ("postgresql+asyncpg://me:pw@db.lab/app?ssl=require", target(tls="require")),
        ("POSTGRESQL+psycopg2://me:pw@db.lab/app?sslmode=verify-full&sslrootcert=/etc/rds.pem",
         target(tls="verify-full", root_certificate="/etc/rds.pem")),
        ("postgresql://me:pw@db.lab/app?ssl=true", target(tls="verify-full")),
        ("postgresql://me:pw@db.lab/app?ssl=false", target(tls="disable")),
        ("postgresql://me:p%40w%2F%3A@db.lab/app", target(password=Secret("p@w/:"))),
        ("postgresql://me:p@/w:#?x@y@db.lab/app?sslmode=require",
         target(password=Secret("p@/w:#?x@y"), tls="require")),
        ("postgresql://me:pw@db.lab/app?options=-c%20a@b", target(more={"options": "-c a@b"})),
        ("postgresql://me:pw@db.lab/app?sslcert=/c&sslkey=/k&sslpassword=x&require_auth=",
         target(more={"sslcert": "/c", "sslkey": "/k", "sslpassword": Secret("x")})),
        ("host=db.lab user=me password=pw dbname=app target_session_attrs=read-write", target(primary=True)),
        ("postgresql://db.lab/app?user=me&password=pw&connect_timeout=10", target()),
        ("postgresql://me@db.lab", target(password=None, database="")),
        ("postgresql://me:@db.lab/app", target(password=None)),
        ("postgresql://me:pw@[fd00::1]:6432/app", target(endpoints=(Endpoint("fd00::1", 6432),))),
        ("postgresql://me:pw@a:1,b:2/app", target(endpoints=(Endpoint("a", 1), Endpoint("b", 2)))),
        ("postgresql+psycopg://me:pw@/app?host=a:1&host=b:2", target(endpoints=(Endpoint("a", 1), Endpoint("b", 2)))),
        ("postgresql://me:pw@a,b/app?port=7", target(endpoints=(Endpoint("a", 7), Endpoint("b", 7)))),
        ("postgresql://me:pw@%2Frun%2Fpg/app", target(endpoints=(Endpoint("/run/pg"),))),
        ("postgresql:///app?host=/run/pg&user=me&password=pw", target(endpoints=(Endpoint("/run/pg"),))),
        ("host=db.lab user=me password=pw dbname=app", target()),
        (r"host = 'db.lab' user=me password='it\'s \\' dbname=app", target(password=Secret("it's \\"))),
        ("host=db.lab hostaddr=10.0.0.1 user=me password=pw dbname=app",
         target(endpoints=(Endpoint("db.lab", address="10.0.0.1"),))),
        ("hostaddr=fd00::1 user=me password=pw dbname=app", target(endpoints=(Endpoint("fd00::1"),))),
        ("host=a,b hostaddr=,10.0.0.1 user=me password=pw dbname=app",
         target(endpoints=(Endpoint("a"), Endpoint("b", address="10.0.0.1")))),
        ("host=a,b port=1,2 user=me password=pw dbname=app", target(endpoints=(Endpoint("a", 1), Endpoint("b", 2)))),
    ],
)  # fmt: skip
def test_each_form_is_understood(text: str, expected: DatabaseTarget) -> None:
    assert parse(text, "X") == expected


def test_libpq_s_own_variables_count_where_a_url_is_silent() -> None:
    environ = {"X": "postgresql://me:pw@db.lab/app", "PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/ca.pem"}
    assert find_target(environ, ["X"]) == target(tls="verify-full", root_certificate="/ca.pem")
    for said in ("ssl", "sslmode"):
        environ["X"] = f"postgresql://me:pw@db.lab/app?{said}=disable"
        assert find_target(environ, ["X"]) == target(tls="disable", root_certificate="/ca.pem")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("hunter2", "neither a URL"),
        ("hunter2://x", "unknown scheme"),
        ("mysql://me:hunter2@db.lab/app", "is a mysql URL"),
        ("postgresql://me:hunter2@db.lab:54x/app", "port"),
        ("postgresql://me:hunter2@db.lab:99999/app", "port"),
        ("postgresql://me:hunter2@db.lab:0/app", "port"),
        ("postgresql://me:hunter2@/app", "no host"),
        ("postgresql://me:hunter2@a,,b/app", "no host"),
        ("postgresql://me:hunter2@a,b/app?port=1,2,3", "2 hosts but 3 ports"),
        ("postgresql://me:hunter2@a,b/app?hostaddr=10.0.0.1", "hostaddr"),
        ("service=hunter2", "names a service"),
        ("postgresql://me:hunter2@db.lab/app?sslmode=hunter2", "TLS"),
        ("postgresql://me:hunter2@db.lab/app\n", "white space"),
        ('"postgresql://me:hunter2@db.lab/app"', "quotes"),
        ("postgresql://me:hun\x00ter2@db.lab/app", "control"),
        ("postgresql://me:hunter2%00@db.lab/app", "NUL"),
        ("postgresql://me:hunter2@" + "x" * 9000, "8192"),
        ("postgresql://me:hunter2@db%20lab/app", "host"),
        ('{"username":"me","password":"hunter2"}', "JSON"),
        ("host=db.lab password='hunter2", "keyword string"),
        ("password=hunter2", "no host"),
    ],
)
def test_a_malformed_value_names_the_variable_and_never_the_secret(text: str, what: str) -> None:
    with pytest.raises(DsnError, match=what) as caught:
        parse(text, "DATABASE_URL")
    assert "DATABASE_URL" in caught.value.sentence
    assert caught.value.next_step
    shown = f"{caught.value!r} {caught.value} {caught.value.next_step} {caught.value.detail}"
    assert "hunter2" not in shown


def test_the_first_variable_that_is_set_wins() -> None:
    environ = {"DATABASE_URL": "", "DB_URL": "postgresql://two/x", "PGHOST": "three"}
    found = find_target(environ, URLS)
    assert found is not None
    assert (found.variable, found.endpoints) == ("DB_URL", (Endpoint("two"),))


@pytest.mark.parametrize(
    "environ",
    [
        {"PGHOST": "db.lab", "PGUSER": "me", "PGPASSWORD": "pw", "PGDATABASE": "app", "PGSSLMODE": "require"},
        {"POSTGRES_SERVER": "db.lab", "POSTGRES_USER": "me", "POSTGRES_PASSWORD": "pw", "POSTGRES_DB": "app"},
        {"DB_HOST": "db.lab", "DB_PORT": "5432", "DB_USERNAME": "me", "DB_PASS": "pw", "DB_NAME": "app"},
        {"DATABASE_HOST": "db.lab:5432", "DATABASE_USER": "me", "DATABASE_PASSWORD": "pw", "DATABASE_NAME": "app"},
    ],
)
def test_families_of_variables(environ: Mapping[str, str]) -> None:
    found = find_target(environ, URLS)
    expected_tls = "require" if "PGSSLMODE" in environ else "prefer"
    assert found == target(variable=next(iter(environ)), tls=expected_tls)


def test_a_family_names_the_variable_that_is_wrong() -> None:
    with pytest.raises(DsnError, match="DB_PASSWORD begins or ends"):
        find_target({"DB_HOST": "db.lab", "DB_PASSWORD": "hunter2\n"}, URLS)


def test_nothing_set_is_none_and_candidates_are_names_only() -> None:
    environ = {
        "TRACKER_DB_DSN": "hunter2",
        "PGSERVICE": "hunter2",
        "rds_endpoint": "hunter2",
        "REDIS_URL": "hunter2",
        "PATH": "/bin",
        "DBUS_SESSION": "x",
        "DB_\x1b[31m": "hostile",
    }
    assert find_target(environ, URLS) is None
    assert candidates(environ) == ("PGSERVICE", "TRACKER_DB_DSN", "rds_endpoint")
    assert len(candidates({f"DB_{n}": "" for n in range(99)})) == 30


# Odd characters, but no NUL, which no PostgreSQL password can hold.
odd = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(user=odd, password=odd, database=odd)
def test_percent_encoding_round_trips(user: str, password: str, database: str) -> None:
    parts = (quote(part, safe="") for part in (user, password, database))
    url = "postgresql+asyncpg://{}:{}@db.lab:5433/{}?ssl=require".format(*parts)
    assert parse(url, "X") == target(
        user=user, password=Secret(password), database=database, endpoints=(Endpoint("db.lab", 5433),), tls="require"
    )


@given(password=st.text(st.sampled_from("ab1/:@?#[]%&=+!$ é"), min_size=1, max_size=20).map(str.strip).filter(bool))
def test_a_raw_password_is_never_part_of_what_is_shown(password: str) -> None:
    secret = f"S3cr3t{password}S3cr3t"
    try:
        shown = str(parse(f"postgresql://me:{secret}@db.lab/app", "X")) + repr(
            parse(f"postgresql://me:{secret}@h/a", "X")
        )
    except DsnError as error:
        shown = f"{error!r} {error} {error.next_step}"
    assert "S3cr3t" not in shown


@given(st.text(max_size=200))
def test_no_text_raises_anything_but_our_own_error(text: str) -> None:
    for candidate in (text, f"postgresql://{text}", f"host={text}"):
        try:
            parse(candidate, "X")
        except DsnError:
            continue


def test_a_secret_shows_nothing() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]} {target(password=secret)!r}"
    assert secret.reveal() == "hunter2"
    for copying in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError):
            copying(secret)
