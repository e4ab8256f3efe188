"""Start a program that dies with us, and not as root where it refuses root.

A program of its own (`python -I -S leash.py …`, the standard library only, about 15 ms) that prepares the process and
becomes the wanted program by exec: `preexec_fn` is unsafe beside threads. Linux only.
"""

import ctypes
import os
import pwd
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CLONE_NEWUSER = 0x10000000  # linux/sched.h
_CAP_DAC_OVERRIDE = 1  # linux/capability.h
_CAP_VERSION_3 = 0x20080522
_USAGE = 64
_GONE = 1


def leashed(argv: Sequence[str], *, last_signal: signal.Signals, not_root: bool = False) -> list[str]:
    """The argv that runs `argv` so that it gets `last_signal` when the calling *thread* ends (prctl(2)).

    With `not_root`, and only if we are root, it runs under another user id that can still read and write what root
    can: in a user namespace, else with CAP_DAC_OVERRIDE kept.
    """
    leash = [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(last_signal))]
    return [*leash, "not-root" if not_root else "same-user", *argv]


def main(arguments: Sequence[str]) -> None:
    """Become the program in `arguments`; returns never (exit 64 for wrong arguments, 1 when the parent is gone)."""
    if len(arguments) < 4:
        sys.exit(_USAGE)
    parent, last_signal, user, *argv = arguments
    if user == "not-root" and os.geteuid() == 0:
        _leave_root()
    # After the user id has changed: the kernel forgets the signal when credentials change.
    _libc(_prctl, _PR_SET_PDEATHSIG, int(last_signal), 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit(_GONE)
    os.execv(argv[0], argv)


def _leave_root() -> None:
    # The user must have an entry: initdb looks its own name up.
    user = next((entry for entry in pwd.getpwall() if entry.pw_name == "nobody"), None) or next(
        entry for entry in pwd.getpwall() if entry.pw_uid != 0
    )
    if _works_in_a_child(user.pw_uid, user.pw_gid):
        _enter_user_namespace(user.pw_uid, user.pw_gid)
    else:
        _change_user(user.pw_uid, user.pw_gid)


def _works_in_a_child(uid: int, gid: int) -> bool:
    """Whether a user namespace can be entered *and* mapped; halfway there is no way back, so a child tries it."""
    child = os.fork()
    if child == 0:
        try:
            _enter_user_namespace(uid, gid)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def _enter_user_namespace(uid: int, gid: int) -> None:
    """Be `uid` in a new user namespace and what we are outside of it: files keep their owner (user_namespaces(7))."""
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    _libc(_unshare, _CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {outer_uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {outer_gid} 1")


def _change_user(uid: int, gid: int) -> None:
    """Be `uid` for good, with CAP_DAC_OVERRIDE ambient so that root's directories stay open (capabilities(7))."""
    _libc(_prctl, _PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    capability = 1 << _CAP_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(_CAP_VERSION_3, 0)
    # Twice (effective, permitted, inheritable): capabilities 0-31, then 32-63.
    data = (ctypes.c_uint32 * 6)(capability, capability, capability, 0, 0, 0)
    _libc(_capset, header, data)
    _libc(_prctl, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)


_c = ctypes.CDLL(None, use_errno=True)
_prctl, _unshare, _capset = _c.prctl, _c.unshare, _c.capset


def _libc(function: "ctypes._NamedFuncPointer", *arguments: object) -> None:
    """Call a C function that answers 0 or sets errno; raises OSError."""
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    main(sys.argv[1:])
