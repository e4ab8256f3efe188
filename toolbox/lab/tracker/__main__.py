"""`python -m toolbox.lab.tracker ROLE`: run one service until it is told to stop."""

import logging
import os
import random
import signal
import sys
import threading
import time
from types import FrameType
from typing import Final

from toolbox.lab.tracker.data import Data
from toolbox.lab.tracker.health import Health
from toolbox.lab.tracker.web import serve
from toolbox.lab.tracker.work import ROLES

_TICK_SECONDS: Final = 1.0
_LONGEST_PAUSE: Final = 4.0
_FIRST_PAUSE: Final = 0.25
_PATIENCE_SECONDS: Final = 5.0

log = logging.getLogger("tracker")


def main() -> int:
    """Work once a second, answer health checks, and live on when something that it needs is away."""
    role = sys.argv[1]
    logging.basicConfig(
        stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s tracker." + role + " %(message)s"
    )
    stopping = threading.Event()

    def stop(_: int, __: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    health = Health()
    with Data(os.environ) as data:
        if "PORT" in os.environ:
            serve((os.environ.get("LAB_ADDRESS", ""), int(os.environ["PORT"])), role, data, health)
        log.info("%s started", role)
        _work(role, data, health, stopping)
    log.info("%s stopped", role)
    return 0


def _work(role: str, data: Data, health: Health, stopping: threading.Event) -> None:
    """One piece of work after the other. What is not there yet when everything starts at once is waited for."""
    patience = time.monotonic() + _PATIENCE_SECONDS
    pause = _TICK_SECONDS
    while not stopping.is_set():
        try:
            line = ROLES[role](data)
        except data.unreachable as error:
            health.failed(error)
            data.drop()
            if time.monotonic() < patience:
                pause = _FIRST_PAUSE
                log.info("waiting: %s", str(error).partition("\n")[0])
            else:
                pause = min(2 * max(pause, _TICK_SECONDS), _LONGEST_PAUSE)
                log.exception("%s failed", role)
        else:
            health.succeeded()
            patience, pause = 0.0, _TICK_SECONDS
            log.info("%s", line)
        stopping.wait(pause * random.uniform(0.8, 1.2))


if __name__ == "__main__":
    sys.exit(main())
