"""Which image the task runs: tagged by content, so that what was tested and what runs can be told apart."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# What the Dockerfile copies. The lab never enters the image.
_FILES: Final = ("Dockerfile", "entrypoint.sh")
_DIRECTORIES: Final = ("toolbox", "locks")
_LEFT_OUT: Final = ("toolbox/lab/",)
_TAG_LENGTH: Final = 16


def repository_root() -> Path:
    """The directory that holds `Dockerfile`, `scripts/` and `toolbox/`."""
    return Path(__file__).resolve().parents[2]


def content_tag(root: Path) -> str:
    """The tag of the image that this checkout builds: 16 hex digits of a hash over names, modes and contents."""
    digest = hashlib.sha256()
    for path in sorted(_sources(root), key=lambda path: path.relative_to(root).as_posix()):
        content = path.read_bytes()
        executable = "x" if path.stat().st_mode & 0o100 else "-"
        digest.update(f"{path.relative_to(root).as_posix()}\0{executable}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:_TAG_LENGTH]


def _sources(root: Path) -> Iterator[Path]:
    for name in _FILES:
        if (root / name).is_file():
            yield root / name
    for directory in _DIRECTORIES:
        for path in (root / directory).rglob("*"):
            name = path.relative_to(root).as_posix()
            if path.is_file() and "__pycache__" not in path.parts and not name.startswith(_LEFT_OUT):
                yield path
