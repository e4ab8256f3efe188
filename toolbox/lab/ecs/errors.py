"""The errors that ECS answers with, in its own words as far as they are public (the ECS API reference)."""

from typing import Final

_BAD_REQUEST: Final = 400


class EcsApiError(Exception):
    """An error answer: `code` is the exception's name in the API, `message` the text, `http_status` 400 as a rule."""

    def __init__(self, code: str, message: str, http_status: int = _BAD_REQUEST) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.http_status = http_status


def invalid(message: str) -> EcsApiError:
    """A parameter that does not fit."""
    return EcsApiError("InvalidParameterException", message)


def client(message: str) -> EcsApiError:
    """What ECS blames on the caller without a word of its own for it."""
    return EcsApiError("ClientException", message)


def cluster_not_found() -> EcsApiError:
    """No such cluster."""
    return EcsApiError("ClusterNotFoundException", "Cluster not found.")


def service_not_found() -> EcsApiError:
    """No such service."""
    return EcsApiError("ServiceNotFoundException", "Service not found.")


def service_not_active() -> EcsApiError:
    """The service is DRAINING or INACTIVE."""
    return EcsApiError("ServiceNotActiveException", "Service was not ACTIVE.")


def unsupported(action: str) -> EcsApiError:
    """An action that ECS has and the lab has not."""
    return EcsApiError("UnsupportedFeatureException", f"The lab's ECS does not know the action {action}.")


def role_not_assumable(arn: str) -> EcsApiError:
    """A role that does not exist or does not trust ECS."""
    return client(
        f"ECS was unable to assume the role '{arn}' that was provided for this task. Please verify that the role being"
        " passed has the proper trust relationship and permissions and that your IAM user has permissions to pass this"
        " role."
    )
