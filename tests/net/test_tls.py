"""Handshakes with real servers and real certificates: each failure with its cause."""

import datetime
import socket
import ssl
from pathlib import Path

import pytest

from tests.support.certificates import DAY, Authority
from tests.support.sockets import answering, black_hole, free_port
from tests.support.tlsservers import tls_server
from toolbox.model.result import Cause
from toolbox.net.fault import Fault
from toolbox.net.tls import Secured, secure


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def shake(port: int, authority: Authority, name: str = "db.lab", timeout: float = 2.0) -> Secured:
    context = ssl.create_default_context(cafile=str(authority.root))
    return await secure("127.0.0.1", port, server_name=name, context=context, timeout=timeout)


def cause_of(secured: Secured) -> Cause | None:
    return secured.fault.cause if secured.fault else None


async def test_a_good_certificate(authority: Authority) -> None:
    with tls_server(authority.issue("db.lab")) as port:
        secured = await shake(port, authority)
    assert secured.fault is None
    assert secured.version == "TLSv1.3"
    assert secured.cipher
    assert 0 < secured.seconds < 2


@pytest.mark.parametrize(
    ("since", "until", "self_signed", "name", "cause"),
    [
        (-2 * DAY, -DAY, False, "db.lab", Cause.TLS_EXPIRED),
        (DAY, 2 * DAY, False, "db.lab", Cause.TLS_NOT_YET_VALID),
        (-DAY, DAY, True, "db.lab", Cause.TLS_SELF_SIGNED),
        (-DAY, DAY, False, "other.lab", Cause.TLS_HOSTNAME),
        (-DAY, DAY, False, "10.0.0.1", Cause.TLS_HOSTNAME),
    ],
)
async def test_each_bad_certificate_has_its_cause(
    authority: Authority,
    since: datetime.timedelta,
    until: datetime.timedelta,
    self_signed: bool,
    name: str,
    cause: Cause,
) -> None:
    pair = authority.issue("db.lab", since=since, until=until, self_signed=self_signed)
    with tls_server(pair) as port:
        assert cause_of(await shake(port, authority, name)) is cause


async def test_an_authority_that_nobody_knows(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    stranger = Authority(tmp_path / "else", name="Somebody Else")
    with tls_server(stranger.issue("db.lab")) as port:
        assert cause_of(await shake(port, authority)) is Cause.TLS_UNTRUSTED


async def test_no_common_version(authority: Authority) -> None:
    with tls_server(authority.issue("db.lab"), newest=ssl.TLSVersion.TLSv1_2) as port:
        context = ssl.create_default_context(cafile=str(authority.root))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        secured = await secure("127.0.0.1", port, server_name="db.lab", context=context, timeout=2)
    assert cause_of(secured) is Cause.TLS_PROTOCOL


async def test_another_protocol(authority: Authority) -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert cause_of(await shake(port, authority)) is Cause.PROTOCOL_MISMATCH


async def test_a_server_that_hangs_up(authority: Authority) -> None:
    with answering(b"") as port:
        assert cause_of(await shake(port, authority)) is Cause.TLS_HANDSHAKE
    with answering(b"", reset=True) as port:
        assert cause_of(await shake(port, authority)) is Cause.TCP_RESET


async def test_nobody_there(authority: Authority) -> None:
    assert cause_of(await shake(free_port(), authority)) is Cause.TCP_REFUSED
    with black_hole() as port:
        assert cause_of(await shake(port, authority, timeout=0.2)) is Cause.TLS_HANDSHAKE


async def test_a_preamble_may_decline(authority: Authority) -> None:
    declined = Fault(Cause.PROTOCOL_MISMATCH, "no TLS here")

    async def decline(sock: socket.socket) -> Fault | None:
        return declined

    with tls_server(authority.issue("db.lab")) as port:
        context = ssl.create_default_context(cafile=str(authority.root))
        secured = await secure("127.0.0.1", port, server_name="db.lab", context=context, timeout=2, preamble=decline)
    assert secured.fault == declined
