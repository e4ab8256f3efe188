"""Where a lab's files lie, and whether it lives."""

import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Final

from toolbox.errors import LabError, UsageError

DEFAULT_NAME: Final = "default"
KEEP: Final = b"keep\n"
"""What an owner says to a supervisor that is to outlive it."""
_TRIES: Final = 100
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True)
class Place:
    """One lab's directory, mode 0700. It exists while the lab does; everything that the lab writes is in it."""

    name: str
    directory: Path

    @property
    def description(self) -> Path:
        """What the supervisor says of itself once its API answers."""
        return self.directory / "lab.json"

    @property
    def socket(self) -> Path:
        """Where the supervisor takes orders."""
        return self.directory / "control"

    @property
    def log(self) -> Path:
        """What the supervisor logs."""
        return self.directory / "supervisor.log"

    @property
    def aws_config(self) -> Path:
        """What AWS_CONFIG_FILE names."""
        return self.directory / "aws-config"

    @property
    def aws_credentials(self) -> Path:
        """What AWS_SHARED_CREDENTIALS_FILE names."""
        return self.directory / "aws-credentials"

    @property
    def shared(self) -> Path:
        """What tasks may read."""
        return self.directory / "shared"

    @property
    def inventory(self) -> Path:
        """The lab's inventory: ours with its account and region, and with thresholds in seconds."""
        return self.shared / "inventory.toml"

    def make(self) -> None:
        """Make the directory."""
        for _ in range(_TRIES):
            # Another lab that goes may take a parent away before we are in it.
            with suppress(FileNotFoundError, FileExistsError):
                self._make()
                return
        self._make()

    def _make(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)

    def remove(self) -> bool:
        """Leave no file, and none of our directories that is empty now; False, and all as it was, while a lab lives."""
        if self.directory.exists():
            lock = self.lock()
            if lock is None:
                return False
            with lock:
                self.discard(lock)
        self._sweep()
        return True

    def discard(self, lock: IO[str]) -> None:
        """As `remove`, for whoever has the lock.

        The directory is renamed first: at that moment the name is free, and what another lab puts there is its own.
        """
        if self.holds(lock):
            self.directory.rename(self.directory.with_name(f".{self.name}.{secrets.token_hex(4)}"))
        self._sweep()

    def _sweep(self) -> None:
        """Remove what was renamed, also by somebody who was killed before it was gone."""
        for discarded in self.directory.parent.glob(f".{self.name}.*"):
            shutil.rmtree(discarded, ignore_errors=True)
        with suppress(OSError):  # another lab lives there, or took it away just now
            self.directory.parent.rmdir()
            self.directory.parent.parent.rmdir()

    def clear(self) -> bool:
        """Remove what a lab that was killed has left; whether there was any. For whoever has the lock."""
        left = [entry for entry in self.directory.iterdir() if entry not in (self._lock, self.log)]
        for entry in left:
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink()
        return bool(left)

    def open_log(self) -> IO[bytes]:
        """The log, to append to; makes the directory, as often as somebody else takes it away just then."""
        while True:
            self.make()
            with suppress(FileNotFoundError):
                return self.log.open("ab")

    def lock(self) -> IO[str] | None:
        """Hold the lab's lock until the file is closed or we die; None while another process holds it.

        Makes the directory. Of a file that was removed while we waited for it, the lock says nothing: then again.
        """
        while True:
            self.make()
            try:
                file = self._lock.open("a+")
            except FileNotFoundError:
                continue
            if not _lock_alone(file):
                file.close()
                return None
            if self.holds(file):
                file.truncate(0)
                file.write(str(os.getpid()))
                file.flush()
                return file
            file.close()

    def holds(self, lock: IO[str]) -> bool:
        """Whether this lock is still the lab's: not if somebody removed the directory by hand."""
        try:
            return os.path.samestat(os.fstat(lock.fileno()), self._lock.stat())
        except FileNotFoundError:
            return False

    def is_alive(self) -> bool:
        """Whether a supervisor lives here."""
        try:
            with self._lock.open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def pid(self) -> int | None:
        """The supervisor that lives here; None when there is none, or when it has not said yet."""
        if not self.is_alive():
            return None
        try:
            text = self._lock.read_text()
        except FileNotFoundError:  # it went just now
            return None
        return int(text) if text else None

    @property
    def _lock(self) -> Path:
        return self.directory / "lock"

    @contextmanager
    def short_socket(self) -> Iterator[str]:
        """The socket's path in a form that fits into a socket address, however deep the directory lies (unix(7))."""
        directory = os.open(self.directory, os.O_PATH | os.O_DIRECTORY)
        try:
            yield f"/proc/self/fd/{directory}/{self.socket.name}"
        finally:
            os.close(directory)


@dataclass(frozen=True, slots=True)
class Description:
    """How to reach a lab that is up."""

    name: str
    pid: int
    endpoint: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)

    def write(self, place: Place) -> None:
        """Keep it where only its owner can read it, as clients of AWS read it, too."""
        keys = f"aws_access_key_id = {self.access_key}\naws_secret_access_key = {self.secret_key}\n"
        _write(place.aws_config, f"[default]\nregion = {self.region}\nendpoint_url = {self.endpoint}\n")
        _write(place.aws_credentials, f"[default]\n{keys}")
        _write(place.description, json.dumps(asdict(self), indent=2))

    @staticmethod
    def read(place: Place) -> "Description":
        """The description; raises LabError when the lab is not up."""
        if not place.is_alive():
            raise not_up(place)
        try:
            return Description(**json.loads(place.description.read_text("utf-8")))
        except FileNotFoundError as error:
            raise not_up(place) from error


def _lock_alone(file: IO[str]) -> bool:
    """Take the exclusive lock; False when another has it. One who only looks (`is_alive`) shares it for an instant."""
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            fcntl.flock(file, fcntl.LOCK_UN)
        else:
            return True


def _write(file: Path, text: str) -> None:
    """Write it whole or not at all."""
    draft = file.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_text(text, "utf-8")
    draft.replace(file)


def not_up(place: Place) -> LabError:
    """The error for a lab that is needed and not there."""
    option = "" if place.name == DEFAULT_NAME else f" --name {place.name}"
    return LabError(
        f"The lab '{place.name}' is not up.", cause="lab-down", next_step=f"Start it: toolbox lab up{option}"
    )


def find(name: str | None = None, environ: Mapping[str, str] = os.environ) -> Place:
    """The place of the lab called `name`, else TOOLBOX_LAB, else `default`; raises UsageError for no name."""
    chosen = name or environ.get("TOOLBOX_LAB") or DEFAULT_NAME
    if not _NAME.fullmatch(chosen):
        raise UsageError(
            f"'{chosen}' is no name for a lab.",
            cause="usage",
            next_step="Take up to 32 letters, digits, - and _.",
        )
    state = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Place(chosen, Path(state, "toolbox", "labs", chosen))
