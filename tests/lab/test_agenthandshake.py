"""The agent's side of the handshake under a KMS key, against clients that answer wrongly."""

import asyncio
from collections.abc import Callable

import pytest

from tests.support.keyring import KEY, KeyRing
from toolbox.lab.agenthandshake import Handshake, HandshakeFailed
from toolbox.session import encryption, handshake
from toolbox.session.encryption import DataKey, Encryption
from toolbox.session.handshake import Answer, KeyGrant, KeyWish, Status
from toolbox.session.wire import INPUT, Message, PayloadType

SESSION = "ecs-execute-command-1"
Alter = Callable[[bytes], bytes]


class Client:
    """A client that does everything right, but for what a test sets."""

    def __init__(self) -> None:
        self.keys = KeyRing()
        self.session = SESSION
        self.target = KEY.target
        self.acknowledges = True
        self.binds = True
        self.half: Callable[[bytes], Encryption] = encryption.client_side
        self.solve: Alter = lambda riddle: riddle
        self.said: list[PayloadType] = []
        self.answers: asyncio.Queue[Message] = asyncio.Queue()
        self.key = DataKey(b"", b"")

    async def hears(self, payload_type: PayloadType, payload: bytes) -> None:
        """What the agent sends; answers at once."""
        if payload_type is PayloadType.HANDSHAKE_REQUEST:
            wish = handshake.decode_request(payload).key
            assert wish is not None
            self._say(PayloadType.HANDSHAKE_RESPONSE, handshake.encode_response(await self._granted(wish)))
        elif payload_type is PayloadType.CHALLENGE_REQUEST:
            riddle = encryption.client_side(self.key.plaintext).open(handshake.decode_challenge(payload))
            solved = self.half(self.key.plaintext).seal(self.solve(riddle))
            self._say(PayloadType.CHALLENGE_RESPONSE, handshake.encode_challenge(solved))

    async def _granted(self, wish: KeyWish) -> list[Answer]:
        context = encryption.context(self.session, wish.challenge if self.binds else None)
        self.key = await self.keys.data_key(wish.key_id, encryption.for_target(context, self.target))
        grant = KeyGrant(self.key.blob, bound=self.acknowledges)
        return [
            Answer(handshake.SESSION_TYPE, Status.DONE),
            Answer(handshake.KMS_ENCRYPTION, Status.DONE, "", grant),
        ]

    def _say(self, payload_type: PayloadType, payload: bytes) -> None:
        self.said.append(payload_type)
        self.answers.put_nowait(Message(INPUT, 0, payload, payload_type))

    async def shake(self) -> Encryption:
        """The agent's keys."""
        hands = Handshake(SESSION, KEY, self.keys.decrypt, self.hears, self.answers, 5.0)
        keys = await hands.shake()
        assert keys is not None
        return keys


async def test_both_have_the_same_keys_at_the_end() -> None:
    client = Client()
    keys = await client.shake()
    assert client.said == [PayloadType.HANDSHAKE_RESPONSE, PayloadType.CHALLENGE_RESPONSE]
    assert keys.open(encryption.client_side(client.key.plaintext).seal(b"words")) == b"words"


async def test_an_older_client_that_binds_no_challenge_is_taken() -> None:
    client = Client()
    client.acknowledges = client.binds = False
    await client.shake()
    assert "aws:ssm:RandomChallenge" not in client.keys.asked[0]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"session": "ecs-execute-command-2"}, "Fetching data key failed"),
        ({"target": "ecs:cluster_task_another"}, "Fetching data key failed"),
        ({"binds": False}, "Fetching data key failed"),
        ({"acknowledges": False}, "Fetching data key failed"),
        ({"half": encryption.agent_side}, "the client has another key"),
        ({"solve": lambda riddle: riddle[::-1]}, "does not match"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_what_is_wrong_fails_the_session(wrong: dict[str, object], said: str) -> None:
    client = Client()
    for name, value in wrong.items():
        setattr(client, name, value)
    with pytest.raises(HandshakeFailed) as caught:
        await client.shake()
    assert "Encountered error while initiating handshake" in caught.value.output
    assert said in caught.value.output


async def test_a_client_that_does_not_answer_is_not_waited_for() -> None:
    async def unheard(payload_type: PayloadType, payload: bytes) -> None:
        return None

    with pytest.raises(HandshakeFailed, match="timed out"):
        await Handshake(SESSION, KEY, KeyRing().decrypt, unheard, asyncio.Queue(), 0.05).shake()


async def test_garbage_for_an_answer_fails_the_session() -> None:
    client = Client()
    client.answers.put_nowait(Message(INPUT, 0, b"[]", PayloadType.HANDSHAKE_RESPONSE))
    with pytest.raises(HandshakeFailed, match="cannot be read"):
        await client.shake()
