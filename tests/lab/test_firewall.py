import pytest

from toolbox.lab.addresses import Network, Slots, claim
from toolbox.lab.firewall import Peer, Rule, admits

_PEER = Peer("127.20.0.5", {"sg-services"})


@pytest.mark.parametrize(
    ("rule", "admitted"),
    [
        (Rule("tcp", 5432, 5432, group="sg-services"), True),
        (Rule("tcp", 5432, 5432, group="sg-others"), False),
        (Rule("tcp", 5000, 6000, cidr="127.20.0.0/16"), True),
        (Rule("tcp", 5432, 5432, cidr="127.21.0.0/16"), False),
        (Rule("tcp", 6379, 6379, group="sg-services"), False),
        (Rule("udp", 5432, 5432, group="sg-services"), False),
        (Rule("-1", None, None, cidr="0.0.0.0/0"), True),
        (Rule("tcp", 5432, 5432), False),
    ],
)
def test_a_rule_admits_what_it_says(rule: Rule, admitted: bool) -> None:
    assert admits([rule], 5432, _PEER) is admitted


def test_no_rule_admits_nothing() -> None:
    assert not admits([], 5432, _PEER)


def test_two_labs_never_share_a_network_and_a_closed_one_is_free_again() -> None:
    first, held = claim("same-name")
    second, other = claim("same-name")
    assert first != second
    held.close()
    third, again = claim("same-name")
    assert third == first
    again.close()
    other.close()


def test_every_slot_has_addresses_of_its_own_within_its_subnet() -> None:
    network = Network(20)
    slots = [network.slot(number, number % 2) for number in range(8000)]
    addresses = [address for slot in slots for address in (slot.task, slot.database, slot.redis, slot.resolver)]
    assert len(set(addresses)) == len(addresses)
    assert all(0 < int(part) < 255 for address in addresses for part in address.split(".")[3:])


def test_a_slot_that_was_given_back_comes_last() -> None:
    slots = Slots()
    first = slots.take()
    slots.give_back(first)
    assert [slots.take() for _ in range(3)] == [1, 2, 3]
