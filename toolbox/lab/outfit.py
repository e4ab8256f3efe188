"""What fills the lab's account: images that are programs of this checkout, secrets that lead to real servers."""

import json
import secrets
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import tomli_w

from toolbox import inventory as inventories
from toolbox.inventory import Inventory
from toolbox.lab import fleet
from toolbox.lab.addresses import Network
from toolbox.lab.aws.backends import ACCOUNT, REGION
from toolbox.lab.estate import TOOLBOX_REPOSITORY, Blueprint, Program
from toolbox.lab.place import Place
from toolbox.lab.postgres import DATABASE, Postgres, Role
from toolbox.lab.valkey import ValkeySettings
from toolbox.launcher.image import content_tag, repository_root

DATABASE_HOST: Final = "tracker-production.rds.lab.internal"
REDIS_HOST: Final = "tracker-production.cache.lab.internal"
REDIS_USER: Final = "tracker"
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT: Final = "lab"  # whoever is in a shell there must not believe that it is production, nor the reverse
_SCALE: Final = 60  # a minute of production is a second of the lab
_SCALED: Final = ("blue_warn", "blue_fail")


def redis_users() -> Mapping[str, tuple[str, str]]:
    """The one user that the services share, with a new password."""
    return {REDIS_USER: (secrets.token_urlsafe(18), "~* &* +@all")}


def database_variables(postgres: Postgres) -> Mapping[str, str]:
    """The database as the PG* variables say it; the password is a secret of its own."""
    port = str(postgres.settings.port)
    return {"PGHOST": DATABASE_HOST, "PGPORT": port, "PGDATABASE": DATABASE, "PGUSER": str(Role.APP)}


def blueprint(
    inventory: Inventory, place: Place, network: Network, postgres: Postgres, redis: ValkeySettings
) -> Blueprint:
    """What the estate is built from."""
    by_name = f"{DATABASE_HOST}:{postgres.settings.port}"

    def dsn(role: Role) -> str:
        return postgres.dsn(role, host=DATABASE_HOST)

    values = {
        fleet.DATABASE_URL: dsn(Role.APP),
        fleet.ASYNC_DATABASE_URL: f"postgresql+asyncpg{dsn(Role.APP).removeprefix('postgresql')}?ssl=disable",
        fleet.OWNER_DATABASE_URL: dsn(Role.OWNER),
        fleet.DATABASE_PASSWORD: postgres.settings.passwords[Role.APP],
        fleet.REDIS_SETTINGS: json.dumps({"url": redis.url(REDIS_USER, REDIS_HOST), "database": by_name}),
    }
    images = {
        (fleet.repository(inventory, service), fleet.TAG): _service(inventory.short(service.name))
        for service in inventory.services
    }
    images[inventory.image_repository or TOOLBOX_REPOSITORY, content_tag(repository_root())] = _toolbox(place)
    return Blueprint(inventory, network, fleet.ZONE, values, images)


def write_shared(inventory: Inventory, place: Place) -> None:
    """Write what tasks and the laptop's commands read: the lab's inventory and the `toolbox` program of its image."""
    programs = place.shared / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    place.inventory.write_text(tomli_w.dumps(inventories.dump(in_seconds(inventory))), "utf-8")
    program = programs / "toolbox"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -m toolbox "$@"\n', "utf-8")
    program.chmod(0o755)


def in_seconds(inventory: Inventory) -> Inventory:
    """The lab's own inventory: its name, account and region, and seconds where production has minutes."""
    thresholds = inventory.thresholds
    scaled = {name: getattr(thresholds, name) / _SCALE for name in _SCALED}
    changed = msgspec.structs.replace(thresholds, **scaled)
    return msgspec.structs.replace(
        inventory, environment=_ENVIRONMENT, account=ACCOUNT, region=REGION, thresholds=changed
    )


def _service(short: str) -> Program:
    return Program((sys.executable, "-I", "-m", "toolbox.lab.tracker", short), {"PATH": _PATH, "LANG": "C.UTF-8"})


def _toolbox(place: Place) -> Program:
    """The image of the repository's Dockerfile, as near as it comes without one."""
    environment = {
        "PATH": f"{place.shared / 'bin'}:{Path(sys.executable).parent}:{_PATH}",
        "LANG": "C.UTF-8",
        "TOOLBOX_TASK": "1",
        "TOOLBOX_RUN": "/run/toolbox",
        "TOOLBOX_SCRIPTS": "/scripts",
        "TOOLBOX_INVENTORY": str(place.inventory),
    }
    return Program((str(repository_root() / "entrypoint.sh"),), environment)
