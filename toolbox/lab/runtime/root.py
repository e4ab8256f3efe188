"""A container's own root: a tmpfs with what it may see of the host, read-only, and its own files."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from toolbox.lab.runtime import linux

# What programs need; nobody's home, credentials or runtime directory.
_HOST_DIRECTORIES: Final = ("bin", "lib", "lib32", "lib64", "libx32", "nix", "opt", "sbin", "sys", "usr", "var")
_OWN_DIRECTORIES: Final = (("tmp", 0o1777), ("run", 0o755), ("scripts", 0o755), ("root", 0o700), ("home", 0o755))
_DEVICES: Final = ("full", "null", "random", "tty", "urandom", "zero")
_KERNEL_SETTINGS: Final = ("/proc/sys", "/proc/sysrq-trigger")
_LINKS: Final = {
    "ptmx": "pts/ptmx",
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
_HOST: Final = Path("/host")  # where the host's root is while we build


def build(hostname: str, files: Mapping[str, str], visible: Sequence[str]) -> None:
    """Give this process, the first of a new PID namespace, mounts and a host name of its own, and a new root.

    `files` maps paths to texts; `visible` are further paths of the host that keep their place. Raises OSError.
    """
    linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC)
    linux.sethostname(hostname)
    linux.mount("none", "/", "", linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("tmpfs", "/tmp", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=755,size=512m")
    os.chdir("/tmp")
    Path("host").mkdir()
    linux.pivot_root(".", "host")
    os.chdir("/")
    for name in _HOST_DIRECTORIES:
        _show(Path("/", name))
    _show_etc(files)
    for name, mode in _OWN_DIRECTORIES:
        Path("/", name).mkdir()
        Path("/", name).chmod(mode)
    if Path("/var/tmp").is_dir():
        linux.mount("tmpfs", "/var/tmp", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=1777,size=64m")
    for path in visible:
        _show(Path(path))
    _make_devices()
    _show_processes()
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, "utf-8")
    linux.detach(str(_HOST))
    _HOST.rmdir()


def _show(path: Path) -> None:
    """Let the host's `path` appear at its place with all that is mounted there; nothing if it is missing or shown."""
    source = _HOST / path.relative_to("/")
    if path.is_symlink() or path.exists():
        return
    if source.is_symlink():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(source.readlink())
        return
    if source.is_dir():
        path.mkdir(parents=True)
    elif source.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    else:
        return
    linux.mount(str(source), str(path), "", linux.MS_BIND | linux.MS_REC)
    linux.make_read_only(str(path))


def _show_etc(files: Mapping[str, str]) -> None:
    """The host's /etc entry by entry, so that the container's own hosts, resolv.conf and profile can lie in it."""
    Path("/etc").mkdir()
    for entry in (_HOST / "etc").iterdir():
        path = Path("/etc", entry.name)
        if str(path) not in files:
            _show(path)


def _make_devices() -> None:
    """A /dev with the harmless devices and a devpts instance of its own: its terminals are nobody else's."""
    Path("/dev/pts").mkdir(parents=True)
    Path("/dev/shm").mkdir()
    Path("/dev/shm").chmod(0o1777)
    for name in _DEVICES:
        Path("/dev", name).touch()
        linux.mount(f"{_HOST}/dev/{name}", f"/dev/{name}", "", linux.MS_BIND)
    linux.mount("devpts", "/dev/pts", "devpts", linux.MS_NOSUID, "newinstance,ptmxmode=0666,mode=620")
    for name, target in _LINKS.items():
        Path("/dev", name).symlink_to(target)


def _show_processes() -> None:
    """The container's own /proc; where the kernel refuses one (outside, /proc is partly masked), the host's."""
    Path("/proc").mkdir()
    try:
        linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV)
    except PermissionError:
        linux.mount(f"{_HOST}/proc", "/proc", "", linux.MS_BIND | linux.MS_REC)
    for path in _KERNEL_SETTINGS:
        if Path(path).exists():
            linux.mount(path, path, "", linux.MS_BIND)
            linux.make_read_only(path)
