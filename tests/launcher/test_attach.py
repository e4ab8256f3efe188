"""Which task `--attach` means, and what a person reads when that is not clear."""

from typing import Any

import pytest

from toolbox.errors import LaunchError
from toolbox.launcher.attach import expiry, pick
from toolbox.launcher.plan import tag_value


def task(task_id: str, owner: str = "ana") -> dict[str, Any]:
    tags = {"toolbox:owner": owner, "toolbox:expires": "2026-11-24T06:20:00Z"}
    return {
        "taskArn": f"arn:aws:ecs:eu-central-1:123456789012:task/cluster/{task_id}",
        "tags": [{"key": key, "value": value} for key, value in tags.items()],
    }


TASKS = [task("aaaa1111"), task("aabb2222"), task("cccc3333", "bob")]


@pytest.mark.parametrize(
    ("owner", "wanted", "found"), [("ana", "aaa", "aaaa1111"), ("bob", "", "cccc3333"), ("ana", "aabb2222", "aabb2222")]
)
def test_the_beginning_of_an_id_is_enough(owner: str, wanted: str, found: str) -> None:
    assert pick(TASKS, owner, wanted)["taskArn"].endswith(f"/{found}")


@pytest.mark.parametrize(
    ("owner", "wanted", "sentence", "offered"),
    [
        ("ana", "", "2 of your running tasks match --attach ''.", ["aaaa1111", "aabb2222"]),
        ("ana", "c", "None of your running tasks matches --attach 'c'.", ["aaaa1111", "aabb2222"]),
        ("eve", "", "None of your tasks is running, so there is nothing to attach to.", []),
    ],
)
def test_what_is_not_clear_offers_what_there_is(owner: str, wanted: str, sentence: str, offered: list[str]) -> None:
    with pytest.raises(LaunchError) as caught:
        pick(TASKS, owner, wanted)
    assert caught.value.sentence == sentence
    assert [line.partition(",")[0] for line in caught.value.detail] == offered
    assert caught.value.next_step


def test_an_owner_is_known_by_what_ecs_takes_as_a_tag() -> None:
    """IAM lets a comma stand in a name, a tag's value does not."""
    name = "ana,kim@example.com"
    assert pick([task("aaaa1111", tag_value(name))], name, "")["taskArn"].endswith("/aaaa1111")


def test_a_task_says_when_it_ends() -> None:
    ends = expiry(task("a"))
    assert ends is not None
    assert ends.isoformat() == "2026-11-24T06:20:00+00:00"
    assert expiry({"tags": []}) is None
