"""Starting what the client asks for: a shell on a terminal of its own, or a command on three pipes."""

import fcntl
import os
import signal
import struct
import termios
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from toolbox.session.frames import FrameError

_NOT_FOUND: Final = 127
_NOT_EXECUTABLE: Final = 126
_IUTF8: Final = 0o40000  # termios(3): erase whole characters; the module does not name it
_MAX_SIZE: Final = 0xFFFF

# A login profile may reset PATH (Debian's does): what the container says about it is kept.
_LOGIN: Final = 'PATH=$TOOLBOX_PATH; unset TOOLBOX_PATH; export PATH; exec "$0" '
_LOGIN_SHELLS: Final = ("bash", "sh", "dash", "ash", "ksh", "zsh")


class Order(NamedTuple):
    """What to run. `words` None: a login shell. `columns` and `rows` count only with `pty`."""

    words: tuple[str, ...] | None
    pty: bool
    environment: Mapping[str, str]
    columns: int
    rows: int


class Child(NamedTuple):
    """A started process, leader of its own session. With a terminal all three are its master, `stderr` None."""

    pid: int
    stdin: int
    stdout: int
    stderr: int | None


def parse_order(fields: Mapping[str, object]) -> Order:
    """The order in an OPEN frame; raises FrameError."""
    words, pty, environment = fields.get("words"), fields.get("pty"), fields.get("environment", {})
    if words is not None and not (isinstance(words, list) and words and all(_is_text(word) for word in words)):
        raise FrameError("an order whose words are no words")
    if not isinstance(environment, dict) or not all(_is_text(value) for value in environment.values()):
        raise FrameError("an order whose environment is none")
    if any(not name or "=" in name or "\0" in name for name in environment):
        raise FrameError("an order with a variable that cannot be")
    if not isinstance(pty, bool):
        raise FrameError("an order that does not say whether it wants a terminal")
    size = [fields.get("columns", 0), fields.get("rows", 0)]
    columns, rows = (value if isinstance(value, int) and 0 <= value <= _MAX_SIZE else 0 for value in size)
    return Order(None if words is None else tuple(words), pty, environment, columns, rows)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def start(order: Order, scripts: str) -> Child:
    """The running child. Raises OSError when there is no process or terminal to be had.

    What cannot be executed is said on the child's stderr and ends with 127 or 126, as a shell does.
    """
    environment = {**os.environ, **order.environment}
    path = environment.get("PATH") or os.defpath
    environment["PATH"] = path if scripts in path.split(":") else f"{path}:{scripts}"
    arguments = _arguments(order, environment)
    return _on_terminal(order, arguments, environment) if order.pty else _on_pipes(arguments, environment)


def set_size(terminal: int, columns: int, rows: int) -> None:
    """Tell the terminal its size; its foreground processes get SIGWINCH."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _arguments(order: Order, environment: dict[str, str]) -> list[str]:
    """As ssh does it: words are joined and run by a shell; no words: a login shell."""
    if order.words is not None:
        return ["/bin/sh", "-c", " ".join(order.words)]
    shell = _shell(environment)
    manner = "-i" if order.pty else "-s"
    if Path(shell).name not in _LOGIN_SHELLS:
        return [shell]
    environment["TOOLBOX_PATH"] = environment["PATH"]
    return [shell, "-l", "-c", _LOGIN + manner, shell]


def _shell(environment: Mapping[str, str]) -> str:
    """`$SHELL`, else bash, else sh."""
    candidates = (environment.get("SHELL", ""), "/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash")
    return next((shell for shell in candidates if shell and os.access(shell, os.X_OK)), "/bin/sh")


def _on_terminal(order: Order, arguments: list[str], environment: Mapping[str, str]) -> Child:
    master, slave = os.openpty()
    try:
        attributes = termios.tcgetattr(slave)
        attributes[0] |= _IUTF8
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        set_size(slave, order.columns, order.rows)
        pid = _fork(arguments, environment, (slave, slave, slave), terminal=True)
    except OSError:
        os.close(master)
        raise
    finally:
        os.close(slave)
    os.set_blocking(master, False)
    return Child(pid, master, master, None)


def _on_pipes(arguments: list[str], environment: Mapping[str, str]) -> Child:
    ends = [os.pipe() for _ in range(3)]
    (stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr) = ends
    try:
        pid = _fork(arguments, environment, (stdin, stdout, stderr), terminal=False)
    except OSError:
        for end in (to_stdin, from_stdout, from_stderr):
            os.close(end)
        raise
    finally:
        for end in (stdin, stdout, stderr):
            os.close(end)
    for end in (to_stdin, from_stdout, from_stderr):
        os.set_blocking(end, False)
    return Child(pid, to_stdin, from_stdout, from_stderr)


def _fork(
    arguments: list[str], environment: Mapping[str, str], standard: tuple[int, int, int], *, terminal: bool
) -> int:
    """The child's pid, once it has become `arguments` (or failed to): from then on a signal reaches its group.

    Earlier there is no such group yet, and our own handlers would still be in place in the child.
    """
    started, starting = os.pipe()
    try:
        pid = os.fork()
        if pid == 0:
            _become(arguments, environment, standard, terminal=terminal)
    except OSError:
        os.close(started)
        raise
    finally:
        os.close(starting)
    with os.fdopen(started, "rb") as until_exec:
        until_exec.read()  # nothing is written: the child's end closes on exec
    return pid


def _become(
    arguments: list[str], environment: Mapping[str, str], standard: tuple[int, int, int], *, terminal: bool
) -> NoReturn:
    """In the child: become `arguments`. All our descriptors but the standard three close by themselves on exec."""
    code = _NOT_FOUND
    try:
        os.setsid()
        if terminal:
            fcntl.ioctl(standard[0], termios.TIOCSCTTY, 0)
        for number, descriptor in enumerate(standard):
            os.dup2(descriptor, number)
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them; an exec would pass that on
            signal.signal(ignored, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        try:
            os.execve(arguments[0], arguments, environment)
        except OSError as error:
            code = _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE
            os.write(2, f"toolbox: cannot run {arguments[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(code)
