"""What a container is made from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Isolation(StrEnum):
    """How far a container is from the host.

    `ROOT`: mounts, processes and host name of its own. `USER`: the same inside a user namespace, for a lab that is not
    root. `SHARED`: none of it, where the kernel allows none; `TOOLBOX_SCRIPTS` then names its scripts directory.
    """

    ROOT = "root"
    USER = "user"
    SHARED = "shared"


class ContainerError(Exception):
    """The container's program could not be started; the text is the kernel's or runc's own wording."""


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One container of a task. `files` maps paths to texts, `/etc/hosts` and `/etc/resolv.conf` among them."""

    task_id: str
    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    files: Mapping[str, str] = field(default_factory=dict)
    hostname: str = "localhost"
    directory: str = "/"
    init: bool = False
    limits: Mapping[str, int] = field(default_factory=dict)
