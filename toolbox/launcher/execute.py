"""From a running task to an open session: ExecuteCommand, and what the session needs from AWS while it lives."""

import asyncio
from collections.abc import Mapping

from toolbox.aws import Aws, AwsRefused
from toolbox.errors import AwsError, LaunchError
from toolbox.launcher import died
from toolbox.launcher.tasks import Progress, TaskRef, describe
from toolbox.launcher.watch import explain_death, is_to_stop
from toolbox.session import encryption
from toolbox.session.client import Ticket
from toolbox.session.encryption import DataKey


class AwsGateway:
    """What a session in `task` needs from AWS, with the person's own credentials."""

    def __init__(self, aws: Aws, task: TaskRef) -> None:
        self._aws = aws
        self._task = task

    async def sign(self, url: str) -> Mapping[str, str]:
        """SigV4 headers for the websocket at `url`."""
        return await self._aws.sign_websocket(url)

    async def resume(self, session_id: str) -> str | None:
        """A fresh token for the session; None when it has ended on AWS's side."""
        answer = await self._aws.call("ssm", "resume_session", SessionId=session_id)
        return answer.get("TokenValue") or None

    async def data_key(self, key_id: str, context: Mapping[str, str]) -> DataKey:
        """A data key for the session, where the cluster encrypts its sessions (executeCommandConfiguration)."""
        described = await describe(self._aws, self._task.cluster, self._task.arn) or {}
        answer = await self._aws.call(
            "kms",
            "generate_data_key",
            KeyId=key_id,
            NumberOfBytes=encryption.DATA_KEY_BYTES,
            EncryptionContext=encryption.for_target(
                context, target(self._task.cluster, described, self._task.container)
            ),
        )
        return DataKey(answer["Plaintext"], answer["CiphertextBlob"])


async def execute(aws: Aws, task: TaskRef, command: str, seconds: float, progress: Progress) -> Ticket:
    """Open a session that runs `command` in the task; tries for `seconds` while the agent is not connected yet.

    Its process runs seconds before it can be reached (aws/containers-roadmap#187, aws/aws-cli#6562).
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    pause = 0.3
    while True:
        try:
            answer = await aws.call(
                "ecs",
                "execute_command",
                cluster=task.cluster,
                task=task.arn,
                container=task.container,
                command=command,
                interactive=True,
            )
        except AwsError as error:
            if not _is_early(error):
                raise
            if await is_to_stop(aws, task):
                raise await explain_death(aws, task) from error
            if loop.time() > deadline:
                if error.cause == "throttled":
                    raise
                raise died.no_agent(task.id, "the task") from error
            progress(f"task {task.short}: waiting until its agent is connected")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 3.0)
        else:
            session = answer["session"]
            return Ticket(session["sessionId"], session["streamUrl"], session["tokenValue"])


def target(cluster: str, task: Mapping[str, object], container: str) -> str:
    """The session's target as Session Manager writes it: `ecs:CLUSTER_TASKID_RUNTIMEID`; raises LaunchError."""
    containers = task.get("containers")
    for described in containers if isinstance(containers, list) else []:
        if described.get("name") == container and described.get("runtimeId"):
            name = cluster.rpartition("/")[2]
            task_id = str(task["taskArn"]).rpartition("/")[2]
            return f"ecs:{name}_{task_id}_{described['runtimeId']}"
    raise LaunchError(f"ECS gives no runtime id for container {container}.", cause="agent-not-ready")


def _is_early(error: AwsError) -> bool:
    if error.cause == "throttled":
        return True
    if not isinstance(error, AwsRefused):
        return False
    waiting = "agent isn" in error.message or "not connected" in error.message.lower()
    return error.code in ("TargetNotConnectedException", "ServerException") or (
        error.code in ("InvalidParameterException", "ClientException") and waiting
    )
