"""AWS: one session, lazy clients, and the one place where botocore's errors become ours."""

import asyncio
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit, urlunsplit

from toolbox.errors import AwsError

if TYPE_CHECKING:
    import boto3
    from botocore.exceptions import ClientError

Answer = dict[str, Any]
Outcome = TypeVar("Outcome")

_CONNECT_TIMEOUT: Final = 5
_READ_TIMEOUT: Final = 20
_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"})
_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_INVALID: Final = frozenset(
    {
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        "AuthFailure",
    }
)
# How AWS's words begin where our time is more than 15 minutes from its own, whatever the code.
_SKEWED: Final = ("signature expired", "signature not yet current")
_THROTTLED: Final = frozenset(
    {
        "ThrottlingException",
        "Throttling",
        "ThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
    }
)


class AwsDenied(AwsError):
    """The caller may not do this; `action` is the IAM action that is missing."""

    def __init__(self, action: str, sentence: str, next_step: str) -> None:
        super().__init__(sentence, cause="access-denied", next_step=next_step)
        self.action = action


class AwsRefused(AwsError):
    """AWS answered with an error; `code` is AWS's own name for it, `message` its own words (untrusted text).

    `certain` says that nothing was carried out. It is False where AWS itself failed (HTTP 5xx), or where an earlier try
    of the same request had no answer that counts.
    """

    def __init__(
        self, code: str, message: str, sentence: str, cause: str, next_step: str = "", *, certain: bool = True
    ) -> None:
        super().__init__(sentence, cause=cause, next_step=next_step)
        self.code = code
        self.message = message
        self.certain = certain


class AwsUnreachable(AwsError):
    """No answer came: whether AWS carried out the request is not known."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who AWS says we are. `name` is what the person would call themselves: the session's or user's name."""

    account: str
    arn: str
    name: str


