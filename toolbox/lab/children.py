"""Signals to the children that asyncio waits for."""

import os
import signal
from asyncio.subprocess import Process
from contextlib import suppress


def send(process: Process, number: signal.Signals) -> None:
    """Signal a child that still runs; nothing for one that has ended."""
    if process.returncode is None:
        # Not send_signal, terminate or kill: in Python 3.11 they poll, and when the child has just ended that takes its
        # exit code away from asyncio, which then reports 255.
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
