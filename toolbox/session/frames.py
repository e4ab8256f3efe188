"""Our own frames inside the raw terminal: {channel, kind, length, payload}, what the client and the relay exchange.

Towards the far side the path is 8-bit clean. On the way back amazon-ssm-agent cuts EF BF BD to EF, and holds back up to
three trailing bytes that are not (yet) UTF-8: so EF BF travels as EF BF 00, and each frame ends in three ASCII bytes.

The relay imports this module: nothing here may be slow to import.
"""

import json
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple

from toolbox.errors import SessionError

MARKER: Final = b"toolbox-relay 1 raw\n"
"""What the relay prints once its terminal is raw; the number is the version of these frames."""

CREDIT: Final = 256 * 1024
"""Bytes of data a channel may have under way in one direction; more is granted after delivery."""

_HEADER: Final = struct.Struct(">HBH")
MAX_PAYLOAD: Final = 4096 - _HEADER.size
"""A whole frame fills four messages of 1 KB."""

MAX_OPENING: Final = 256 * 1024
"""Longest OPEN; Linux takes no longer argument than 128 KB anyway."""

_TAIL: Final = b"~.\n"
_CUT: Final = b"\xef\xbf"
_ESCAPED: Final = b"\xef\xbf\x00"
_CREDIT: Final = struct.Struct(">I")
_SIZE: Final = struct.Struct(">HH")


class FrameError(SessionError):
    """Bytes that are none of our frames, or a frame where it has no business."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The session's frames are garbled: {what}.",
            cause="relay-garbled",
            next_step="Open a new shell; if it happens again, use --client plugin.",
        )


class Kind(IntEnum):
    """What a frame says. Channel 0 is the connection itself; the client opens the others."""

    HELLO = 1  # relay, channel 0: who it is (JSON)
    PING = 2  # client, channel 0: alive; the payload comes back as PONG
    PONG = 3
    BYE = 4  # either, channel 0: over; the relay's may say why
    OPEN = 5  # client: a new channel (JSON with its `kind`)
    DATA = 6  # stdin, stdout, a file's bytes, the JSON of an answer
    DATA_STDERR = 7
    EOF = 8  # no DATA follows in this direction
    CREDIT = 9  # so many more bytes may be sent (u32)
    EXIT = 10  # relay, last frame of a channel: how it ended (JSON)
    FAILED = 11  # relay, last frame of a channel: it came to nothing (JSON: cause, text)
    SIGNAL = 12  # client: a signal's name
    SIZE = 13  # client: the terminal's columns and rows (2 u16)
    UNREAD = 14  # client: nobody reads this output any more (the kind of its data, one byte)
    PREPARE = 15  # client: a beginning of an OPEN that is longer than a frame


class Frame(NamedTuple):
    """One frame."""

    channel: int
    kind: Kind
    payload: bytes = b""


def encode(frame: Frame) -> bytes:
    """`frame` on its way to the far side."""
    if len(frame.payload) > MAX_PAYLOAD:
        raise FrameError(f"a payload of {len(frame.payload)} bytes")
    return _HEADER.pack(frame.channel, frame.kind, len(frame.payload)) + frame.payload


def encode_guarded(frame: Frame) -> bytes:
    """`frame` on its way back, safe from what the agent does to text."""
    return encode(frame).replace(_CUT, _ESCAPED) + _TAIL


def split(channel: int, kind: Kind, data: bytes | bytearray) -> Iterator[Frame]:
    """`data` as frames of at most MAX_PAYLOAD."""
    for start in range(0, len(data), MAX_PAYLOAD):
        yield Frame(channel, kind, bytes(data[start : start + MAX_PAYLOAD]))


def opening(channel: int, fields: dict[str, object]) -> Iterator[Frame]:
    """The frames that open `channel`; raises SessionError when `fields` are longer than any command can be."""
    data = encode_json(fields)
    if len(data) > MAX_OPENING:
        raise SessionError(
            f"The command is too long: {len(data)} bytes, and {MAX_OPENING} is the most.",
            cause="command-too-long",
            next_step="Send it as a script on stdin.",
        )
    *beginnings, last = split(channel, Kind.PREPARE, data)
    yield from beginnings
    yield last._replace(kind=Kind.OPEN)


class Decoder:
    """Frames out of a stream of bytes, whatever its pieces. Holds at most one incomplete frame."""

    _tail: bytes = b""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes; raises FrameError at the first that is none."""
        self._buffer += data
        frames: list[Frame] = []
        start = 0
        while len(self._buffer) - start >= _HEADER.size:
            channel, number, length = _HEADER.unpack_from(self._buffer, start)
            kind = _kind(number, length)
            body = start + _HEADER.size
            end = body + length + len(self._tail)
            if len(self._buffer) < end:
                break
            if self._buffer[body + length : end] != self._tail:
                raise FrameError("a frame does not end where it should")
            frames.append(Frame(channel, kind, bytes(self._buffer[body : body + length])))
            start = end
        del self._buffer[:start]
        return frames


class GuardedDecoder(Decoder):
    """The same for the way back: undoes the escapes, wants the tails."""

    _tail = _TAIL

    def __init__(self) -> None:
        super().__init__()
        self._partial = b""

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes; raises FrameError at the first that is none."""
        data = self._partial + data
        keep = 2 if data.endswith(_CUT) else 1 if data.endswith(_CUT[:1]) else 0
        self._partial = data[len(data) - keep :]
        data = data[: len(data) - keep]
        if data.count(_CUT) != data.count(_ESCAPED):
            raise FrameError("an escape is broken")
        return super().feed(data.replace(_ESCAPED, _CUT))


def _kind(number: int, length: int) -> Kind:
    try:
        kind = Kind(number)
    except ValueError as error:
        raise FrameError(f"a frame of kind {number}") from error
    if length > MAX_PAYLOAD:
        raise FrameError(f"a frame of {length} bytes")
    return kind


def encode_json(fields: dict[str, object]) -> bytes:
    """The payload of HELLO, OPEN, EXIT and FAILED."""
    return json.dumps(fields, separators=(",", ":")).encode()


def decode_json(payload: bytes | bytearray) -> dict[str, object]:
    """The object in such a payload; raises FrameError. (RecursionError: the parser's answer to deep nesting.)"""
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise FrameError("a payload that is no JSON") from error
    if not isinstance(fields, dict):
        raise FrameError("a payload that is no JSON object")
    return fields


def encode_credit(count: int) -> bytes:
    """The payload of CREDIT."""
    return _CREDIT.pack(count)


def decode_credit(payload: bytes) -> int:
    """The bytes that a CREDIT frame grants; raises FrameError."""
    if len(payload) != _CREDIT.size:
        raise FrameError("a credit without a number")
    count: int = _CREDIT.unpack(payload)[0]
    if count > CREDIT:
        raise FrameError(f"a credit of {count} bytes")
    return count


def encode_size(columns: int, rows: int) -> bytes:
    """The payload of SIZE, each number cut to what a terminal can have."""
    return _SIZE.pack(min(columns, 0xFFFF), min(rows, 0xFFFF))


def decode_size(payload: bytes) -> tuple[int, int]:
    """Columns and rows of a SIZE frame; raises FrameError."""
    if len(payload) != _SIZE.size:
        raise FrameError("a size without numbers")
    columns, rows = _SIZE.unpack(payload)
    return columns, rows
