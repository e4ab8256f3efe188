"""One family of errors: each has a cause, a sentence for a tired person and the next step."""

from typing import ClassVar


class ToolboxError(Exception):
    """What went wrong, in a sentence, and what to do next.

    `cause` is a stable machine word (`sso-expired`, `service-missing`, …) for scripts and tests;
    `sentence` says what happened; `next_step` is one sentence that says what to do, or "" when there is nothing
    sensible to do; `detail` holds further lines (a log tail, a server's own words) and may be hostile text:
    whoever prints it must make it safe. `exit_code` is what the process ends with when nobody handles it.
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, sentence: str, *, cause: str, next_step: str = "", detail: tuple[str, ...] = ()) -> None:
        super().__init__(sentence)
        self.cause = cause
        self.sentence = sentence
        self.next_step = next_step
        self.detail = detail


class UsageError(ToolboxError):
    """The command line, or a file it names, is not what we can work with."""

    exit_code = 64


class InventoryError(UsageError):
    """The runbook file has an unknown key, lacks a field or holds a wrong type; the sentence names file and key."""


class AwsError(ToolboxError):
    """AWS refused, could not be reached or does not know what we asked for."""


class LaunchError(ToolboxError):
    """No shell came up, or the task died: the outcome of the command was not observed."""

    exit_code = 255


class SessionError(ToolboxError):
    """The session was refused, lost or spoke something that we do not understand."""

    exit_code = 255


class LabError(ToolboxError):
    """The lab could not be started, found or stopped."""

    exit_code = 2
