"""How a session fails: one class each, so that the launcher can tell them apart by type or by `cause`."""

from toolbox.errors import SessionError, ToolboxError
from toolbox.model.text import printable

_SHOWN = 200


class SessionRefused(SessionError):
    """The channel could not be opened: not reachable, token not taken, or a wish that we cannot fulfil."""

    def __init__(
        self, sentence: str, next_step: str = "Try again; a session's token is good for a few minutes."
    ) -> None:
        super().__init__(sentence, cause="session-refused", next_step=next_step)


class KeyRefused(SessionError):
    """The session is to be encrypted, and KMS gave us no key for it; cause and next step are AWS's refusal's."""

    def __init__(self, why: ToolboxError) -> None:
        super().__init__(
            f"The cluster encrypts its sessions with a KMS key, and there is no key for this one: {why.sentence}",
            cause=why.cause,
            next_step=why.next_step,
            detail=why.detail,
        )


class AgentRefused(SessionError):
    """The agent in the task broke off the handshake; `output` is what it said."""

    def __init__(self, output: str) -> None:
        keyless = "data key" in output
        super().__init__(
            "The task's agent cannot use the session's KMS key."
            if keyless
            else "The task's agent broke off the handshake.",
            cause="agent-refused",
            next_step="Give the task role kms:Decrypt on the key of the cluster's executeCommandConfiguration."
            if keyless
            else "Open a new shell; if it happens again, use --client plugin.",
            detail=lines(output.rpartition("initiating handshake. ")[2].encode("utf-8", "replace")),
        )


class SessionLost(SessionError):
    """The far side fell silent, or a dropped connection could not be resumed."""

    def __init__(self, sentence: str) -> None:
        super().__init__(
            sentence, cause="session-lost", next_step="Check the network and the task's status, then open a new shell."
        )


class SessionClosed(SessionError):
    """The service ended the session; `output` is what it said, which may be nothing."""

    def __init__(self, output: str) -> None:
        super().__init__(
            "The session was closed from the other side.",
            cause="session-closed",
            next_step="Look at why the task stopped, or open a new shell.",
            detail=lines(output.encode("utf-8", "replace")),
        )
        self.output = output


class SessionLeft(SessionError):
    """The person left by `~.`, or closed the output that the session was writing to."""

    def __init__(self, how: str) -> None:
        super().__init__(f"You left the session ({how}).", cause="session-left")


class OutputFailed(SessionError):
    """What the far side printed could not be written here, and it was not for want of a reader: a disk that is full."""

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"What the command printed cannot be written here: {error.strerror}.",
            cause="output-failed",
            next_step="Make room where its output goes, and run it again.",
        )


class RelayMissing(SessionError):
    """ECS Exec works, but the image's relay did not come up."""

    def __init__(self, sentence: str, seen: bytes = b"") -> None:
        super().__init__(
            sentence,
            cause="relay-missing",
            next_step="Check that the task runs the toolbox image; --client plugin opens a plain shell in any image.",
            detail=lines(seen),
        )


class RelayGarbled(SessionError):
    """Something else than our relay spoke, or the relay gave up."""

    def __init__(self, sentence: str, seen: bytes = b"") -> None:
        super().__init__(
            sentence,
            cause="relay-garbled",
            next_step="Open a new shell; if it happens again, use --client plugin.",
            detail=lines(seen),
        )


class ChannelFailed(SessionError):
    """The relay could not do what it was asked; `cause` is its word for it."""

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(f"The far side could not do it: {safe(text.encode())}.", cause=cause)


def safe(data: bytes) -> str:
    """The beginning of `data` as one line that no terminal interprets; cut where it is longer than 200 characters."""
    return printable(data[: 4 * _SHOWN].decode("utf-8", "replace"), _SHOWN)


def lines(data: bytes) -> tuple[str, ...]:
    """The same, line by line, without empty lines."""
    return tuple(safe(line) for line in data[: 8 * _SHOWN].splitlines() if line.strip())
