"""The lab's AWS endpoint, an ASGI application: who asks, may they, and which part answers.

ECS and ECS Exec are ours, so are the answers that moto gets wrong; everything else is moto's.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

from toolbox.lab.aws import cbor, faults, resources
from toolbox.lab.aws.asgi import BodyTooLarge, Receive, Send, WebSocket, headers_of, read_body, respond
from toolbox.lab.aws.backends import Backends
from toolbox.lab.aws.faults import Fault
from toolbox.lab.aws.identities import Caller, Identities
from toolbox.lab.aws.logs import filter_log_events
from toolbox.lab.aws.request import Request, parse
from toolbox.lab.aws.response import Response, Wire
from toolbox.lab.aws.targethealth import describe_target_health
from toolbox.lab.contract import Channel
from toolbox.lab.ecs.errors import EcsApiError

CREDENTIALS_PATH: Final = "/v1/credentials/"
DATA_CHANNEL_PATH: Final = "/v1/data-channel/"
_CLOUD_MAP_DATES: Final = frozenset({"CreateDate", "UpdateDate"})

_log = logging.getLogger(__name__)

Parameters: TypeAlias = Mapping[str, Any]
Handler: TypeAlias = Callable[[Request, Parameters, Caller], Awaitable[Response]]


class EcsApi(Protocol):
    """The lab's ECS, as far as the endpoint calls it."""

    async def call(self, action: str, payload: dict[str, Any], principal: str) -> dict[str, Any]:
        """The answer; raises EcsApiError."""

    def passed_roles(self, action: str, parameters: Parameters) -> list[str]:
        """The roles that the request hands to tasks without naming them itself."""

    def target_health(self, arn: str) -> list[dict[str, Any]]:
        """DescribeTargetHealth's descriptions for a target group."""


class Sessions(Protocol):
    """ECS Exec's sessions."""

    async def serve(self, session_id: str, channel: Channel) -> None:
        """Carry one websocket to its end."""

    def resume(self, session_id: str) -> str | None:
        """A fresh token, or None when there is no such session any more."""

    def terminate(self, session_id: str) -> None:
        """End the session."""


