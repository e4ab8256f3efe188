"""The README's first command on a machine that has Python and nothing else: no uv, no PostgreSQL, no Redis, no home."""

import json
import os
import re
import subprocess
import time
from pathlib import Path

from tests.support.checkouts import Checkout
from tests.support.ptys import Terminal

# Where this machine keeps what a bare one has too: a shell and its tools.
SYSTEM = "/usr/bin:/bin:/usr/sbin:/sbin"


def test_from_a_clone_to_a_probe_and_then_to_a_prompt_in_ten_seconds(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    environment = {
        **checkout.environment(),
        "PATH": f"{checkout.tools}{os.pathsep}{SYSTEM}",
        "LANG": "C.UTF-8",
        # This machine may have servers of its own; a bare one takes those of the lab's packages.
        "TOOLBOX_LAB_POSTGRES": "wheel",
    }
    script = checkout.root / "scripts" / "open_tracker_ecs_shell.sh"
    command = [str(script), "--lab", "--", "toolbox", "probe", "db", "--json"]
    first = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=115, check=False)
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["status"] == "ok"
    assert json.loads(first.stdout)["results"][1]["facts"]["server_version"].startswith("17"), (
        "not the package's server"
    )
    began = time.monotonic()
    with Terminal([script, "--lab"], environment) as terminal:
        terminal.expect("files in /scripts")
        # The mark is put together on the far side: its echo does not match.
        terminal.send("echo pro''mpt-$((40 + 2))\n")
        terminal.expect("prompt-42")
        assert time.monotonic() - began < 10
        terminal.send("exit\n")
        assert terminal.end() == 0
        assert "set up" not in re.sub(r"\s+", " ", terminal.seen.decode())
    left = [path for path in checkout.home.rglob("*") if path.is_file()]
    assert not left, "the home is not as it was"
