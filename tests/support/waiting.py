"""Waiting for something to become true, with a deadline instead of a guess."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

T = TypeVar("T")

_LOOK_SECONDS: Final = 0.01


async def until(condition: Callable[[], bool], seconds: float = 10.0, what: str = "") -> None:
    """Return as soon as `condition` holds; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition}"
        await asyncio.sleep(_LOOK_SECONDS)


async def seen(look: Callable[[], Awaitable[T]], holds: Callable[[T], object], seconds: float = 10.0) -> T:
    """What `look` sees, as soon as `holds` of it; AssertionError with the last sight after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds(sight := await look()):
        assert time.monotonic() < deadline, f"not within {seconds} s, but {sight}"
        await asyncio.sleep(_LOOK_SECONDS)
    return sight


def until_now(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """As `until`, for tests that are not asynchronous and ask over the network."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(5 * _LOOK_SECONDS)
