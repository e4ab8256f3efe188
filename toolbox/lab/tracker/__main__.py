"""`python -m toolbox.lab.tracker ROLE`: run one service until it is told to stop."""

import logging
import os
import random
import signal
import sys
import threading
from types import FrameType
from typing import Final

from toolbox.lab.tracker.data import UNREACHABLE, Data
from toolbox.lab.tracker.health import Health
from toolbox.lab.tracker.web import serve
from toolbox.lab.tracker.work import ROLES

_TICK_SECONDS: Final = 1.0
_LONGEST_PAUSE: Final = 4.0

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
    work, health = ROLES[role], Health()
    with Data(os.environ) as data:
        if "PORT" in os.environ:
            serve((os.environ.get("LAB_ADDRESS", ""), int(os.environ["PORT"])), role, data, health)
        log.info("%s started", role)
        pause = _TICK_SECONDS
        while not stopping.is_set():
            try:
                log.info("%s", work(data))
            except UNREACHABLE as error:
                log.exception("%s failed", role)
                health.failed(error)
                data.drop()
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                health.succeeded()
                pause = _TICK_SECONDS
            stopping.wait(pause * random.uniform(0.8, 1.2))
    log.info("%s stopped", role)
    return 0


if __name__ == "__main__":
    sys.exit(main())
