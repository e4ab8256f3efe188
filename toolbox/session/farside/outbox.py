"""What waits to be written to a terminal that does not block."""

import os
from collections import deque


class Outbox:
    """Frames on their way into the terminal, in order."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._queue: deque[bytes] = deque()
        self.queued = 0

    def put(self, data: bytes) -> None:
        """Send `data` after what is there."""
        self._queue.append(data)
        self.queued += len(data)

    def flush(self) -> None:
        """Write what the terminal takes now."""
        while self._queue:
            data = self._queue[0]
            try:
                written = os.write(self._terminal, data)
            except BlockingIOError:
                return
            self.queued -= written
            if written < len(data):
                self._queue[0] = data[written:]
            else:
                self._queue.popleft()
