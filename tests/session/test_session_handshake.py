"""The handshake as the agent and the plugin write it, and what the near side answers."""

import asyncio
import json
from collections.abc import Mapping

import pytest

from tests.support.keyring import KEY, KeyRing
from toolbox.errors import SessionError
from toolbox.session import encryption, handshake
from toolbox.session.encryption import DataKey, SealBroken
from toolbox.session.failures import KeyRefused, SessionRefused
from toolbox.session.handshake import Answer, KeyGrant, KeyWish, Request, Status
from toolbox.session.opening import Opening
from toolbox.session.wire import OUTPUT, Message, PayloadType, WireError

WISH = KeyWish(KEY.key_id, "Y2hhbGxlbmdl")


class NearSide:
    """An Opening whose messages are kept; it is also the gateway."""

    def __init__(self) -> None:
        self.keys = KeyRing()
        self.key = DataKey(b"", b"")
        self.sent: list[tuple[PayloadType, bytes]] = []
        self.failures: list[SessionError] = []
        self.opening = Opening("session", self, lambda *message: self.sent.append(message), self.failures.append)

    async def sign(self, url: str) -> Mapping[str, str]:
        return {}

    async def resume(self, session_id: str) -> str | None:
        return None

    async def data_key(self, key_id: str, context: Mapping[str, str]) -> DataKey:
        self.key = await self.keys.data_key(key_id, context)
        return self.key

    def take(self, payload_type: PayloadType, payload: bytes) -> bytes:
        return self.opening.take(Message(OUTPUT, 0, payload, payload_type))

    async def asked(self, wish: KeyWish | None) -> tuple[Answer, ...]:
        """What it answers to a handshake."""
        shown = self.take(PayloadType.HANDSHAKE_REQUEST, handshake.encode_request("3.3", "InteractiveCommands", wish))
        assert shown == b""
        await asyncio.gather(*self.opening.jobs)
        ((payload_type, payload),) = self.sent
        assert payload_type is PayloadType.HANDSHAKE_RESPONSE
        return handshake.decode_response(payload)


def test_the_payloads_as_the_agent_and_the_plugin_write_them() -> None:
    session_type = {
        "ActionType": "SessionType",
        "ActionParameters": {"SessionType": "InteractiveCommands", "Properties": None},
    }
    wish = {"ActionType": "KMSEncryption", "ActionParameters": {"KMSKeyId": KEY.key_id, "Challenge": "Y2hhbGxlbmdl"}}
    plain, secret = (handshake.encode_request("3.3.0.0", "InteractiveCommands", key) for key in (None, WISH))
    assert json.loads(plain) == {"AgentVersion": "3.3.0.0", "RequestedClientActions": [session_type]}
    assert json.loads(secret)["RequestedClientActions"] == [session_type, wish]
    assert handshake.decode_request(secret) == Request(("SessionType", "KMSEncryption"), WISH)
    done = [Answer("SessionType", Status.DONE), Answer("KMSEncryption", Status.DONE, "", KeyGrant(b"blob", bound=True))]
    assert json.loads(handshake.encode_response(done)) == {
        "ClientVersion": "1.2.764.0",
        "ProcessedClientActions": [
            {"ActionType": "SessionType", "ActionStatus": 1, "ActionResult": None, "Error": ""},
            {
                "ActionType": "KMSEncryption",
                "ActionStatus": 1,
                "ActionResult": {
                    "KMSCipherTextKey": "YmxvYg==",
                    "KMSCipherTextHash": None,
                    "ChallengeAcknowledgement": True,
                },
                "Error": "",
            },
        ],
        "Errors": None,
    }
    assert handshake.decode_response(handshake.encode_response(done)) == tuple(done)
    assert handshake.customer_message(handshake.encode_complete(5, "hello")) == "hello"
    assert handshake.decode_challenge(handshake.encode_challenge(b"\0\xff")) == b"\0\xff"


@pytest.mark.parametrize("wished", [None, {}, {"KMSKeyId": ""}, {"KMSKeyId": "k", "Challenge": 5}])
def test_a_wish_without_a_key_is_garbled(wished: object) -> None:
    actions = [{"ActionType": "KMSEncryption", "ActionParameters": wished}]
    with pytest.raises(WireError):
        handshake.decode_request(json.dumps({"RequestedClientActions": actions}).encode())


