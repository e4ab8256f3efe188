"""The runbook as data: one strict loader for `tracker.toml` or a file in its place.

An unknown key, a missing field or a wrong type is an `InventoryError` that names file, key and what was expected.
"""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from toolbox.errors import InventoryError

DEFAULT_FILE: Final = Path(__file__).parent / "tracker.toml"
DATABASE: Final = "database"
REDIS: Final = "redis"
_SCHEMA: Final = 1
_DAY: Final = 86400


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the inventory: immutable, and no key that we do not know."""


class Shell(_Table, frozen=True, kw_only=True):
    """The temporary task: modelled on `service`; `container` only where the api's cannot be told otherwise."""

    service: str
    container: str | None = None
    lifetime_seconds: int
    idle_seconds: int


class Http(_Table, frozen=True):
    """How a service is reached over HTTP inside the VPC. `path` is its health endpoint."""

    port: int
    path: str
    status: int = 200


class Service(_Table, frozen=True):
    """One expected ECS service. `needs` holds `database`, `redis` or the name of another service."""

    name: str
    purpose: str
    expected: int
    needs: tuple[str, ...] = ()
    http: Http | None = None


class Symptom(_Table, frozen=True):
    """A line of the quick triage guide: what people say, the words that find it, where to look first."""

    symptom: str
    keywords: tuple[str, ...]
    services: tuple[str, ...]


class LookFor(_Table, frozen=True):
    """What the runbook says to look for in logs; `patterns` are regular expressions, case ignored."""

    name: str
    patterns: tuple[str, ...]


class Variables(_Table, frozen=True):
    """Which environment variables carry the way to the database and to Redis; the first that is set wins."""

    database_url: tuple[str, ...]
    redis_url: tuple[str, ...]


class Thresholds(_Table, frozen=True):
    """Every number that a verdict hangs on. Seconds unless the name says otherwise."""

    connect_timeout: float
    probe_timeout: float
    blue_warn: float
    blue_fail: float
    task_running: float
    agent_ready: float


class Inventory(_Table, frozen=True, kw_only=True):
    """The runbook of one environment. `source` is the file it came from."""

    schema: int
    environment: str
    cluster: str
    account: str | None = None
    region: str | None = None
    image_repository: str | None = None
    task_role: str | None = None
    first_checks: tuple[str, ...]
    escalate_when: tuple[str, ...]
    shell: Shell
    variables: Variables
    thresholds: Thresholds
    services: tuple[Service, ...]
    symptoms: tuple[Symptom, ...]
    look_for: tuple[LookFor, ...]
    source: str = ""

    def service(self, name: str) -> Service:
        """The service called `name`, in full or by the part after the common prefix; InventoryError if none is."""
        for service in self.services:
            if name in (service.name, self.short(service.name)):
                return service
        known = ", ".join(self.short(service.name) for service in self.services)
        raise InventoryError(
            f"There is no service '{name}' in {self.source}.",
            cause="service-unknown",
            next_step=f"Use one of: {known}.",
        )

    def short(self, name: str) -> str:
        """`name` without the prefix that all services share: what people call it."""
        return name.removeprefix(_shared_prefix([service.name for service in self.services]))


def _shared_prefix(names: Sequence[str]) -> str:
    """The longest beginning, up to a hyphen, that all `names` have (the first and the last in order tell)."""
    first, last = min(names, default=""), max(names, default="")
    same = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[: first.rfind("-", 0, same) + 1]


def load(file: Path | None = None, environ: Mapping[str, str] = os.environ) -> Inventory:
    """The inventory in `file`, else the one `TOOLBOX_INVENTORY` names, else ours.

    Raises InventoryError when the file cannot be read, is not TOML, or does not hold what an inventory must.
    """
    named = environ.get("TOOLBOX_INVENTORY")
    path = file or (Path(named) if named else DEFAULT_FILE)
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise _wrong(
            path, f"cannot be read: {error.strerror}", "Check the path in --inventory or TOOLBOX_INVENTORY."
        ) from error
    except UnicodeDecodeError as error:
        raise _wrong(path, f"is not UTF-8: byte {error.start}", "Save the file as UTF-8.") from error
    return parse(text, str(path))


