"""The program around the commands: exit codes, sentences instead of tracebacks, and a quick start."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from toolbox.launcher.image import repository_root

TOOLBOX = [sys.executable, "-I", "-m", "toolbox"]
# A command that fails as `how` says, put in place of a real one by the interpreter that runs the program.
FAILING = """
import sys, types
from toolbox.cli import main
command = types.ModuleType("toolbox.cli.failing")
def register(app):
    @app.command("fail")
    def fail() -> None:
        {how}
command.register = register
sys.modules["toolbox.cli.failing"] = command
main.COMMANDS["fail"] = "failing"
main.COMMANDS["lab"] = "failing"
sys.exit(main.main(sys.argv[1:]))
"""


def toolbox(*words: str, environment: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*TOOLBOX, *words], capture_output=True, text=True, timeout=30, check=False, env=environment)


def failing(how: str, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-I", "-c", FAILING.format(how=how), *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_says_its_version() -> None:
    done = toolbox("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("toolbox 0.")


def test_help_has_examples_and_every_command() -> None:
    done = toolbox("--help")
    assert done.returncode == 0
    assert "toolbox probe db " in done.stdout
    assert all(command in done.stdout for command in ("shell", "probe", "lab"))
    assert toolbox().stdout == done.stdout


@pytest.mark.parametrize(
    "command", [[], ["shell"], ["probe"], ["probe", "db"], ["lab"], *(["lab", verb] for verb in ("up", "env", "stop"))]
)
def test_help_is_whole_and_in_a_person_s_words(command: list[str]) -> None:
    shown = toolbox(*command, "--help").stdout
    assert not [line for line in shown.splitlines() if line.endswith("...") and not line.startswith("Usage:")]
    assert not [line for line in shown.splitlines() if line.startswith("  -") and "<str>" in line]
    assert "[[" not in shown


@pytest.mark.parametrize("group", ["probe", "lab"])
def test_a_group_alone_shows_its_help_as_the_program_does(group: str) -> None:
    done = toolbox(group)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == toolbox(group, "--help").stdout


@pytest.mark.parametrize("command", [["shell"], ["probe", "db"], ["lab"]])
def test_each_command_has_help_with_examples(command: list[str]) -> None:
    done = toolbox(*command, "--help")
    assert done.returncode == 0
    assert "Examples:" in done.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["shell", "--colour"], "No such option: --colour"),
        (["prob"], "No such command 'prob'"),
        (["shell", "--idle", "soon"], "--idle is 'soon', which is no time."),
        (["shell", "--lifetime", "99999999999999999999h"], "which is more than a day."),
        (["shell", "--inventory", "/nowhere.toml"], "/nowhere.toml cannot be read"),
        (["shell", "--client", "telnet"], "telnet"),
        (["shell", "--client", "plugin", "--", "true"], "opens a shell only"),
    ],
)
def test_bad_usage_is_64_with_the_place(words: list[str], told: str) -> None:
    done = toolbox(*words)
    assert (done.returncode, done.stdout) == (64, "")
    assert told in done.stderr
    assert "→" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "about"),
    [
        (["lab", "stop"], "toolbox lab stop --help"),
        (["lab", "halt"], "toolbox lab --help"),
        (["probe", "db", "now"], "toolbox probe db --help"),
        (["shell", "--colour"], "toolbox shell --help"),
        (["prob"], "toolbox --help"),
    ],
)
def test_bad_usage_leads_to_the_help_of_that_very_command(words: list[str], about: str) -> None:
    assert f"See '{about}'." in toolbox(*words).stderr


def test_a_shell_in_the_task_is_not_asked_for_another_task() -> None:
    done = toolbox("shell", "--", "true", environment={**os.environ, "TOOLBOX_TASK": "1"})
    assert done.returncode == 64
    assert "is already in a task" in done.stderr
    assert "→" in done.stderr


def test_our_own_crash_is_70_and_a_sentence() -> None:
    done = failing("raise RuntimeError('secret detail')", "fail")
    assert done.returncode == 70
    assert "The toolbox itself failed: RuntimeError" in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret detail" not in done.stderr


def test_debug_shows_where() -> None:
    done = failing("raise RuntimeError('where')", "--debug", "fail")
    assert done.returncode == 70
    assert "Traceback" in done.stderr
    assert "RuntimeError: where" in done.stderr


def test_an_interrupt_is_130() -> None:
    done = failing("raise KeyboardInterrupt", "fail")
    assert (done.returncode, done.stderr) == (130, "")


def test_a_hostile_sentence_cannot_drive_the_terminal() -> None:
    how = (
        "from toolbox.errors import ToolboxError; "
        "raise ToolboxError('a\\x1b[2Jb', cause='x', next_step='c\\x07', detail=('d\\x9be',))"
    )
    done = failing(how, "fail")
    assert done.returncode == 3
    assert not {"\x1b", "\x07", "\x9b"} & set(done.stderr)


def test_a_reader_that_goes_away_is_no_crash() -> None:
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", FAILING.format(how="print('x' * 10_000_000)"), "fail"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(timeout=30) == 130


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), (["lab", "up"], 64)])
def test_the_image_comes_without_the_lab(tmp_path: Path, words: list[str], code: int) -> None:
    ignore = shutil.ignore_patterns("lab", "__pycache__")
    shutil.copytree(repository_root() / "toolbox", tmp_path / "toolbox", ignore=ignore)
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from toolbox.cli.main import main; "
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"{program} sys.exit(main({words!r}))"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "lab" not in done.stdout.partition("Commands:")[2]
    assert "defect" not in done.stderr


def test_a_reader_that_never_read_is_no_crash() -> None:
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", FAILING.format(how="print('x')"), "fail"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert (process.stderr.read(), process.wait(timeout=30)) == ("", 130)


def test_a_short_command_imports_nothing_heavy() -> None:
    code = (
        "import sys; from toolbox.cli.main import main; main(['--version']); "
        "print([name for name in ('typer', 'boto3', 'psycopg', 'asyncio', 'rich', 'msgspec') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines()[1] == "[]"
