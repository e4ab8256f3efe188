"""What the README promises is there: every cause, every command, every file that it points to."""

import re

from toolbox.cli.main import COMMANDS
from toolbox.launcher.image import repository_root
from toolbox.model.result import Cause

README = (repository_root() / "README.md").read_text(encoding="utf-8")


def test_every_cause_has_its_place_in_the_table() -> None:
    rows = [line for line in README.splitlines() if line.startswith("| `")]
    told = set(re.findall(r"`([a-z0-9-]+)`", "\n".join(rows)))
    assert not {cause.value for cause in Cause} - told


def test_every_command_is_told_of() -> None:
    assert all(f"toolbox {command}" in README for command in COMMANDS)


def test_every_link_to_a_file_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert not [link for link in links if not (repository_root() / link).exists()]


def test_the_scripts_that_it_names_exist() -> None:
    named = set(re.findall(r"(?:^|\s|`)\./?((?:scripts|tests)/\w+(?:\.sh)?)", README, re.MULTILINE))
    assert named == {"scripts/open_tracker_ecs_shell.sh", "tests/run"}
    assert all((repository_root() / name).is_file() for name in named)
