"""Fixtures that every room's tests may ask for."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.support import labs

# A run in the background, or under nohup, comes with these ignored, and what it starts would ignore them too.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[labs.Lab]:
    """A lab that is up for the whole session; whoever breaks a part of it mends it again (`with lab.stopped(…)`)."""
    with labs.running(f"test-{os.getpid()}", tmp_path_factory.mktemp("state")) as running:
        yield running
