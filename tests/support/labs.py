"""A lab for tests: real servers, real processes, an AWS API; one a test session, in a state directory of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import boto3

from tests.support.waiting import until_now
from toolbox.inventory import Inventory, load
from toolbox.lab import control
from toolbox.launcher.plan import STARTED_BY

_AWS: Final = str(Path(sys.executable).parent / "aws")
_REPOSITORY: Final = Path(__file__).parents[2]


@dataclass(frozen=True)
class Lab:
    """A lab that is up. `environment` is what a person's shell has after `eval "$(toolbox lab env)"`."""

    name: str
    environment: Mapping[str, str]

    @property
    def inventory(self) -> Inventory:
        """The lab's own."""
        return load(environ=self.environment)

    @property
    def cluster(self) -> str:
        """The cluster's name."""
        return self.inventory.cluster

    @property
    def endpoint(self) -> str:
        """Where its AWS API listens."""
        return self.environment["AWS_ENDPOINT_URL"]

    @property
    def scripts(self) -> Path:
        """The scripts that a shell mounts."""
        return _REPOSITORY / "scripts"

    def with_environment(self, environment: Mapping[str, str]) -> "Lab":
        """The same lab, seen from another environment."""
        return replace(self, environment=environment)

    @contextmanager
    def denied(self, action: str) -> Iterator[None]:
        """The person is denied an action meanwhile, by a policy as in AWS."""
        iam = self.client("iam")
        statement = {"Effect": "Deny", "Action": action, "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName="oncall", PolicyName="denied", PolicyDocument=document)
        try:
            yield
        finally:
            iam.delete_user_policy(UserName="oncall", PolicyName="denied")

    def full_name(self, service: str) -> str:
        """A service's full name."""
        return self.inventory.service(service).name

    def client(self, service: str) -> Any:
        """A boto3 client as the person has it."""
        session = boto3.Session(
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name=self.environment["AWS_REGION"],
        )
        return session.client(service, endpoint_url=self.endpoint)

    def aws(self, *words: str) -> Any:
        """What the AWS CLI answers; AssertionError with its words when it fails."""
        done = subprocess.run([_AWS, *words], env=self.environment, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout) if done.stdout.strip() else None

    def stop(self, part: str) -> None:
        """Stop a part, or scale a service to nothing."""
        control.stop_part(self.name, part, self.environment)

    def start(self, part: str) -> None:
        """Start it again."""
        control.start_part(self.name, part, self.environment)

    def status(self) -> dict[str, Any]:
        """What `toolbox lab status` tells."""
        return control.status(self.name, self.environment)

    @contextmanager
    def stopped(self, part: str) -> Iterator[None]:
        """A part is down meanwhile, and all services have settled again at the end."""
        self.stop(part)
        try:
            yield
        finally:
            self.start(part)
            self.settle()

    def settle(self, seconds: float = 60.0) -> None:
        """Wait until each service has one completed deployment and runs what it should."""
        names = [service.name for service in self.inventory.services]
        ecs = self.client("ecs")

        def settled() -> bool:
            services = ecs.describe_services(cluster=self.cluster, services=names)["services"]
            return all(
                [deployment["rolloutState"] for deployment in service["deployments"]] == ["COMPLETED"]
                and service["runningCount"] == service["desiredCount"]
                for service in services
            )

        until_now(settled, seconds, "all services settled")

    def toolbox_tasks(self) -> list[str]:
        """The ARNs of the launched tasks that are not stopped."""
        tasks: list[str] = self.client("ecs").list_tasks(cluster=self.cluster, startedBy=STARTED_BY)["taskArns"]
        return tasks

    def stop_toolbox_tasks(self) -> None:
        """Stop what a launcher that the test killed has left, so that the next test starts without it."""
        for task in self.toolbox_tasks():
            self.client("ecs").stop_task(cluster=self.cluster, task=task)

    def wait_for_no_task(self, seconds: float) -> None:
        """Wait until no launched task is left; AssertionError after `seconds`."""
        until_now(lambda: not self.toolbox_tasks(), seconds, "no task of ours is left")

    def messages(self, service: str, **how: Any) -> list[str]:
        """A service's log lines, as FilterLogEvents gives them."""
        pages = self.client("logs").get_paginator("filter_log_events")
        return [
            event["message"]
            for page in pages.paginate(logGroupName=f"/ecs/{self.full_name(service)}", **how)
            for event in page["events"]
        ]


@contextmanager
def running(name: str, state: Path) -> Iterator[Lab]:
    """A lab of its own, which ends with the block or with this process."""
    environ = {**os.environ, "XDG_STATE_HOME": str(state)}
    with control.borrowed(name, environ=environ) as environment:
        yield Lab(name, environment)
