"""The local `scripts/` directory as one deterministic archive, ready to be sent through the session."""

import fnmatch
import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from toolbox.errors import UsageError

IGNORE_FILE: Final = ".toolboxignore"
# Never useful in a task, and the first two may hold secrets.
_ALWAYS_LEFT_OUT: Final = (".env", ".env.*", ".git", "__pycache__", "*.pyc", ".DS_Store", IGNORE_FILE)
_MAX_BYTES: Final = 64 * 1024 * 1024  # of the archive: the far side takes no more


@dataclass(frozen=True, slots=True)
class Archive:
    """A tar of scripts. `files` are the paths in it, relative, sorted; `left_out` those that were not taken."""

    content: bytes
    files: tuple[str, ...]
    left_out: tuple[str, ...]


def pack(directory: Path) -> Archive:
    """What of `directory` goes into the task: equal content gives equal bytes, whoever packs it and when.

    Left out are `.env` files, `.git`, caches and what `.toolboxignore` names: one pattern a line as in a shell, `#`
    for comments, a trailing `/` for directories only, a pattern with a `/` inside it for a path from the top.
    Raises UsageError when there is no such directory, a file cannot be read, or it is larger than 64 MiB.
    """
    if not directory.is_dir():
        raise UsageError(
            f"There is no directory {directory}.",
            cause="scripts-missing",
            next_step="Name the directory with --scripts DIR.",
        )
    try:
        return _pack(directory, _patterns(directory))
    except OSError as error:
        raise UsageError(
            f"{error.filename or directory} cannot be read: {error.strerror}.",
            cause="scripts-unreadable",
            next_step=f"Mend its permissions, or leave it out with a line in {directory / IGNORE_FILE}.",
        ) from error


def _pack(directory: Path, patterns: tuple[str, ...]) -> Archive:
    files: list[str] = []
    left_out: list[str] = []
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in _walk(directory, directory, patterns, left_out):
            name = path.relative_to(directory).as_posix()
            entry = tarfile.TarInfo(name)
            executable = path.is_dir() or path.stat().st_mode & 0o100
            entry.mode = 0o755 if executable else 0o644
            if path.is_dir():
                entry.type = tarfile.DIRTYPE
                tar.addfile(entry)
                continue
            # Before it is read, since it may not even fit into our memory.
            _refuse_too_large(directory, buffer.tell() + path.stat().st_size)
            content = path.read_bytes()
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
            files.append(name)
    _refuse_too_large(directory, buffer.tell())
    return Archive(buffer.getvalue(), tuple(files), tuple(sorted(left_out)))


def _refuse_too_large(directory: Path, size: int) -> None:
    if size > _MAX_BYTES:
        raise UsageError(
            f"{directory} holds more than {_MAX_BYTES // 1024 // 1024} MiB.",
            cause="scripts-too-large",
            next_step=f"Leave out what a task does not need, in {directory / IGNORE_FILE}.",
        )


def _walk(top: Path, directory: Path, patterns: tuple[str, ...], left_out: list[str]) -> Iterator[Path]:
    """Files and directories under `directory` in order; a link counts as what it points to, if that is inside `top`."""
    for path in sorted(directory.iterdir(), key=lambda path: path.name):
        name = path.relative_to(top).as_posix()
        target = Path(os.path.realpath(path))  # unlike resolve(), takes links in circles
        if not target.is_relative_to(top.resolve()) or not (path.is_dir() or path.is_file()):
            left_out.append(name)
        elif _matches(name, path.is_dir(), patterns) or _matches(_within(target, top), target.is_dir(), patterns):
            left_out.append(name)  # by its own name, or by the name of what it is a link to: `settings` to `.env`
        elif path.is_dir() and path.is_symlink():
            left_out.append(name)  # its content is packed where it really stands; following it could go in circles
        elif path.is_dir():
            yield path
            yield from _walk(top, path, patterns, left_out)
        else:
            yield path


def _within(path: Path, top: Path) -> str:
    return path.relative_to(top.resolve()).as_posix()


def _patterns(directory: Path) -> tuple[str, ...]:
    ignore = directory / IGNORE_FILE
    lines = ignore.read_text(encoding="utf-8", errors="surrogateescape").splitlines() if ignore.is_file() else []
    named = (line.strip() for line in lines)
    return (*_ALWAYS_LEFT_OUT, *(line for line in named if line and not line.startswith("#")))


def _matches(name: str, is_directory: bool, patterns: tuple[str, ...]) -> bool:
    for pattern in patterns:
        if pattern.endswith("/") and not is_directory:
            continue
        wanted = pattern.strip("/")
        subject = name if "/" in wanted or pattern.startswith("/") else name.rpartition("/")[2]
        if fnmatch.fnmatchcase(subject, wanted):
            return True
    return False
