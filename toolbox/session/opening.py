"""The near side's part in opening a session: it answers the handshake and, under a KMS key, holds the keys."""

import asyncio
from collections.abc import Callable
from typing import Final

from toolbox.errors import SessionError, ToolboxError
from toolbox.session import encryption, handshake
from toolbox.session.access import Gateway
from toolbox.session.encryption import DataKey, Encryption
from toolbox.session.failures import KeyRefused, SessionLost, SessionRefused
from toolbox.session.handshake import Answer, KeyGrant, KeyWish, Request, Status
from toolbox.session.wire import Message, PayloadType

_OUTPUT: Final = (PayloadType.OUTPUT, PayloadType.STDERR)


class Opening:
    """One session's. `send` sends a payload in the clear, `fail` ends the session for a reason."""

    def __init__(
        self,
        session_id: str,
        gateway: Gateway,
        send: Callable[[PayloadType, bytes], None],
        fail: Callable[[SessionError], None],
    ) -> None:
        self._session_id = session_id
        self._gateway = gateway
        self._send = send
        self._fail = fail
        self._begun = False
        self._secret = False  # from the agent's wish on: nothing is shown or sent that is not encrypted
        self._solved = False  # a second challenge could be the agent's own output, to be typed for us in its answer
        self._encryption: Encryption | None = None
        self.jobs: list[asyncio.Task[None]] = []
        """The call to KMS, once it was made: it outlives the socket that asked for it."""

    def take(self, message: Message) -> bytes:
        """What a message of the far side, in its turn, shows: b"" for the handshake's.

        Without a handshake the first message is simply output. Raises SealBroken, SessionRefused.
        """
        begun, self._begun = self._begun, True
        if message.payload_type in _OUTPUT:
            return self._keys().open(message.payload) if self._secret else message.payload
        if message.payload_type == PayloadType.HANDSHAKE_REQUEST and not begun:
            self._answer(handshake.decode_request(message.payload))
        elif message.payload_type == PayloadType.CHALLENGE_REQUEST and self._secret and not self._solved:
            self._solved = True
            keys = self._keys()
            solved = keys.seal(keys.open(handshake.decode_challenge(message.payload)))
            self._send(PayloadType.CHALLENGE_RESPONSE, handshake.encode_challenge(solved))
        return b""

    def outgoing(self, payload_type: PayloadType, payload: bytes) -> bytes:
        """`payload` as it is sent; raises SessionRefused while a key is wanted and not there."""
        return self._keys().outgoing(payload_type, payload) if self._secret else payload

    def _keys(self) -> Encryption:
        if self._encryption is None:
            raise SessionRefused("The session is to be encrypted, and began before there was a key.")
        return self._encryption

    def _answer(self, request: Request) -> None:
        if request.key is None:
            self._respond(request)
            return
        self._secret = True
        self.jobs.append(asyncio.create_task(self._fetch(request, request.key)))

    async def _fetch(self, request: Request, wish: KeyWish) -> None:
        """Get a data key and send it on, or say why there is none, to the agent as well."""
        try:
            key = await self._data_key(wish)
        except KeyRefused as error:
            self._respond(request, error=error.sentence)
            self._fail(error)
        else:
            self._respond(request, KeyGrant(key.blob, wish.challenge is not None))
        finally:
            if self._encryption is None:
                self._fail(SessionLost("The session was given up before it had a key."))

    async def _data_key(self, wish: KeyWish) -> DataKey:
        try:
            key = await self._gateway.data_key(wish.key_id, encryption.context(self._session_id, wish.challenge))
            self._encryption = encryption.client_side(key.plaintext)
        except ToolboxError as error:
            raise KeyRefused(error) from error
        return key

    def _respond(self, request: Request, grant: KeyGrant | None = None, error: str = "") -> None:
        known = {
            handshake.SESSION_TYPE: Answer(handshake.SESSION_TYPE, Status.DONE),
            handshake.KMS_ENCRYPTION: Answer(
                handshake.KMS_ENCRYPTION, Status.DONE if grant else Status.FAILED, error, grant
            ),
        }
        answers = [
            known.get(action, Answer(action, Status.UNSUPPORTED, f"{action} is not supported by this client"))
            for action in request.actions
        ]
        self._send(PayloadType.HANDSHAKE_RESPONSE, handshake.encode_response(answers))
