"""What broke on the way to a server, as a value."""

from dataclasses import dataclass

from toolbox.model.result import Cause


@dataclass(frozen=True, slots=True)
class Fault:
    """The cause, and the system's or the server's own words for it, which may be hostile text."""

    cause: Cause
    text: str
