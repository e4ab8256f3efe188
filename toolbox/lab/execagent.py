"""ECS Exec as the lab plays it: AWS's message gateway and the agent in the task, behind one websocket a session."""

import asyncio
import secrets
import string
from collections.abc import Callable, Coroutine
from typing import Final

from toolbox.lab.agenthandshake import Decrypt
from toolbox.lab.agentsession import AgentSession, AgentSettings, StartRefused
from toolbox.lab.agenttext import UnclosedQuote, banner, split_command
from toolbox.lab.contract import Channel, KeyDenied, PtyProcess, SessionKey, Spawner
from toolbox.session import wire
from toolbox.session.access import Ticket
from toolbox.session.wire import WireError

_ID_LETTERS: Final = string.ascii_lowercase + string.digits
_ID_LENGTH: Final = 26
_OPENING_SECONDS: Final = 15.0


async def no_keys(key: SessionKey, blob: bytes, context: dict[str, str]) -> bytes:
    """For an agent without KMS: raises KeyDenied."""
    raise KeyDenied("NotFoundException: there is no KMS")


class ExecAgent:
    """All sessions of the lab. `base_url` is where their websockets are served: `ws://127.0.0.1:4566`.

    `decrypt` is how the agents call KMS, for sessions with a key.
    """

    def __init__(
        self,
        spawner: Spawner,
        base_url: str | Callable[[], str],
        settings: AgentSettings = AgentSettings(),  # noqa: B008 - frozen
        decrypt: Decrypt = no_keys,
    ) -> None:
        self._spawner = spawner
        self._base_url = base_url
        self._settings = settings
        self._decrypt = decrypt
        self._sessions: dict[str, AgentSession] = {}
        self._tokens: dict[str, str] = {}
        self._tasks: dict[str, str] = {}
        self._background: set[asyncio.Task[None]] = set()

    def open(self, task_id: str, container: str, command: str, key: SessionKey | None = None) -> Ticket:
        """A new session, encrypted if there is a `key`; its command starts when the first websocket has opened it."""
        session_id = "ecs-execute-command-" + "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH))

        async def start() -> PtyProcess:
            return await self._start(task_id, container, command)

        session = AgentSession(session_id, start, self._drop, self._settings, key, self._decrypt)
        self._sessions[session_id] = session
        self._tasks[session_id] = task_id
        base = self._base_url if isinstance(self._base_url, str) else self._base_url()
        url = f"{base}/v1/data-channel/{session_id}?role=publish_subscribe"
        return Ticket(session_id, url, self._new_token(session_id))

    async def serve(self, session_id: str, channel: Channel) -> None:
        """Speak the protocol on one websocket until its peer has gone. An unknown session or token is closed."""
        session = self._sessions.get(session_id)
        if session is None or not await self._is_opened_rightly(session_id, channel):
            await channel.close()
            return
        await session.serve(channel)

    def resume(self, session_id: str) -> str | None:
        """A fresh token that replaces the old one; None when the session has ended."""
        return self._new_token(session_id) if session_id in self._sessions else None

    def terminate(self, session_id: str) -> None:
        """End the session's process; the client is told as after a normal end. Unknown sessions: nothing."""
        if session_id in self._sessions:
            self._sessions[session_id].terminate()

    def task_stopped(self, task_id: str) -> None:
        """The task is gone, and its agent with it: its sessions fall silent, as AWS's do, and cannot be resumed."""
        for session_id in [one for one, task in self._tasks.items() if task == task_id]:
            self._later(self._sessions[session_id].fall_silent())
            self._drop(session_id)

    async def aclose(self) -> None:
        """End every session and its process."""
        sessions = list(self._sessions.values())
        self._sessions.clear()
        await asyncio.gather(*(session.fall_silent() for session in sessions), *self._background)

    def _new_token(self, session_id: str) -> str:
        self._tokens[session_id] = secrets.token_urlsafe(48)
        return self._tokens[session_id]

    def _drop(self, session_id: str) -> None:
        for table in (self._sessions, self._tokens, self._tasks):
            table.pop(session_id, None)

    def _later(self, job: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(job)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _is_opened_rightly(self, session_id: str, channel: Channel) -> bool:
        try:
            async with asyncio.timeout(_OPENING_SECONDS):
                first = await channel.receive()
            opening = wire.decode_open(first) if first is not None else None
        except (TimeoutError, WireError):
            return False
        expected = self._tokens.get(session_id, "")
        return opening is not None and secrets.compare_digest(opening.token.encode(), expected.encode())

    async def _start(self, task_id: str, container: str, command: str) -> PtyProcess:
        """The command on a terminal in the task; raises StartRefused with the agent's words."""
        try:
            words = split_command(command)
        except UnclosedQuote as error:
            raise _unable(f"Failed to parse commands input: {error}") from error
        if not words:
            raise StartRefused("Commands cannot be empty for session type InteractiveCommands")
        try:
            return await self._spawner.spawn(task_id, container, words)
        except FileNotFoundError as error:
            raise _unable(f'Failed to start pty: exec: "{words[0]}": executable file not found in $PATH') from error
        except OSError as error:
            raise _unable(f"Failed to start pty: {error}") from error


def _unable(why: str) -> StartRefused:
    return StartRefused(banner(f"Unable to start command: {why}"))
