"""The data channel's messages as bytes: what AWS's session-manager-plugin and amazon-ssm-agent write and read.

One layout serves both directions, big-endian, a header of 120 bytes and the payload after it. AWS publishes no
specification; the layout is that of the plugin's and the agent's `clientmessage.go`.
"""

import json
import os
import struct
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import Final

from toolbox.errors import SessionError

INPUT: Final = "input_stream_data"
OUTPUT: Final = "output_stream_data"
ACKNOWLEDGE: Final = "acknowledge"
CHANNEL_CLOSED: Final = "channel_closed"
PAUSE_PUBLICATION: Final = "pause_publication"
START_PUBLICATION: Final = "start_publication"

CLIENT_VERSION: Final = "1.2.764.0"
"""What we say that we are: the oldest plugin that AWS supports, and the first that signs its dial."""

MAX_PAYLOAD: Final = 1 << 14
"""Longest payload that we read. AWS's sides send about 1 KB; thousands may have to be kept ahead of their turn."""

_HEADER: Final = struct.Struct(">I32sIQqQ16s32sII")
_PAYLOAD_LENGTH_AT: Final = _HEADER.size - 4
_SYN_FIN: Final = 3
_ACK_PAYLOAD: Final = (
    b'{"AcknowledgedMessageType":"%s","AcknowledgedMessageId":"%s",'
    b'"AcknowledgedMessageSequenceNumber":%d,"IsSequentialMessage":true}'
)


class WireError(SessionError):
    """A message of the data channel that cannot be read."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The session sent a message that cannot be read: {what}.", cause="session-garbled")


class PayloadType(IntEnum):
    """What a stream message carries; the numbers are AWS's."""

    NONE = 0
    OUTPUT = 1
    SIZE = 3
    HANDSHAKE_REQUEST = 5
    HANDSHAKE_RESPONSE = 6
    HANDSHAKE_COMPLETE = 7
    CHALLENGE_REQUEST = 8
    CHALLENGE_RESPONSE = 9
    STDERR = 11
    EXIT_CODE = 12


@dataclass(frozen=True, slots=True)
class Message:
    """One binary message. `payload_type` may be a number that `PayloadType` does not name; `created` is Unix ms."""

    kind: str
    sequence: int
    payload: bytes
    payload_type: int = PayloadType.NONE
    flags: int = 0
    message_id: bytes = bytes(16)
    created: int = 0


@dataclass(frozen=True, slots=True)
class OpenFrame:
    """The first frame of a socket, as JSON text: who opens the channel, and with which token."""

    token: str
    client_id: str
    client_version: str | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """A terminal's size in characters."""

    columns: int
    rows: int


