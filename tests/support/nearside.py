"""The near side of a session as a process of its own: to be killed, or to run on a terminal."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict

from toolbox.errors import SessionError
from toolbox.session import remote
from toolbox.session.access import Settings, Ticket
from toolbox.session.encryption import DataKey
from toolbox.session.failures import SessionRefused
from toolbox.session.remote import Command
from toolbox.session.terminal import LocalStdio

_ORDER = "NEAR_SIDE"


async def near_side(
    ticket: Ticket, command: Command, *, heartbeat: float = 3.0, raw: bool = False, terminal: int | None = None
) -> asyncio.subprocess.Process:
    """A process that runs `command` over `ticket`, on `terminal` or with nothing to read and nowhere to write."""
    order = {"ticket": asdict(ticket), "command": asdict(command), "heartbeat": heartbeat, "raw": raw}
    stream = asyncio.subprocess.DEVNULL if terminal is None else terminal
    return await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        stdin=stream,
        stdout=stream,
        stderr=stream,
        env={**os.environ, _ORDER: json.dumps(order)},
        start_new_session=True,
    )


class _Unsigned:
    async def sign(self, url: str) -> Mapping[str, str]:
        return {}

    async def resume(self, session_id: str) -> str | None:
        return None

    async def data_key(self, key_id: str, context: Mapping[str, str]) -> DataKey:
        raise SessionRefused("no KMS here")


async def _main() -> int:
    order = json.loads(os.environ[_ORDER])
    fields = order["command"]
    words = None if fields["words"] is None else tuple(fields["words"])
    command = Command(words, fields["pty"], fields["environment"])
    settings = Settings(heartbeat=order["heartbeat"])
    try:
        async with (
            remote.connect(Ticket(**order["ticket"]), _Unsigned(), deadline=10, settings=settings) as far,
            LocalStdio(raw=order["raw"]) as stdio,
        ):
            return await far.run(command, stdio)
    except SessionError as error:
        print(f"<{error.cause}>", file=sys.stderr)  # noqa: T201 - this is the program's voice
        return error.exit_code


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
