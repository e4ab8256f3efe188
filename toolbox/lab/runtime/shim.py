"""Sets up and runs one container, or one process inside a running one, and ends as it ended.

A program of its own: standard library only, no site packages. It reads its orders as JSON from stdin (the environment
holds secrets, so never argv), and answers over a unix socket with one message: `{"pid": N}` with a pidfd (or the
terminal's master side), or `{"error": …, "errno": …}`. SIGUSR1 ends everything in it, SIGHUP hangs its terminal up.

Every process here has a parent-death signal (prctl(2)), so a lab that is killed leaves none. In a PID namespace the
kernel ends all others with its first process, whatever session they made (pid_namespaces(7)). Without namespaces the
shim adopts orphans and ends every descendant itself.
"""

import fcntl
import json
import os
import resource
import signal
import socket
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

from toolbox.lab.runtime import linux
from toolbox.lab.runtime.processes import Processes, end_all, hang_up, reap, send
from toolbox.lab.runtime.root import build

_COULD_NOT_START: Final = 127
_WATCHED: Final = {signal.SIGCHLD, signal.SIGUSR1, signal.SIGHUP}
_PASSED_ON: Final = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}
# Docker's default (chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, net_raw,
# sys_chroot, audit_write, setfcap) without mknod: root in a container cannot undo what keeps the host read-only.
_CAPABILITIES: Final = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 29, 31})
_JOINED: Final = linux.CLONE_NEWNS | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC | linux.CLONE_NEWPID

Orders = dict[str, Any]


def main() -> None:
    """Obey the orders on stdin; the argument is the number of the socket to answer on."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    lab = os.getppid()
    linux.die_with_parent(signal.SIGKILL)
    orders: Orders = json.load(sys.stdin)
    if orders["isolation"] == "shared":
        linux.adopt_orphans()
        linux.die_with_parent(signal.SIGUSR1)
    if lab != orders["lab"] or os.getppid() != lab:
        sys.exit(_COULD_NOT_START)  # it died before we could ask to die with it
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    sys.exit(_join(orders, control) if "pidfd" in orders else _create(orders, control))


def _create(orders: Orders, control: socket.socket) -> int:
    """Run a container; returns its exit code."""
    if orders["isolation"] == "user":
        _enter_user_namespace()
        linux.die_with_parent(signal.SIGKILL)  # forgotten with the change of credentials
    if orders["isolation"] != "shared":
        linux.unshare(linux.CLONE_NEWPID)
    processes = Processes()
    child, error = _fork(lambda failure: _be_container(orders, failure))
    if error:
        control.send(error)
        return _reap_until_gone(child)
    pidfd = os.pidfd_open(child)
    socket.send_fds(control, [json.dumps({"pid": child}).encode()], [pidfd])
    control.close()
    os.close(pidfd)
    return _watch(child, processes, orders)


def _join(orders: Orders, control: socket.socket) -> int:
    """Run a process in the container behind `pidfd`; returns its exit code."""
    processes = Processes()
    if orders["isolation"] != "shared":
        linux.setns(orders["pidfd"], _JOINED | (linux.CLONE_NEWUSER if orders["isolation"] == "user" else 0))
        linux.die_with_parent(signal.SIGKILL)  # forgotten with a change of credentials
    master, slave = os.openpty() if orders["terminal"] else (None, None)
    child, error = _fork(lambda failure: _be_process(orders, slave, failure))
    if error:
        control.send(error)
        return _reap_until_gone(child)
    socket.send_fds(control, [json.dumps({"pid": child}).encode()], [] if master is None else [master])
    control.close()
    for descriptor in (master, slave):
        if descriptor is not None:
            os.close(descriptor)
    return _watch(child, processes, orders)


def _enter_user_namespace() -> None:
    """Be root in a new user namespace and what we are outside of it (user_namespaces(7))."""
    uid, gid = os.geteuid(), os.getegid()
    linux.unshare(linux.CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def _fork(become: Callable[[int], NoReturn]) -> tuple[int, bytes]:
    """A child that becomes something else: its pid, and what kept it from it (empty when nothing did).

    The child starts only when it is sure to die with us: it has asked for the signal and then heard from us.
    """
    go_read, go_write = os.pipe()
    failure_read, failure_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go_write)
        os.close(failure_read)
        linux.die_with_parent(signal.SIGKILL)
        if os.read(go_read, 1) != b"g":
            os._exit(_COULD_NOT_START)
        os.close(go_read)
        become(failure_write)
    os.close(go_read)
    os.close(failure_write)
    os.write(go_write, b"g")
    os.close(go_write)
    with os.fdopen(failure_read, "rb") as failure:
        return child, failure.read()


def _be_container(orders: Orders, failure: int) -> NoReturn:
    """The container's first process: its own session and root, then the program, or an init above it."""
    try:
        os.setsid()
        if orders["isolation"] != "shared":
            build(orders["hostname"], orders["files"], orders["visible"])
            if orders["init"]:
                _leave_an_init(failure)
    except OSError as error:
        _give_up(error, failure)
    _become(orders, failure)