def parse(text: str, source: str) -> Inventory:
    """The inventory that the TOML `text` holds; `source` names it in errors."""
    try:
        document = msgspec.toml.decode(text)
    except msgspec.DecodeError as error:
        raise _wrong(source, f"is not TOML: {error}", "Correct the line and try again.") from error
    if isinstance(document, dict) and "source" in document:
        raise _wrong(source, "key 'source' is not one that an inventory has", "Remove it.")
    try:
        inventory = msgspec.convert(document, Inventory)
    except msgspec.ValidationError as error:
        raise _wrong(source, _in_plain_words(str(error)), "Correct the key and try again.") from error
    _check_sense(inventory, source)
    return msgspec.structs.replace(inventory, source=source)


def dump(inventory: Inventory) -> dict[str, Any]:
    """The inventory as plain tables, without what is unset: what a TOML writer takes, and `parse` takes back."""
    tables: dict[str, Any] = _without_none(msgspec.to_builtins(inventory))
    del tables["source"]
    return tables


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list | tuple) else value


def _wrong(source: Path | str, what: str, next_step: str) -> InventoryError:
    return InventoryError(f"The inventory {source} {what}.", cause="inventory-invalid", next_step=next_step)


def _in_plain_words(message: str) -> str:
    """What msgspec says, 'Expected `int`, got `str` - at `$.services[0].expected`' as 'key services[0].expected: …'."""
    what, _, place = message.partition(" - at `$")
    key = place.rstrip("`").lstrip(".")
    field = re.search(r"(unknown|required) field `(\w+)`", what)
    if field:
        key = f"{key}.{field[2]}".lstrip(".")
        if field[1] == "unknown":
            return f"key '{key}' is not one that an inventory has"
        return f"key '{key}' is missing"
    return f"key '{key or 'top level'}': {what[:1].lower()}{what[1:]}".replace("`", "")


def _check_sense(inventory: Inventory, source: str) -> None:
    """What types cannot say: versions, names that must exist, numbers that must be positive, patterns that compile."""
    if inventory.schema != _SCHEMA:
        raise _wrong(source, f"key 'schema': expected {_SCHEMA}, got {inventory.schema}", "Update the toolbox.")
    names = {service.name for service in inventory.services}
    twice = [name for name, count in Counter(service.name for service in inventory.services).items() if count > 1]
    if twice:
        raise _wrong(source, f"key 'services': '{twice[0]}' stands there twice", "Remove one of them.")
    _known(source, "shell.service", inventory.shell.service, names)
    for number, service in enumerate(inventory.services):
        for need in service.needs:
            _known(source, f"services[{number}].needs", need, names | {DATABASE, REDIS})
    for number, symptom in enumerate(inventory.symptoms):
        for name in symptom.services:
            _known(source, f"symptoms[{number}].services", name, names)
    for number, look_for in enumerate(inventory.look_for):
        for pattern in look_for.patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                key = f"look_for[{number}].patterns"
                raise _wrong(
                    source, f"key '{key}': '{pattern}' is no regular expression: {error}", "Correct it."
                ) from error
    for key, value in msgspec.structs.asdict(inventory.thresholds).items():
        if not 0 < value <= _DAY:  # TOML has inf and nan, too
            expected = f"more than 0 and at most {_DAY}"
            raise _wrong(source, f"key 'thresholds.{key}': expected {expected}, got {value}", "Correct it.")


def _known(source: str, key: str, name: str, known: set[str]) -> None:
    if name not in known:
        raise _wrong(source, f"key '{key}': '{name}' is none of {', '.join(sorted(known))}", "Correct the name.")
