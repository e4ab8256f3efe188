from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.waiting import until
from toolbox.lab.aws.backends import Backends
from toolbox.lab.aws.faults import Fault
from toolbox.lab.aws.logs import Sink, compile_pattern, filter_log_events

_GROUP = "/ecs/filtered"


@pytest.fixture
async def backends() -> AsyncIterator[Backends]:
    loaded = Backends()
    await loaded.load()
    group = loaded.logs.create_log_group(_GROUP, {})
    for stream, times in (("ecs/api/1", (10, 30, 30)), ("ecs/api/2", (20, 40)), ("toolbox/x/3", (25,))):
        group.create_log_stream(stream)
        group.put_log_events(stream, [{"timestamp": time, "message": f"{stream} at {time}"} for time in times])
    yield loaded
    loaded.logs.delete_log_group(_GROUP)
    loaded.close()


def _times(answer: dict[str, Any]) -> list[int]:
    return [event["timestamp"] for event in answer["events"]]


def test_streams_are_interleaved_in_order_of_time(backends: Backends) -> None:
    assert _times(filter_log_events(backends, {"logGroupName": _GROUP})) == [10, 20, 25, 30, 30, 40]


@pytest.mark.parametrize(
    ("which", "times"),
    [
        ({"logStreamNames": ["ecs/api/2"]}, [20, 40]),
        ({"logStreamNamePrefix": "ecs/"}, [10, 20, 30, 30, 40]),
        ({"startTime": 20, "endTime": 30}, [20, 25, 30, 30]),
        ({"filterPattern": '"at 30"'}, [30, 30]),
        ({"startFromHead": False}, [40, 30, 30, 25, 20, 10]),
    ],
)
def test_what_is_asked_for_is_what_comes(backends: Backends, which: dict[str, Any], times: list[int]) -> None:
    assert _times(filter_log_events(backends, {"logGroupName": _GROUP, **which})) == times


@pytest.mark.parametrize("head", [True, False])
def test_pages_lose_nothing_and_repeat_nothing_even_while_lines_arrive(backends: Backends, head: bool) -> None:
    seen: list[str] = []
    request: dict[str, Any] = {"logGroupName": _GROUP, "limit": 2, "startFromHead": head}
    while True:
        answer = filter_log_events(backends, request)
        assert len(answer["events"]) <= 2
        seen += [event["eventId"] for event in answer["events"]]
        if "nextToken" not in answer:
            break
        request["nextToken"] = answer["nextToken"]
        backends.logs.groups[_GROUP].put_log_events("ecs/api/1", [{"timestamp": 5 if head else 50, "message": "late"}])
    assert len(seen) == len(set(seen)) == 6


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"logGroupName": "/ecs/nothing"}, "ResourceNotFoundException"),
        ({"logGroupName": _GROUP, "logStreamNames": ["nothing"]}, "ResourceNotFoundException"),
        ({"logGroupName": _GROUP, "logStreamNames": ["a"], "logStreamNamePrefix": "a"}, "InvalidParameterException"),
        ({"logGroupName": _GROUP, "nextToken": "nonsense"}, "InvalidParameterException"),
        ({"logGroupName": _GROUP, "filterPattern": "{ $.level = error }"}, "InvalidParameterException"),
        ({}, "InvalidParameterException"),
    ],
)
def test_what_aws_refuses_is_refused(backends: Backends, request_: dict[str, Any], code: str) -> None:
    with pytest.raises(Fault) as caught:
        filter_log_events(backends, request_)
    assert caught.value.code == code


async def test_a_sinks_lines_are_readable_soon_and_at_once_when_it_closes(backends: Backends) -> None:
    backends.logs.groups[_GROUP].create_log_stream("sink")
    sink = Sink(backends, _GROUP, "sink")

    def lines() -> list[str]:
        answer = filter_log_events(backends, {"logGroupName": _GROUP, "logStreamNames": ["sink"]})
        return [event["message"] for event in answer["events"]]

    sink.write("first")
    sink.write("   ")
    await until(lambda: bool(lines()))
    sink.write("second")
    assert lines() == ["first"]
    sink.close()
    assert lines() == ["first", "second"]


@pytest.mark.parametrize(
    ("pattern", "message", "matches"),
    [
        ("", "anything", True),
        ("ERROR", "an ERROR here", True),
        ("ERROR", "an error here", False),
        ("ERROR timeout", "timeout then ERROR", True),
        ("ERROR timeout", "ERROR only", False),
        ('"connection refused"', "connection was refused", False),
        ('"connection refused"', "a connection refused", True),
        ("ERROR -expected", "an expected ERROR", False),
        ("?ERROR ?WARN", "a WARN", True),
        ("?ERROR ?WARN", "an INFO", False),
        (r'"say \"hi\""', 'they say "hi"', True),
        (r"%took \d{4,} ms%", "took 12345 ms", True),
        (r"%took \d{4,} ms%", "took 12 ms", False),
    ],
)
def test_plain_text_patterns(pattern: str, message: str, matches: bool) -> None:
    assert compile_pattern(pattern)(message) is matches
