"""The JSON contract: one document, stable keys, nothing that a parser or a terminal could trip over."""

import json
from datetime import UTC, datetime

from toolbox.model.result import Cause, Phase, Result, Status
from toolbox.render.document import document

TIME = datetime(2026, 11, 24, 6, 20, tzinfo=UTC)
OK = Result("db.query", "t", Status.OK, "can query the database", phases=(Phase("query", 0.0123456789),))
BAD = Result(
    "db.connect", "me@db:5432/app", Status.FAIL, "refused", Cause.TCP_REFUSED, facts={"n": [1, None]}, hint="Start it."
)


def test_the_document_is_what_the_contract_says() -> None:
    assert json.loads(document("probe db", TIME, [BAD, OK])) == {
        "schema": 1,
        "command": "probe db",
        "time": "2026-11-24T06:20:00Z",
        "status": "fail",
        "results": [
            {
                "check": "db.connect",
                "target": "me@db:5432/app",
                "status": "fail",
                "cause": "tcp-refused",
                "summary": "refused",
                "phases": [],
                "facts": {"n": [1, None]},
                "hint": "Start it.",
            },
            {
                "check": "db.query",
                "target": "t",
                "status": "ok",
                "cause": None,
                "summary": "can query the database",
                "phases": [{"name": "query", "seconds": 0.012346}],
                "facts": {},
                "hint": None,
            },
        ],
    }


def test_parts_of_a_command_are_further_keys() -> None:
    content = json.loads(document("status", TIME, [], {"services": []}))
    assert (content["services"], content["status"], content["results"]) == ([], "ok", [])


def test_hostile_text_leaves_no_control_character() -> None:
    hostile = Result("db.connect", "\x1b[2J\u202e\udcff", Status.FAIL, "\x00\x9b")
    text = document("probe db", TIME, [hostile])
    assert text.isascii()
    assert all(character.isprintable() for character in text.replace("\n", ""))
    assert json.loads(text)["results"][0]["target"] == "\x1b[2J\u202e\udcff"
