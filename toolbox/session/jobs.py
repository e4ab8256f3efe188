"""Tasks beside the main one: how they end."""

import asyncio
from typing import Any

from toolbox.errors import SessionError


async def put_to_rest(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel `tasks` and wait for their end. Raises what none of them should have met: anything but SessionError."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception) and not isinstance(outcome, SessionError):
            raise outcome
