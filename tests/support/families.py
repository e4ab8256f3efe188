"""Processes by descent: who is a child of whom, and who of them is still there."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """One process, told from a later one with the same id by when it began (clock ticks since boot)."""

    pid: int
    began: int
    name: str

    def is_alive(self) -> bool:
        """Whether it runs; one that has ended and was not waited for yet does not."""
        found = _look(self.pid)
        return found is not None and found[0] == self and found[2] != "Z"


def descendants(pid: int) -> list[Process]:
    """The process and all that descend from it now."""
    everyone = [found for entry in Path("/proc").iterdir() if entry.name.isdigit() if (found := _look(int(entry.name)))]
    family = {pid}
    while True:
        more = {process.pid for process, parent, _ in everyone if parent in family} - family
        if not more:
            return [process for process, _, _ in everyone if process.pid in family]
        family |= more


def every_argv() -> list[bytes]:
    """The arguments of every process, as anybody can read them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # gone meanwhile
                found.append((entry / "cmdline").read_bytes())
    return found


def _look(pid: int) -> tuple[Process, int, str] | None:
    """A process, its parent and its state; None when it is gone (proc(5), /proc/pid/stat)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    name, _, rest = text.partition(" (")[2].rpartition(") ")
    fields = rest.split()
    return Process(pid, int(fields[19]), name), int(fields[1]), fields[0]
