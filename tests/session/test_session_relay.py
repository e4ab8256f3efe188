"""The relay as a program: light, quick to start, and not to be started by hand."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolbox.session import frames
from toolbox.session.farside.children import parse_order
from toolbox.session.farside.clock import Clock
from toolbox.session.frames import FrameError

_ISOLATED = (sys.executable, "-I")


def test_imports_the_standard_library_and_little_of_ours() -> None:
    program = "import sys; import toolbox.session.relay; print(*sys.modules)"
    loaded = subprocess.run((*_ISOLATED, "-c", program), capture_output=True, text=True, check=True).stdout.split()
    foreign = {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names) - {"toolbox"}
    assert {name for name in foreign if not name.startswith(("_", "sitecustomize"))} == set()
    assert not {"asyncio", "dataclasses", "tarfile", "subprocess"} & set(loaded), "slow to import"
    ours = [name for name in loaded if name.startswith("toolbox.")]
    assert {name for name in ours if not name.startswith("toolbox.session")} == {"toolbox.errors"}


def test_is_not_started_by_hand() -> None:
    ended = subprocess.run(
        (*_ISOLATED, "-m", "toolbox.session.relay"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (64, "")
    assert "toolbox shell" in ended.stderr


def test_a_clock_without_a_directory_is_done_without(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "missing")
    clock.heartbeat()
    clock.activity()
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"words": [], "pty": False},
        {"words": "ls", "pty": False},
        {"words": ["a\0b"], "pty": False},
        {"words": None},
        {"words": None, "pty": False, "environment": {"A=B": "c"}},
        {"words": None, "pty": False, "environment": {"A": 1}},
    ],
)
def test_an_order_that_makes_no_sense_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(FrameError):
        parse_order(fields)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["words", "pty", "environment", "columns", "rows"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ),
    )
)
def test_any_order_is_understood_or_refused(fields: dict[str, object]) -> None:
    try:
        order = parse_order(frames.decode_json(frames.encode_json(fields)))
    except FrameError:
        return
    assert order.words is None or all(isinstance(word, str) for word in order.words)
    assert 0 <= order.columns <= 0xFFFF
