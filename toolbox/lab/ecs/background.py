"""Background work whose failure nobody waits for."""

import asyncio
from typing import Any


def report_failure(task: "asyncio.Task[Any]") -> None:
    """Hand a failure to the event loop's exception handler at once, not when the task is collected some day."""
    if not task.cancelled() and (error := task.exception()) is not None:
        context = {"message": f"{task.get_name()} failed", "exception": error, "task": task}
        task.get_loop().call_exception_handler(context)
