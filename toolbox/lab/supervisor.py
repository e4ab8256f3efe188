"""The lab's one process: `python -m toolbox.lab.supervisor NAME`, started by `control.up`.

It lives as long as its owner: stdin is a pipe whose other end the owner holds, and its end is the order to go down. The
line `keep` frees the lab from its owner. stdout tells the owner how far the start has come, a JSON object a line;
stderr is the log.
"""

import asyncio
import json
import logging
import os
import resource
import signal
import sys
import traceback
from contextlib import suppress
from typing import IO, Final

from toolbox.errors import LabError, ToolboxError
from toolbox.lab.place import KEEP, Description, Place, find

_TRACE_LINES: Final = 12
_WATCH_SECONDS: Final = 1.0
# moto reads them when it is imported. Its default images and policies alone would take a second.
_MOTO: Final = {"MOTO_EC2_LOAD_DEFAULT_AMIS": "false", "MOTO_IAM_LOAD_MANAGED_POLICIES": "false"}

log = logging.getLogger(__name__)


def main() -> int:
    """Bring the lab up, keep it up until its owner goes, an order or a signal comes; returns the exit code."""
    place = find(sys.argv[1])
    lock = place.lock()
    if lock is None:
        _tell(event="taken")
        return 0
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.environ.update(_MOTO)
    try:
        asyncio.run(_run(place, lock))
    except Exception as error:  # the outermost boundary: whoever waits for the lab is told why it failed
        log.exception("the lab has failed")
        _tell_failure(_innermost(error))
        return LabError.exit_code
    finally:
        place.discard(lock)
        lock.close()
    return 0


async def _run(place: Place, lock: IO[str]) -> None:
    """Work until there is a reason to go down, also while the lab is still coming up."""
    down = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, down.set)
    loop.add_reader(sys.stdin.fileno(), _hear_owner, loop, down)
    working = asyncio.create_task(_work(place, down))
    going = asyncio.create_task(down.wait())
    watching = asyncio.create_task(_watch(place, lock, down))
    await asyncio.wait({working, going}, return_when=asyncio.FIRST_COMPLETED)
    going.cancel()
    watching.cancel()
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working
    log.info("the lab is down")


async def _watch(place: Place, lock: IO[str], down: asyncio.Event) -> None:
    """Go down when somebody has deleted the directory: no `lab down` would find us any more."""
    while place.holds(lock):  # noqa: ASYNC110 - the file system has no event that the standard library hears
        await asyncio.sleep(_WATCH_SECONDS)
    log.warning("the lab's directory is gone")
    down.set()


async def _work(place: Place, down: asyncio.Event) -> None:
    # Here, since these imports take half a second, in which a signal or a lost owner must already be heard.
    from toolbox import inventory
    from toolbox.lab.assembly import assembled
    from toolbox.lab.aws.backends import REGION
    from toolbox.lab.orders import listening
    from toolbox.lab.outfit import in_seconds

    if place.clear():
        _progress("cleaning up after a lab that was killed")
    book = in_seconds(inventory.load())
    async with assembled(place, book, _progress) as lab, listening(lab):
        person = lab.person
        description = Description(place.name, os.getpid(), lab.endpoint, REGION, person.access_key, person.secret_key)
        await lab.settle(_progress)
        description.write(place)
        log.info("the lab is up at %s", lab.endpoint)
        _tell(event="ready")
        await down.wait()


def _hear_owner(loop: asyncio.AbstractEventLoop, down: asyncio.Event) -> None:
    """The owner lets the lab go its own way, or is gone."""
    said = os.read(sys.stdin.fileno(), len(KEEP))
    loop.remove_reader(sys.stdin.fileno())
    if said != KEEP:
        log.info("the owner has gone")
        down.set()


def _progress(text: str) -> None:
    log.info("%s", text)
    _tell(event="progress", text=text)


def _tell(**message: object) -> None:
    with suppress(BrokenPipeError):  # the owner has gone: stdin says so, too
        os.write(sys.stdout.fileno(), json.dumps(message).encode() + b"\n")


def _tell_failure(error: BaseException) -> None:
    if isinstance(error, ToolboxError):
        known = {"sentence": error.sentence, "cause": error.cause, "next_step": error.next_step}
        _tell(event="failed", **known, detail=list(error.detail))
        return
    trace = "".join(traceback.format_exception(error)).splitlines()[-_TRACE_LINES:]
    sentence = f"The lab itself has failed: {type(error).__name__}."
    _tell(event="failed", sentence=sentence, cause="lab-failed", next_step="Report what is shown below.", detail=trace)


def _innermost(error: BaseException) -> BaseException:
    """The first error of a group of groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    sys.exit(main())
