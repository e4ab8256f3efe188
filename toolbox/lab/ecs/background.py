"""Failures in the background that nobody waits for: they go to the event loop's exception handler at once."""

import asyncio
from typing import Any


def report(what: str, error: BaseException) -> None:
    """Say that `what` failed."""
    asyncio.get_running_loop().call_exception_handler({"message": f"{what} failed", "exception": error})


def report_failure(task: "asyncio.Task[Any]") -> None:
    """As a done callback: report how `task` failed, now and not when it is collected some day."""
    if not task.cancelled() and (error := task.exception()) is not None:
        report(task.get_name(), error)
