"""The `toolbox` program: finds the command's module, runs it, and turns every error into a sentence.

Only the module of the command that was asked for is imported, since imports are most of what a short command costs.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

from toolbox import __version__
from toolbox.cli import streams
from toolbox.errors import ToolboxError, UsageError

# command -> the module of toolbox.cli that registers it
COMMANDS: Final = {"shell": "shell", "probe": "probe", "lab": "lab"}

# What says nothing yet about what to do: the answer is the help.
_BARE: Final[tuple[list[str], ...]] = ([], ["probe"], ["lab"])
_CRASHED: Final = 70
_INTERRUPTED: Final = 130
_INTRODUCTION: Final = """The on-call toolbox of the tracker production.

\b
Examples:
  toolbox shell                        a shell inside the VPC
  toolbox shell -- toolbox probe db    one command there, with its exit code
  toolbox probe db                     is the database all right, seen from here?
  toolbox lab up                       a VPC in a box, to try all of this without an account

\b
Exit codes: 0 ok, 1 warning, 2 failure, 3 could not be checked, 64 usage, 70 our own crash,
130 interrupted; 'shell -- COMMAND' gives the command's own, 255 when it was not observed.
Put --debug first to see where an error comes from.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program with the words `argv` (the process's own by default); returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    streams.open_closed()
    if words == ["--version"]:
        sys.stdout.write(f"toolbox {__version__}\n")
        return 0
    if words[:1] == ["relay"]:
        from toolbox.session import relay

        return relay.main(words[1:])
    debug = words[:1] == ["--debug"] or bool(os.environ.get("TOOLBOX_DEBUG"))
    if words[:1] == ["--debug"]:
        del words[0]
    failure: BaseException
    try:
        code = _run(words)
        sys.stdout.flush()
        return code
    except ToolboxError as error:
        failure, code = error, error.exit_code
        _explain(error)
    except (KeyboardInterrupt, BrokenPipeError) as error:
        failure, code = error, _INTERRUPTED
        streams.give_up(sys.stdout)  # whoever read our output may have gone
    except Exception as error:  # noqa: BLE001  # the outermost boundary: a sentence for the person, --debug for us
        failure, code = error, _CRASHED
        _complain(
            f"× The toolbox itself failed: {type(error).__name__}. This is a defect of ours.",
            "  → Run it again as 'toolbox --debug …' to see where, and report what it shows.",
        )
    if debug:
        traceback.print_exception(failure)
    return code


def _run(words: list[str]) -> int:
    import typer

    app = typer.Typer(
        name="toolbox", help=_INTRODUCTION, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
    )
    app.callback()(_no_options)
    asked = words[0] if words else ""
    commands = _present()
    for module in [commands[asked]] if asked in commands else commands.values():
        import_module(f"toolbox.cli.{module}").register(app)
    try:
        code = app([*words, "--help"] if words in _BARE else words, prog_name="toolbox", standalone_mode=False)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except SystemExit:
        raise BrokenPipeError from None  # typer's answer to one; nothing else of it exits in this mode
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)  # that of the command whose words were wrong
        about = context.command_path if context else "toolbox"
        raise UsageError(error.format_message(), cause="usage", next_step=f"See '{about} --help'.") from error
    return code if isinstance(code, int) else 0


def _present() -> dict[str, str]:
    """The commands that this installation has, with their modules: the production image comes without the lab."""
    lab_is_here = (Path(__file__).parents[1] / "lab").is_dir()
    return {name: module for name, module in COMMANDS.items() if name != "lab" or lab_is_here}


def _no_options() -> None:
    """Make typer treat every command as one of several; what stands before a command is read in `main`."""


def _explain(error: ToolboxError) -> None:
    from toolbox.model.text import printable

    _complain(f"× {printable(error.sentence)}", *(f"    {printable(line)}" for line in error.detail))
    if error.next_step:
        _complain(f"  → {printable(error.next_step)}")


def _complain(*lines: str) -> None:
    try:
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        sys.stderr.flush()
    except OSError:
        streams.give_up(sys.stderr)  # the exit code is what is left to tell
