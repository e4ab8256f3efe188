"""What keeps a task from starting, in AWS's words, over the simulated services themselves."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from toolbox.lab.aws.backends import ACCOUNT, REGION, Backends
from toolbox.lab.aws.identities import Identities
from toolbox.lab.contract import StartFailure
from toolbox.lab.estate import REGISTRY, Program, push
from toolbox.lab.fetching import Fetcher
from toolbox.lab.images import Reference, manifest, parse_reference, read_manifest

_DIGEST = "sha256:" + "0" * 64


@dataclass(frozen=True)
class _Shop:
    """A fetcher, its services, a role that may do everything and one that may do nothing."""

    fetcher: Fetcher
    backends: Backends
    mark: str
    may: str
    may_not: str

    def secret(self, text: str) -> str:
        answer: Any = self.backends.secrets.create_secret(
            f"{self.mark}/{uuid4().hex[:6]}", text, None, None, [], None, None, [], False
        )
        arn: str = (json.loads(answer) if isinstance(answer, str) else answer)["ARN"]
        return arn


@pytest.fixture
async def shop() -> AsyncIterator[_Shop]:
    backends = Backends()
    await backends.load()
    mark = uuid4().hex[:8]
    roles = {}
    for name, actions in (("may", "*"), ("may-not", "s3:*")):
        role = backends.iam.create_role(f"{name}-{mark}", "{}", "/", None, "", [], None)
        statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        backends.iam.put_role_policy(role.name, "p", document)
        roles[name] = role.arn
    push(backends, f"tracker/{mark}", "v1", Program(("/bin/true",), {"A": "1"}))
    backends.logs.create_log_group(f"/ecs/{mark}", {})
    yield _Shop(Fetcher(backends, Identities(backends)), backends, mark, roles["may"], roles["may-not"])
    backends.close()


def _reason(call: Any, *arguments: object) -> str:
    with pytest.raises(StartFailure) as caught:
        call(*arguments)
    return caught.value.reason


async def test_an_image_is_found_by_tag_and_by_digest(shop: _Shop) -> None:
    by_tag = shop.fetcher.image(f"{REGISTRY}/tracker/{shop.mark}:v1", shop.may)
    assert (by_tag.entry_point, by_tag.environment) == (("/bin/true",), {"A": "1"})
    assert shop.fetcher.image(f"{REGISTRY}/tracker/{shop.mark}@{by_tag.digest}", shop.may) == by_tag


async def test_an_image_that_is_missing_denied_or_foreign(shop: _Shop) -> None:
    image, name = shop.fetcher.image, f"{REGISTRY}/tracker/{shop.mark}"
    assert _reason(image, f"{name}:v2", shop.may).endswith(f"{name}:v2: not found")
    assert _reason(image, f"{name}@{_DIGEST}", shop.may).startswith("CannotPullContainerError")
    denied = _reason(image, f"{name}:v1", shop.may_not)
    assert denied.startswith("ResourceInitializationError: unable to pull secrets or registry auth")
    assert f"assumed-role/may-not-{shop.mark}/ecs-task is not authorized to perform: ecr:GetAuthorization" in denied
    foreign = json.dumps({"mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": []})
    shop.backends.ecr.put_image(f"tracker/{shop.mark}", foreign, "foreign")
    assert "does not contain descriptor matching platform" in _reason(image, f"{name}:foreign", shop.may)


async def test_secrets_whole_and_by_key(shop: _Shop) -> None:
    secret = shop.fetcher.secret
    arn = shop.secret('{"url": "redis://x", "port": 6379}')
    assert secret(arn, shop.may) == '{"url": "redis://x", "port": 6379}'
    assert secret(f"{arn}:url::", shop.may) == "redis://x"
    assert secret(f"{arn}:port::", shop.may) == "6379"
    assert _reason(secret, f"{arn}:nothing::", shop.may).endswith("did not contain json key nothing")
    assert "invalid character" in _reason(secret, f"{shop.secret('plain')}:url::", shop.may)
    assert "AccessDeniedException: User: arn:aws:sts::" in _reason(secret, arn, shop.may_not)
    gone = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:gone-AbCdEf"
    assert "ResourceNotFoundException: Secrets Manager can't find" in _reason(secret, gone, shop.may)


async def test_parameters(shop: _Shop) -> None:
    assert "invalid parameters: /nothing" in _reason(shop.fetcher.secret, "/nothing", shop.may)
    assert "AccessDeniedException" in _reason(shop.fetcher.secret, "/nothing", shop.may_not)


async def test_a_log_stream_needs_its_group_and_the_permission(shop: _Shop) -> None:
    stream = shop.fetcher.log_stream
    stream(f"/ecs/{shop.mark}", "ecs/api/1", shop.may).close()
    assert "ecs/api/1" in shop.backends.logs.groups[f"/ecs/{shop.mark}"].streams
    missing = _reason(stream, "/ecs/nothing", "ecs/api/1", shop.may)
    assert missing.startswith("ResourceInitializationError: failed to validate logger args")
    assert "ResourceNotFoundException" in missing
    assert "AccessDeniedException" in _reason(stream, f"/ecs/{shop.mark}", "ecs/api/2", shop.may_not)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        (f"{REGISTRY}/tracker/api:v1", Reference(REGISTRY, "tracker/api", "v1", None)),
        (f"{REGISTRY}/api@{_DIGEST}", Reference(REGISTRY, "api", None, _DIGEST)),
        ("tracker/api", Reference("", "tracker/api", "latest", None)),
        ("redis:7", Reference("", "redis", "7", None)),
    ],
)
def test_references_are_taken_apart(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference


def test_equal_programs_have_equal_manifests_and_strange_ones_are_none() -> None:
    assert manifest(("a",), ("b",), {"X": "1"}) == manifest(["a"], ["b"], {"X": "1"})
    assert manifest(("a",)) != manifest(("b",))
    for text in ("", "[]", "{}", '{"annotations": {"lab.entry-point": "nonsense"}}', '{"annotations": 3}'):
        assert read_manifest(text, _DIGEST) is None
