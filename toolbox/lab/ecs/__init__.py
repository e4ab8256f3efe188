"""ECS itself: task definitions, services, deployments, tasks and sessions, on real processes."""

from toolbox.lab.ecs.api import Ecs
from toolbox.lab.ecs.errors import EcsApiError
from toolbox.lab.ecs.state import Timings

__all__ = ["Ecs", "EcsApiError", "Timings"]
