"""What leads into a session, what the session needs from AWS, and what it tells while it lasts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from toolbox.session.encryption import DataKey


@dataclass(frozen=True, slots=True)
class Ticket:
    """What ECS's ExecuteCommand gives: the way into one session. The token is a secret for a few minutes."""

    session_id: str
    stream_url: str
    token: str = field(repr=False)


class Gateway(Protocol):
    """What the channel needs from the AWS API."""

    async def sign(self, url: str) -> Mapping[str, str]:
        """The SigV4 headers for the upgrade request to `url` (service `ssmmessages`); {} to dial unsigned."""

    async def resume(self, session_id: str) -> str | None:
        """A fresh token by ssm:ResumeSession; None when the session has ended. Raises ToolboxError."""

    async def data_key(self, key_id: str, context: Mapping[str, str]) -> DataKey:
        """A key of `encryption.DATA_KEY_BYTES` by kms:GenerateDataKey, bound to `context` and to the session's target.

        Called only for sessions that the cluster encrypts. Raises ToolboxError.
        """


@dataclass(frozen=True, slots=True)
class Dropped:
    """The connection broke; it is being resumed."""

    reason: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """The connection is back, after so many seconds, and nothing was lost."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Silent:
    """Nothing that we sent was acknowledged for so many seconds: a good moment to ask ECS about the task."""

    seconds: float


SessionEvent = Dropped | Resumed | Silent


@dataclass(frozen=True, slots=True)
class Settings:
    """How patient and how fast. Seconds and bytes; the defaults are for production."""

    message_bytes: int = 1024  # what AWS's clients send at most
    window: int = 64  # messages under way: 1.2 MB/s at 50 ms round trip
    patience: float = 30.0  # without acknowledgement or connection; the relay waits as long for us
    silent_after: float = 3.0
    heartbeat: float = 3.0
    dial_timeout: float = 15.0
    ping_every: float = 10.0
    ping_timeout: float = 10.0
