"""A proxy before an HTTP endpoint that loses, or holds back, the answers to some requests."""

import http.client
import http.server
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class CutProxy:
    """Requests whose X-Amz-Target is `cut` are carried out, but their answers never arrive; those of `hold` wait.

    `held` is set when an answer is being held back; set `release` to let it go. `cuts` counts what was lost.
    """

    def __init__(self, endpoint: str, *, cut: bytes = b"", hold: bytes = b"") -> None:
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
                    self.close_connection = True
                    return
                if hold and target == hold:
                    outer.held.set()
                    outer.release.wait(timeout=30)
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "content-length", "connection"):
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
