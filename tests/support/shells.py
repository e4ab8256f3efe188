"""`toolbox shell` as a person's process: started against a lab, with its streams in our hands."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.labs import Lab

TOOLBOX = [sys.executable, "-I", "-m", "toolbox"]


def start(
    lab: Lab,
    words: Sequence[str],
    *,
    stdin: int | None = subprocess.DEVNULL,
    stdout: int | None = subprocess.DEVNULL,
    stderr: int | None = subprocess.DEVNULL,
) -> "subprocess.Popen[bytes]":
    """The toolbox with these words, running; the caller ends it."""
    return subprocess.Popen([*TOOLBOX, *words], env=lab.environment, stdin=stdin, stdout=stdout, stderr=stderr)


def run(
    lab: Lab, words: Sequence[str], *, stdin: bytes = b"", timeout: float = 60
) -> "subprocess.CompletedProcess[bytes]":
    """The toolbox with these words, to its end."""
    return subprocess.run(
        [*TOOLBOX, *words], env=lab.environment, input=stdin, capture_output=True, timeout=timeout, check=False
    )


def shell(lab: Lab, *words: str, stdin: bytes = b"", timeout: float = 60) -> "subprocess.CompletedProcess[bytes]":
    """One command in a task."""
    return run(lab, ["shell", "--scripts", str(lab.scripts), "--", *words], stdin=stdin, timeout=timeout)


def program(name: str) -> Path:
    """A program of our own virtual environment."""
    return Path(sys.executable).parent / name
