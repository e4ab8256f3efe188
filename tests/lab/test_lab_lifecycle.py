"""Up and down in every way that there is, and nothing left behind: no process, no file, no bound port."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.families import Process, descendants
from tests.support.labs import Lab, running
from tests.support.waiting import until_now
from toolbox.errors import LabError, UsageError
from toolbox.lab import control
from toolbox.lab.place import find

_TOOLBOX = [sys.executable, "-I", "-m", "toolbox"]
_BORROW = """
import sys, time
from toolbox.lab import control
with control.borrowed(sys.argv[1]):
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "XDG_STATE_HOME": str(tmp_path)}


def _family(name: str, environ: Mapping[str, str]) -> list[Process]:
    pid = find(name, environ).pid()
    assert pid is not None
    return descendants(pid)


def _all_gone(family: list[Process], name: str, environ: Mapping[str, str]) -> None:
    until_now(lambda: not any(process.is_alive() for process in family), 10, "all processes of the lab are gone")
    state = Path(environ["XDG_STATE_HOME"])
    until_now(lambda: not list(state.rglob(f"*{name}*")), 10, "all files of the lab are gone")


@contextmanager
def _process(words: list[str], environ: Mapping[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of ours, killed at the end if it still runs."""
    pipe = subprocess.PIPE
    with subprocess.Popen(words, env=environ, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            yield process
        finally:
            process.kill()


def test_up_stays_and_down_leaves_nothing(environ: dict[str, str]) -> None:
    up = subprocess.run([*_TOOLBOX, "lab", "up", "--name", "stays"], env=environ, capture_output=True, check=False)
    assert up.returncode == 0, up.stderr.decode()
    family = _family("stays", environ)
    assert {"postgres", "valkey-server"} <= {process.name for process in family}
    found = json.loads(
        subprocess.run(
            [*_TOOLBOX, "lab", "status", "--json", "--name", "stays"], env=environ, capture_output=True, check=True
        ).stdout
    )
    assert found["parts"] == {"postgres": True, "redis": True, "dns": True}
    assert {count["running"] for count in found["services"].values()} == {1}
    assert len(found["services"]) == 8
    again = control.up("stays", environ=environ, owned=True)
    assert not again.is_ours
    again.close()
    assert all(process.is_alive() for process in family), "a lab that was up must not end with a borrower"
    down = subprocess.run([*_TOOLBOX, "lab", "down", "--name", "stays"], env=environ, check=False)
    assert down.returncode == 0
    assert not any(process.is_alive() for process in family)
    assert not find("stays", environ).directory.exists()


def test_a_killed_supervisor_takes_everything_along_and_up_works_again(environ: dict[str, str]) -> None:
    control.up("killed", environ=environ)
    family = _family("killed", environ)
    os.kill(find("killed", environ).pid() or 0, signal.SIGKILL)
    until_now(lambda: not any(process.is_alive() for process in family), 10, "nothing survives the supervisor")
    with pytest.raises(LabError, match="not up"):
        control.status("killed", environ)
    steps: list[str] = []
    with control.borrowed("killed", steps.append, environ):
        assert any("cleaning up" in step for step in steps)
        family = _family("killed", environ)
    _all_gone(family, "killed", environ)


def test_down_cleans_up_after_a_kill(environ: dict[str, str]) -> None:
    control.up("cleaned", environ=environ)
    family = _family("cleaned", environ)
    os.kill(find("cleaned", environ).pid() or 0, signal.SIGKILL)
    until_now(lambda: not any(process.is_alive() for process in family), 10, "nothing survives the supervisor")
    assert control.down("cleaned", environ)
    _all_gone(family, "cleaned", environ)
    assert not control.down("cleaned", environ)


@pytest.mark.parametrize(
    ("step", "number"),
    [
        ("starting PostgreSQL", signal.SIGINT),
        ("starting PostgreSQL", signal.SIGKILL),
        ("starting the eight services", signal.SIGINT),
        ("starting the eight services", signal.SIGTERM),
    ],
)
def test_an_interrupted_up_leaves_nothing(environ: dict[str, str], step: str, number: signal.Signals) -> None:
    with _process([*_TOOLBOX, "lab", "up", "--name", "cut"], environ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if step.encode() in line:
                break
        family = _family("cut", environ)
        process.send_signal(number)
        process.stderr.read()
        code = process.wait(20)
    assert code == (130 if number is signal.SIGINT else -number)
    _all_gone(family, "cut", environ)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_lab_ends_with_its_owner_however_that_ends(environ: dict[str, str], number: signal.Signals) -> None:
    with _process([sys.executable, "-c", _BORROW, "owned"], environ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        family = _family("owned", environ)
        process.send_signal(number)
        process.wait(20)
    _all_gone(family, "owned", environ)


def test_two_ups_at_once_make_one_lab(environ: dict[str, str]) -> None:
    words = [*_TOOLBOX, "lab", "up", "--name", "twice"]
    with _process(words, environ) as one, _process(words, environ) as two:
        told = [process.communicate(timeout=60)[1].decode() for process in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0), told
    assert not any("cleaning up" in text for text in told), told
    assert sum("starting the eight services" in text for text in told) == 1, told
    family = _family("twice", environ)
    downs = [*_TOOLBOX, "lab", "down", "--name", "twice"]
    with _process(downs, environ) as one, _process(downs, environ) as two:
        told = [process.communicate(timeout=60)[1].decode() for process in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0), told
    _all_gone(family, "twice", environ)


def test_a_lab_whose_directory_is_deleted_goes_too(environ: dict[str, str]) -> None:
    control.up("lost", environ=environ)
    family = _family("lost", environ)
    shutil.rmtree(find("lost", environ).directory)
    _all_gone(family, "lost", environ)


def test_two_labs_live_side_by_side(lab: Lab, tmp_path: Path) -> None:
    with running("second", tmp_path) as second:
        assert lab.endpoint != second.endpoint
        ours, theirs = (
            {
                interface["PrivateIpAddress"]
                for interface in one.client("ec2").describe_network_interfaces()["NetworkInterfaces"]
            }
            for one in (lab, second)
        )
        assert ours
        assert theirs
        assert not ours & theirs
        second.stop("postgres")
        assert not second.status()["parts"]["postgres"]
        assert lab.status()["parts"]["postgres"]
    assert not list(tmp_path.iterdir()), "a file or directory of the second lab is left"


def test_a_service_that_was_deleted_is_said_and_no_defect_of_the_lab(tmp_path: Path) -> None:
    with running("deleted", tmp_path) as lab:
        lab.client("ecs").delete_service(cluster=lab.cluster, service=lab.full_name("admin"), force=True)
        with pytest.raises(LabError, match=r"ECS refuses.*Service was not ACTIVE\.") as caught:
            lab.stop("admin")
    assert caught.value.detail == ()
    assert caught.value.next_step


def test_a_lab_that_cannot_start_says_why_and_leaves_nothing(environ: dict[str, str], tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    broken = programs / "redis-server"
    broken.write_text("#!/bin/sh\necho 'this server is broken'\nexit 1\n")
    broken.chmod(0o755)
    environ["PATH"] = f"{programs}:{environ['PATH']}"
    with pytest.raises(LabError) as caught:
        control.up("broken", environ=environ)
    assert caught.value.cause == "lab-redis"
    assert "this server is broken" in caught.value.detail
    assert caught.value.next_step
    assert not find("broken", environ).directory.exists()


def test_a_lab_that_is_not_up_is_said_with_the_next_step(environ: dict[str, str]) -> None:
    for ask in (control.status, control.environment):
        with pytest.raises(LabError, match="not up") as caught:
            ask("absent", environ)
        assert caught.value.next_step == "Start it: toolbox lab up --name absent", "a full stop would be copied with it"
    with pytest.raises(UsageError):
        control.up("no/name", environ=environ)


def test_the_state_is_nobody_elses(lab: Lab) -> None:
    place = find(lab.name, lab.environment)
    for file in (place.directory, place.description, place.aws_credentials):
        assert file.stat().st_mode & 0o077 == 0
