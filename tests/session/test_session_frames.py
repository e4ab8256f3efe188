"""Our frames: every byte survives what AWS's agent does to text, and nothing but our own error comes of garbage."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolbox.lab.agenttext import HeldBack
from toolbox.session import frames
from toolbox.session.frames import Decoder, Frame, FrameError, GuardedDecoder, Kind

# Bytes that the agent maims or keeps are far more frequent here than in any file.
nasty = st.lists(
    st.sampled_from(
        [b"\xef", b"\xbf", b"\xbd", b"\xef\xbf\xbd", b"\xef\xbf\x00", b"\xe2\x82", b"\xf0\x9f", b"~.\n", b"a"]
    )
).map(b"".join)
payloads = (st.binary(max_size=300) | nasty).map(lambda data: data[: frames.MAX_PAYLOAD])
some_frames = st.lists(st.builds(Frame, st.integers(0, 0xFFFF), st.sampled_from(Kind), payloads), max_size=8)


def test_frame_vector() -> None:
    assert frames.encode(Frame(1, Kind.DATA, b"ab")) == b"\x00\x01\x06\x00\x02ab"
    assert frames.encode_guarded(Frame(1, Kind.DATA, b"\xef\xbf\xbd")) == b"\x00\x01\x06\x00\x03\xef\xbf\x00\xbd~.\n"


@settings(deadline=None)
@given(some_frames, st.integers(1, 7))
def test_round_trip_in_any_pieces(sent: list[Frame], piece: int) -> None:
    for encode, decoder in ((frames.encode, Decoder()), (frames.encode_guarded, GuardedDecoder())):
        data = b"".join(map(encode, sent))
        got = [frame for start in range(0, len(data), piece) for frame in decoder.feed(data[start : start + piece])]
        assert got == sent


@settings(deadline=None)
@given(some_frames, st.integers(1, 7))
def test_survives_the_agent_without_anything_held_back(sent: list[Frame], piece: int) -> None:
    agent, decoder = HeldBack(), GuardedDecoder()
    data = b"".join(map(frames.encode_guarded, sent))
    got: list[Frame] = []
    for start in range(0, len(data), piece):
        got += decoder.feed(agent.pass_on(data[start : start + piece]))
    assert got == sent


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_garbage_raises_nothing_but_our_own_error(data: bytes) -> None:
    readers: list[Callable[[bytes], object]] = [
        Decoder().feed,
        GuardedDecoder().feed,
        frames.decode_json,
        frames.decode_credit,
        frames.decode_size,
    ]
    for read in readers:
        with suppress(FrameError):
            read(data)


def test_deep_nesting_is_our_own_error() -> None:
    with pytest.raises(FrameError):
        frames.decode_json(b"[" * 100_000)


def test_an_unguarded_cut_is_noticed() -> None:
    with pytest.raises(FrameError):
        GuardedDecoder().feed(frames.encode(Frame(1, Kind.DATA, b"\xef\xbf\xbd")) + b"~.\n")


def test_too_long_a_payload_is_refused() -> None:
    with pytest.raises(FrameError):
        frames.encode(Frame(1, Kind.DATA, bytes(frames.MAX_PAYLOAD + 1)))
    with pytest.raises(FrameError):
        Decoder().feed(b"\0\1\6\xff\xff")
