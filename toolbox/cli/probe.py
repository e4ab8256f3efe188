"""`toolbox probe …`: what can be reached from here, what cannot, why, and what to do next."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

if TYPE_CHECKING:
    import typer

    from toolbox.model.result import Result
    from toolbox.probes.registry import Probe

_GROUP_HELP: Final = """See what the api sees: probes that time every step and say what broke first.

Run them where the api lives ('toolbox shell'); they only read.
"""
_HELP: Final = """{purpose}

\b
Examples:
  toolbox probe {name}
  toolbox probe {name} --json                     one JSON document on stdout
  toolbox probe {name} --resolver 10.0.0.2        ask another name server
  toolbox shell -- toolbox probe {name}           from inside the VPC

\b
Exit codes: 0 ok, 1 warning, 2 failure, 3 could not be checked.
"""


def register(app: "typer.Typer") -> None:
    """Add the group, with a command for every probe in the registry, to `app`."""
    import typer

    from toolbox.probes.registry import PROBES

    group = typer.Typer(help=_GROUP_HELP, rich_markup_mode=None)
    for probe in PROBES:
        _add(group, probe)
    app.add_typer(group, name="probe", short_help="What works from here, what is broken, and why.")


def _add(group: "typer.Typer", probe: "Probe") -> None:
    import typer

    @group.command(probe.name, help=_HELP.format(name=probe.name, purpose=probe.purpose), short_help=probe.purpose)
    def command(
        as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")] = False,
        timeout: Annotated[
            float | None,
            typer.Option(min=0.05, max=3600, metavar="SECONDS", help="For each step; default: the inventory's."),
        ] = None,
        resolver: Annotated[
            str | None, typer.Option(metavar="HOST[:PORT]", help="Ask this name server only (TOOLBOX_RESOLVER).")
        ] = None,
        inventory: Annotated[
            Path | None, typer.Option(metavar="FILE", help="Another environment's inventory (TOOLBOX_INVENTORY).")
        ] = None,
    ) -> None:
        from toolbox.model.result import exit_code

        results = _results(probe, timeout, resolver, inventory)
        sys.stdout.write(_document(probe, results) if as_json else _screen(results))
        sys.stdout.flush()
        raise typer.Exit(exit_code(result.status for result in results))


def _results(
    probe: "Probe", timeout: float | None, resolver: str | None, inventory: Path | None
) -> tuple["Result", ...]:
    import asyncio

    from toolbox.inventory import load
    from toolbox.net.resolver import find_resolver
    from toolbox.probes import runner
    from toolbox.probes.context import Context

    context = Context(os.environ, load(inventory), find_resolver(resolver), timeout)
    return asyncio.run(runner.run([probe], context))


def _document(probe: "Probe", results: tuple["Result", ...]) -> str:
    from datetime import UTC, datetime

    from toolbox.render.document import document

    return document(f"probe {probe.name}", datetime.now(UTC), results)


def _screen(results: tuple["Result", ...]) -> str:
    import shutil

    from toolbox.render.screen import Look, screen

    look = Look.of(
        terminal=sys.stdout.isatty(),
        encoding=sys.stdout.encoding,
        environ=os.environ,
        width=shutil.get_terminal_size().columns,
    )
    return screen(results, look)
