"""A lab from outside: bring it up, take it down, ask it, order it about, and turn an environment towards it."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

from toolbox.errors import LabError
from toolbox.lab import platform
from toolbox.lab.place import KEEP, Description, Place, find, not_up

Progress = Callable[[str], None]

_ORDER_SECONDS: Final = 60.0
_DOWN_SECONDS: Final = 20.0
_UP_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.05
_LOG_LINES: Final = 10


class Lab:
    """A lab that is up. One that was started for us ends with `close`, or with us."""

    def __init__(self, place: Place, owned: "subprocess.Popen[bytes] | None" = None) -> None:
        self.place = place
        self._owned = owned

    @property
    def name(self) -> str:
        """What it is called."""
        return self.place.name

    @property
    def is_ours(self) -> bool:
        """Whether it ends with us."""
        return self._owned is not None

    def environment(self, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
        """`environ` turned towards this lab: see the function of the same name."""
        return environment(self.name, environ)

    def close(self) -> None:
        """End a lab that was started for us, and return once nothing of it is left; leave any other alone."""
        if self._owned is not None:
            _end(self._owned, self.place)
            self._owned = None


def up(
    name: str | None = None,
    progress: Progress = lambda step: None,
    *,
    owned: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> Lab:
    """The lab called `name`, started if it is not up; returns once its services run. Raises LabError.

    With `owned`, a lab that was started here ends when the answer is closed or this process ends, however it ends; one
    that was up stays. Interrupted, it leaves nothing behind.
    """
    platform.check()
    place = find(name, environ)
    if _joined(place):
        return Lab(place)
    with place.open_log() as errors:
        supervisor = subprocess.Popen(
            [sys.executable, "-I", "-m", "toolbox.lab.supervisor", place.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_supervisor_environment(environ),
            start_new_session=True,  # Ctrl-C reaches us alone; the lab goes down because we do
        )
    try:
        if not _follow(supervisor, progress):  # another was quicker
            _end(supervisor, None)
            if _joined(place):
                return Lab(place)
            raise not_up(place)
        if not owned:
            _release(supervisor)
    except BaseException:
        _end(supervisor, place)
        raise
    return Lab(place, supervisor if owned else None)


@contextmanager
def borrowed(
    name: str | None = None, progress: Progress = lambda step: None, environ: Mapping[str, str] = os.environ
) -> Iterator[dict[str, str]]:
    """The environment of a lab that is up meanwhile: one that is started for this ends with it, any other stays."""
    lab = up(name, progress, owned=True, environ=environ)
    try:
        yield lab.environment(environ)
    finally:
        lab.close()


def down(name: str | None = None, environ: Mapping[str, str] = os.environ) -> bool:
    """Take a lab down and return once nothing of it is left; False when there was none. Raises LabError."""
    place = find(name, environ)
    found = place.directory.exists()
    while not place.remove():
        _stop(place)
    return found


def environment(name: str | None = None, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`environ` without any of its AWS settings and with the lab's: nothing started with it reaches another account.

    Raises LabError when the lab is not up.
    """
    place = find(name, environ)
    description = Description.read(place)
    kept = {key: value for key, value in environ.items() if not key.startswith("AWS_")}
    unproxied = {key: _with_host(kept.get(key, ""), "127.0.0.1") for key in ("NO_PROXY", "no_proxy")}
    return {
        **kept,
        **unproxied,
        "AWS_ENDPOINT_URL": description.endpoint,
        "AWS_ACCESS_KEY_ID": description.access_key,
        "AWS_SECRET_ACCESS_KEY": description.secret_key,
        "AWS_REGION": description.region,
        "AWS_DEFAULT_REGION": description.region,
        "AWS_CONFIG_FILE": str(place.aws_config),
        "AWS_SHARED_CREDENTIALS_FILE": str(place.aws_credentials),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",  # data-127.0.0.1 would be a name to ask the world for
        "AWS_PAGER": "",
        "TOOLBOX_LAB": place.name,
        "TOOLBOX_INVENTORY": str(place.inventory),
    }


