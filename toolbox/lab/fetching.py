"""What ECS fetches with the execution role before a container starts: image, secrets, a log stream.

When that fails, the reason is worded as AWS words it (Amazon ECS Developer Guide, 'Stopped tasks error messages').
"""

import json
import re
from typing import TYPE_CHECKING, Final

from toolbox.lab.aws.backends import ACCOUNT, REGION, Backends
from toolbox.lab.aws.identities import Identities
from toolbox.lab.aws.logs import Sink
from toolbox.lab.aws.policy import Decision, refusal
from toolbox.lab.contract import Image, StartFailure
from toolbox.lab.images import parse_reference, read_manifest

if TYPE_CHECKING:
    from moto.ecr.models import Image as EcrImage

_PULL: Final = "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref "
_RESOURCES: Final = (
    "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: "
)
_ONCE: Final = "service call has been retried 1 time(s): "
_AUTH: Final = f"{_RESOURCES}unable to retrieve ecr registry auth: {_ONCE}"
_ASM: Final = f"{_RESOURCES}unable to retrieve secret from asm: {_ONCE}"
_SSM: Final = f"{_RESOURCES}unable to retrieve secrets from ssm: {_ONCE}"
_LOGGING: Final = (
    "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: "
    "failed to create Cloudwatch log stream: "
)
# ARN, then optionally json-key, version stage and version id (ECS Developer Guide, 'Secrets Manager secrets').
_SECRET: Final = re.compile(r"(arn:aws:secretsmanager:[^:]+:\d+:secret:[^:]+)(?::([^:]*):([^:]*):([^:]*))?")


class Fetcher:
    """Fetches over moto's backends, and only what the execution role may."""

    def __init__(self, backends: Backends, identities: Identities) -> None:
        self._backends = backends
        self._identities = identities

    def image(self, reference: str, role: str | None) -> Image:
        """The image behind a reference; raises StartFailure."""
        wanted = parse_reference(reference)
        if ".dkr.ecr." in wanted.registry:
            repository_arn = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{wanted.repository}"
            self._demand(role, "ecr:GetAuthorizationToken", "*", _AUTH)
            if not self._may(role, "ecr:BatchGetImage", repository_arn):
                raise StartFailure(f"{_PULL}{reference}: unexpected status from HEAD request: 403 Forbidden")
        with self._backends.locked():
            repository = self._backends.ecr.repositories.get(wanted.repository)
            images = repository.images if repository else []
            found = next((image for image in images if _is(image, wanted.tag, wanted.digest)), None)
            if found is None:
                raise StartFailure(f"{_PULL}{reference}: {reference}: not found")
            image = read_manifest(found.image_manifest, found.get_image_digest())
        if image is None:
            raise StartFailure(
                "CannotPullContainerError: image Manifest does not contain descriptor matching platform 'linux/amd64'"
            )
        return image

    def secret(self, value_from: str, role: str | None) -> str:
        """The value behind a Secrets Manager ARN or an SSM parameter; raises StartFailure."""
        parts = _SECRET.fullmatch(value_from)
        if parts:
            return self._from_secrets_manager(parts[1], parts[2] or "", role)
        name = value_from.partition(":parameter")[2] or value_from
        self._demand(role, "ssm:GetParameters", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/{name.lstrip('/')}", _SSM)
        with self._backends.locked():
            parameter = self._backends.ssm.get_parameter(name)
        if parameter is None:
            raise StartFailure(f"{_SSM}invalid parameters: {value_from}")
        value: str = parameter.response_object(decrypt=True)["Value"]
        return value

    def log_stream(self, group: str, stream: str, role: str | None) -> Sink:
        """A new stream in a group; raises StartFailure."""
        arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:log-stream:{stream}"
        self._demand(role, "logs:CreateLogStream", arn, _LOGGING, " : exit status 1")
        with self._backends.locked():
            existing = self._backends.logs.groups.get(group)
            if existing is None:
                reason = "ResourceNotFoundException: The specified log group does not exist."
                raise StartFailure(f"{_LOGGING}{reason} : exit status 1")
            if stream not in existing.streams:
                existing.create_log_stream(stream)
        return Sink(self._backends, group, stream)

    def _from_secrets_manager(self, arn: str, json_key: str, role: str | None) -> str:
        fetching = f"{_ASM}failed to fetch secret {arn} from secrets manager: "
        self._demand(role, "secretsmanager:GetSecretValue", arn, fetching)
        with self._backends.locked():
            secret = next((one for one in self._backends.secrets.secrets.values() if one.arn == arn), None)
            version = secret.versions.get(secret.default_version_id or "") if secret else None
        if secret is None or version is None or secret.is_deleted():
            reason = "ResourceNotFoundException: Secrets Manager can't find the specified secret."
            raise StartFailure(f"{fetching}{reason}")
        value: str = version["secret_string"]
        if not json_key:
            return value
        try:
            return str(json.loads(value)[json_key])
        except ValueError as error:
            raise StartFailure(f"{_RESOURCES}invalid character in the secret {arn}: it is not JSON") from error
        except KeyError as error:
            text = f"retrieved secret from Secrets Manager did not contain json key {json_key}"
            raise StartFailure(f"{_RESOURCES}{text}") from error

    def _may(self, role: str | None, action: str, resource: str) -> bool:
        return role is None or self._identities.role_decision(role, action, resource) is Decision.ALLOWED

    def _demand(self, role: str | None, action: str, resource: str, prefix: str, suffix: str = "") -> None:
        """Raise StartFailure unless the execution role may do it."""
        if role is None or self._may(role, action, resource):
            return
        session = role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/ecs-task"
        decision = self._identities.role_decision(role, action, resource)
        refused = refusal(session, action, resource, decision)
        raise StartFailure(f"{prefix}AccessDeniedException: {refused}{suffix}")


def _is(image: "EcrImage", tag: str | None, digest: str | None) -> bool:
    if digest is not None:
        return image.get_image_digest() == digest
    return tag in image.image_tags
