"""The few system calls that Python 3.11 does not offer, by name and with errors raised."""

import ctypes
import errno
import os
import signal
from typing import Any, Final

# linux/sched.h, linux/mount.h, linux/prctl.h, linux/fcntl.h: part of the kernel's stable interface.
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_BIND: Final = 0x1000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 0x40000
_MNT_DETACH: Final = 2
_PR_SET_PDEATHSIG: Final = 1
_PR_CAPBSET_DROP: Final = 24
_PR_SET_CHILD_SUBREAPER: Final = 36
_CAPABILITIES: Final = 64
_SYS_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41}
_SYS_MOUNT_SETATTR: Final = 442
_AT_FDCWD: Final = -100
_AT_RECURSIVE: Final = 0x8000
_MOUNT_ATTR_RDONLY: Final = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: Any) -> None:
    if getattr(_libc, name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """unshare(2)."""
    _call("unshare", flags)


def setns(pidfd: int, flags: int) -> None:
    """setns(2) with a pidfd (Linux 5.8): enter these namespaces of that process."""
    _call("setns", pidfd, flags)


def sethostname(name: str) -> None:
    """sethostname(2)."""
    _call("sethostname", name.encode(), len(name.encode()))


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2)."""
    _call("mount", source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode())


def make_read_only(path: str) -> None:
    """mount_setattr(2), Linux 5.12: the mount at `path` and all below it. On an older kernel they stay as they are."""
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    try:
        _call("syscall", _SYS_MOUNT_SETATTR, _AT_FDCWD, path.encode(), _AT_RECURSIVE, attributes, size)
    except OSError:
        return


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    _call("syscall", _SYS_PIVOT_ROOT[os.uname().machine], new.encode(), old.encode())


def detach(path: str) -> None:
    """umount2(2), lazily."""
    _call("umount2", path.encode(), _MNT_DETACH)


def die_with_parent(number: signal.Signals) -> None:
    """Get `number` when the parent thread dies; not inherited by children, kept over exec (prctl(2))."""
    _call("prctl", _PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def keep_only(capabilities: frozenset[int]) -> None:
    """Take every other capability out of the bounding set, so that exec loses it too (capabilities(7))."""
    for number in range(_CAPABILITIES):
        if number not in capabilities:
            try:
                _call("prctl", _PR_CAPBSET_DROP, number, 0, 0, 0)
            except OSError as error:
                if error.errno != errno.EINVAL:  # one that this kernel does not have
                    raise


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies (prctl(2), PR_SET_CHILD_SUBREAPER)."""
    _call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