def status(name: str | None = None, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """`parts` (whether each runs), `services` (running and desired count), `isolation`, `endpoint`, `pid`.

    Raises LabError when the lab is not up.
    """
    place = find(name, environ)
    description = Description.read(place)
    return {"endpoint": description.endpoint, "pid": description.pid, **_order(place, {"order": "status"})}


def stop_part(name: str | None, part: str, environ: Mapping[str, str] = os.environ) -> None:
    """Stop `postgres`, `redis` or `dns`, or scale a service to nothing. Raises LabError."""
    _order(find(name, environ), {"order": "stop", "part": part})


def start_part(name: str | None, part: str, environ: Mapping[str, str] = os.environ) -> None:
    """Start a part again, or scale a service to what the inventory expects. Raises LabError."""
    _order(find(name, environ), {"order": "start", "part": part})


def expire(name: str | None, expired: bool, environ: Mapping[str, str] = os.environ) -> None:
    """Answer the person's key as one whose session has ended, or well again. Raises LabError."""
    _order(find(name, environ), {"order": "expire", "expired": expired})


def _order(place: Place, order: Mapping[str, Any]) -> dict[str, Any]:
    """The supervisor's answer; raises LabError when there is none, or when it could not do it."""
    try:
        with place.short_socket() as path, socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_ORDER_SECONDS)
            connection.connect(path)
            connection.sendall(json.dumps(order).encode() + b"\n")
            with connection.makefile("rb") as answers:
                answer: dict[str, Any] = json.loads(answers.readline())
    except OSError as error:
        raise not_up(place) from error
    except ValueError as error:
        raise _failed(place, "The lab's supervisor gave no answer.") from error
    if "error" in answer:
        raise LabError(
            answer["error"], cause=answer["cause"], next_step=answer["next_step"], detail=tuple(answer["detail"])
        )
    return answer


def _follow(supervisor: "subprocess.Popen[bytes]", progress: Progress) -> bool:
    """Pass on how far the start has come, until the lab is up; False when another process was quicker."""
    assert supervisor.stdout is not None
    for line in supervisor.stdout:
        message = json.loads(line)
        match message["event"]:
            case "progress":
                progress(message["text"])
            case "ready" | "taken":
                return bool(message["event"] == "ready")
            case _:
                detail = tuple(message["detail"])
                raise LabError(
                    message["sentence"], cause=message["cause"], next_step=message["next_step"], detail=detail
                )
    code = supervisor.wait()
    raise LabError(
        f"The lab's supervisor ended with {code} before the lab was up.",
        cause="lab-failed",
        next_step="Try again; was something short of memory?",
    )


def _release(supervisor: "subprocess.Popen[bytes]") -> None:
    """Let the lab live on without us."""
    assert supervisor.stdin is not None
    assert supervisor.stdout is not None
    supervisor.stdin.write(KEEP)
    supervisor.stdin.close()
    supervisor.stdout.close()
    supervisor.returncode = 0  # so that nobody warns of a child that still runs: it is meant to


def _end(supervisor: "subprocess.Popen[bytes]", place: Place | None) -> None:
    """Let go of the supervisor and return once it is gone, and its files with it."""
    assert supervisor.stdin is not None
    assert supervisor.stdout is not None
    supervisor.stdin.close()
    supervisor.stdout.close()
    try:
        supervisor.wait(_DOWN_SECONDS)
    except subprocess.TimeoutExpired:
        supervisor.kill()
        supervisor.wait()
    if place is not None:
        place.remove()


def _stop(place: Place) -> None:
    """SIGTERM to the supervisor, SIGKILL when that does not help; returns once it is gone, or was not to be found."""
    pid = place.pid()
    try:
        process = os.pidfd_open(pid or -1)
    except (OSError, ValueError):  # it is coming, or has gone just now
        time.sleep(_LOOK_SECONDS)
        return
    try:
        if place.pid() != pid:  # now that the descriptor stays with one process: it is the supervisor's
            return
        signal.pidfd_send_signal(process, signal.SIGTERM)
        if not select.select([process], [], [], _DOWN_SECONDS)[0]:
            signal.pidfd_send_signal(process, signal.SIGKILL)
            select.select([process], [], [])
    except ProcessLookupError:
        return
    finally:
        os.close(process)


def _joined(place: Place) -> bool:
    """Whether a lab lives here, once it answers: another process may just be starting it, or it may be dying."""
    deadline = time.monotonic() + _UP_SECONDS
    while place.is_alive():
        if place.description.exists():
            with suppress(LabError):
                _order(place, {"order": "status"})
                return True
        if time.monotonic() > deadline:
            raise _failed(place, "The lab's supervisor lives, but does not answer.")
        time.sleep(_LOOK_SECONDS)
    return False


def _supervisor_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Nothing of the person's account, and none of their inventories; what is meant for the lab itself stays."""
    dropped = ("AWS_", "PYTHON", "TOOLBOX_", "MOTO_")
    return {
        key: value for key, value in environ.items() if key.startswith("TOOLBOX_LAB_") or not key.startswith(dropped)
    }


def _with_host(hosts: str, host: str) -> str:
    return ",".join(dict.fromkeys([*filter(None, hosts.split(",")), host]))


def _failed(place: Place, sentence: str) -> LabError:
    lines: list[str] = []
    with suppress(OSError):
        lines = place.log.read_text("utf-8", "replace").splitlines()[-_LOG_LINES:]
    return LabError(sentence, cause="lab-failed", next_step="Take it down and start it again.", detail=tuple(lines))
