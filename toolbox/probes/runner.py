"""Runs probes at the same time; their Results come in the probes' order."""

import asyncio
from collections.abc import Callable, Sequence

from toolbox.model.result import Result
from toolbox.probes.context import Context
from toolbox.probes.registry import Probe


def _ignore(probe: Probe, results: tuple[Result, ...]) -> None:
    """Nobody wants to know."""


async def run(
    probes: Sequence[Probe],
    context: Context,
    on_done: Callable[[Probe, tuple[Result, ...]], None] = _ignore,
) -> tuple[Result, ...]:
    """The Results of all `probes`; `on_done` is told of each as it ends.

    Every probe bounds its own phases, so there is no clock here. An exception is a defect of ours: it ends all.
    """

    async def run_one(probe: Probe) -> tuple[Result, ...]:
        results = await probe.run(context)
        on_done(probe, results)
        return results

    # gather, not TaskGroup: an error of ours must arrive as itself, not in an ExceptionGroup.
    found = await asyncio.gather(*map(run_one, probes))
    return tuple(result for results in found for result in results)
