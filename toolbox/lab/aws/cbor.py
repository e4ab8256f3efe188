"""As much CBOR (RFC 8949) as AWS's RPC v2 protocol needs, for moto speaks only its JSON sister.

Cloud Map's clients speak CBOR; the names and the nesting of what they say are those of the JSON protocol.
"""

import struct
from collections.abc import Mapping
from typing import Any, Final

_MAX_DEPTH: Final = 32
_TIMESTAMP_TAG: Final = 1
_INDEFINITE: Final = 31
_BREAK: Final = 0xFF
_SIMPLE: Final[Mapping[int, bool | None]] = {20: False, 21: True, 22: None, 23: None}
_FLOATS: Final = {25: (">e", 2), 26: (">f", 4), 27: (">d", 8)}


class Timestamp(float):
    """Seconds since the epoch that are to go out under tag 1."""


class Malformed(ValueError):
    """The bytes are no CBOR that we read."""


def decode(data: bytes) -> Any:
    """The one value in `data`; raises Malformed."""
    try:
        value, end = _item(data, 0, 0)
    except (IndexError, struct.error, UnicodeDecodeError, TypeError) as error:
        raise Malformed("the CBOR body is cut short or garbled") from error
    if end != len(data):
        raise Malformed("bytes follow the CBOR body")
    return value


def encode(value: Any) -> bytes:
    """`value`, of what JSON knows plus bytes and Timestamp, as CBOR."""
    match value:
        case None | bool():
            return bytes([{False: 0xF4, True: 0xF5, None: 0xF6}[value]])
        case Timestamp():
            return _head(6, _TIMESTAMP_TAG) + b"\xfb" + struct.pack(">d", value)
        case int():
            return _head(0, value) if value >= 0 else _head(1, -1 - value)
        case float():
            return b"\xfb" + struct.pack(">d", value)
        case bytes():
            return _head(2, len(value)) + value
        case str():
            text = value.encode()
            return _head(3, len(text)) + text
        case list() | tuple():
            return _head(4, len(value)) + b"".join(encode(item) for item in value)
        case Mapping():
            return _head(5, len(value)) + b"".join(encode(key) + encode(item) for key, item in value.items())
        case _:
            raise TypeError(f"{type(value).__name__} has no place in an AWS answer")


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes([major << 5 | argument])
    for information, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << (8 * size):
            return bytes([major << 5 | information]) + argument.to_bytes(size)
    raise OverflowError("an integer of more than 64 bits")


def _item(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    """The value that begins at `at`, and where the next one begins."""
    if depth > _MAX_DEPTH:
        raise Malformed("the CBOR body is nested too deeply")
    major, information = data[at] >> 5, data[at] & 31
    if major == 7:
        return _simple(data, at, information)
    argument, at = _argument(data, at + 1, information)
    match major:
        case 0:
            return _definite(argument), at
        case 1:
            return -1 - _definite(argument), at
        case 2 | 3:
            raw, at = _string(data, at, argument)
            return (raw if major == 2 else raw.decode()), at
        case 4:
            items, at = _sequence(data, at, argument, depth)
            return items, at
        case 5:
            flat, at = _sequence(data, at, None if argument is None else 2 * argument, depth)
            return dict(zip(flat[::2], flat[1::2], strict=True)), at
        case _:
            return _item(data, at, depth + 1)  # a tag: what is tagged is what counts


def _argument(data: bytes, at: int, information: int) -> tuple[int | None, int]:
    if information < 24:
        return information, at
    if information == _INDEFINITE:
        return None, at
    if information > 27:
        raise Malformed("a reserved CBOR length")
    size = 1 << (information - 24)
    return int.from_bytes(_take(data, at, size)), at + size


def _definite(argument: int | None) -> int:
    if argument is None:
        raise Malformed("an integer without an end")
    return argument


def _take(data: bytes, at: int, size: int) -> bytes:
    if at + size > len(data):
        raise Malformed("the CBOR body is cut short")
    return data[at : at + size]


def _string(data: bytes, at: int, length: int | None) -> tuple[bytes, int]:
    if length is not None:
        return _take(data, at, length), at + length
    parts = []
    while data[at] != _BREAK:
        size, at = _argument(data, at + 1, data[at] & 31)
        part, at = _string(data, at, _definite(size))
        parts.append(part)
    return b"".join(parts), at + 1


def _sequence(data: bytes, at: int, length: int | None, depth: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    while data[at] != _BREAK if length is None else len(items) < length:
        item, at = _item(data, at, depth + 1)
        items.append(item)
    return items, at + (length is None)


def _simple(data: bytes, at: int, information: int) -> tuple[Any, int]:
    if information in _FLOATS:
        form, size = _FLOATS[information]
        return struct.unpack(form, _take(data, at + 1, size))[0], at + 1 + size
    if information not in _SIMPLE:
        raise Malformed("a CBOR value that AWS never sends")
    return _SIMPLE[information], at + 1
