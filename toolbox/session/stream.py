"""One direction each of a session's ordered, reliable stream, without any I/O; time is a parameter (seconds).

The rules are those of AWS's plugin and agent, with their two races mended: a message is listed before it is sent, and
a duplicate is always acknowledged again.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")

_GRANULARITY: Final = 0.01
_MAX_TIMEOUT: Final = 1.0
_BACK_OFF_LIMIT: Final = 5.0
_SURELY_SEEN: Final = 2


class RoundTrip:
    """How long an acknowledgement may take (RFC 6298 with the agent's constants: it starts at 200 ms)."""

    def __init__(self) -> None:
        self._mean = 0.1
        self._variation = 0.0
        self.timeout = 0.2

    def observe(self, sample: float) -> None:
        """Learn from one acknowledgement of a message that was sent once."""
        self._variation = 0.75 * self._variation + 0.25 * abs(self._mean - sample)
        self._mean = 0.875 * self._mean + 0.125 * sample
        self.timeout = min(_MAX_TIMEOUT, self._mean + max(_GRANULARITY, 4 * self._variation))


@dataclass(slots=True)
class _Sent:
    data: bytes
    first: float
    last: float
    turn: int  # when it was last put on the current socket
    resends: int = 0


class Sender:
    """Numbers what is sent and repeats the oldest until it is acknowledged.

    Only the head is repeated, with growing gaps: the far side takes nothing in while its terminal is full, and a
    flood would not help. `window` bounds what is under way; `patience` is how long messages may wait without a single
    acknowledgement, while there is a socket, before `lost` says so.
    """

    def __init__(self, *, window: int, patience: float) -> None:
        self._window = window
        self._patience = patience
        self._unacknowledged: OrderedDict[int, _Sent] = OrderedDict()
        self._round_trip = RoundTrip()
        self._next = 0
        self._progress = 0.0
        self._turn = 0
        self._latest_seen = 0

    @property
    def room(self) -> int:
        """How many more messages may be sent now."""
        return max(0, self._window - len(self._unacknowledged))

    @property
    def is_new(self) -> bool:
        """Whether nothing was sent yet."""
        return self._next == 0

    @property
    def pending(self) -> int:
        """How many messages wait for their acknowledgement."""
        return len(self._unacknowledged)

    def send(self, encode: Callable[[int], bytes], now: float) -> bytes:
        """The next message, listed as under way: `encode` gets its number. The caller sees to it that there is room."""
        data = encode(self._next)
        self._turn += 1
        self._unacknowledged[self._next] = _Sent(data, now, now, self._turn)
        self._next += 1
        return data

    def acknowledge(self, sequence: int, now: float) -> bool:
        """Take note of an acknowledgement; False when nothing waited for it."""
        sent = self._unacknowledged.pop(sequence, None)
        if sent is None:
            return False
        self._progress = now
        self._latest_seen = max(self._latest_seen, sent.turn)
        if not sent.resends:  # which of several copies was acknowledged cannot be told (Karn's rule)
            self._round_trip.observe(now - sent.first)
        return True

    def overdue(self, now: float) -> bytes | None:
        """The oldest message once more, if its acknowledgement is late."""
        if not self._unacknowledged:
            return None
        head = next(iter(self._unacknowledged.values()))
        wait = min(_BACK_OFF_LIMIT, self._round_trip.timeout * 2 ** min(head.resends, 10))
        if now - head.last < wait:
            return None
        self._turn += 1
        head.last, head.turn = now, self._turn
        head.resends += 1
        return head.data

    def forget_ignored(self) -> None:
        """Forget a head that the peer must have taken: for AWS's plugin, which does not acknowledge duplicates.

        A socket keeps order. If something put on it after the head's latest copy was acknowledged, that copy was read;
        read twice and not acknowledged, it was a duplicate. (Once may be the plugin's gap at its start.)
        """
        while self._unacknowledged:
            number, head = next(iter(self._unacknowledged.items()))
            if head.resends < _SURELY_SEEN or head.turn >= self._latest_seen:
                return
            del self._unacknowledged[number]

    def reconnected(self, now: float) -> list[bytes]:
        """Everything unacknowledged, in order, for a new socket. Patience starts anew."""
        for sent in self._unacknowledged.values():
            self._turn += 1
            sent.first = sent.last = now
            sent.turn = self._turn
            sent.resends = 1
        return [sent.data for sent in self._unacknowledged.values()]

    def waiting(self, now: float) -> float:
        """For how long something has waited without any acknowledgement; 0 when nothing waits."""
        if not self._unacknowledged:
            return 0.0
        head = next(iter(self._unacknowledged.values()))
        return now - max(head.first, self._progress)

    def lost(self, now: float) -> bool:
        """Whether our patience is over."""
        return self.waiting(now) > self._patience


class Receiver(Generic[Item]):
    """Puts what arrives in order. `limit` bounds what is kept ahead of its turn."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._ahead: dict[int, Item] = {}
        self.expected = 0

    def accept(self, sequence: int, item: Item) -> tuple[bool, list[Item]]:
        """Whether to acknowledge `item`, and what is now in order.

        A duplicate is acknowledged again (its first acknowledgement may be lost); what does not fit is not.
        """
        if sequence < self.expected or sequence in self._ahead:
            return True, []
        if sequence > self.expected:
            if len(self._ahead) >= self._limit or sequence - self.expected > self._limit:
                return False, []
            self._ahead[sequence] = item
            return True, []
        ordered = [item]
        self.expected += 1
        while self.expected in self._ahead:
            ordered.append(self._ahead.pop(self.expected))
            self.expected += 1
        return True, ordered
