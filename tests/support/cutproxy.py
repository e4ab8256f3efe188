"""A proxy before an HTTP endpoint that loses, or holds back, the answers to some requests."""

import http.client
import http.server
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

_OF_THE_CONNECTION: Final = ("transfer-encoding", "content-length", "connection")


class CutProxy:
    """Requests whose X-Amz-Target is `cut` are carried out, but their answers never arrive; those of `hold` wait.

    With `status`, that of an error of AWS's own, this is what comes instead of the answers that are cut.
    `held` is set when an answer is being held back; set `release` to let it go. `cuts` counts what was lost.
    """

    def __init__(self, endpoint: str, *, cut: bytes = b"", hold: bytes = b"", status: int | None = None) -> None:
        self.held = threading.Event()
        self.release = threading.Event()
        self.cuts = 0
        address = urlsplit(endpoint).netloc
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                upstream = http.client.HTTPConnection(address, timeout=30)
                upstream.request("POST", self.path, body, dict(self.headers.items()))
                answer = upstream.getresponse()
                content = answer.read()
                upstream.close()
                target = self.headers.get("X-Amz-Target", "").encode()
                if cut and target == cut:
                    outer.cuts += 1
                    if status is None:
                        self.close_connection = True
                    else:
                        self._answer(status, b'{"__type": "ServerException", "message": "try again"}')
                    return
                if hold and target == hold:
                    outer.held.set()
                    outer.release.wait(timeout=30)
                kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in _OF_THE_CONNECTION]
                self._answer(answer.status, content, kept)

            def _answer(self, code: int, content: bytes, headers: Sequence[tuple[str, str]] = ()) -> None:
                self.send_response(code)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name for it
                """Say nothing: pytest shows what failed."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
