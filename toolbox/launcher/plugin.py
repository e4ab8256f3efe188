"""A plain shell through AWS's session-manager-plugin: the hedge for a day on which our own client fails."""

import asyncio
import json
import os
import shutil
import signal
from typing import Final

from toolbox.aws import Aws
from toolbox.errors import LaunchError
from toolbox.launcher.execute import target
from toolbox.launcher.tasks import TaskRef, describe
from toolbox.session.client import Ticket

SHELL: Final = "/bin/sh -c 'exec \"$(command -v bash || echo /bin/sh)\" -l'"
_PROGRAM: Final = "session-manager-plugin"
# The plugin reads the session from the variable that its first argument names: argv would show the token to `ps`.
_VARIABLE: Final = "AWS_SSM_START_SESSION_RESPONSE"
# The plugin turns these into keystrokes for the far side; its parent must not die of them.
_KEYS: Final = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP)


def program() -> str:
    """The plugin's path; raises LaunchError with the way to get it when it is not installed."""
    path = shutil.which(_PROGRAM)
    if path is None:
        raise LaunchError(
            f"{_PROGRAM} is not installed.",
            cause="plugin-missing",
            next_step="Leave out '--client plugin': the toolbox needs nothing else; or install it as AWS's guide says.",
        )
    return path


async def run(aws: Aws, task: TaskRef, ticket: Ticket) -> int:
    """Let the plugin have the terminal until it ends; returns its own exit code, which says nothing of the shell's."""
    described = await describe(aws, task.cluster, task.arn) or {}
    answer = {"SessionId": ticket.session_id, "StreamUrl": ticket.stream_url, "TokenValue": ticket.token}
    where = {"Target": target(task.cluster, described, task.container)}
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _KEYS}
    try:
        process = await asyncio.create_subprocess_exec(
            program(),
            _VARIABLE,
            aws.region,
            "StartSession",
            aws.profile or "",
            json.dumps(where),
            aws.endpoint("ssm"),
            env={**os.environ, _VARIABLE: json.dumps(answer)},
            preexec_fn=_default_keys,
        )
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _default_keys() -> None:
    """An ignored signal stays ignored over exec, and the plugin wants to see these."""
    for number in _KEYS:
        signal.signal(number, signal.SIG_DFL)
