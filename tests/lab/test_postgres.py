"""The lab's PostgreSQL: started, seeded, stopped, and gone with whoever started it."""

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from tests.support.databases import database
from tests.support.sockets import free_port
from tests.support.waiting import until
from toolbox.errors import LabError
from toolbox.lab import leash
from toolbox.lab.postgres import Postgres, PostgresSettings, Role
from toolbox.lab.postgres_programs import find_programs

# Starts a server, says who belongs to it, and waits to be killed.
OWNER = """
import asyncio, os, sys
from pathlib import Path
from toolbox.lab.postgres import Postgres, PostgresSettings

async def main():
    server = Postgres(PostgresSettings(Path(sys.argv[1]), int(sys.argv[2])))
    await server.start()
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    print(server.pid, *children, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def processes_in(directory: Path) -> list[int]:
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return [pid for pid in pids if str(directory) in command_line(pid) and alive(pid)]


@pytest.mark.parametrize("wheel", [False, True])
async def test_roles_and_seed_are_as_promised(tmp_path: Path, wheel: bool) -> None:
    programs = find_programs({"TOOLBOX_LAB_POSTGRES": "wheel"}) if wheel else None
    async with database(tmp_path, PostgresSettings(tmp_path, 0, programs=programs)) as server:
        with psycopg.connect(server.dsn(Role.OWNER), autocommit=True) as owner:
            counts = owner.execute(
                "SELECT (SELECT count(*) FROM tracker.trackers), (SELECT count(*) FROM tracker.positions),"
                " (SELECT count(*) FROM tracker.geofences), (SELECT count(*) FROM tracker.notifications),"
                " (SELECT count(*) FROM tracker.latest_positions)"
            ).fetchone()
            owner.execute("REFRESH MATERIALIZED VIEW CONCURRENTLY tracker.latest_positions")
        with psycopg.connect(server.dsn(Role.APP)) as app:
            app.execute("INSERT INTO tracker.notifications (tracker_id, kind) VALUES (1, 'left')")
            monitor = app.execute("SELECT pg_has_role('pg_monitor', 'member')").fetchone()
        with psycopg.connect(server.dsn(Role.PROBE)) as probe:
            probe.execute("SELECT count(*) FROM tracker.positions")
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                probe.execute("INSERT INTO tracker.trackers (serial, name) VALUES ('x', 'x')")
    assert counts == (200, 5000, 400, 2000, 200)
    assert monitor == (True,)


async def test_data_and_passwords_survive_a_restart(tmp_path: Path) -> None:
    async with database(tmp_path) as server:
        with psycopg.connect(server.dsn(Role.APP)) as app:
            app.execute("DELETE FROM tracker.notifications")
        await server.stop()
        assert (server.running, server.pid) == (False, None)
        with pytest.raises(psycopg.OperationalError, match="refused"):
            psycopg.connect(server.dsn(Role.APP))
        await server.start()
        with psycopg.connect(server.dsn(Role.APP)) as app:
            assert app.execute("SELECT count(*) FROM tracker.notifications").fetchone() == (0,)


async def test_two_servers_stand_side_by_side(tmp_path: Path) -> None:
    async with database(tmp_path / "a") as first, database(tmp_path / "b") as second:
        assert first.pid != second.pid
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(first.dsn(Role.APP, port=second.settings.port))


async def test_a_port_in_use_is_an_error_that_says_so(tmp_path: Path) -> None:
    async with database(tmp_path) as server:
        rival = Postgres(replace(server.settings, directory=tmp_path / "rival"))
        with pytest.raises(LabError) as caught:
            await rival.start()
        assert "Address already in use" in " ".join(caught.value.detail)
        assert not rival.running


async def test_a_broken_data_directory_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "seeded").touch()
    with pytest.raises(LabError) as caught:
        await Postgres(PostgresSettings(tmp_path, free_port())).start()
    assert caught.value.detail


async def test_an_interrupted_start_leaves_nothing_and_the_next_one_begins_anew(tmp_path: Path) -> None:
    server = Postgres(PostgresSettings(tmp_path, free_port()))
    start = asyncio.create_task(server.start())
    await until(lambda: (tmp_path / "data").exists())
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    await until(lambda: not processes_in(tmp_path))
    await server.start()
    with psycopg.connect(server.dsn(Role.APP)) as app:
        assert app.execute("SELECT count(*) FROM tracker.trackers").fetchone() == (200,)
    await server.stop()
    assert not processes_in(tmp_path)


async def test_kill_9_of_the_owner_leaves_no_process(tmp_path: Path) -> None:
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, str(tmp_path), str(free_port()), stdout=subprocess.PIPE
    )
    try:
        assert owner.stdout is not None
        pids = [int(word) for word in (await owner.stdout.readline()).split()]
        assert len(pids) > 4
        assert alive(pids[0])  # an autovacuum worker among its children may have ended meanwhile
    finally:
        owner.kill()
        await owner.wait()
    await until(lambda: not any(map(alive, pids)), what="all of PostgreSQL's processes are gone")
    assert not (tmp_path / "data" / "postmaster.pid").exists()


async def test_no_password_is_in_a_file_name_an_argument_or_the_log(tmp_path: Path) -> None:
    async with database(tmp_path) as server:
        shown = server.log.read_text() + repr(server.settings)
        shown += "".join(map(command_line, processes_in(tmp_path)))
        assert not any(password in shown for password in server.settings.passwords.values())
        assert not (tmp_path / "postgres" / "superuser-password").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused by PostgreSQL")
@pytest.mark.parametrize("namespaces", [True, False])
def test_root_becomes_another_user_that_still_reads_its_files(tmp_path: Path, namespaces: bool) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "private").write_text("seen")
    (tmp_path / "private").chmod(0o600)
    script = f"id -u; cat {tmp_path}/private; touch {tmp_path}/made"
    argv = leash.leashed(["/bin/sh", "-c", script], last_signal=signal.SIGKILL, not_root=True)
    program = "from toolbox.lab import leash; import sys; "
    program += "" if namespaces else "leash._works_in_a_child = lambda uid, gid: False; "
    argv[1:4] = ["-c", f"{program}leash.main(sys.argv[1:])"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    uid, seen = done.stdout.splitlines()
    assert (uid != "0", seen) == (True, "seen")
    assert (tmp_path / "made").exists()
