"""Finds processes by a mark in their environment, whatever namespace or session they are in."""

import os
from pathlib import Path


def marked(mark: str) -> list[int]:
    """The living processes whose environment holds `mark`; zombies have none."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:  # gone meanwhile, or not ours to look at
                continue
            if mark.encode() in environment:
                found.append(int(entry.name))
    return found


def arguments() -> list[bytes]:
    """The argv of every process, as anybody can read it."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            found.append((entry / "cmdline").read_bytes())
        except OSError:  # not a process, or gone meanwhile
            continue
    return found
