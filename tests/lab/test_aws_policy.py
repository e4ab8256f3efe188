from typing import Any

import pytest

from toolbox.lab.aws.policy import Decision, decide, refusal

_TASK = "arn:aws:ecs:eu-central-1:123456789012:task/production/1"


def _policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


_ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}


@pytest.mark.parametrize(
    ("statements", "decision"),
    [
        ([], Decision.NOT_ALLOWED),
        ([_ALL], Decision.ALLOWED),
        ([{"Effect": "Allow", "Action": "ECS:stoptask", "Resource": _TASK}], Decision.ALLOWED),
        ([{"Effect": "Allow", "Action": ["ecs:Describe*", "ecs:St?pTask"], "Resource": "*"}], Decision.ALLOWED),
        ([{"Effect": "Allow", "Action": "ecs:Describe*", "Resource": "*"}], Decision.NOT_ALLOWED),
        ([{"Effect": "Allow", "Action": "ecs:StopTask", "Resource": "arn:*:task/staging/*"}], Decision.NOT_ALLOWED),
        ([{"Effect": "Allow", "Action": "ecs:StopTask", "Resource": "arn:*:TASK/*"}], Decision.NOT_ALLOWED),
        ([_ALL, {"Effect": "Deny", "Action": "ecs:Stop*", "Resource": "*"}], Decision.DENIED),
        ([_ALL, {"Effect": "Deny", "NotAction": "ecs:Stop*", "Resource": "*"}], Decision.ALLOWED),
        ([_ALL, {"Effect": "Deny", "Action": "*", "NotResource": _TASK}], Decision.ALLOWED),
        ([_ALL, {"Effect": "Deny", "Action": "ecs:[S]topTask", "Resource": "*"}], Decision.ALLOWED),
    ],
)
def test_what_policies_say(statements: list[dict[str, Any]], decision: Decision) -> None:
    assert decide([_policy(*statements)], "ecs:StopTask", _TASK) is decision


def test_a_deny_in_one_policy_wins_over_an_allow_in_another() -> None:
    deny = {"Effect": "Deny", "Action": "ecs:StopTask", "Resource": "*"}
    assert decide([_policy(_ALL), _policy(deny)], "ecs:StopTask", _TASK) is Decision.DENIED


def test_the_refusal_says_why_in_awss_words() -> None:
    assert refusal("arn:aws:iam::1:user/x", "ecs:StopTask", _TASK, Decision.NOT_ALLOWED) == (
        f"User: arn:aws:iam::1:user/x is not authorized to perform: ecs:StopTask on resource: {_TASK}"
        " because no identity-based policy allows the ecs:StopTask action"
    )
    assert refusal("x", "ecs:StopTask", "*", Decision.DENIED).endswith(
        "with an explicit deny in an identity-based policy"
    )