class App:
    """The application. `changed` is called after every EC2 call that may have changed the network."""

    def __init__(
        self,
        backends: Backends,
        identities: Identities,
        ecs: EcsApi,
        sessions: Sessions,
        *,
        stream_url: Callable[[str], str],
        changed: Callable[[], None],
    ) -> None:
        self._backends = backends
        self._identities = identities
        self._ecs = ecs
        self._sessions = sessions
        self._stream_url = stream_url
        self._changed = changed
        self._own: Mapping[tuple[str, str], Handler] = {
            ("ssm", "ResumeSession"): self._resume_session,
            ("ssm", "TerminateSession"): self._terminate_session,
            ("logs", "FilterLogEvents"): self._filter_log_events,
            ("elasticloadbalancing", "DescribeTargetHealth"): self._target_health,
        }

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one HTTP request or one websocket."""
        path: str = scope.get("path", "")
        if scope["type"] == "websocket" and path.startswith(DATA_CHANNEL_PATH):
            channel = await WebSocket.accept(receive, send)
            await self._sessions.serve(path.removeprefix(DATA_CHANNEL_PATH), channel)
        elif scope["type"] == "http":
            await respond(send, await self._http(scope, receive))

    async def _http(self, scope: Mapping[str, Any], receive: Receive) -> Response:
        headers, path = headers_of(scope), scope["path"]
        try:
            body = await read_body(receive)
        except BodyTooLarge:
            return Response(413)
        if path.startswith(CREDENTIALS_PATH):
            return self._credentials(path.removeprefix(CREDENTIALS_PATH), headers.get("authorization", ""))
        request = parse(scope["method"], path, scope.get("query_string", b""), headers, body)
        try:
            return await self._answer(request)
        except Fault as fault:
            return faults.answer(request.wire, fault)
        except EcsApiError as error:
            return faults.answer(request.wire, Fault(error.code, error.message, error.http_status))
        except Exception:  # noqa: BLE001 - the boundary: a client must get an answer, and the supervisor's log the cause
            _log.exception("%s:%s failed", request.service, request.action)
            return faults.answer(request.wire, Fault("InternalFailure", "The lab itself failed: see its log.", 500))

    async def _answer(self, request: Request) -> Response:
        caller = self._identities.caller(request.access_key, request.wire)
        parameters = request.parameters()
        if request.action:
            for action, arns in resources.needed(request, parameters):
                self._identities.authorise(caller, action, arns, request.wire)
        if request.service == "ecs":
            if roles := self._ecs.passed_roles(request.action, parameters):
                self._identities.authorise(caller, "iam:PassRole", roles, request.wire)
            return await self._call_ecs(request, parameters, caller)
        own = self._own.get((request.service, request.action))
        if own:
            return await own(request, parameters, caller)
        response = await self._call_moto(request, parameters)
        if request.service == "ec2" and not request.action.startswith("Describe"):
            self._changed()
        return response

    async def _call_ecs(self, request: Request, parameters: Parameters, caller: Caller) -> Response:
        return Response.of_document(await self._ecs.call(request.action, dict(parameters), caller.arn))

    async def _call_moto(self, request: Request, parameters: Parameters) -> Response:
        if request.wire is not Wire.CBOR:
            return await self._backends.handle(request)
        headers = {name: value for name, value in request.headers.items() if name != "smithy-protocol"}
        headers |= {"x-amz-target": request.target, "content-type": "application/x-amz-json-1.1"}
        body = json.dumps(parameters).encode()
        as_json = parse("POST", "/", b"", headers, body)
        answer = await self._backends.handle(as_json)
        document = json.loads(answer.body or b"{}", object_hook=_with_dates)
        return Response.of_document(document, Wire.CBOR, answer.status)

    async def _resume_session(self, request: Request, parameters: Parameters, _: Caller) -> Response:
        session = str(parameters.get("SessionId", ""))
        token = self._sessions.resume(session)
        document = {"SessionId": session}
        if token is not None:
            document |= {"TokenValue": token, "StreamUrl": self._stream_url(session)}
        return Response.of_document(document, request.wire)

    async def _terminate_session(self, request: Request, parameters: Parameters, _: Caller) -> Response:
        session = str(parameters.get("SessionId", ""))
        self._sessions.terminate(session)
        return Response.of_document({"SessionId": session}, request.wire)

    async def _filter_log_events(self, request: Request, parameters: Parameters, _: Caller) -> Response:
        document = await self._backends.run(filter_log_events, self._backends, parameters)
        return Response.of_document(document, request.wire)

    async def _target_health(self, _: Request, parameters: Parameters, __: Caller) -> Response:
        arn = str(parameters.get("TargetGroupArn", ""))
        with self._backends.locked():
            known = arn in self._backends.elb.target_groups
        if not known:
            raise Fault("TargetGroupNotFound", f"Target groups '{arn}' not found")
        return describe_target_health(self._ecs.target_health(arn))

    def _credentials(self, task_id: str, token: str) -> Response:
        """What the SDKs' container provider asks for (AWS SDKs Reference Guide, 'Container credential provider')."""
        credentials = self._identities.task_credentials(task_id, token)
        if credentials is None or credentials.expiration is None:
            return Response(
                403, {"content-type": "application/json"}, b'{"code":"AccessDenied","message":"no such task"}'
            )
        document = {
            "AccessKeyId": credentials.access_key,
            "SecretAccessKey": credentials.secret_key,
            "Token": credentials.token,
            "Expiration": credentials.expiration.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return Response(200, {"content-type": "application/json"}, json.dumps(document).encode())


def _with_dates(document: dict[str, Any]) -> dict[str, Any]:
    """Cloud Map's dates, numbers in JSON, as the timestamps that CBOR marks."""
    return {
        key: cbor.Timestamp(value) if key in _CLOUD_MAP_DATES and isinstance(value, int | float) else value
        for key, value in document.items()
    }
