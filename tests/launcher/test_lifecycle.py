"""How tasks are found, watched and stopped, before an ECS that has many, is slow, or contradicts itself."""

import asyncio
import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from toolbox.aws import Aws
from toolbox.errors import LaunchError
from toolbox.launcher import lifecycle, tasks, watch
from toolbox.launcher.tasks import TaskRef

TASK = TaskRef("cluster", "arn:aws:ecs:eu-central-1:123456789012:task/cluster/aaaa1111", "toolbox")
Request = Mapping[str, Any]


class Answers:
    """An ECS that answers with what `of` gives for an operation's name and input; None is an error of the client."""

    def __init__(self) -> None:
        self.of: Callable[[str, Request], Request | None] = lambda operation, request: None
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = outer.of(self.headers["X-Amz-Target"].partition(".")[2], request)
                body = json.dumps({"__type": "InvalidParameterException"} if answer is None else answer).encode()
                self.send_response(400 if answer is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the base class's
                """Say nothing: pytest shows what failed."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def reach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, port: int) -> Aws:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    return Aws(region="eu-central-1")


@pytest.fixture
def answers() -> Iterator[Answers]:
    answers = Answers()
    threading.Thread(target=answers.server.serve_forever, daemon=True).start()
    yield answers
    answers.server.shutdown()
    answers.server.server_close()


@pytest.fixture
def aws(answers: Answers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Aws:
    return reach(monkeypatch, tmp_path, answers.server.server_port)


async def test_all_of_our_tasks_are_found_however_many(aws: Aws, answers: Answers) -> None:
    """ListTasks answers with 100 at most, and DescribeTasks takes no more."""
    arns = [f"{TASK.arn}{number}" for number in range(230)]

    def of(operation: str, request: Request) -> Request | None:
        if operation == "ListTasks":
            start = int(request.get("nextToken", 0))
            more = {"nextToken": str(start + 100)} if start + 100 < len(arns) else {}
            return {"taskArns": arns[start : start + 100], **more}
        asked = request["tasks"]
        return {"tasks": [{"taskArn": arn} for arn in asked]} if 1 <= len(asked) <= 100 else None

    answers.of = of
    assert [task["taskArn"] for task in await tasks.mine(aws, "cluster")] == arns
    arns.clear()
    assert await tasks.mine(aws, "cluster") == []


async def test_one_answer_that_knows_nothing_of_the_task_does_not_end_its_session(
    aws: Aws, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ECS is eventually consistent: what a moment ago was there may be missing from one answer."""
    monkeypatch.setattr(watch, "_WATCH_SECONDS", 0.01)
    running = {"taskArn": TASK.arn, "desiredStatus": "RUNNING"}
    reason = {"stopCode": "UserInitiated", "stoppedReason": "by Kim", "taskDefinitionArn": "toolbox:1"}
    stopped = {"taskArn": TASK.arn, "desiredStatus": "STOPPED", **reason}
    told = iter([[running], [], [running], [], [stopped]])
    last: list[Request] = [stopped]
    answers.of = lambda operation, request: (
        {"tasks": next(told, last)} if operation == "DescribeTasks" else None
    )  # None: no log
    died = await asyncio.wait_for(watch.until_dead(aws, TASK), 10)
    assert "by Kim" in died.sentence


async def test_a_task_of_which_ecs_knows_nothing_any_more_is_gone(
    aws: Aws, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_WATCH_SECONDS", 0.01)
    answers.of = lambda operation, request: {"tasks": []}
    died = await asyncio.wait_for(watch.until_dead(aws, TASK), 10)
    assert "no longer says why" in died.sentence


async def test_the_last_words_of_a_task_are_not_longer_than_a_screen(aws: Aws, answers: Answers) -> None:
    """CloudWatch takes events of up to a megabyte (CloudWatch Logs quotas)."""
    options = {"awslogs-group": "g", "awslogs-stream-prefix": "toolbox"}
    container = {"name": "toolbox", "logConfiguration": {"logDriver": "awslogs", "options": options}}
    task = {"taskArn": TASK.arn, "taskDefinitionArn": "toolbox:1", "stopCode": "EssentialContainerExited"}
    told: dict[str, Request] = {
        "DescribeTasks": {"tasks": [task]},
        "DescribeTaskDefinition": {"taskDefinition": {"containerDefinitions": [container]}},
        "GetLogEvents": {"events": [{"message": "x" * 1_000_000}, {"message": "the end"}]},
    }
    answers.of = lambda operation, request: told[operation]
    died = await watch.explain_death(aws, TASK)
    first, last = died.detail
    assert len(first) < 1100
    assert first.endswith("…")
    assert last == "log: the end"


async def test_a_look_that_is_refused_says_nothing_about_the_task(aws: Aws) -> None:
    assert not await watch.is_to_stop(aws, TASK)


async def test_nothing_waits_for_ever_for_an_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(watch, "_LOOK_SECONDS", 0.5)
    monkeypatch.setattr(lifecycle, "_STOP_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        aws = reach(monkeypatch, tmp_path, silent.getsockname()[1])
        assert not await asyncio.wait_for(watch.is_to_stop(aws, TASK), 10)
        with pytest.raises(LaunchError) as caught:
            await asyncio.wait_for(lifecycle.stop(aws, "cluster", TASK.arn), 10)
    assert caught.value.cause == "task-not-stopped"
    assert f"--task {TASK.arn}" in caught.value.next_step
