"""The runbook loads, and a mistake in it is named with file, key and what was expected."""

from pathlib import Path

import pytest
import tomli_w

from toolbox import inventory
from toolbox.errors import InventoryError

RUNBOOK_SERVICES = {
    "tracker-restapi-production-admin",
    "tracker-restapi-production-anisette",
    "tracker-restapi-production-api",
    "tracker-restapi-production-frontend",
    "tracker-restapi-production-materialized-view-service",
    "tracker-restapi-production-notification-service",
    "tracker-restapi-production-tracker-fetcher-2",
    "tracker-restapi-production-unified-geofence",
}


def ours() -> str:
    return inventory.DEFAULT_FILE.read_text(encoding="utf-8")


def test_holds_the_runbook() -> None:
    book = inventory.load(environ={})
    assert {service.name for service in book.services} == RUNBOOK_SERVICES
    assert book.cluster == "tracker-restapi-production-cluster"
    assert all(service.expected == 1 for service in book.services)
    assert len(book.symptoms) == 7
    assert len(book.look_for) == 6
    assert len(book.first_checks) == 5
    assert len(book.escalate_when) == 5


def test_what_is_dumped_loads_again() -> None:
    book = inventory.load(environ={})
    assert inventory.parse(tomli_w.dumps(inventory.dump(book)), book.source) == book


def test_a_file_replaces_it(tmp_path: Path) -> None:
    file = tmp_path / "staging.toml"
    file.write_text(ours().replace('environment = "production"', 'environment = "staging"'), encoding="utf-8")
    assert inventory.load(environ={"TOOLBOX_INVENTORY": str(file)}).environment == "staging"
    assert inventory.load(file, environ={}).source == str(file)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("schema = 1", "schema = 2", "'schema': expected 1, got 2"),
        ("schema = 1", "schema = 1\ncolour = 1", "'colour' is not one"),
        ("expected = 1", "expcted = 1", "'services[0].expcted' is not one"),
        ("expected = 1", "", "'services[0].expected' is missing"),
        ("expected = 1", 'expected = "1"', "'services[0].expected': expected int, got str"),
        ("connect_timeout = 3.0", "connect_timeout = 0", "'thresholds.connect_timeout': expected more than 0"),
        ("probe_timeout = 10.0", "probe_timeout = inf", "'thresholds.probe_timeout': expected more than 0"),
        ("probe_timeout = 10.0", "probe_timeout = nan", "'thresholds.probe_timeout': expected more than 0"),
        ('needs = ["database"]', 'needs = ["databse"]', "'services[4].needs': 'databse' is none of"),
        ('service = "tracker-restapi-production-api"', 'service = "api"', "'shell.service': 'api' is none of"),
        ("'^panic: '", "'('", "'look_for[5].patterns': '(' is no regular expression"),
        ("[shell]", "[shell", "is not TOML"),
        ("schema = 1", 'schema = 1\nsource = "x"', "'source' is not one"),
    ],
)
def test_a_mistake_names_file_and_key(before: str, after: str, told: str) -> None:
    assert before in ours()
    with pytest.raises(InventoryError) as caught:
        inventory.parse(ours().replace(before, after, 1), "staging.toml")
    assert "staging.toml" in caught.value.sentence
    assert told in caught.value.sentence
    assert caught.value.exit_code == 64


def test_a_service_that_stands_twice_is_named() -> None:
    text = ours().replace("tracker-restapi-production-admin", "tracker-restapi-production-anisette", 1)
    with pytest.raises(InventoryError, match="'tracker-restapi-production-anisette' stands there twice"):
        inventory.parse(text, "x.toml")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match=r"none\.toml cannot be read: No such file"):
        inventory.load(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"x = '\xe9'")
    with pytest.raises(InventoryError, match="is not UTF-8: byte 5"):
        inventory.load(tmp_path / "latin.toml")


def test_services_are_found_by_short_name() -> None:
    book = inventory.load(environ={})
    assert book.service("tracker-fetcher-2").name == "tracker-restapi-production-tracker-fetcher-2"
    assert book.short("tracker-restapi-production-api") == "api"
    with pytest.raises(InventoryError) as caught:
        book.service("apii")
    assert "api" in caught.value.next_step
