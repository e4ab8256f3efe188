"""botocore's errors become sentences with a next step; a real HTTP server plays an AWS that refuses."""

import asyncio
import http.server
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolbox.aws import Aws, AwsDenied, AwsRefused, AwsUnreachable
from toolbox.errors import AwsError

ASKING = """
import asyncio
from toolbox.aws import Aws
asyncio.run(Aws().call("ecs", "list_clusters"))
"""


class Refusing:
    """An endpoint that answers every call with one error."""

    def __init__(self) -> None:
        self.code = "AccessDeniedException"
        self.message = ""
        self.status = 400
        self.body: bytes | None = None  # None: an error with this code and message
        self.calls = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.calls += 1
                self.rfile.read(int(self.headers["Content-Length"]))
                body = outer.body or json.dumps({"__type": outer.code, "message": outer.message}).encode()
                self.send_response(outer.status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the base class's
                """Say nothing: pytest shows what failed."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment in which only what the test sets tells botocore anything."""
    import os

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    return monkeypatch


@pytest.fixture
def refusing(clean: pytest.MonkeyPatch) -> Iterator[Refusing]:
    server = Refusing()
    clean.setenv("AWS_ENDPOINT_URL", server.url)
    clean.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    clean.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    yield server
    server.server.shutdown()


def call(aws: Aws) -> AwsError:
    with pytest.raises(AwsError) as caught:
        asyncio.run(aws.call("ecs", "list_clusters"))
    return caught.value


def test_the_missing_action_is_named(refusing: Refusing) -> None:
    refusing.message = "User: arn:aws:iam::1:user/kim is not authorized to perform: iam:PassRole on resource: x"
    error = call(Aws())
    assert isinstance(error, AwsDenied)
    assert error.action == "iam:PassRole"
    assert "iam:PassRole" in error.next_step


def test_the_call_is_the_action_where_aws_names_none(refusing: Refusing) -> None:
    error = call(Aws())
    assert isinstance(error, AwsDenied)
    assert error.action == "ecs:ListClusters"


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("ExpiredTokenException", "credentials-expired"),
        ("UnrecognizedClientException", "credentials-invalid"),
        ("InvalidSignatureException", "credentials-invalid"),
        ("ClusterNotFoundException", "cluster-not-found"),
    ],
)
def test_codes_become_causes(refusing: Refusing, code: str, cause: str) -> None:
    refusing.code = code
    error = call(Aws())
    assert isinstance(error, AwsRefused)
    assert (error.cause, error.code) == (cause, code)
    assert refusing.calls == 1


@pytest.mark.parametrize(
    "message",
    [
        "Signature expired: 20261124T060000Z is now earlier than 20261124T061500Z (20261124T063000Z - 15 min.)",
        "Signature not yet current: 20261124T070000Z is still later than 20261124T061500Z (20261124T060000Z + 15 min.)",
    ],
)
@pytest.mark.parametrize("code", ["SignatureDoesNotMatch", "InvalidSignatureException"])
def test_a_wrong_clock_is_not_blamed_on_the_credentials(refusing: Refusing, code: str, message: str) -> None:
    refusing.code, refusing.message = code, message
    error = call(Aws())
    assert error.cause == "clock-skew"
    assert "clock" in error.next_step


@pytest.mark.parametrize(
    ("status", "code", "certain"),
    [(400, "InvalidParameterException", True), (400, "ThrottlingException", False), (500, "ServerException", False)],
)
def test_a_refusal_says_whether_nothing_was_carried_out(
    refusing: Refusing, status: int, code: str, certain: bool
) -> None:
    """Of several tries all but the last may have been carried out, and so may one that AWS itself failed at."""
    refusing.status, refusing.code = status, code
    error = call(Aws())
    assert isinstance(error, AwsRefused)
    assert error.certain is certain


def test_an_answer_that_is_none_of_aws(refusing: Refusing) -> None:
    """As a proxy's page of its own."""
    refusing.status, refusing.body = 200, b"<html><br>Welcome"
    with pytest.raises(AwsUnreachable):
        asyncio.run(Aws().identity())


def test_throttling_is_tried_again_before_it_is_told(refusing: Refusing) -> None:
    refusing.code = "ThrottlingException"
    assert call(Aws()).cause == "throttled"
    assert refusing.calls == 4


def test_no_answer_is_told_apart_from_a_refusal(refusing: Refusing) -> None:
    refusing.server.shutdown()
    refusing.server.server_close()
    assert isinstance(call(Aws()), AwsUnreachable)


def test_an_unknown_profile(clean: pytest.MonkeyPatch) -> None:
    clean.setenv("AWS_PROFILE", "glimpse-prd")
    error = call(Aws())
    assert error.cause == "profile-unknown"
    assert "glimpse-prd" in error.sentence


def test_an_expired_login_names_the_line_that_renews_it(clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        "[profile glimpse-prod]\nsso_session = s\nsso_account_id = 123456789012\nsso_role_name = Admin\n"
        "[sso-session s]\nsso_start_url = https://example.com/start\nsso_region = eu-central-1\n",
        encoding="utf-8",
    )
    clean.setenv("AWS_PROFILE", "glimpse-prod")
    error = call(Aws())
    assert error.cause == "sso-expired"
    assert error.next_step == "Run: aws sso login --profile glimpse-prod"


def test_no_credentials(clean: pytest.MonkeyPatch) -> None:
    assert call(Aws()).cause == "no-credentials"


def test_no_region(clean: pytest.MonkeyPatch) -> None:
    clean.delenv("AWS_REGION")
    clean.delenv("AWS_DEFAULT_REGION")
    assert call(Aws()).cause == "no-region"


def test_a_login_that_expired_meanwhile_is_said_when_a_session_is_signed(
    clean: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[profile gone]\ncredential_process = false\n", encoding="utf-8")
    clean.setenv("AWS_PROFILE", "gone")
    with pytest.raises(AwsError) as caught:
        asyncio.run(Aws().sign_websocket("wss://ssmmessages.eu-central-1.amazonaws.com/v1/data-channel/x"))
    assert caught.value.cause == "no-credentials"


def test_the_upgrade_is_signed_for_session_manager(refusing: Refusing) -> None:
    url = "wss://ssmmessages.eu-central-1.amazonaws.com/v1/data-channel/x?role=publish_subscribe"
    headers = asyncio.run(Aws().sign_websocket(url))
    assert "/eu-central-1/ssmmessages/aws4_request" in headers["Authorization"]
    assert "X-Amz-Date" in headers


def test_who_does_not_want_the_answer_any_more_does_not_wait_for_it(clean: pytest.MonkeyPatch) -> None:
    """In a process of its own, since what is to be quick is its end."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        clean.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        clean.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        clean.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
        with subprocess.Popen([sys.executable, "-c", ASKING]) as asking:
            connection, _ = silent.accept()
            began = time.monotonic()
            asking.send_signal(signal.SIGINT)
            asking.wait(timeout=100)
            took = time.monotonic() - began
        connection.close()
    assert took < 5
