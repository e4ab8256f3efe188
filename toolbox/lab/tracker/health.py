"""What a service says of itself when the load balancer asks."""

import threading


class Health:
    """Healthy from the first success on and until a failure; safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason = "starting"

    @property
    def reason(self) -> str:
        """Why it is not healthy; "" when it is."""
        with self._lock:
            return self._reason

    def succeeded(self) -> None:
        """The last piece of work was done."""
        with self._lock:
            self._reason = ""

    def failed(self, error: Exception) -> None:
        """The last piece of work was not done."""
        lines = str(error).strip().splitlines() or [""]
        with self._lock:
            self._reason = f"{type(error).__name__}: {lines[0]}"
