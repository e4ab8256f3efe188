"""Whether this machine can run the lab."""

import os
import sys
from typing import Final

from toolbox.errors import LabError

_GLIBC: Final = (2, 34)  # what the wheels of PostgreSQL and Valkey are built for


def check() -> None:
    """Raise LabError, with the reason, where the lab cannot run."""
    if sys.platform != "linux":
        raise _cannot(
            "it needs Linux: namespaces, and all of 127.0.0.0/8 as local addresses",
            "Use a Linux machine or a virtual one; the other commands work here, too.",
        )
    library = _libc()
    if library is None:
        raise _cannot(
            f"it needs glibc {_GLIBC[0]}.{_GLIBC[1]} or later, and this system has another C library",
            "Use Debian 12, Ubuntu 22.04, Fedora 35 or later.",
        )
    if library < _GLIBC:
        raise _cannot(
            f"it needs glibc {_GLIBC[0]}.{_GLIBC[1]} or later, and this is {library[0]}.{library[1]}",
            "Use Debian 12, Ubuntu 22.04, Fedora 35 or later.",
        )


def _libc() -> tuple[int, int] | None:
    """Glibc's version; None for another library."""
    try:
        name, _, version = os.confstr("CS_GNU_LIBC_VERSION").partition(" ")  # type: ignore[union-attr]  # never unset
    except (ValueError, OSError, AttributeError):
        return None
    if name != "glibc":
        return None
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _cannot(why: str, next_step: str) -> LabError:
    return LabError(f"The lab cannot run here: {why}.", cause="lab-platform", next_step=next_step)
