"""What runs on this host, by /proc."""

from pathlib import Path


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1] != b"Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def running(*arguments: str) -> bool:
    """Whether some process was started as exactly this, and has got as far as its exec."""
    wanted = b"".join(argument.encode() + b"\0" for argument in arguments)
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if (directory / "cmdline").read_bytes() == wanted:
                return True
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
    return False
