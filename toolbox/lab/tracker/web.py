"""The HTTP side of a service: its health, and for the api what the frontend asks for."""

import json
import logging
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from toolbox.lab.tracker.data import Data
from toolbox.lab.tracker.health import Health

_LATEST = "SELECT tracker_id, latitude, longitude FROM tracker.latest_positions ORDER BY recorded_at DESC LIMIT 20"

log = logging.getLogger("tracker")


def serve(where: tuple[str, int], role: str, data: Data, health: Health) -> None:
    """Answer in threads of its own until the process ends; raises OSError when the port is taken."""

    class Handler(BaseHTTPRequestHandler):
        """One request."""

        def do_GET(self) -> None:
            """Health on every path that is not a resource."""
            if role == "api" and self.path == "/trackers":
                self._trackers()
            elif reason := health.reason:
                self._answer(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "unavailable", "reason": reason})
            else:
                self._answer(HTTPStatus.OK, {"status": "ok", "service": role})

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
            """Keep the load balancer's checks out of the log."""

        def _trackers(self) -> None:
            try:
                rows = data.query(_LATEST)
            except data.unreachable:
                log.exception("GET /trackers failed")
                self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "internal server error"})
            else:
                self._answer(HTTPStatus.OK, {"trackers": [list(row) for row in rows]})

        def _answer(self, status: HTTPStatus, document: object) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(where, Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