async def test_a_session_in_the_clear() -> None:
    near = NearSide()
    assert await near.asked(None) == (Answer("SessionType", Status.DONE),)
    assert near.take(PayloadType.OUTPUT, b"clear") == b"clear"
    assert near.opening.outgoing(PayloadType.OUTPUT, b"clear") == b"clear"


async def test_an_action_that_nobody_knows_is_unsupported() -> None:
    near = NearSide()
    near.take(PayloadType.HANDSHAKE_REQUEST, b'{"RequestedClientActions":[{"ActionType":"Dance"}]}')
    ((_, payload),) = near.sent
    (answer,) = handshake.decode_response(payload)
    assert (answer.action, answer.status) == ("Dance", Status.UNSUPPORTED)


@pytest.mark.parametrize("challenge", ["Y2hhbGxlbmdl", None])
async def test_the_key_is_bound_to_the_session_and_to_the_challenge_if_there_is_one(challenge: str | None) -> None:
    near = NearSide()
    _, answer = await near.asked(KeyWish(KEY.key_id, challenge))
    assert answer == Answer("KMSEncryption", Status.DONE, "", KeyGrant(near.key.blob, bound=challenge is not None))
    assert near.keys.asked == [encryption.context("session", challenge)]
    assert near.key.plaintext not in near.sent[0][1]
    agent = encryption.agent_side(near.key.plaintext)
    assert near.take(PayloadType.OUTPUT, agent.seal(b"out")) == b"out"
    assert near.take(PayloadType.STDERR, agent.seal(b"err")) == b"err"
    assert agent.open(near.opening.outgoing(PayloadType.OUTPUT, b"in")) == b"in"
    assert near.opening.outgoing(PayloadType.SIZE, b"{}") == b"{}"


async def test_one_challenge_is_solved_with_our_own_half_and_no_other() -> None:
    """Whoever carries the messages must not have output of the agent's encrypted as if we had typed it."""
    near = NearSide()
    await near.asked(WISH)
    agent = encryption.agent_side(near.key.plaintext)
    near.take(PayloadType.CHALLENGE_REQUEST, handshake.encode_challenge(agent.seal(b"riddle")))
    payload_type, payload = near.sent[-1]
    assert payload_type is PayloadType.CHALLENGE_RESPONSE
    assert agent.open(handshake.decode_challenge(payload)) == b"riddle"
    output = agent.seal(b"rm -rf /")
    assert near.take(PayloadType.OUTPUT, output) == b"rm -rf /"
    sent = len(near.sent)
    near.take(PayloadType.CHALLENGE_REQUEST, handshake.encode_challenge(output))
    assert len(near.sent) == sent


async def test_nothing_is_shown_or_sent_in_the_clear_once_a_key_was_wanted() -> None:
    near = NearSide()
    near.take(PayloadType.HANDSHAKE_REQUEST, handshake.encode_request("3.3", "InteractiveCommands", WISH))
    with pytest.raises(SessionRefused):
        near.take(PayloadType.OUTPUT, b"clear, and no key yet")
    with pytest.raises(SessionRefused):
        near.opening.outgoing(PayloadType.OUTPUT, b"password")
    await asyncio.gather(*near.opening.jobs)
    with pytest.raises(SealBroken):
        near.take(PayloadType.OUTPUT, b"clear, although there is a key")


async def test_a_handshake_after_the_first_output_is_none() -> None:
    near = NearSide()
    assert near.take(PayloadType.OUTPUT, b"clear") == b"clear"
    near.take(PayloadType.HANDSHAKE_REQUEST, handshake.encode_request("3.3", "InteractiveCommands", WISH))
    assert not near.sent
    assert not near.keys.asked


async def test_without_a_key_the_agent_is_told_and_so_are_we() -> None:
    near = NearSide()
    near.keys.refusal = SessionError("kms:GenerateDataKey is missing.", cause="access-denied", next_step="Ask for it.")
    session_type, kms = await near.asked(WISH)
    assert (session_type.status, kms.status, kms.grant) == (Status.DONE, Status.FAILED, None)
    assert "kms:GenerateDataKey is missing." in kms.error
    first = near.failures[0]
    assert isinstance(first, KeyRefused)
    assert (first.cause, first.next_step) == ("access-denied", "Ask for it.")
    assert first.sentence.endswith("kms:GenerateDataKey is missing.")
