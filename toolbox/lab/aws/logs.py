"""CloudWatch Logs: where the containers' lines go, and FilterLogEvents as AWS answers it.

moto keeps groups, streams and events; its own FilterLogEvents ignores stream prefixes and most filter patterns.
"""

import asyncio
import base64
import heapq
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from toolbox.lab.aws.backends import Backends
from toolbox.lab.aws.faults import Fault

if TYPE_CHECKING:
    from moto.logs.models import LogEvent, LogGroup, LogStream

_BATCH_SECONDS: Final = 0.1
_KEPT_EVENTS: Final = 100_000  # a stream; a lab that runs for days must not grow for ever
_DROPPED_AT_ONCE: Final = 10_000
# FilterLogEvents: at most 10,000 events or 1 MB a page; an event counts 26 bytes beside its message
# (CloudWatch Logs API Reference, FilterLogEvents and PutLogEvents).
_PAGE_EVENTS: Final = 10_000
_PAGE_BYTES: Final = 1 << 20
_EVENT_BYTES: Final = 26

Key: TypeAlias = tuple[int, int, int]
"""The order in which AWS answers: timestamp, ingestion time, event id."""


class Sink:
    """A container's log stream (contract.LogStream): collects lines and hands them over ten times a second."""

    def __init__(self, backends: Backends, group: str, stream: str) -> None:
        self._backends = backends
        self._group = group
        self._stream = stream
        self._lines: list[dict[str, Any]] = []
        self._timer: asyncio.TimerHandle | None = None

    def write(self, line: str) -> None:
        """Keep one line; a blank one makes no event, since AWS takes none without a message."""
        if not line.strip():
            return
        self._lines.append({"timestamp": time.time_ns() // 1_000_000, "message": line})
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_BATCH_SECONDS, self._flush)

    def close(self) -> None:
        """Hand over what is left."""
        if self._timer is not None:
            self._timer.cancel()
        self._flush()

    def _flush(self) -> None:
        self._timer = None
        lines, self._lines = self._lines, []
        if not lines:
            return
        with self._backends.locked():
            group = self._backends.logs.groups.get(self._group)
            stream = group.streams.get(self._stream) if group else None
            if stream is None:  # deleted meanwhile: AWS loses the lines, too
                return
            stream.put_log_events(lines)
            if len(stream.events) > _KEPT_EVENTS:
                del stream.events[:_DROPPED_AT_ONCE]


def filter_log_events(backends: Backends, request: Mapping[str, Any]) -> dict[str, Any]:
    """FilterLogEvents's answer; raises Fault. Times are milliseconds since the epoch and both inclusive."""
    group = _group(backends, request)
    newest_first = request.get("startFromHead") is False
    limit = min(int(request.get("limit") or _PAGE_EVENTS), _PAGE_EVENTS)
    after = _key_of(request["nextToken"]) if request.get("nextToken") else None
    events: list[dict[str, Any]] = []
    size, last = 0, None
    for key, name, event in _matching(group, request, after, newest_first=newest_first):
        if len(events) == limit or size > _PAGE_BYTES:
            return {"events": events, "searchedLogStreams": [], "nextToken": _token_of(last)}
        events.append({"logStreamName": name, **event.to_filter_dict()})
        size += len(event.message.encode()) + _EVENT_BYTES
        last = key
    return {"events": events, "searchedLogStreams": []}


def _matching(
    group: "LogGroup", request: Mapping[str, Any], after: Key | None, *, newest_first: bool
) -> Iterator[tuple[Key, str, "LogEvent"]]:
    """What the request asks for and comes after the key `after`, in order."""
    start, end = request.get("startTime", 0), request.get("endTime", float("inf"))
    matches = compile_pattern(request.get("filterPattern") or "")

    def of_stream(name: str, stream: "LogStream") -> "Iterable[tuple[Key, str, LogEvent]]":
        found = [
            (key, name, event)
            for event in stream.events
            if start <= event.timestamp <= end
            and _is_later(key := (event.timestamp, event.ingestion_time, event.event_id), after, newest_first)
            and matches(event.message)
        ]
        return sorted(found, key=lambda item: item[0], reverse=newest_first)

    streams = [of_stream(name, stream) for name, stream in _streams(group, request)]
    return heapq.merge(*streams, key=lambda item: item[0], reverse=newest_first)


def _is_later(key: Key, after: Key | None, newest_first: bool) -> bool:
    if after is None:
        return True
    return key < after if newest_first else key > after


def _group(backends: Backends, request: Mapping[str, Any]) -> "LogGroup":
    given = [request[key] for key in ("logGroupName", "logGroupIdentifier") if request.get(key)]
    if len(given) != 1:
        raise Fault("InvalidParameterException", "Exactly one of logGroupName and logGroupIdentifier is required.")
    name = str(given[0]).removesuffix(":*")
    name = name.rpartition(":log-group:")[2]
    group = backends.logs.groups.get(name)
    if group is None:
        raise Fault("ResourceNotFoundException", "The specified log group does not exist.")
    return group


def _streams(group: "LogGroup", request: Mapping[str, Any]) -> list[tuple[str, "LogStream"]]:
    names, prefix = request.get("logStreamNames"), request.get("logStreamNamePrefix")
    if names and prefix:
        raise Fault("InvalidParameterException", "logStreamNames and logStreamNamePrefix exclude each other.")
    if names:
        if not all(name in group.streams for name in names):
            raise Fault("ResourceNotFoundException", "The specified log stream does not exist.")
        return [(name, group.streams[name]) for name in dict.fromkeys(names)]
    return [(name, stream) for name, stream in group.streams.items() if name.startswith(prefix or "")]


def _token_of(key: Key | None) -> str:
    return base64.urlsafe_b64encode(repr(key).encode()).decode()


def _key_of(token: str) -> Key:
    try:
        timestamp, ingestion, number = base64.urlsafe_b64decode(token).decode().strip("()").split(",")
        return int(timestamp), int(ingestion), int(number)
    except ValueError as error:
        raise Fault("InvalidParameterException", "The specified nextToken is invalid.") from error


_TERM: Final = re.compile(r'\s*([?-]?)("(?:[^"\\]|\\.)*"|\S+)')


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """What a plain-text filter pattern says of a message (CloudWatch Logs User Guide, 'Filter pattern syntax').

    Every term must occur, none with `-` may, one of those with `?` must; `%…%` is a regular expression. JSON and
    space-delimited patterns raise Fault: nothing here uses them.
    """
    pattern = pattern.strip()
    if pattern[:1] in ("{", "["):
        raise Fault("InvalidParameterException", "The lab knows no JSON and no space-delimited filter patterns.")
    if len(pattern) > 1 and pattern[0] == pattern[-1] == "%":
        try:
            expression = re.compile(pattern[1:-1])
        except re.error as error:
            raise Fault("InvalidParameterException", f"Invalid filter pattern: {error}") from error
        return lambda message: expression.search(message) is not None
    terms: dict[str, list[str]] = {"": [], "-": [], "?": []}
    for sign, term in _TERM.findall(pattern):
        terms[sign].append(re.sub(r"\\(.)", r"\1", term[1:-1]) if term.startswith('"') and len(term) > 1 else term)

    def matches(message: str) -> bool:
        return (
            all(term in message for term in terms[""])
            and not any(term in message for term in terms["-"])
            and (not terms["?"] or any(term in message for term in terms["?"]))
        )

    return matches
