"""`shell -- COMMAND` from the laptop's end: exit codes, separate streams, bytes unharmed, and the first probe."""

import hashlib
import json
import os
import shlex
import subprocess

import pytest

from tests.support.labs import Lab
from tests.support.shells import TOOLBOX, run, shell, start


def test_the_probe_says_that_the_database_is_well(lab: Lab) -> None:
    done = shell(lab, "toolbox", "probe", "db", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["schema"], document["command"], document["status"]) == (1, "probe db", "ok")
    names = [phase["name"] for result in document["results"] for phase in result["phases"]]
    assert names[:2] == ["dns", "tcp"]


def test_a_stopped_database_is_refused_and_comes_back(lab: Lab) -> None:
    with lab.stopped("postgres"):
        done = shell(lab, "toolbox", "probe", "db", "--json")
        assert done.returncode == 2, done.stderr
        document = json.loads(done.stdout)
        assert document["status"] == "fail"
        assert [result["cause"] for result in document["results"] if result["status"] == "fail"] == ["tcp-refused"]
    assert shell(lab, "toolbox", "probe", "db").returncode == 0


@pytest.mark.parametrize("code", [0, 1, 42])
def test_the_exit_code_is_the_command_s(lab: Lab, code: int) -> None:
    assert shell(lab, f"exit {code}").returncode == code


def test_a_command_that_is_killed_ends_with_137(lab: Lab) -> None:
    assert shell(lab, "kill -9 $$").returncode == 137


def test_stdout_and_stderr_land_apart(lab: Lab) -> None:
    done = shell(lab, "printf out; printf err >&2")
    assert (done.returncode, done.stdout) == (0, b"out")
    assert b"\nerr" in done.stderr


def test_bytes_arrive_unharmed_both_ways(lab: Lab) -> None:
    done = shell(lab, "head -c 10485760 /dev/urandom | tee /tmp/sent; sha256sum /tmp/sent >&2", timeout=110)
    assert done.returncode == 0
    assert hashlib.sha256(done.stdout).hexdigest() in done.stderr.decode()
    assert len(done.stdout) == 10 * 1024 * 1024
    upload = os.urandom(1024 * 1024)
    done = shell(lab, "sha256sum", stdin=upload)
    assert done.stdout.decode().split()[0] == hashlib.sha256(upload).hexdigest()


def test_stdin_ends(lab: Lab) -> None:
    assert shell(lab, "cat", stdin=b"all of it").stdout == b"all of it"
    assert shell(lab, "cat; echo over", stdin=b"").stdout == b"over\n"


def test_stdout_closed_early_ends_the_command(lab: Lab) -> None:
    process = start(lab, ["shell", "--", "yes"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"y\n"
    process.stdout.close()
    assert process.wait(timeout=30) == 128 + 13


def test_what_is_piped_into_a_shell_is_run_there(lab: Lab) -> None:
    done = run(lab, ["shell"], stdin=b"echo $((6 * 7))\nexit 3\n")
    assert (done.returncode, done.stdout) == (3, b"42\n")


def test_scripts_are_mounted_last_on_path(lab: Lab) -> None:
    done = shell(lab, "ls /scripts; printf '%s\\n' \"$PATH\" | tr : '\\n' | tail -n 1")
    *names, last = done.stdout.decode().split()
    assert names == sorted(entry.name for entry in lab.scripts.iterdir() if not entry.name.startswith("."))
    assert last == "/scripts"


def test_the_shell_sees_what_the_api_sees(lab: Lab) -> None:
    done = shell(lab, "printf '%s' \"$DATABASE_URL\" | cut -d: -f1")
    assert done.stdout.startswith(b"postgresql")


def test_plan_changes_nothing_and_shows_no_secret(lab: Lab) -> None:
    before = lab.aws("ecs", "list-task-definitions")
    done = run(lab, ["shell", "--plan"])
    document = json.loads(done.stdout)
    assert (done.returncode, document["command"]) == (0, "shell --plan")
    assert document["run"]["startedBy"] == "toolbox"
    values = {pair["value"] for pair in document["register"]["containerDefinitions"][0]["environment"]}
    assert values <= {"(not shown)"}
    assert lab.aws("ecs", "list-task-definitions") == before


def test_equal_content_is_registered_once(lab: Lab) -> None:
    assert shell(lab, "true").returncode == 0
    before = lab.aws("ecs", "list-task-definitions")
    assert shell(lab, "true").returncode == 0
    assert lab.aws("ecs", "list-task-definitions") == before


def test_a_missing_command_is_127(lab: Lab) -> None:
    done = shell(lab, "no-such-program")
    assert done.returncode == 127
    assert b"not found" in done.stderr


@pytest.mark.parametrize(
    ("streams", "out", "err"),
    [
        ("<&-", "out\n0\n", "err\n"),
        (">&-", "", "err\n"),
        ("2>&-", "out\n0\n", ""),
        ("<&- >&- 2>&-", "", ""),
        ("2>/dev/full", "out\n0\n", ""),
    ],
)
def test_streams_that_are_closed_or_full_are_as_dev_null(lab: Lab, streams: str, out: str, err: str) -> None:
    words = shlex.join(
        [*TOOLBOX, "shell", "--scripts", str(lab.scripts), "--", "echo out; echo err >&2; wc -c; exit 5"]
    )
    done = subprocess.run(
        ["/bin/sh", "-c", f"{words} {streams}"],
        env=lab.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (5, out), done.stderr
    assert err in done.stderr if err else not done.stderr


def test_a_shell_without_stdin_ends_as_one_without_input(lab: Lab) -> None:
    words = shlex.join([*TOOLBOX, "shell", "--scripts", str(lab.scripts)])
    done = subprocess.run(
        ["/bin/sh", "-c", f"{words} <&-"], env=lab.environment, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
