"""Fixtures that every room's tests may ask for."""

import os
from collections.abc import Iterator

import pytest

from tests.support import labs


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[labs.Lab]:
    """A lab that is up for the whole session; whoever breaks a part of it mends it again (`with lab.stopped(…)`)."""
    with labs.running(f"test-{os.getpid()}", tmp_path_factory.mktemp("state")) as running:
        yield running
