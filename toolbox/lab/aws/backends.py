"""moto behind one lock: its web application for clients, its backends for the lab's own parts.

moto is not thread safe, its import takes a second and a request some milliseconds: both happen in one worker thread,
and whoever looks at a backend from elsewhere holds the lock.
"""

import asyncio
import io
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from toolbox.lab.aws.request import Request
from toolbox.lab.aws.response import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from moto.ec2.models import EC2Backend
    from moto.ecr.models import ECRBackend
    from moto.elbv2.models import ELBv2Backend
    from moto.iam.models import IAMBackend
    from moto.logs.models import LogsBackend
    from moto.secretsmanager.models import SecretsManagerBackend
    from moto.servicediscovery.models import ServiceDiscoveryBackend
    from moto.ssm.models import SimpleSystemManagerBackend
    from moto.sts.models import STSBackend

ACCOUNT: Final = "123456789012"  # the one that moto takes without being asked
REGION: Final = "eu-central-1"
_PARTITION: Final = "aws"
_HOST: Final = "127.0.0.1"

T = TypeVar("T")


class Backends:
    """The simulated services of one account in one region. `load` comes first."""

    ec2: "EC2Backend"
    ecr: "ECRBackend"
    elb: "ELBv2Backend"
    iam: "IAMBackend"
    logs: "LogsBackend"
    secrets: "SecretsManagerBackend"
    discovery: "ServiceDiscoveryBackend"
    ssm: "SimpleSystemManagerBackend"
    sts: "STSBackend"

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="moto")
        self._application: WSGIApplication | None = None

    async def load(self) -> None:
        """Import moto and make its backends; takes one to two seconds, in the worker thread."""
        await self.run(self._load)

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """What `function` returns, called in the worker thread with the lock held."""

        def locked() -> T:
            with self._lock:
                return function(*arguments)

        return await asyncio.get_running_loop().run_in_executor(self._worker, locked)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock in the calling thread: for a look of microseconds, not for work."""
        with self._lock:
            yield

    async def handle(self, request: Request) -> Response:
        """The answer of moto's own service."""
        return await self.run(self._handle, request)

    def close(self) -> None:
        """End the worker thread once it is idle."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _load(self) -> None:
        from moto.ec2.models import ec2_backends
        from moto.ecr.models import ecr_backends
        from moto.elbv2.models import elbv2_backends
        from moto.iam.models import iam_backends
        from moto.logs.models import logs_backends
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from moto.secretsmanager.models import secretsmanager_backends
        from moto.servicediscovery.models import servicediscovery_backends
        from moto.ssm.models import ssm_backends
        from moto.sts.models import sts_backends

        self.ec2 = ec2_backends[ACCOUNT][REGION]
        self.ecr = ecr_backends[ACCOUNT][REGION]
        self.elb = elbv2_backends[ACCOUNT][REGION]
        self.iam = iam_backends[ACCOUNT][_PARTITION]
        self.logs = logs_backends[ACCOUNT][REGION]
        self.secrets = secretsmanager_backends[ACCOUNT][REGION]
        self.discovery = servicediscovery_backends[ACCOUNT][REGION]
        self.ssm = ssm_backends[ACCOUNT][REGION]
        self.sts = sts_backends[ACCOUNT][_PARTITION]
        self._application = DomainDispatcherApplication(create_backend_app)

    def _handle(self, request: Request) -> Response:
        assert self._application is not None, "load() comes first"
        status: list[str] = []
        headers: list[tuple[str, str]] = []

        def start_response(code: str, lines: list[tuple[str, str]], _: object = None) -> Callable[[bytes], object]:
            status[:] = [code]
            headers[:] = lines
            return lambda _: None

        parts: Iterable[bytes] = self._application(_environ(request), start_response)
        body = b"".join(parts)
        kept = {name.lower(): value for name, value in headers if name.lower() not in ("content-length", "connection")}
        return Response(int(status[0].split()[0]), kept, body)


def _environ(request: Request) -> dict[str, Any]:
    """The request as WSGI hands it over (PEP 3333)."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query.decode("latin-1"),
        "SERVER_NAME": _HOST,
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": _HOST,
        "CONTENT_LENGTH": str(len(request.body)),
        "CONTENT_TYPE": request.headers.get("content-type", ""),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request.headers.items():
        if name not in ("content-length", "content-type"):
            environ["HTTP_" + name.upper().replace("-", "_")] = value
    return environ