def _leave_an_init(failure: int) -> None:
    """What PID 1 owes (ECS's initProcessEnabled) stays here; only its child returns."""
    watched = _PASSED_ON | {signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    child = os.fork()
    if child == 0:
        return
    os.close(failure)
    while True:
        number = signal.Signals(signal.sigwaitinfo(watched).si_signo)
        if number != signal.SIGCHLD:
            send([child], number)
        elif (code := reap(child)) is not None:
            os._exit(code)


def _be_process(orders: Orders, slave: int | None, failure: int) -> NoReturn:
    """A further process of the container, in its own session, on the terminal `slave` when it has one."""
    try:
        os.setsid()
        if slave is not None:
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            for number in range(3):
                os.dup2(slave, number)
    except OSError as error:
        _give_up(error, failure)
    _become(orders, failure)


def _become(orders: Orders, failure: int) -> NoReturn:
    """Turn into the program. `failure` is closed by exec, or says what went wrong."""
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and exec would pass that on
            signal.signal(number, signal.SIG_DFL)
        if orders["isolation"] != "shared":
            linux.keep_only(_CAPABILITIES)
        for name, value in orders["limits"].items():
            kind = getattr(resource, f"RLIMIT_{name.upper()}")
            hard = resource.getrlimit(kind)[1]
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (most, most))
        os.chdir(orders["directory"])
        program = _find(orders["argv"][0], orders["environment"].get("PATH", os.defpath))
        os.execve(program, orders["argv"], orders["environment"])
    except OSError as error:
        _give_up(error, failure)


def _give_up(error: OSError, failure: int) -> NoReturn:
    os.write(failure, json.dumps({"error": error.strerror, "errno": error.errno}).encode())
    os._exit(_COULD_NOT_START)


def _find(name: str, path: str) -> str:
    """Where `name` is on `path`; raises FileNotFoundError or PermissionError, worded as runc words them."""
    places = [Path(name)] if "/" in name else [Path(part or ".", name) for part in path.split(":")]
    there = [place for place in places if place.is_file()]
    for place in there:
        if os.access(place, os.X_OK):
            return str(place)
    if there:
        raise PermissionError(13, "permission denied")
    raise FileNotFoundError(2, "no such file or directory" if "/" in name else "executable file not found in $PATH")


def _reap_until_gone(child: int) -> int:
    """Wait for a child that could not start; returns its exit code."""
    while (code := reap(child)) is None:
        signal.sigwaitinfo({signal.SIGCHLD})
    return code


def _watch(child: int, processes: Processes, orders: Orders) -> int:
    """Wait for `child` and obey signals; returns its exit code once nothing of it is left."""
    shared = orders["isolation"] == "shared"
    while True:
        number = signal.sigwaitinfo(_WATCHED).si_signo
        code = reap(child)
        if code is None and number == signal.SIGHUP:
            code = hang_up(processes, child, orders["grace"])
        elif code is None and number == signal.SIGUSR1 and not shared:
            send([child], signal.SIGKILL)
        elif number == signal.SIGUSR1 or (shared and code is not None):
            ended = end_all(processes, child)
            code = ended if code is None else code
        if code is not None:
            return code
