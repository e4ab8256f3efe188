import contextlib
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolbox.lab.aws import cbor

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


# RFC 8949, appendix A
@pytest.mark.parametrize(
    ("wire", "value"),
    [
        ("00", 0),
        ("1864", 100),
        ("1b000000e8d4a51000", 1000000000000),
        ("3903e7", -1000),
        ("f93c00", 1.0),
        ("fa47c35000", 100000.0),
        ("fb3ff199999999999a", 1.1),
        ("f4", False),
        ("f6", None),
        ("c11a514b67b0", 1363896240),
        ("4401020304", b"\x01\x02\x03\x04"),
        ("6449455446", "IETF"),
        ("83010203", [1, 2, 3]),
        ("a26161016162820203", {"a": 1, "b": [2, 3]}),
        ("5f42010243030405ff", b"\x01\x02\x03\x04\x05"),
        ("7f657374726561646d696e67ff", "streaming"),
        ("9f01820203ff", [1, [2, 3]]),
        ("bf6346756ef563416d7421ff", {"Fun": True, "Amt": -2}),
    ],
)
def test_it_reads_what_the_rfc_writes(wire: str, value: object) -> None:
    assert cbor.decode(bytes.fromhex(wire)) == value


@given(_VALUES)
def test_what_it_writes_it_reads(value: Any) -> None:
    assert cbor.decode(cbor.encode(value)) == value


def test_a_timestamp_goes_out_under_its_tag() -> None:
    assert cbor.encode(cbor.Timestamp(1.5)) == b"\xc1\xfb" + struct.pack(">d", 1.5)


@given(st.binary(max_size=64))
def test_garbage_is_malformed_and_nothing_else(data: bytes) -> None:
    with contextlib.suppress(cbor.Malformed):
        cbor.decode(data)
