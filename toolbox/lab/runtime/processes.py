"""Who is below whom, and how they end: what the shim needs of /proc and wait(2)."""

import os
import signal
import time
from collections.abc import Iterable
from typing import Final

_ALL: Final = -1


class Processes:
    """The processes as this PID namespace sees them, through a /proc opened before any other root was entered."""

    def __init__(self) -> None:
        self._directory = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def of_session(self, session: int) -> list[int]:
        """The living processes of `session`."""
        return [pid for pid, (_, its_session) in self._living().items() if its_session == session]

    def below(self, ancestor: int) -> list[int]:
        """The living descendants of `ancestor`."""
        living = self._living()
        family = {ancestor}
        while more := {pid for pid, (parent, _) in living.items() if parent in family and pid not in family}:
            family |= more
        return sorted(family - {ancestor})

    def _living(self) -> dict[int, tuple[int, int]]:
        """Parent and session of each process that is not a zombie (proc(5), stat)."""
        found = {}
        for name in os.listdir(self._directory):  # noqa: PTH208 - a descriptor: the path may show other processes by now
            fields = self._stat(name) if name.isdigit() else []
            if fields and fields[0] != "Z":
                found[int(name)] = (int(fields[1]), int(fields[3]))
        return found

    def _stat(self, pid: str) -> list[str]:
        """State, parent, process group, session, …; [] once the process has gone."""
        try:
            with os.fdopen(os.open(f"{pid}/stat", os.O_RDONLY, dir_fd=self._directory), "rb") as file:
                return file.read().rpartition(b")")[2].decode().split()
        except (FileNotFoundError, ProcessLookupError):
            return []


def send(pids: Iterable[int], *numbers: signal.Signals) -> None:
    """Signal each process that is still there."""
    for pid in pids:
        for number in numbers:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                break


def reap(child: int) -> int | None:
    """Collect every child that has ended; the exit code of `child` when it was among them, 128 + n for a signal."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(_ALL, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            found = 128 - code if code < 0 else code


def end_all(processes: Processes, child: int) -> int | None:
    """SIGKILL everything below us until nothing is left; whoever is orphaned comes to us. As `reap` for `child`."""
    found = reap(child)
    while left := processes.below(os.getpid()):
        send(left, signal.SIGKILL)
        signal.sigtimedwait({signal.SIGCHLD}, 0.05)
        code = reap(child)
        found = found if code is None else code
    return found


def hang_up(processes: Processes, session: int, grace: float) -> int | None:
    """End `session` as a closed terminal does; SIGKILL after `grace` seconds. As `reap` for its leader."""
    send(processes.of_session(session), signal.SIGHUP, signal.SIGCONT)
    deadline = time.monotonic() + grace
    found = reap(session)
    while processes.of_session(session) and (left := deadline - time.monotonic()) > 0:
        # Processes that are not our children end without a word to us, so look again now and then.
        signal.sigtimedwait({signal.SIGCHLD}, min(left, 0.02))
        code = reap(session)
        found = found if code is None else code
    while stubborn := processes.of_session(session):
        send(stubborn, signal.SIGKILL)
        signal.sigtimedwait({signal.SIGCHLD}, 0.02)
        code = reap(session)
        found = found if code is None else code
    return found
