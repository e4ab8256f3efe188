"""`toolbox probe db` as a person and a script run it: the real program, a real database."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.databases import database
from tests.support.sockets import free_port
from toolbox.inventory import DEFAULT_FILE
from toolbox.lab.postgres import Postgres, Role

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Postgres]:
    async with database(tmp_path_factory.mktemp("db")) as server:
        yield server


async def toolbox(*words: str, **environ: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the program, in an environment with no other variable of a database."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "toolbox",
        *words,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def only_document(out: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(out)
    assert (content["schema"], content["command"]) == (1, "probe db")
    return content


async def test_ok_is_exit_0_one_document_and_nothing_else(server: Postgres) -> None:
    code, out, err = await toolbox("probe", "db", "--json", DATABASE_URL=server.dsn(Role.APP))
    document = only_document(out)
    assert (code, document["status"], err) == (0, "ok", "")
    assert [result["check"] for result in document["results"]] == ["db.connect", "db.query"]
    assert server.settings.passwords[Role.APP] not in out


async def test_a_failure_is_exit_2_with_its_cause() -> None:
    code, out, err = await toolbox(
        "probe", "db", "--json", DATABASE_URL=f"postgresql://me:pw@127.0.0.1:{free_port()}/a"
    )
    results = only_document(out)["results"]
    assert (code, err) == (2, "")
    assert [(result["status"], result["cause"]) for result in results] == [("fail", "tcp-refused"), ("skipped", None)]


async def test_the_screen_shows_no_password_and_no_escape(server: Postgres) -> None:
    password = server.settings.passwords[Role.APP]
    for dsn, code in ((server.dsn(Role.APP), 0), (server.dsn(Role.APP).replace(password, "hunter2"), 2)):
        found, out, err = await toolbox("probe", "db", DATABASE_URL=dsn)
        assert found == code
        assert not any(secret in out + err for secret in (password, "hunter2", "\x1b"))
        assert "tracker_app@127.0.0.1" in out


async def test_no_variable_is_exit_3_with_names_only() -> None:
    code, out, _ = await toolbox("probe", "db", TRACKER_DB_DSN="hunter2")
    assert code == 3
    assert "TRACKER_DB_DSN" in out
    assert "hunter2" not in out


@pytest.mark.parametrize(
    "words",
    [
        ("--timeout", "0"),
        ("--timeout", "soon"),
        ("--timeout", "inf"),
        ("--timeout", "1e9"),
        ("--timeout", "nan"),
        ("--resolver", "dns.example"),
        ("--inventory", "/none"),
        ("-x",),
    ],
)
async def test_a_wrong_word_is_exit_64(words: tuple[str, str]) -> None:
    code, out, err = await toolbox("probe", "db", *words)
    assert (code, out) == (64, "")
    assert err
    assert "Traceback" not in err


async def test_another_resolver_and_its_time_limit_are_used() -> None:
    port = free_port()
    words = ("probe", "db", "--json", "--timeout", "1", "--resolver", f"127.0.0.1:{port}")
    code, out, _ = await toolbox(*words, DATABASE_URL="postgresql://me@db.lab/app")
    result = only_document(out)["results"][0]
    assert (code, result["cause"]) == (2, "dns-refused")
    assert f"127.0.0.1:{port}" in result["facts"]["error"]


async def test_another_inventory_names_other_variables(server: Postgres, tmp_path: Path) -> None:
    ours = await asyncio.to_thread(DEFAULT_FILE.read_text)
    staging = tmp_path / "staging.toml"
    staging.write_text(ours.replace('database_url = ["DATABASE_URL"', 'database_url = ["STAGING_URL"'))
    code, _, _ = await toolbox("probe", "db", "--inventory", str(staging), STAGING_URL=server.dsn(Role.APP))
    assert code == 0


async def test_help_shows_examples() -> None:
    code, out, _ = await toolbox("probe", "db", "--help")
    assert code == 0
    assert "toolbox probe db --json" in out
    code, out, _ = await toolbox("probe", "--help")
    assert (code, "db" in out) == (0, True)
