"""AES-GCM as the plugin and the agent use it: round trips, known bytes, and everything that must not open."""

import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from toolbox.session import encryption
from toolbox.session.encryption import OVERHEAD, DataKey, SealBroken
from toolbox.session.wire import PayloadType

KEY = bytes(range(64))
CLIENT, AGENT = encryption.client_side(KEY), encryption.agent_side(KEY)


@given(st.binary(max_size=2000))
def test_what_one_side_seals_the_other_opens(data: bytes) -> None:
    for near, far in ((CLIENT, AGENT), (AGENT, CLIENT)):
        sealed = near.seal(data)
        assert len(sealed) == len(data) + OVERHEAD
        assert far.open(sealed) == data
        assert near.seal(data) != sealed  # another nonce


def test_the_layout_is_nonce_ciphertext_tag_and_the_first_half_is_the_agent_s() -> None:
    # McGrew and Viega, 'The Galois/Counter Mode of Operation', test case 14: an all-zero key, nonce and block.
    sealed = bytes(12) + bytes.fromhex("cea7403d4d606b6e074ec5d3baf39d18" + "d0d1c8a799996bf0265b98b5d48ab919")
    assert encryption.client_side(bytes(32) + b"x" * 32).open(sealed) == bytes(16)
    assert encryption.agent_side(b"x" * 32 + bytes(32)).open(sealed) == bytes(16)
    theirs = bytes(12) + AESGCM(KEY[:32]).encrypt(bytes(12), b"from the agent", None)
    ours = bytes(12) + AESGCM(KEY[32:]).encrypt(bytes(12), b"from the client", None)
    assert (CLIENT.open(theirs), AGENT.open(ours)) == (b"from the agent", b"from the client")


def test_the_wrong_half_opens_nothing() -> None:
    for side in (CLIENT, AGENT):
        with pytest.raises(SealBroken):
            side.open(side.seal(b"my own"))


@given(st.binary(min_size=1, max_size=64), st.integers(min_value=0), st.integers(1, 255))
def test_a_changed_byte_is_noticed_wherever_it_is(data: bytes, where: int, change: int) -> None:
    sealed = bytearray(AGENT.seal(data))
    sealed[where % len(sealed)] ^= change
    with pytest.raises(SealBroken):
        CLIENT.open(bytes(sealed))


@given(st.integers(0, OVERHEAD + 4))
def test_what_is_cut_short_does_not_open(length: int) -> None:
    with pytest.raises(SealBroken):
        CLIENT.open(AGENT.seal(b"12345")[:length])


@pytest.mark.parametrize("length", [0, 32, 63, 65])
def test_a_key_of_another_length_is_none(length: int) -> None:
    with pytest.raises(ValueError, match=str(length)):
        encryption.client_side(bytes(length))


def test_which_payloads_are_encrypted() -> None:
    def sealed(side: encryption.Encryption) -> set[PayloadType]:
        return {each for each in PayloadType if side.outgoing(each, b"{}") != b"{}"}

    assert sealed(CLIENT) == {PayloadType.OUTPUT}
    assert sealed(AGENT) == {PayloadType.OUTPUT, PayloadType.STDERR, PayloadType.EXIT_CODE}


def test_the_context_as_aws_names_it() -> None:
    assert encryption.for_target(encryption.context("session", "abc="), "ecs:c_t_r") == {
        "aws:ssm:SessionId": "session",
        "aws:ssm:TargetId": "ecs:c_t_r",
        "aws:ssm:RandomChallenge": "abc=",
    }
    assert set(encryption.context("session", None)) == {"aws:ssm:SessionId"}


def test_a_data_key_does_not_show_its_secret() -> None:
    assert "secret" not in repr(DataKey(b"secret", b"blob"))


def test_a_session_in_the_clear_does_not_load_it() -> None:
    program = "import sys, toolbox.session.remote as _; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
