import os
import sys

import pytest

from toolbox.errors import LabError
from toolbox.lab import platform


def test_this_machine_can_run_the_lab() -> None:
    platform.check()


def test_macos_is_told_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(LabError, match="needs Linux") as caught:
        platform.check()
    assert "the other commands work here, too" in caught.value.next_step


@pytest.mark.parametrize(("library", "words"), [("glibc 2.31", "this is 2.31"), ("musl", "another C library")])
def test_another_c_library_is_told_why_not(monkeypatch: pytest.MonkeyPatch, library: str, words: str) -> None:
    monkeypatch.setattr(os, "confstr", lambda name: library)
    with pytest.raises(LabError, match=words):
        platform.check()
