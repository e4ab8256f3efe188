"""Both README commands set themselves up from nothing but Python, repair themselves, and then start at once."""

import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.checkouts import PYTHON, Checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_sets_itself_up_once_and_then_starts_at_once(checkout: Checkout) -> None:
    first = checkout.start("--version")
    assert (first.returncode, first.stdout.split()[0]) == (0, "toolbox"), first.stderr
    assert "setting up .venv" in first.stderr
    assert not list(checkout.home.rglob("*.py")), "something was installed into the home"
    second = checkout.start("--version")
    assert (second.returncode, second.stderr) == (0, "")

    def seconds(program: Path) -> float:
        began = time.perf_counter()
        subprocess.run([program, "--version"], env=checkout.environment(), check=True, capture_output=True, timeout=20)
        return time.perf_counter() - began

    bare, ours = checkout.root / ".venv" / "bin" / "toolbox", checkout.root / "scripts" / "toolbox"
    pairs = [(seconds(ours), seconds(bare)) for _ in range(9)]
    assert statistics.median(mine - its for mine, its in pairs) < 0.1


def test_an_interrupted_set_up_repairs_itself(checkout: Checkout) -> None:
    checkout.small()
    process = subprocess.Popen(
        [checkout.root / "scripts" / "toolbox", "--version"],
        env=checkout.environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    assert "setting up" in process.stderr.readline()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    again = checkout.start("--version")
    assert (again.returncode, again.stdout.split()[0]) == (0, "toolbox"), again.stderr


def test_a_broken_environment_and_a_changed_lock_repair_themselves(checkout: Checkout) -> None:
    checkout.small()
    assert checkout.start("--version").returncode == 0
    venv = checkout.root / ".venv"
    (venv / "bin" / "python").unlink()
    (venv / ".stamp-runtime").unlink()
    repaired = checkout.start("--version")
    assert repaired.returncode == 0, repaired.stderr
    assert "making it anew" in repaired.stderr
    with (checkout.root / "locks" / "runtime.txt").open("a", encoding="utf-8") as lock:
        lock.write("# changed\n")
    assert "setting up" in checkout.start("--version").stderr
    assert checkout.start("--version").stderr == ""


def test_a_moved_checkout_repairs_itself(checkout: Checkout) -> None:
    checkout.small()
    assert checkout.start("--version").returncode == 0
    checkout.root = checkout.root.rename(checkout.root.with_name("moved"))
    moved = checkout.start("--version")
    assert (moved.returncode, moved.stdout.split()[0]) == (0, "toolbox"), moved.stderr


def test_uses_uv_where_it_is_on_path(checkout: Checkout) -> None:
    checkout.small()
    log = checkout.tools.parent / "uv.log"
    real = PYTHON.parent / "uv" if (PYTHON.parent / "uv").exists() else Path(sys.prefix) / "bin" / "uv"
    checkout.give("uv", f'echo "$@" >> "{log}"; exec "{real}" "$@"')
    done = checkout.start("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "toolbox"), done.stderr
    assert [line.split()[0] for line in log.read_text(encoding="utf-8").splitlines()] == ["venv", "pip"]


def test_a_python_that_is_too_old_gets_the_line_that_mends_it(checkout: Checkout) -> None:
    checkout.give("python3", 'case "$1" in --version) echo "Python 3.9.2";; *) exit 1;; esac')
    done = checkout.start("--version")
    assert done.returncode == 70
    assert "Python 3.11 or later is needed; Python 3.9.2 was found" in done.stderr
    assert "apt-get install python3 python3-venv" in done.stderr


def test_a_python_without_venv_gets_the_line_that_mends_it(checkout: Checkout) -> None:
    checkout.give("python3", f'[ "$2" = venv ] && exit 1; exec "{PYTHON}" "$@"')
    done = checkout.start("--version")
    version = "{}.{}".format(*sys.version_info)
    assert done.returncode == 70
    assert f"sudo apt-get install python{version}-venv" in done.stderr


def test_inside_a_task_nothing_is_installed(checkout: Checkout) -> None:
    missing = checkout.start("probe", "db", TOOLBOX_TASK="1")
    assert missing.returncode == 64
    assert "no toolbox in this image" in missing.stderr
    checkout.give("toolbox", 'echo "the image: $*"')
    found = checkout.start("probe", "db", TOOLBOX_TASK="1")
    assert (found.returncode, found.stdout) == (0, "the image: probe db\n")
    assert not (checkout.root / ".venv").exists()


def test_inside_a_task_it_does_not_find_itself(checkout: Checkout) -> None:
    path = f"{checkout.root / 'scripts'}{os.pathsep}{checkout.tools}"
    assert checkout.start("--version", TOOLBOX_TASK="1", PATH=path).returncode == 64
