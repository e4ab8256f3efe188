"""Whole sessions under a KMS key, over a real websocket: what is on the wire, and what ends them."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.execserver import RELAY, ExecServer, exec_server
from tests.support.farstdio import MemoryStdio
from tests.support.keyring import KEY
from tests.support.waiting import until
from toolbox.aws import AwsDenied
from toolbox.lab.agentsession import AgentSettings
from toolbox.session import frames, handshake, remote, wire
from toolbox.session.encryption import SealBroken
from toolbox.session.failures import AgentRefused, KeyRefused
from toolbox.session.handshake import Status
from toolbox.session.remote import Command, FarSide
from toolbox.session.wire import Message, PayloadType

_SEALED = (PayloadType.OUTPUT, PayloadType.STDERR, PayloadType.EXIT_CODE)


def connected(server: ExecServer) -> AbstractAsyncContextManager[FarSide]:
    return remote.connect(server.ticket(RELAY, KEY), server.gateway, deadline=10)


def recorded(server: ExecServer, change: Callable[[Message], Message] = lambda message: message) -> list[Message]:
    """Every message that passes from now on, after `change`."""
    messages: list[Message] = []

    def look(data: bytes) -> bytes:
        message = wire.decode(data)
        changed = change(message)
        messages.append(changed)
        return data if changed is message else wire.encode(changed)

    server.wire = look
    return messages


@pytest.mark.parametrize("always", [True, False])
async def test_a_command_whose_words_never_cross_the_wire(tmp_path: Path, always: bool) -> None:
    """As AWS's agents do, it shakes hands for the key's sake where it otherwise does not."""
    async with exec_server(tmp_path, AgentSettings(handshake=always)) as server:
        messages = recorded(server)
        async with connected(server) as far:
            stdio = MemoryStdio(b"the password")
            assert await far.run(Command(("cat; echo complaint >&2; exit 7",), False), stdio) == 7
        assert (bytes(stdio.out), bytes(stdio.err)) == (b"the password", b"complaint\n")
    clear = b"".join(message.payload for message in messages)
    for words in (b"the password", b"complaint", b"cat; echo", frames.MARKER):
        assert words not in clear
    streams = [message for message in messages if message.kind in (wire.INPUT, wire.OUTPUT)]
    first = [PayloadType(message.payload_type).name for message in streams][:5]
    assert first == [
        "HANDSHAKE_REQUEST", "HANDSHAKE_RESPONSE", "CHALLENGE_REQUEST", "CHALLENGE_RESPONSE", "HANDSHAKE_COMPLETE",
    ]  # fmt: skip
    request = handshake.decode_request(streams[0].payload)
    assert request.key is not None
    (asked,) = server.keys.asked
    assert asked["aws:ssm:TargetId"] == KEY.target
    assert asked["aws:ssm:RandomChallenge"] == request.key.challenge
    assert asked["aws:ssm:SessionId"].startswith("ecs-execute-command-")


async def test_what_is_sent_again_after_a_cut_is_the_same_ciphertext(tmp_path: Path) -> None:
    data = random.Random(3).randbytes(512 * 1024)
    async with exec_server(tmp_path) as server:
        messages = recorded(server)
        async with connected(server) as far:
            stdio, copy = MemoryStdio(data), tmp_path / "copy"
            copy.touch()

            running = asyncio.create_task(far.run(Command((f"tee {copy}",), False), stdio))
            await until(lambda: copy.stat().st_size > len(data) // 3, what="progress")
            server.cut()
            assert await running == 0
        assert bytes(stdio.out) == data
        assert server.opened == 2
    sent = defaultdict[tuple[str, int], list[bytes]](list)
    for message in messages:
        if message.payload_type in _SEALED:
            sent[message.kind, message.sequence].append(message.payload)
    assert any(len(copies) > 1 for copies in sent.values())
    assert all(len(set(copies)) == 1 for copies in sent.values())
    assert len({copies[0][:12] for copies in sent.values()}) == len(sent)  # no nonce twice


async def test_a_changed_message_ends_the_session(tmp_path: Path) -> None:
    """With a digest that fits: only the key tells."""

    def forged(message: Message) -> Message:
        if message.kind != wire.OUTPUT or message.payload_type != PayloadType.OUTPUT:
            return message
        return replace(message, payload=message.payload[:-1] + bytes([message.payload[-1] ^ 1]))

    async with exec_server(tmp_path) as server:
        recorded(server, forged)
        with pytest.raises(SealBroken):
            async with connected(server):
                pass


async def test_a_key_for_another_target_fails_on_the_agent_s_side(tmp_path: Path) -> None:
    async with exec_server(tmp_path) as server:
        server.gateway.target = "ecs:cluster_task_another-0123456789"
        with pytest.raises(AgentRefused) as caught:
            async with connected(server):
                pass
    assert "kms:Decrypt" in caught.value.next_step
    assert caught.value.detail[0].startswith("Fetching data key failed")
    assert not server.spawner.processes


async def test_a_denied_key_is_a_sentence_and_the_agent_hears_of_it(tmp_path: Path) -> None:
    async with exec_server(tmp_path) as server:
        messages = recorded(server)
        action = "kms:GenerateDataKey"
        server.keys.refusal = AwsDenied(
            action, f"AWS does not let you do this: {action} is missing.", f"Ask for {action}."
        )
        with pytest.raises(KeyRefused, match="there is no key for this one: AWS does not let you") as caught:
            async with connected(server):
                pass
        await until(lambda: any(_refuses(message) for message in messages), what="the answer")
    assert action in caught.value.sentence
    assert (caught.value.cause, caught.value.next_step) == ("access-denied", "Ask for kms:GenerateDataKey.")
    assert not server.spawner.processes


def _refuses(message: Message) -> bool:
    if message.payload_type != PayloadType.HANDSHAKE_RESPONSE:
        return False
    return [answer.status for answer in handshake.decode_response(message.payload)] == [Status.DONE, Status.FAILED]
