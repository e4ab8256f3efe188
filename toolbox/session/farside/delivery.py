"""The channel of a delivery: an archive of scripts arrives, is verified, and takes the place of what was there."""

import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from toolbox.session import frames
from toolbox.session.frames import CREDIT, Frame, FrameError, Kind

if TYPE_CHECKING:
    import tarfile

MAX_ARCHIVE: Final = 64 * 1024 * 1024
"""Bytes of an archive, packed or not."""

_MAX_FILES: Final = 20_000
_GRANT: Final = CREDIT // 4
_GZIP: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 31  # zlib: gzip's wrapping, its largest window


class DeliveryError(Exception):
    """An archive that we do not unpack, in words."""


class DeliveryChannel:
    """Receives `size` bytes, answers with the list of files, or FAILED. Owns no descriptor."""

    pid = 0
    one_shot = False

    def __init__(self, fields: Mapping[str, object], directory: str, emit: Callable[[Kind, bytes], None]) -> None:
        size, digest = fields.get("size"), fields.get("sha256")
        if not isinstance(size, int) or not isinstance(digest, str) or not 0 <= size <= MAX_ARCHIVE:
            raise FrameError("a delivery without size and digest")
        self.finished = False
        self._size = size
        self._digest = digest
        self._directory = directory
        self._emit = emit
        self._archive = bytearray()
        self._ungranted = 0
        self._answer = b""
        self._credit = CREDIT

    def interests(self, room: bool) -> Iterator[tuple[int, int]]:
        """Nothing to wait for but frames."""
        yield from ()

    def ready(self, descriptor: int, events: int) -> None:
        """Never called: there are no descriptors."""

    def frame(self, frame: Frame) -> None:
        """Take a piece, or unpack at the end; raises FrameError when it makes no sense here."""
        if frame.kind is Kind.EOF:
            self._finish()
        elif frame.kind is Kind.DATA and len(self._archive) + len(frame.payload) <= self._size:
            self._archive += frame.payload
            self._ungranted += len(frame.payload)
            if self._ungranted >= _GRANT:
                self._emit(Kind.CREDIT, frames.encode_credit(self._ungranted))
                self._ungranted = 0
        elif frame.kind is Kind.CREDIT:
            self._credit = min(CREDIT, self._credit + frames.decode_credit(frame.payload))
        else:
            raise FrameError(f"{frame.kind.name} on a delivery's channel")

    def exited(self, status: int) -> None:
        """Never called: there is no child."""

    def settle(self) -> None:
        """Send on of the answer what the client takes."""
        if not self._answer:
            return
        part = self._answer[: self._credit]
        self._credit -= len(part)
        self._answer = self._answer[len(part) :]
        for frame in frames.split(0, Kind.DATA, part):
            self._emit(frame.kind, frame.payload)
        if not self._answer:
            self._emit(Kind.EXIT, frames.encode_json({"code": 0}))
            self.close()

    def close(self) -> None:
        """Forget what came."""
        self.finished = True
        self._archive.clear()

    def _finish(self) -> None:
        try:
            if len(self._archive) != self._size or sha256(self._archive).hexdigest() != self._digest:
                raise DeliveryError("what arrived is not what was sent (size or sha256 differ)")
            files = unpack(bytes(self._archive), Path(self._directory))
        except (DeliveryError, OSError) as error:
            self._emit(Kind.FAILED, frames.encode_json({"cause": "delivery-failed", "text": str(error)[:1000]}))
            self.close()
        else:
            self._answer = frames.encode_json({"files": files})


def unpack(archive: bytes, directory: Path) -> list[str]:
    """Make `directory` hold exactly what `archive` (tar, or tar.gz) holds; returns its files' paths, sorted.

    Everything is written beside first, then each top-level entry is swapped by renaming: a script that is running keeps
    its file, and at no moment is one half written. (Renaming the directory itself fails where it is a mount.)
    Raises DeliveryError for what is no archive, for paths that lead out, for anything but files and directories, and
    for sizes beyond our limits; OSError when the directory cannot be written.
    """
    coming, going = (directory / f".{word}-{os.getpid()}" for word in ("coming", "going"))
    coming.mkdir(parents=True)
    try:
        going.mkdir()
        files = _extract(archive, coming)
        for entry in directory.iterdir():
            if not _is_ours(entry.name):
                entry.rename(going / entry.name)
        for entry in coming.iterdir():
            entry.rename(directory / entry.name)
    finally:
        shutil.rmtree(coming, ignore_errors=True)
        shutil.rmtree(going, ignore_errors=True)
    return sorted(files)


def _extract(archive: bytes, target: Path) -> list[str]:
    import tarfile

    files: list[str] = []
    written = 0
    try:
        with tarfile.open(fileobj=BytesIO(_plain(archive)), mode="r:") as tar:
            for count, member in enumerate(tar):
                name = _safe_name(member)
                written += member.size
                if count >= _MAX_FILES or written > MAX_ARCHIVE:
                    raise DeliveryError("the archive unpacks to more than we take")
                if member.isdir():
                    (target / name).mkdir(parents=True, exist_ok=True)
                    continue
                _write(tar, member, target / name)
                files.append(name)
    except (tarfile.TarError, UnicodeError, ValueError) as error:
        raise DeliveryError(f"it is no tar archive: {error}") from error
    return files


def _write(tar: "tarfile.TarFile", member: "tarfile.TarInfo", path: Path) -> None:
    """One file, executable if it was. Directories that the archive did not name are made."""
    source = tar.extractfile(member)
    assert source is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    with source, path.open("xb") as file:
        os.fchmod(file.fileno(), 0o755 if member.mode & 0o100 else 0o644)
        shutil.copyfileobj(source, file)


def _safe_name(member: "tarfile.TarInfo") -> str:
    """The member's path, relative and inside; raises DeliveryError otherwise, or if it is no file or directory."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\0" in member.name:
        raise DeliveryError(f"the path {member.name!r} leads out of the directory")
    if path.parts and _is_ours(path.parts[0]):
        raise DeliveryError(f"the path {member.name!r} is one of ours")
    if not member.isreg() and not member.isdir():
        raise DeliveryError(f"{member.name!r} is neither a file nor a directory")
    return str(path)


def _is_ours(name: str) -> bool:
    return name.startswith((".coming-", ".going-"))


def _plain(archive: bytes) -> bytes:
    """The tar itself, however much a gzip promises to become."""
    if not archive.startswith(_GZIP):
        return archive
    try:
        plain = zlib.decompressobj(_GZIP_WINDOW).decompress(archive, MAX_ARCHIVE + 1)
    except zlib.error as error:
        raise DeliveryError(f"it is no gzip: {error}") from error
    if len(plain) > MAX_ARCHIVE:
        raise DeliveryError("the archive unpacks to more than we take")
    return plain