def new_message_id() -> bytes:
    """16 random bytes with the marks of a version 4 UUID (RFC 9562), cheaper than `uuid4()`."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    return bytes(raw)


def encode(message: Message) -> bytes:
    """`message` as it travels. An all-zero id or a zero time is replaced by a fresh one."""
    identity = message.message_id if any(message.message_id) else new_message_id()
    header = _HEADER.pack(
        _PAYLOAD_LENGTH_AT,
        message.kind.encode("ascii").ljust(32),
        1,
        message.created or time.time_ns() // 1_000_000,
        message.sequence,
        message.flags,
        identity[8:] + identity[:8],
        sha256(message.payload).digest(),
        message.payload_type,
        len(message.payload),
    )
    return header + message.payload


def decode(data: bytes) -> Message:
    """The message in `data`; raises WireError where AWS's readers would refuse it, or where it is oversized.

    As they do, the payload is everything after the header, and its digest decides, not the stated length.
    """
    if len(data) < _HEADER.size:
        raise WireError(f"{len(data)} bytes are less than a header")
    header_length, kind, _, created, sequence, flags, identity, digest, payload_type, payload_length = (
        _HEADER.unpack_from(data)
    )
    if not _PAYLOAD_LENGTH_AT <= header_length <= len(data) - 4:
        raise WireError(f"its header claims {header_length} bytes")
    payload = data[header_length + 4 :]
    if len(payload) > MAX_PAYLOAD:
        raise WireError(f"its payload has {len(payload)} bytes")
    name = kind.strip(b"\0").strip()
    if not name.isascii() or not name:
        raise WireError("it has no type")
    if name not in (b"pause_publication", b"start_publication"):
        if not created:
            raise WireError("it has no date")
        if payload_length and sha256(payload).digest() != digest:
            raise WireError("its digest does not match")
    return Message(name.decode("ascii"), sequence, payload, payload_type, flags, identity[8:] + identity[:8], created)


def encode_acknowledge(received: Message) -> bytes:
    """The acknowledgement of `received`, ready to send: one per message, never itself acknowledged."""
    plain = received.message_id.hex().encode("ascii")
    dashed = b"-".join((plain[:8], plain[8:12], plain[12:16], plain[16:20], plain[20:]))
    payload = _ACK_PAYLOAD % (received.kind.encode("ascii"), dashed, received.sequence)
    return encode(Message(ACKNOWLEDGE, 0, payload, flags=_SYN_FIN))


def acknowledged(message: Message) -> int:
    """The sequence number that an acknowledgement names: the only thing its receiver goes by."""
    number = read_object(message.payload).get("AcknowledgedMessageSequenceNumber")
    if not isinstance(number, int) or isinstance(number, bool):
        raise WireError("an acknowledgement without a number")
    return number


def encode_open(frame: OpenFrame) -> str:
    """The opening text frame, with a fresh RequestId."""
    fields = {
        "MessageSchemaVersion": "1.0",
        "RequestId": str(uuid.uuid4()),
        "TokenValue": frame.token,
        "ClientId": frame.client_id,
    }
    if frame.client_version:
        fields["ClientVersion"] = frame.client_version
    return json.dumps(fields)


def decode_open(text: str | bytes) -> OpenFrame:
    """The opening frame in `text`; older clients omit ClientVersion, some ClientId too."""
    fields = read_object(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    token, client, version = fields.get("TokenValue"), fields.get("ClientId", ""), fields.get("ClientVersion")
    if not isinstance(token, str) or not isinstance(client, str) or not isinstance(version, str | None):
        raise WireError("the opening frame has no token")
    return OpenFrame(token, client, version)


def encode_closed(session_id: str, output: str) -> bytes:
    """The message that ends a session; `output` is what is told to the person."""
    identity = new_message_id()
    fields = {
        "MessageId": str(uuid.UUID(bytes=identity)),
        "CreatedDate": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "DestinationId": session_id,
        "SessionId": session_id,
        "MessageType": CHANNEL_CLOSED,
        "SchemaVersion": 1,
        "Output": output,
    }
    return encode(Message(CHANNEL_CLOSED, 0, json.dumps(fields).encode(), flags=_SYN_FIN, message_id=identity))


def closed_output(message: Message) -> str:
    """Why the session ended, in the service's words; "" when it just ended."""
    output = read_object(message.payload).get("Output", "")
    return output if isinstance(output, str) else ""


def encode_size(size: Size) -> bytes:
    """The payload of a Size message."""
    return b'{"cols":%d,"rows":%d}' % (size.columns, size.rows)


def decode_size(payload: bytes) -> Size:
    """The size in a Size message's payload."""
    fields = read_object(payload)
    columns, rows = fields.get("cols"), fields.get("rows")
    if (
        not isinstance(columns, int)
        or not isinstance(rows, int)
        or not (0 <= columns < 1 << 16 and 0 <= rows < 1 << 16)
    ):
        raise WireError("a size without numbers")
    return Size(columns, rows)


def read_object(payload: bytes) -> Mapping[str, object]:
    """The JSON object in `payload`; raises WireError."""
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError) as error:  # the latter from deeply nested arrays
        raise WireError("it holds no JSON") from error
    if not isinstance(fields, dict):
        raise WireError("its JSON is no object")
    return fields