class Aws:
    """A profile's way to AWS. Clients are made on first use; calls run in threads, and Ctrl-C waits for none."""

    def __init__(self, profile: str | None = None, region: str | None = None) -> None:
        self._asked_profile = profile
        self._asked_region = region
        self._lock = threading.Lock()
        self._made: boto3.Session | None = None
        self._clients: dict[str, Any] = {}

    @property
    def profile(self) -> str | None:
        """The profile in use, None where credentials come from somewhere else."""
        name = self._session().profile_name
        return None if name == "default" and self._asked_profile is None else name

    @property
    def region(self) -> str:
        """The region; raises AwsError when none is set."""
        region = self._session().region_name
        if not region:
            raise AwsError(
                "No AWS region is set.",
                cause="no-region",
                next_step="Set it in the inventory, in the profile, or with AWS_REGION.",
            )
        return region

    async def call(self, service: str, operation: str, **parameters: Any) -> Answer:
        """The answer of one API operation (`"ecs", "describe_services"`); raises an AwsError."""
        return await _aside(partial(self.call_now, service, operation, parameters))

    def call_now(self, service: str, operation: str, parameters: Mapping[str, Any]) -> Answer:
        """As `call`, in this thread."""

        def work() -> Answer:
            answer: Answer = getattr(self._client(service), operation)(**parameters)
            return answer

        return self._translated(f"{service}:{_camel(operation)}", work)

    async def listed(self, service: str, operation: str, key: str, **parameters: Any) -> list[Any]:
        """All that stands under `key` in the answers of an operation that answers in pages; raises an AwsError."""

        def work() -> list[Any]:
            pages = self._client(service).get_paginator(operation).paginate(**parameters)
            return [item for page in pages for item in page[key]]

        return await _aside(partial(self._translated, f"{service}:{_camel(operation)}", work))

    async def identity(self) -> Identity:
        """Who we are; the first call of every command that changes something, since it finds an expired login."""
        answer = await self.call("sts", "get_caller_identity")
        arn = answer["Arn"]
        return Identity(answer["Account"], arn, arn.rpartition("/")[2] or arn.rpartition(":")[2])

    async def sign_websocket(self, url: str) -> dict[str, str]:
        """SigV4 headers for the upgrade request of a session's data channel (service `ssmmessages`, empty body)."""
        work = partial(self._sign_websocket, url)  # may have to renew credentials, hours after the first call
        return await _aside(partial(self._translated, "ssmmessages:OpenDataChannel", work))

    def endpoint(self, service: str) -> str:
        """The URL that calls to `service` go to."""
        url: str = self._client(service).meta.endpoint_url
        return url

    def _sign_websocket(self, url: str) -> dict[str, str]:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        parts = urlsplit(url)
        plain = urlunsplit(parts._replace(scheme={"wss": "https", "ws": "http"}.get(parts.scheme, parts.scheme)))
        credentials = self._session().get_credentials()
        if credentials is None:
            return {}
        request = AWSRequest("GET", url=plain)
        SigV4Auth(credentials.get_frozen_credentials(), "ssmmessages", self.region).add_auth(request)
        return dict(request.headers.items())

    def _translated(self, action: str, work: Callable[[], Outcome]) -> Outcome:
        """What `work` gives, botocore's errors as ours."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            return work()
        except ClientError as error:
            raise self._refused(error, action) from error
        except (BotoCoreError, ResponseParserError) as error:
            raise self._failed(error, action) from error

    def _session(self) -> "boto3.Session":
        import boto3
        from botocore.exceptions import BotoCoreError

        with self._lock:
            if self._made is None:
                try:
                    self._made = boto3.Session(profile_name=self._asked_profile, region_name=self._asked_region)
                except BotoCoreError as error:
                    raise self._failed(error, "") from error
            return self._made

    def _client(self, service: str) -> Any:
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        session = self._session()
        with self._lock:
            if service not in self._clients:
                config = Config(
                    connect_timeout=_CONNECT_TIMEOUT,
                    read_timeout=_READ_TIMEOUT,
                    retries={"mode": "standard", "total_max_attempts": 4},
                )
                try:
                    self._clients[service] = session.client(service, config=config)
                except BotoCoreError as error:
                    raise self._failed(error, f"{service}:*") from error
            return self._clients[service]

    def _refused(self, error: "ClientError", action: str) -> AwsError:
        """Ours for an error that AWS answered with."""
        code = str(error.response.get("Error", {}).get("Code", "Unknown"))
        message = str(error.response.get("Error", {}).get("Message", ""))
        if code in _EXPIRED:
            return AwsRefused(code, message, "Your AWS credentials have expired.", "credentials-expired", self._login())
        if message.lower().startswith(_SKEWED):
            sentence = "AWS refuses our signature because the clock of this machine is wrong."
            return AwsRefused(code, message, sentence, "clock-skew", "Set the clock, then try again.")
        if code in _INVALID:
            sentence = "AWS does not know these credentials."
            return AwsRefused(code, message, sentence, "credentials-invalid", self._login())
        if code in _DENIED:
            named = re.search(r"not authorized to perform:? ([\w-]+:\w+)", message)
            missing = named[1] if named else action
            return AwsDenied(missing, f"AWS does not let you do this: {missing} is missing.", f"Ask for {missing}.")
        if code in _THROTTLED:
            sentence = f"AWS is throttling {action}, several tries in a row."
            return AwsRefused(
                code, message, sentence, "throttled", "Wait a minute and try again.", certain=_is_certain(error)
            )
        sentence = f"{action} was refused: {code}: {message}"
        return AwsRefused(code, message, sentence, _kebab(code), certain=_is_certain(error))

    def _failed(self, error: Exception, action: str) -> AwsError:
        """Ours for an error that botocore raised before an answer came."""
        from botocore import exceptions as b
        from botocore.parsers import ResponseParserError

        if isinstance(error, b.ProfileNotFound):
            return AwsError(
                f"{error}.",
                cause="profile-unknown",
                next_step="See 'aws configure list-profiles', then set AWS_PROFILE.",
            )
        if isinstance(error, b.SSOError | b.TokenRetrievalError | b.UnauthorizedSSOTokenError):
            return AwsError("Your AWS SSO login has expired.", cause="sso-expired", next_step=self._login())
        if isinstance(error, b.NoCredentialsError | b.PartialCredentialsError | b.CredentialRetrievalError):
            return AwsError(
                f"There are no usable AWS credentials: {error}.", cause="no-credentials", next_step=self._login()
            )
        if isinstance(error, b.NoRegionError):
            return AwsError("No AWS region is set.", cause="no-region", next_step="Set AWS_REGION or the profile's.")
        if isinstance(error, b.HTTPClientError | b.ConnectionError | ResponseParserError):
            return AwsUnreachable(
                f"AWS gave no answer to {action}: {error}.",
                cause="aws-unreachable",
                next_step="Check the network (VPN, proxy) and try again.",
            )
        return AwsError(f"{action} could not be called: {error}.", cause=_kebab(type(error).__name__))

    def _login(self) -> str:
        name = self._asked_profile or (self._made.profile_name if self._made else None)
        if name and name != "default":
            return f"Run: aws sso login --profile {name}"
        return "Name a profile, for example AWS_PROFILE=glimpse-prod, and log in: aws sso login --profile NAME"


async def _aside(work: Callable[[], Outcome]) -> Outcome:
    """What `work` gives, from a thread that nobody waits for once we are cancelled.

    The threads of asyncio.to_thread are joined when the program ends: without a network, minutes after Ctrl-C.
    """
    outcome: Future[Outcome] = Future()
    outcome.set_running_or_notify_cancel()  # from now on a cancellation is for us only, not for the thread

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001  # raised where it is waited for
            outcome.set_exception(error)

    threading.Thread(target=run, name="aws", daemon=True).start()
    return await asyncio.wrap_future(outcome)


def _is_certain(error: "ClientError") -> bool:
    """Whether AWS has said of the only try that there was that it carried out nothing."""
    metadata = error.response.get("ResponseMetadata", {})
    return metadata.get("HTTPStatusCode", 0) < 500 and not metadata.get("RetryAttempts", 0)


def _camel(operation: str) -> str:
    return "".join(word.capitalize() for word in operation.split("_"))


def _kebab(code: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", code.rpartition(".")[2]).lower()
    return words.removesuffix("-exception").removesuffix("-error") or "unknown"
