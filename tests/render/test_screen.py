"""What a person sees: signs, causes and hints, in every width, with and without colour, and nothing hostile."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolbox.model.result import Cause, Json, Phase, Result, Status
from toolbox.render.screen import Look, screen

OK = (
    Result("db.connect", "db:5432/app", Status.OK, "can connect", phases=(Phase("dns", 0.002), Phase("tcp", 0.010))),
    Result("db.query", "db:5432/app", Status.OK, "can query", phases=(Phase("query", 0.0004),)),
)
FAILED = (
    Result(
        "db.connect",
        "db:5432/app",
        Status.FAIL,
        "the database refuses connections",
        Cause.TCP_REFUSED,
        (Phase("dns", 0.001), Phase("tcp", 1.25)),
        {"error": "Connection refused"},
        "Start it.",
    ),
    Result("db.query", "db:5432/app", Status.SKIPPED, "not checked: the login failed"),
)


def test_a_target_that_is_well_is_one_line() -> None:
    assert screen(OK, Look()) == (
        "database\n--------\n√ db:5432/app: can connect (12 ms), can query (0.4 ms)\n\nstatus ok: 2 ok\n"
    )


def test_a_failure_shows_cause_error_phases_and_hint_and_comes_again_at_the_end() -> None:
    assert screen(FAILED, Look()) == (
        "database\n"
        "--------\n"
        "× the database refuses connections (1.3 s)\n"
        "    target: db:5432/app\n"
        "    cause:  tcp-refused\n"
        "    error:  Connection refused\n"
        "    phases: dns 1 ms, tcp 1.2 s\n"
        "    hint:   Start it.\n"
        "- db.query not checked: the login failed\n"
        "\n"
        "× db.connect db:5432/app: the database refuses connections [tcp-refused]\n"
        "status fail: 1 failed, 1 skipped\n"
    )


def test_the_worst_comes_first_in_the_summary() -> None:
    results = [
        Result(f"{check}.x", "t", status, f"is {status}")
        for check, status in (("a", Status.WARN), ("b", Status.UNKNOWN), ("c", Status.FAIL), ("d", Status.OK))
    ]
    summary = screen(results, Look()).splitlines()[-4:]
    assert [line[0] for line in summary] == ["×", "?", "‼", "s"]
    assert summary[-1] == "status fail: 1 ok, 1 to watch, 1 failed, 1 not known"


def test_candidates_are_shown_where_nothing_was_found() -> None:
    result = Result("db.connect", "database", Status.UNKNOWN, "no variable", facts={"candidates": ["A_DSN", "B_DSN"]})
    assert "found:  A_DSN, B_DSN" in screen([result], Look())


def test_the_addresses_that_were_tried_are_shown() -> None:
    """A name that leads to last year's server looks right; its address does not."""
    hosts: list[Json] = [
        {"host": "db", "addresses": [{"address": "10.0.3.7", "error": "x"}, {"address": "10.0.4.9", "error": None}]},
        {"host": "other", "addresses": []},
        "not what a probe writes",
    ]
    result = Result("db.connect", "db", Status.FAIL, "no", Cause.TCP_TIMEOUT, facts={"hosts": hosts, "error": "late"})
    assert "    tried:  10.0.3.7, 10.0.4.9\n    error:  late\n" in screen([result], Look())
    assert "tried:" not in screen([Result("db.connect", "db", Status.FAIL, "no", facts={"hosts": []})], Look())


def test_nothing_to_show_is_said() -> None:
    assert screen([], Look()) == "nothing was checked\n"


def test_colour_is_an_addition_only() -> None:
    coloured = screen(FAILED, Look(colour=True))
    assert "\x1b[31m×\x1b[0m" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == screen(FAILED, Look())


def test_ascii_where_the_encoding_has_no_signs() -> None:
    plain = screen((*FAILED, Result("x.y", "tä", Status.WARN, "so so")), Look(unicode=False))
    assert plain.isascii()
    assert "x the database" in plain
    assert "! " in plain
    assert "t\\xe4" in plain


@pytest.mark.parametrize("width", [40, 60, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    long = Result("db.connect", "db", Status.FAIL, "word " * 40, Cause.AUTH_FAILED, hint="hint " * 40)
    assert max(map(len, screen([long], Look(width=width)).splitlines())) <= width


@pytest.mark.parametrize(
    ("terminal", "encoding", "environ", "colour", "signs"),
    [
        (True, "utf-8", {}, True, True),
        (False, "utf-8", {}, False, True),
        (True, "utf-8", {"NO_COLOR": "1"}, False, True),
        (True, "utf-8", {"TERM": "dumb"}, False, True),
        (True, "ascii", {}, True, False),
        (True, "latin-1", {}, True, False),
        (True, "no-such-encoding", {}, True, False),
        (False, None, {}, False, False),
    ],
)
def test_the_look_follows_the_stream(
    terminal: bool, encoding: str | None, environ: dict[str, str], colour: bool, signs: bool
) -> None:
    look = Look.of(terminal=terminal, encoding=encoding, environ=environ, width=10)
    assert (look.colour, look.unicode, look.width) == (colour, signs, 40)


@given(st.text(max_size=80), st.text(max_size=80), st.sampled_from(list(Status)))
def test_hostile_text_never_reaches_the_terminal(summary: str, target: str, status: Status) -> None:
    result = Result(
        "db.connect", target, status, summary, facts={"error": summary, "candidates": [target]}, hint=target
    )
    assert all(line.isprintable() for line in screen([result], Look()).split("\n"))
