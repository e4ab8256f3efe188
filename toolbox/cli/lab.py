"""`toolbox lab`: a VPC in a box, for drills, demos and tests."""

import json
import os
import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Final

if TYPE_CHECKING:
    import typer

_HELP: Final = """A VPC in a box: real PostgreSQL, Redis and eight services behind an AWS API, without an account.

\b
Examples:
  toolbox lab up                      start it (about 5 s); it stays until 'down'
  eval "$(toolbox lab env)"           turn this shell's AWS towards it, and only towards it
  toolbox lab stop postgres           break something: postgres, redis, dns, or a service such as api
  toolbox lab start postgres          and mend it
  toolbox lab down                    end it; nothing of it is left
"""
_SCHEMA: Final = 1


def register(app: "typer.Typer") -> None:
    """Add the commands to `app`."""
    import typer

    lab = typer.Typer(help=_HELP, rich_markup_mode=None)
    app.add_typer(lab, name="lab", short_help="A VPC in a box, to try all of this without an account.")
    name_option = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Which lab (TOOLBOX_LAB).")]
    part_argument = Annotated[str, typer.Argument(metavar="PART", help="postgres, redis, dns, or a service (api, …).")]

    @lab.command("up", help="Start the lab, and return once its services run.")
    def up(name: name_option = None) -> None:
        from toolbox.cli.progress import Progress
        from toolbox.lab import control

        with Progress() as progress:
            there = control.up(name, progress)
            progress.tell(f"The lab '{there.name}' is up. In this shell: eval \"$(toolbox lab env{_option(name)})\"")

    @lab.command("down", help="End the lab and all of it, also after it was killed.")
    def down(name: name_option = None) -> None:
        from toolbox.lab import control, place

        if not control.down(name):
            sys.stderr.write(f"There is no lab '{place.find(name).name}'.\n")

    @lab.command("status", help="Which parts and services run.")
    def status(
        name: name_option = None,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    ) -> None:
        from toolbox.lab import control

        found = control.status(name)
        if as_json:
            document = {"schema": _SCHEMA, "command": "lab status", **found}
            sys.stdout.write(json.dumps(document, indent=2) + "\n")
            return
        lines = [f"{part:<26} {'running' if running else 'stopped'}" for part, running in found["parts"].items()]
        lines += [
            f"{service:<26} {count['running']}/{count['desired']}" for service, count in found["services"].items()
        ]
        sys.stdout.write("\n".join([*lines, f"{'endpoint':<26} {found['endpoint']}", ""]))

    @lab.command("env", help='Turn a shell\'s AWS towards the lab: eval "$(toolbox lab env)".')
    def env(name: name_option = None) -> None:
        from toolbox.lab import control

        wanted = control.environment(name)
        gone = sorted(key for key in os.environ if key not in wanted)
        changed = sorted((key, value) for key, value in wanted.items() if os.environ.get(key) != value)
        lines = [f"unset {key}" for key in gone] + [f"export {key}={shlex.quote(value)}" for key, value in changed]
        sys.stdout.write("".join(f"{line}\n" for line in lines))

    @lab.command("stop", help="Stop a part; a service is scaled to nothing.")
    def stop(part: part_argument, name: name_option = None) -> None:
        from toolbox.lab import control

        control.stop_part(name, part)

    @lab.command("start", help="Start a part again.")
    def start(part: part_argument, name: name_option = None) -> None:
        from toolbox.lab import control

        control.start_part(name, part)


def _option(name: str | None) -> str:
    return f" --name {name}" if name else ""
