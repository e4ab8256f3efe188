"""The lab's parts put together: what starts after what, and what leads to what."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import uvicorn

from toolbox.inventory import Inventory
from toolbox.lab import addresses, estate, fleet
from toolbox.lab.addresses import Network
from toolbox.lab.aws import groups, kms
from toolbox.lab.aws.app import CREDENTIALS_PATH, DATA_CHANNEL_PATH, App
from toolbox.lab.aws.backends import ACCOUNT, REGION, Backends
from toolbox.lab.aws.identities import Identities
from toolbox.lab.contract import SessionKey
from toolbox.lab.ecs import Ecs, Timings
from toolbox.lab.estate import Estate
from toolbox.lab.execagent import ExecAgent
from toolbox.lab.lab import Lab
from toolbox.lab.outfit import (
    DATABASE_HOST,
    REDIS_HOST,
    blueprint,
    database_variables,
    redis_users,
    write_shared,
)
from toolbox.lab.place import Place
from toolbox.lab.postgres import Postgres, PostgresSettings
from toolbox.lab.runtime.containers import Runtime
from toolbox.lab.runtime.spec import Isolation
from toolbox.lab.servers import POSTGRES, REDIS, Servers
from toolbox.lab.valkey import Valkey, ValkeySettings
from toolbox.lab.vpc import Groups, Target, Vpc
from toolbox.lab.world import LabWorld, Site

Progress = Callable[[str], None]

_HOST: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class _Foundation:
    """What stands before the first request: servers that accept connections, a filled account, a runtime."""

    network: Network
    postgres: Postgres
    backends: Backends
    runtime: Runtime
    built: Estate


@asynccontextmanager
async def assembled(place: Place, inventory: Inventory, progress: Progress) -> AsyncIterator[Lab]:
    """A lab that is up, and down again at the end. Raises LabError, and leaves nothing behind then either."""
    async with AsyncExitStack() as stack:
        network, claim = addresses.claim(place.name)
        stack.callback(claim.close)
        endpoint = stack.enter_context(socket.create_server((_HOST, 0), backlog=128))
        url = f"http://{_HOST}:{endpoint.getsockname()[1]}"
        progress("starting PostgreSQL, Redis and the AWS API")
        base, servers_of = await _lay_foundation(stack, place, inventory, network, progress)
        vpc = _vpc(base)
        stack.push_async_callback(vpc.aclose)
        servers = servers_of(vpc)
        stack.callback(servers.close)
        for name in (POSTGRES, REDIS):
            await servers.start(name)
        identities = Identities(base.backends)
        ecs = await _serve(stack, base, vpc, identities, endpoint, url)
        progress("starting the eight services")
        await _create_services(ecs, inventory, base)
        yield Lab(place, inventory, url, base.built.person, servers, vpc, ecs, identities, base.runtime.isolation)


async def _lay_foundation(
    stack: AsyncExitStack, place: Place, inventory: Inventory, network: Network, progress: Progress
) -> tuple[_Foundation, Callable[[Vpc], Servers]]:
    """Start what takes long, all at once."""
    redis = ValkeySettings(
        place.directory / "redis", network.part(addresses.REDIS[0]), addresses.REDIS[1], redis_users()
    )
    database = PostgresSettings(
        place.directory / "postgres", addresses.DATABASE[1], network.part(addresses.DATABASE[0])
    )
    postgres, valkey, backends = Postgres(database), Valkey(redis), Backends()
    stack.callback(backends.close)
    stack.push_async_callback(valkey.stop)
    stack.push_async_callback(postgres.stop, "immediate")
    write_shared(inventory, place)

    async def fill() -> Estate:
        await backends.load()
        plan = await asyncio.to_thread(blueprint, inventory, place, network, postgres, redis)
        return await backends.run(estate.build, backends, plan)

    async with asyncio.TaskGroup() as group:
        built = group.create_task(fill())
        runtime = group.create_task(Runtime.open(place.directory / "tasks", [place.shared]))
        group.create_task(valkey.start())
        group.create_task(postgres.start())
    stack.push_async_callback(runtime.result().aclose)
    if runtime.result().isolation is Isolation.SHARED:
        progress(
            "this kernel lets us make no namespaces: tasks share the host's files, scripts are in $TOOLBOX_SCRIPTS"
        )

    def servers_of(vpc: Vpc) -> Servers:
        return Servers(postgres, valkey, vpc.set_running)

    return _Foundation(network, postgres, backends, runtime.result(), built.result()), servers_of


def _vpc(base: _Foundation) -> Vpc:
    part = base.network.part
    targets: Mapping[str, Target] = {
        POSTGRES: Target(
            DATABASE_HOST,
            addresses.DATABASE[1],
            (part(addresses.DATABASE[0]), addresses.DATABASE[1]),
            (base.built.database_group,),
            lambda slot: slot.database,
        ),
        REDIS: Target(
            REDIS_HOST,
            addresses.REDIS[1],
            (part(addresses.REDIS[0]), addresses.REDIS[1]),
            (base.built.redis_group,),
            lambda slot: slot.redis,
        ),
    }
    rules = Groups(partial(groups.ingress, base.backends), partial(groups.egress, base.backends))
    return Vpc(base.network, targets, rules, fleet.ZONE)


async def _serve(
    stack: AsyncExitStack, base: _Foundation, vpc: Vpc, identities: Identities, endpoint: socket.socket, url: str
) -> Ecs:
    """Let ECS and the AWS endpoint work."""
    timings = Timings()
    environment = {
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": url,
        "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE",
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
    }
    world = LabWorld(base.backends, identities, vpc, Site(f"{url}{CREDENTIALS_PATH}", environment, timings.scale))
    websockets = url.replace("http", "ws", 1)
    sessions = ExecAgent(base.runtime, websockets, decrypt=partial(kms.decrypt, base.backends, identities))
    stack.push_async_callback(sessions.aclose)

    def open_session(task_id: str, container: str, command: str, key: SessionKey | None) -> tuple[str, str, str]:
        ticket = sessions.open(task_id, container, command, key)
        return ticket.session_id, ticket.stream_url, ticket.token

    ecs = Ecs(
        world,
        base.runtime,
        open_session,
        account=ACCOUNT,
        region=REGION,
        timings=timings,
        task_stopped=sessions.task_stopped,
    )
    stack.push_async_callback(ecs.aclose)
    await ecs.start()
    app = App(
        base.backends,
        identities,
        ecs,
        sessions,
        stream_url=lambda session: f"{websockets}{DATA_CHANNEL_PATH}{session}?role=publish_subscribe",
        changed=vpc.refresh,
    )
    await stack.enter_async_context(_listening(app, endpoint))
    return ecs


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: what a signal means is the supervisor's to say."""

    def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]  # a context manager that does nothing
        """Leave the signals alone."""
        return nullcontext()


@asynccontextmanager
async def _listening(app: App, endpoint: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve([endpoint]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving


async def _create_services(ecs: Ecs, inventory: Inventory, base: _Foundation) -> None:
    async def call(action: str, payload: dict[str, Any]) -> None:
        await ecs.call(action, payload, f"arn:aws:iam::{ACCOUNT}:user/{estate.PERSON}")

    await call("CreateCluster", {"clusterName": inventory.cluster})
    variables = database_variables(base.postgres)
    for service in inventory.services:
        await call("RegisterTaskDefinition", fleet.task_definition(inventory, service, base.built, variables))
        await call("CreateService", fleet.service_request(inventory, service, base.built))
