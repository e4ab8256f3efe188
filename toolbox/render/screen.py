"""Results as text for a person: grouped by category, a sign and a sentence each, and the worst first at the end.

Plain strings, no terminal library: what is shown is decided here, and importing rich would cost more than most probes.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from toolbox.model.result import Json, Result, Status, worst
from toolbox.model.text import printable

_SIGNS: Final[Mapping[Status, str]] = {
    Status.OK: "√",
    Status.WARN: "‼",
    Status.FAIL: "×",
    Status.UNKNOWN: "?",
    Status.SKIPPED: "-",
}
_ASCII: Final[Mapping[Status, str]] = {**_SIGNS, Status.OK: "+", Status.WARN: "!", Status.FAIL: "x"}
_COLOURS: Final[Mapping[Status, int]] = {
    Status.OK: 32,
    Status.WARN: 33,
    Status.FAIL: 31,
    Status.UNKNOWN: 35,
    Status.SKIPPED: 90,
}
_WORDS: Final[Mapping[Status, str]] = {
    Status.OK: "ok",
    Status.WARN: "to watch",
    Status.FAIL: "failed",
    Status.UNKNOWN: "not known",
    Status.SKIPPED: "skipped",
}
_WORST_FIRST: Final = (Status.FAIL, Status.UNKNOWN, Status.WARN)
_CATEGORIES: Final[Mapping[str, str]] = {"db": "database"}
_MIN_WIDTH: Final = 40


@dataclass(frozen=True, slots=True)
class Look:
    """How to draw: `width` in columns; `colour` is only ever an addition to the signs."""

    width: int = 80
    colour: bool = False
    unicode: bool = True

    @classmethod
    def of(cls, *, terminal: bool, encoding: str | None, environ: Mapping[str, str], width: int) -> "Look":
        """The look for a stream: colour on terminals (no-color.org, TERM=dumb), signs where the encoding has them."""
        try:
            "".join(_SIGNS.values()).encode(encoding or "ascii")
        except (UnicodeEncodeError, LookupError):
            signs = False
        else:
            signs = True
        colour = terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        return cls(max(width, _MIN_WIDTH), colour, signs)

    def sign(self, status: Status) -> str:
        """The sign of a status, coloured if colour is wanted."""
        sign = (_SIGNS if self.unicode else _ASCII)[status]
        return f"\x1b[{_COLOURS[status]}m{sign}\x1b[0m" if self.colour else sign


def screen(results: Sequence[Result], look: Look) -> str:
    """All `results` as lines, each ended by a newline. A target whose checks are all ok is one line."""
    lines: list[str] = []
    for category, members in groupby(results, lambda result: result.check.partition(".")[0]):
        title = _CATEGORIES.get(category, category)
        lines += [title, "-" * len(title)]
        for _, same in groupby(members, lambda result: result.target):
            lines += _target(list(same), look)
        lines.append("")
    lines += _summary(results, look)
    text = "\n".join(lines) + "\n"
    return text if look.unicode else text.encode("ascii", "backslashreplace").decode()


def _target(results: Sequence[Result], look: Look) -> Iterator[str]:
    """The checks of one target."""
    if worst(result.status for result in results) is Status.OK:
        sentences = ", ".join(dict.fromkeys(_sentence(result) for result in results))
        yield from _wrapped(f"{printable(results[0].target)}: {sentences}", look, look.sign(Status.OK))
        return
    for result in results:
        yield from _wrapped(_sentence(result), look, look.sign(result.status))
        yield from _details(result, look)


def _sentence(result: Result) -> str:
    seconds = sum(phase.seconds for phase in result.phases)
    if result.status is Status.SKIPPED:
        return f"{printable(result.check)} {printable(result.summary)}"
    return f"{printable(result.summary)}{f' ({_duration(seconds)})' if result.phases else ''}"


def _details(result: Result, look: Look) -> Iterator[str]:
    """Below a check that is not well: where, cause, addresses, the error's words, each phase's time and the hint."""
    if result.status in (Status.OK, Status.SKIPPED):
        return
    yield from _labelled("target", printable(result.target), look)
    if result.cause:
        yield from _labelled("cause", result.cause, look)
    tried = ", ".join(_addresses(result.facts.get("hosts")))
    if tried:
        yield from _labelled("tried", printable(tried), look)
    error = result.facts.get("error")
    if isinstance(error, str):
        yield from _labelled("error", printable(error), look)
    names = result.facts.get("candidates")
    if isinstance(names, list) and names:
        yield from _labelled("found", printable(", ".join(map(str, names))), look)
    if result.phases:
        steps = ", ".join(f"{printable(phase.name)} {_duration(phase.seconds)}" for phase in result.phases)
        yield from _labelled("phases", steps, look)
    if result.hint:
        yield from _labelled("hint", printable(result.hint), look)


def _addresses(hosts: Json) -> Iterator[str]:
    """Where the names of `facts.hosts` led to: a right name may lead to a wrong place."""
    for host in hosts if isinstance(hosts, list) else []:
        addresses = host.get("addresses") if isinstance(host, dict) else None
        for entry in addresses if isinstance(addresses, list) else []:
            if isinstance(entry, dict) and isinstance(entry.get("address"), str):
                yield str(entry["address"])


def _summary(results: Sequence[Result], look: Look) -> Iterator[str]:
    """The worst first, one line each, and how many of each there are: what one pastes into a chat."""
    for status in _WORST_FIRST:
        for result in results:
            if result.status is status:
                cause = f" [{result.cause}]" if result.cause else ""
                text = f"{printable(result.check)} {printable(result.target)}: {printable(result.summary)}{cause}"
                yield from _wrapped(text, look, look.sign(status))
    counts = {status: sum(result.status is status for result in results) for status in _SIGNS}
    total = ", ".join(f"{counts[status]} {_WORDS[status]}" for status in _SIGNS if counts[status])
    yield f"{_status_word(results)}: {total}" if results else "nothing was checked"


def _status_word(results: Sequence[Result]) -> str:
    return f"status {worst(result.status for result in results)}"


def _labelled(label: str, text: str, look: Look) -> Iterator[str]:
    yield from textwrap.wrap(
        text,
        look.width,
        initial_indent=f"    {label + ':':8}",
        subsequent_indent=" " * 12,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _wrapped(text: str, look: Look, sign: str) -> Iterator[str]:
    """Behind a sign, whose colour must not count as width."""
    first, *rest = textwrap.wrap(text, look.width - 2, break_long_words=False, break_on_hyphens=False) or [""]
    yield f"{sign} {first}"
    yield from (f"  {line}" for line in rest)


def _duration(seconds: float) -> str:
    """`0.4 ms`, `12 ms`, `3.2 s`."""
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 else f"{seconds * 1000:.1f} ms"
