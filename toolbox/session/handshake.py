"""The handshake's payloads: what the agent asks, what the client answers, and the challenge under a KMS key.

JSON, as the plugin's and the agent's `contracts.go` lay it out; AWS publishes no specification.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from toolbox.session.wire import CLIENT_VERSION, WireError, read_object

SESSION_TYPE: Final = "SessionType"
KMS_ENCRYPTION: Final = "KMSEncryption"


class Status(IntEnum):
    """What became of an action; the numbers are AWS's. Any but DONE fails the session."""

    DONE = 1
    FAILED = 2
    UNSUPPORTED = 3


@dataclass(frozen=True, slots=True)
class KeyWish:
    """The agent wants the session encrypted with this KMS key. Agents before 3.3.808 send no challenge."""

    key_id: str
    challenge: str | None


@dataclass(frozen=True, slots=True)
class Request:
    """What a HandshakeRequest asks for: its ActionTypes in order, and the key where one of them is KMSEncryption."""

    actions: tuple[str, ...]
    key: KeyWish | None = None


@dataclass(frozen=True, slots=True)
class KeyGrant:
    """The client's data key, encrypted for the agent; `bound` where the challenge is in its encryption context."""

    blob: bytes
    bound: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one action, and why when it failed. `grant` only where KMSEncryption is DONE."""

    action: str
    status: Status | int
    error: str = ""
    grant: KeyGrant | None = None


def encode_request(agent_version: str, session_type: str, key: KeyWish | None = None) -> bytes:
    """What the agent asks of the client before the session starts."""
    actions: list[dict[str, object]] = [
        {"ActionType": SESSION_TYPE, "ActionParameters": {"SessionType": session_type, "Properties": None}}
    ]
    if key is not None:
        bound = {} if key.challenge is None else {"Challenge": key.challenge}
        actions.append({"ActionType": KMS_ENCRYPTION, "ActionParameters": {"KMSKeyId": key.key_id, **bound}})
    return json.dumps({"AgentVersion": agent_version, "RequestedClientActions": actions}).encode()


def decode_request(payload: bytes) -> Request:
    """What a HandshakeRequest asks for; raises WireError."""
    actions = _list(payload, "RequestedClientActions")
    names = tuple(str(action.get("ActionType", "")) for action in actions)
    wishes = [
        _key_wish(action.get("ActionParameters")) for action in actions if action.get("ActionType") == KMS_ENCRYPTION
    ]
    return Request(names, wishes[0] if wishes else None)


def encode_response(answers: Sequence[Answer]) -> bytes:
    """The answer: one entry per requested action, in order."""
    processed = [
        {
            "ActionType": answer.action,
            "ActionStatus": int(answer.status),
            "ActionResult": None if answer.grant is None else _result(answer.grant),
            "Error": answer.error,
        }
        for answer in answers
    ]
    errors = [answer.error for answer in answers if answer.error]
    fields = {"ClientVersion": CLIENT_VERSION, "ProcessedClientActions": processed, "Errors": errors or None}
    return json.dumps(fields).encode()


def decode_response(payload: bytes) -> tuple[Answer, ...]:
    """What the client answered to each action; raises WireError."""
    return tuple(
        Answer(
            str(fields.get("ActionType", "")),
            status if isinstance(status := fields.get("ActionStatus"), int) else 0,
            str(fields.get("Error") or ""),
            _grant(fields.get("ActionResult")),
        )
        for fields in _list(payload, "ProcessedClientActions")
    )


def encode_complete(nanoseconds: int, message: str = "") -> bytes:
    """The agent's last word of the handshake; `message` is meant for the person."""
    return json.dumps({"HandshakeTimeToComplete": nanoseconds, "CustomerMessage": message}).encode()


def customer_message(payload: bytes) -> str:
    """The message in a HandshakeComplete, "" when there is none."""
    message = read_object(payload).get("CustomerMessage", "")
    return message if isinstance(message, str) else ""


def encode_challenge(sealed: bytes) -> bytes:
    """The payload of EncChallengeRequest and EncChallengeResponse alike: bytes that its sender encrypted."""
    return json.dumps({"Challenge": base64.b64encode(sealed).decode()}).encode()


def decode_challenge(payload: bytes) -> bytes:
    """The encrypted bytes of a challenge, or of its answer; raises WireError."""
    return _bytes(read_object(payload).get("Challenge"))


def _key_wish(parameters: object) -> KeyWish:
    fields = parameters if isinstance(parameters, dict) else {}
    key_id, challenge = fields.get("KMSKeyId"), fields.get("Challenge")
    if not isinstance(key_id, str) or not key_id or not isinstance(challenge, str | None):
        raise WireError("a wish for encryption without a key")
    return KeyWish(key_id, challenge or None)


def _result(grant: KeyGrant) -> dict[str, object]:
    bound = {"ChallengeAcknowledgement": True} if grant.bound else {}
    return {"KMSCipherTextKey": base64.b64encode(grant.blob).decode(), "KMSCipherTextHash": None, **bound}


def _grant(result: object) -> KeyGrant | None:
    if not isinstance(result, dict) or "KMSCipherTextKey" not in result:
        return None
    return KeyGrant(_bytes(result["KMSCipherTextKey"]), result.get("ChallengeAcknowledgement") is True)


def _bytes(text: object) -> bytes:
    if not isinstance(text, str):
        raise WireError("a key or challenge is missing")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise WireError("a key or challenge is no base64") from error


def _list(payload: bytes, name: str) -> list[Mapping[str, object]]:
    """The list of objects that stands under `name`."""
    found = read_object(payload).get(name)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise WireError("a handshake without actions")
    return found
