"""Hints must hold for everything that their cause covers."""

import pytest

from toolbox.model.result import Cause
from toolbox.probes.hints import network_hint


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause.startswith(("dns-", "tcp-", "tls-"))])
def test_every_cause_of_the_network_has_one_sentence(cause: Cause) -> None:
    hint = network_hint(cause, variable="DATABASE_URL", port=5432)
    assert hint
    assert "{" not in hint
    assert hint.endswith(".")
    assert ".." not in hint


def test_a_name_server_that_refuses_may_be_down() -> None:
    """Nothing listening on its port is a refusal, too: an ICMP one."""
    assert "down" in (network_hint(Cause.DNS_REFUSED, variable="DATABASE_URL", port=5432) or "")
