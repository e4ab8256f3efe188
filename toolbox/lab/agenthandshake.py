"""The agent's part in opening a session: the handshake and, under a KMS key, the data key and the challenge."""

import asyncio
import base64
import hmac
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from toolbox.lab.agenttext import banner
from toolbox.lab.contract import KeyDenied, SessionKey
from toolbox.session import encryption, handshake
from toolbox.session.encryption import Encryption, SealBroken
from toolbox.session.handshake import Answer, KeyWish, Status
from toolbox.session.wire import Message, PayloadType, WireError

_VERSION: Final = "3.3.1142.0"
_SESSION_TYPE: Final = "InteractiveCommands"
_CHALLENGE_BYTES: Final = 16
_RIDDLE_BYTES: Final = 64
_ENCRYPTED: Final = "This session is encrypted using AWS KMS."

Send = Callable[[PayloadType, bytes], Awaitable[None]]
Decrypt = Callable[[SessionKey, bytes, dict[str, str]], Awaitable[bytes]]
"""kms:Decrypt of a blob with its whole encryption context, as the task's role may; raises KeyDenied."""


class HandshakeFailed(Exception):
    """The session fails before it starts; `output` is what channel_closed says, in the agent's words."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.output = banner(f"Encountered error while initiating handshake. {why}")


@dataclass(frozen=True, slots=True)
class Handshake:
    """One session's. `answers` holds the client's answers as they come, `within` is the patience for each (seconds)."""

    session_id: str
    key: SessionKey | None
    decrypt: Decrypt
    send: Send
    answers: asyncio.Queue[Message]
    within: float

    async def shake(self) -> Encryption | None:
        """The session's encryption, None without a key. Raises HandshakeFailed."""
        try:
            return await self._shake()
        except WireError as error:
            raise HandshakeFailed(error.sentence) from error

    async def _shake(self) -> Encryption | None:
        began = time.monotonic_ns()
        challenge = base64.b64encode(os.urandom(_CHALLENGE_BYTES)).decode()
        wish = KeyWish(self.key.key_id, challenge) if self.key else None
        await self.send(PayloadType.HANDSHAKE_REQUEST, handshake.encode_request(_VERSION, _SESSION_TYPE, wish))
        answers = handshake.decode_response(await self._answer(PayloadType.HANDSHAKE_RESPONSE))
        for answer in answers:
            if answer.status != Status.DONE:
                why = f"{answer.action} failed on client with status {int(answer.status)} error: {answer.error}"
                raise HandshakeFailed(why)
        keys = await self._keys(self.key, answers, challenge) if self.key else None
        message = _ENCRYPTED if keys else ""
        await self.send(PayloadType.HANDSHAKE_COMPLETE, handshake.encode_complete(time.monotonic_ns() - began, message))
        return keys

    async def _keys(self, key: SessionKey, answers: Sequence[Answer], challenge: str) -> Encryption:
        """The keys, once the client has shown that it has them too."""
        grant = next((answer.grant for answer in answers if answer.grant), None)
        if grant is None:
            raise HandshakeFailed("Fetching data key failed: the client sent none")
        unbound = encryption.context(self.session_id, challenge if grant.bound else None)
        try:
            plain = await self.decrypt(key, grant.blob, encryption.for_target(unbound, key.target))
            keys = encryption.agent_side(plain)
        except (KeyDenied, ValueError) as error:
            raise HandshakeFailed(
                f"Fetching data key failed: Unable to retrieve data key, Error when decrypting data key {error}"
            ) from error
        riddle = os.urandom(_RIDDLE_BYTES)
        await self.send(PayloadType.CHALLENGE_REQUEST, handshake.encode_challenge(keys.seal(riddle)))
        try:
            solved = keys.open(handshake.decode_challenge(await self._answer(PayloadType.CHALLENGE_RESPONSE)))
        except SealBroken as error:
            raise HandshakeFailed("Encryption challenge: the client has another key") from error
        if not hmac.compare_digest(solved, riddle):
            raise HandshakeFailed("Encryption challenge: the client's answer does not match")
        return keys

    async def _answer(self, payload_type: PayloadType) -> bytes:
        """The client's next answer, which must be of this type."""
        try:
            async with asyncio.timeout(self.within):
                message = await self.answers.get()
        except TimeoutError as error:
            raise HandshakeFailed(
                "Handshake timed out. Please ensure that you have the latest version of the session manager plugin."
            ) from error
        if message.payload_type != payload_type:
            raise HandshakeFailed(f"An answer of type {message.payload_type} instead of {int(payload_type)}")
        return message.payload
