"""Many probes at once: together, in order, and each told of as it ends."""

import asyncio

import pytest

from toolbox import inventory
from toolbox.errors import UsageError
from toolbox.model.result import Result, Status
from toolbox.net.resolver import Resolver, Server
from toolbox.probes import runner
from toolbox.probes.context import Context
from toolbox.probes.registry import PROBES, Probe

CONTEXT = Context({}, inventory.load(environ={}), Resolver((Server("127.0.0.1"),)))


async def test_probes_run_together_and_results_keep_the_order() -> None:
    met = asyncio.Event()
    done: list[str] = []

    async def first(context: Context) -> tuple[Result, ...]:
        await met.wait()  # only ends if the second runs beside it
        return (Result("a.x", "t", Status.OK, ""), Result("a.y", "t", Status.OK, ""))

    async def second(context: Context) -> tuple[Result, ...]:
        met.set()
        return (Result("b.x", "t", Status.FAIL, ""),)

    probes = (Probe("a", "", first), Probe("b", "", second))
    async with asyncio.timeout(5):
        results = await runner.run(probes, CONTEXT, lambda probe, _: done.append(probe.name))
    assert [result.check for result in results] == ["a.x", "a.y", "b.x"]
    assert done == ["b", "a"]


async def test_an_error_of_ours_arrives_as_itself() -> None:
    async def broken(context: Context) -> tuple[Result, ...]:
        raise UsageError("No.", cause="usage")

    with pytest.raises(UsageError, match="No"):
        await runner.run([Probe("a", "", broken)], CONTEXT)


def test_the_option_goes_before_the_inventory() -> None:
    thresholds = CONTEXT.inventory.thresholds
    assert (CONTEXT.connect_timeout, CONTEXT.probe_timeout) == (thresholds.connect_timeout, thresholds.probe_timeout)
    hurried = Context({}, CONTEXT.inventory, CONTEXT.resolver, timeout=0.5)
    assert (hurried.connect_timeout, hurried.probe_timeout) == (0.5, 0.5)


def test_names_are_unique_and_purposes_are_sentences() -> None:
    names = [probe.name for probe in PROBES]
    assert len(set(names)) == len(names)
    assert all(probe.purpose.endswith(".") for probe in PROBES)
