"""Which loopback network a lab gets, and what keeps it from getting any."""

import socket

import pytest

from toolbox.errors import LabError
from toolbox.lab import addresses


def test_a_claimed_network_is_nobody_elses() -> None:
    first, claim = addresses.claim("one")
    with claim:
        second, other = addresses.claim("one")
        other.close()
    assert first.octet != second.octet


def test_a_server_on_every_address_is_not_taken_for_another_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as server:
        server.bind(("0.0.0.0", 0))  # it does not listen: nobody can reach it, and the address is taken all the same
        port = server.getsockname()[1]
        monkeypatch.setattr(addresses, "DATABASE", (1, port))
        with pytest.raises(LabError, match=f"listens on port {port} of every address") as caught:
            addresses.claim("one")
    assert "Stop it" in (caught.value.next_step or "")
