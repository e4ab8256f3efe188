"""What AWS's plugin and agent encrypt in a session with a KMS key, and how: pure, but for the random nonces.

AES-256-GCM without associated data, a key for each direction out of one data key, and on the wire 12 bytes of nonce,
the ciphertext and 16 bytes of tag: the plugin's and the agent's `encrypter.go`; AWS publishes no specification.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from toolbox.errors import SessionError
from toolbox.session.wire import PayloadType

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

DATA_KEY_BYTES: Final = 64
"""How long a data key is: two AES-256 keys."""

OVERHEAD: Final = 28
"""How much longer a payload becomes."""

_HALF: Final = DATA_KEY_BYTES // 2
_NONCE_BYTES: Final = 12
_FROM_AGENT: Final = frozenset({PayloadType.OUTPUT, PayloadType.STDERR, PayloadType.EXIT_CODE})
_FROM_CLIENT: Final = frozenset({PayloadType.OUTPUT})


class SealBroken(SessionError):
    """What arrived was not encrypted with the session's key, or was changed on the way."""

    def __init__(self) -> None:
        super().__init__(
            "The session sent something that its key does not fit: it was changed on the way, or is not from its task.",
            cause="session-tampered",
            next_step="Open a new shell; if it happens again, do not use this network.",
        )


@dataclass(frozen=True, slots=True)
class DataKey:
    """What kms:GenerateDataKey gives: the key itself, a secret, and the same encrypted for the agent to decrypt."""

    plaintext: bytes = field(repr=False)
    blob: bytes


class Encryption:
    """One side's view of a session's two keys. Made by `client_side` and `agent_side`."""

    def __init__(self, sending: "AESGCM", receiving: "AESGCM", sealed: frozenset[PayloadType]) -> None:
        self._sending = sending
        self._receiving = receiving
        self._sealed = sealed

    def outgoing(self, payload_type: PayloadType, payload: bytes) -> bytes:
        """`payload` as this side sends it: encrypted where its type is; sizes and the handshake stay clear."""
        return self.seal(payload) if payload_type in self._sealed else payload

    def seal(self, data: bytes) -> bytes:
        """`data` encrypted for the other side, `OVERHEAD` bytes longer, and never twice the same."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._sending.encrypt(nonce, data, None)

    def open(self, data: bytes) -> bytes:
        """What the other side sealed; raises SealBroken."""
        from cryptography.exceptions import InvalidTag

        if len(data) < OVERHEAD:
            raise SealBroken
        try:
            return self._receiving.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], None)
        except InvalidTag as error:
            raise SealBroken from error


def client_side(key: bytes) -> Encryption:
    """The near side's: the first half of the data key is for what the agent sends. ValueError for another length."""
    from_agent, from_client = _halves(key)
    return Encryption(from_client, from_agent, _FROM_CLIENT)


def agent_side(key: bytes) -> Encryption:
    """The agent's, from the same data key. ValueError for another length."""
    from_agent, from_client = _halves(key)
    return Encryption(from_agent, from_client, _FROM_AGENT)


def context(session_id: str, challenge: str | None) -> dict[str, str]:
    """The encryption context that client and agent give KMS, without the target, which each side adds as it knows it.

    A `challenge` is the agent's, in its own words, and bound into the key only by a client that says so.
    """
    bound = {} if challenge is None else {"aws:ssm:RandomChallenge": challenge}
    return {"aws:ssm:SessionId": session_id, **bound}


def for_target(unbound: Mapping[str, str], target: str) -> dict[str, str]:
    """The whole context: `target` is `ecs:CLUSTER_TASKID_RUNTIMEID`."""
    return {**unbound, "aws:ssm:TargetId": target}


def _halves(key: bytes) -> "tuple[AESGCM, AESGCM]":
    # Here, since most sessions are not encrypted, and this import is felt at the start.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(key) != DATA_KEY_BYTES:
        raise ValueError(f"a data key of {len(key)} bytes")
    return AESGCM(key[:_HALF]), AESGCM(key[_HALF:])
