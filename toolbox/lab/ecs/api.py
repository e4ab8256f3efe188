"""The lab's ECS as its HTTP front calls it."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from toolbox.lab.contract import World
from toolbox.lab.ecs import shapes
from toolbox.lab.ecs.actions import clusters, definitions, history, services, tags, tasks
from toolbox.lab.ecs.core import Core, OpenSession
from toolbox.lab.ecs.errors import EcsApiError, unsupported
from toolbox.lab.ecs.state import Document, State, Timings
from toolbox.lab.runtime.containers import Runtime

_Action: TypeAlias = Callable[[Core, Document, str], Document]

_ACTIONS: Final[dict[str, _Action]] = {
    "CreateCluster": clusters.create_cluster,
    "DescribeClusters": clusters.describe_clusters,
    "ListClusters": clusters.list_clusters,
    "UpdateCluster": clusters.update_cluster,
    "RegisterTaskDefinition": definitions.register_task_definition,
    "DeregisterTaskDefinition": definitions.deregister_task_definition,
    "DescribeTaskDefinition": definitions.describe_task_definition,
    "ListTaskDefinitions": definitions.list_task_definitions,
    "ListTaskDefinitionFamilies": definitions.list_task_definition_families,
    "CreateService": services.create_service,
    "UpdateService": services.update_service,
    "DeleteService": services.delete_service,
    "DescribeServices": services.describe_services,
    "ListServices": services.list_services,
    "RunTask": tasks.run_task,
    "StopTask": tasks.stop_task,
    "DescribeTasks": tasks.describe_tasks,
    "ListTasks": tasks.list_tasks,
    "ExecuteCommand": tasks.execute_command,
    "ListServiceDeployments": history.list_service_deployments,
    "DescribeServiceDeployments": history.describe_service_deployments,
    "DescribeServiceRevisions": history.describe_service_revisions,
    "StopServiceDeployment": history.stop_service_deployment,
    "TagResource": tags.tag_resource,
    "UntagResource": tags.untag_resource,
    "ListTagsForResource": tags.list_tags_for_resource,
}


class Ecs:
    """ECS for one account and region. `start` before the first call; `aclose` ends every task at once.

    `open_session` maps task id, container, command and the cluster's key, if it has one, to a session's id, stream URL
    and token; `task_stopped` hears the id of each task that has stopped.
    """

    def __init__(
        self,
        world: World,
        runtime: Runtime,
        open_session: OpenSession,
        *,
        account: str,
        region: str,
        timings: Timings | None = None,
        task_stopped: Callable[[str], None] = lambda task_id: None,
    ) -> None:
        self._core = Core(world, runtime, open_session, task_stopped, State(account, region), timings or Timings())

    async def start(self) -> None:
        """Be ready: the model is read before the first request would wait for it."""
        shapes.is_action("RunTask")

    async def call(self, action: str, payload: Document, principal: str) -> Document:
        """The answer to a request of `principal` (an ARN); times are numbers of seconds. Raises EcsApiError."""
        if action not in _ACTIONS:
            raise unsupported(action)
        shapes.check_request(action, payload)
        return _ACTIONS[action](self._core, payload, principal)

    def passed_roles(self, action: str, parameters: Mapping[str, Any]) -> list[str]:
        """The roles that the request hands to tasks by its task definition alone.

        ECS asks for iam:PassRole of them at RunTask, too, not only where they are registered (ECS Developer Guide,
        'Amazon ECS task execution IAM role').
        """
        if action != "RunTask":
            return []
        try:
            definition = self._core.definition(str(parameters.get("taskDefinition")))
        except EcsApiError:  # the action itself says so
            return []
        replaced = parameters.get("overrides") or {}
        names = (name for name in ("taskRoleArn", "executionRoleArn") if name not in replaced)
        return [definition.body[name] for name in names if name in definition.body]

    def target_health(self, target_group_arn: str) -> list[Document]:
        """The TargetHealthDescriptions of elasticloadbalancing's DescribeTargetHealth."""
        return [target.describe() for target in self._core.all_targets() if target.group == target_group_arn]

    async def aclose(self) -> None:
        """Stop scheduling and kill every task."""
        await self._core.aclose()
        await self._core.runtime.aclose()
