"""All probes: a new one is a file, a line here and a test file."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from toolbox.model.result import Result
from toolbox.probes import db
from toolbox.probes.context import Context


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe by its name on the command line, and what it looks at, in a few words."""

    name: str
    purpose: str
    run: Callable[[Context], Awaitable[tuple[Result, ...]]]


PROBES: Final = (Probe("db", "Resolve, connect to, log in to and query the database.", db.run),)
