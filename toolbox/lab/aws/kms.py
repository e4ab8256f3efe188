"""kms:Decrypt as the agent in a task calls it: with the task role's rights, and the key in moto."""

from functools import partial
from typing import Final

from toolbox.lab.aws.backends import ACCOUNT, REGION, Backends
from toolbox.lab.aws.identities import Identities
from toolbox.lab.aws.policy import Decision, refusal
from toolbox.lab.contract import KeyDenied, SessionKey

_ACTION: Final = "kms:Decrypt"


async def decrypt(
    backends: Backends, identities: Identities, key: SessionKey, blob: bytes, context: dict[str, str]
) -> bytes:
    """The data key in `blob`; raises KeyDenied when the role may not, or key or context are other than its own."""
    role = key.task_role or "(none)"
    decision = identities.role_decision(role, _ACTION, key.key_id)
    if decision is not Decision.ALLOWED:
        raise KeyDenied(f"AccessDeniedException: {refusal(role, _ACTION, key.key_id, decision)}")
    return await backends.run(partial(_decrypt, key.key_id, blob, context))


def _decrypt(key_id: str, blob: bytes, context: dict[str, str]) -> bytes:
    # Here, since a lab whose sessions are not encrypted starts without it.
    from moto.core.exceptions import JsonRESTError
    from moto.kms.models import kms_backends

    try:
        plain, _ = kms_backends[ACCOUNT][REGION].decrypt(blob, context, key_id)
    except JsonRESTError as error:
        raise KeyDenied(f"{error.error_type}: {error.message}") from error
    return plain
