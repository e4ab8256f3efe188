"""Waiting for a file descriptor that somebody else reads and writes."""

import asyncio


async def ready(descriptor: int, *, writing: bool) -> None:
    """Return once the descriptor can be read, or written."""
    loop = asyncio.get_running_loop()
    seen = asyncio.Event()
    add, remove = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
    add(descriptor, seen.set)
    try:
        await seen.wait()
    finally:
        remove(descriptor)
