"""Who asks, and may they: the IAM user that is 'the person', and tasks with the credentials of their task role.

moto answers every unknown key as one user and checks no policy; here the callers are told apart and their policies,
as they stand in IAM at that moment, are asked.
"""

import hmac
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from toolbox.lab.aws import faults
from toolbox.lab.aws.backends import Backends
from toolbox.lab.aws.policy import Decision, decide, refusal
from toolbox.lab.aws.response import Wire

if TYPE_CHECKING:
    from moto.iam.models import Role, User

# AWS grants it to everyone, even against an explicit deny (STS API Reference, GetCallerIdentity).
_FREE: Final = frozenset({"sts:GetCallerIdentity"})
_TASK_SESSION_SECONDS: Final = 6 * 3600  # what ECS gives a task


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed a request, and the policy documents that say what they may."""

    arn: str
    policies: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key pair; `token` and `expiration` only with temporary ones."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expiration: datetime | None = None


class Identities:
    """Asks moto's IAM and STS. Its methods hold the backends' lock for a moment and can be called from any thread."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends
        self._expired: set[str] = set()
        self._tasks: dict[str, tuple[str, str]] = {}

    def caller(self, access_key: str | None, wire: Wire) -> Caller:
        """Who has this key; raises the Fault that AWS answers to no key, an unknown or an expired one."""
        if access_key is None:
            raise faults.no_key(wire)
        with self._backends.locked():
            user = self._user(access_key)
            caller = Caller(user.arn, tuple(_documents(user))) if user else self._role_session(access_key, wire)
        if access_key in self._expired:
            raise faults.expired(wire)
        return caller

    def authorise(self, caller: Caller, action: str, resources: Sequence[str], wire: Wire) -> None:
        """Raise the Fault that AWS answers when `caller` may not do `action` on one of `resources`."""
        for resource in resources:
            decision = decide(caller.policies, action, resource)
            if decision is not Decision.ALLOWED and action not in _FREE:
                raise faults.denied(wire, refusal(caller.arn, action, resource, decision))

    def role_exists(self, role_arn: str) -> bool:
        """Whether IAM has this role."""
        with self._backends.locked():
            return self._role(role_arn) is not None

    def role_allows(self, role_arn: str | None, actions: Sequence[str], resource: str = "*") -> bool:
        """Whether the role's policies grant all `actions` on `resource`."""
        return role_arn is not None and all(
            self.role_decision(role_arn, action, resource) is Decision.ALLOWED for action in actions
        )

    def role_decision(self, role_arn: str, action: str, resource: str) -> Decision:
        """What the role's policies say; NOT_ALLOWED for a role that does not exist."""
        with self._backends.locked():
            role = self._role(role_arn)
            return decide(_documents(role), action, resource) if role else Decision.NOT_ALLOWED

    def open_task(self, task_id: str, role_arn: str) -> str:
        """Let a task fetch its role's credentials; returns the token that it has to show."""
        token = secrets.token_urlsafe(32)
        self._tasks[task_id] = (token, role_arn)
        return token

    def close_task(self, task_id: str) -> None:
        """A task that has ended gets no more credentials."""
        self._tasks.pop(task_id, None)

    def task_credentials(self, task_id: str, token: str) -> Credentials | None:
        """Fresh credentials of the task's role, or None when token or task are not known."""
        known, role_arn = self._tasks.get(task_id, ("", ""))
        if not role_arn or not hmac.compare_digest(known.encode(), token.encode()):
            return None
        with self._backends.locked():
            session = self._backends.sts.assume_role(
                region_name=self._backends.ec2.region_name,
                role_session_name=task_id,
                role_arn=role_arn,
                policy="",
                duration=_TASK_SESSION_SECONDS,
                external_id="",
            )
        return Credentials(
            session.access_key_id,
            session.secret_access_key,
            session.session_token,
            session.expiration.replace(tzinfo=UTC),
        )

    def expire(self, access_key: str) -> None:
        """Answer to this key as to a session that has ended, until `renew`."""
        self._expired.add(access_key)

    def renew(self, access_key: str) -> None:
        """Take an expired key back."""
        self._expired.discard(access_key)

    def _user(self, access_key: str) -> "User | None":
        for user in self._backends.iam.users.values():
            if any(key.access_key_id == access_key and key.status == "Active" for key in user.access_keys):
                return user
        return None

    def _role(self, role_arn: str) -> "Role | None":
        return next((role for role in self._backends.iam.roles.values() if role.arn == role_arn), None)

    def _role_session(self, access_key: str, wire: Wire) -> Caller:
        session = self._backends.sts.get_assumed_role_from_access_key(access_key)
        if session is None:
            raise faults.unknown_key(wire)
        if session.expiration.replace(tzinfo=UTC) <= datetime.now(UTC):
            raise faults.expired(wire)
        role = self._role(session.role_arn)
        return Caller(session.arn, tuple(_documents(role)) if role else ())


def _documents(holder: "User | Role") -> Iterator[Mapping[str, Any]]:
    """The policies of a user or role, inline and attached."""
    for text in holder.policies.values():
        yield json.loads(text)
    for policy in holder.managed_policies.values():
        version = next(version for version in policy.versions if version.is_default)
        yield json.loads(version.document)
