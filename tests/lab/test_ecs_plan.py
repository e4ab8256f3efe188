from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolbox.lab.ecs.plan import Plan, Seen, breaker_threshold, plan

OLD = Seen("old", new=False, running=True, ready=True, unhealthy=False)
NEW = Seen("new", new=True, running=True, ready=True, unhealthy=False)
PENDING = replace(NEW, id="pending", running=False, ready=False)
SICK = replace(NEW, id="sick", ready=False, unhealthy=True)


def step(*tasks: Seen, desired: int = 1, least: int = 100, most: int = 200, may_launch: bool = True) -> Plan:
    return plan(desired, least, most, tasks, may_launch=may_launch, quiet=True)


def test_new_first_then_old() -> None:
    assert step(OLD) == Plan(1, (), deadlocked=False)
    assert step(OLD, PENDING) == Plan(0, (), deadlocked=False)
    assert step(OLD, NEW) == Plan(0, ("old",), deadlocked=False)
    assert step(NEW) == Plan(0, (), deadlocked=False)


def test_half_rounds_up_to_all_at_one_task() -> None:
    assert step(OLD, least=50) == step(OLD)


@pytest.mark.parametrize("most", [100, 200])
def test_no_minimum_lets_the_old_one_stop_first(most: int) -> None:
    assert step(OLD, least=0, most=most).stop == ("old",)


@pytest.mark.parametrize(("least", "most"), [(100, 100), (50, 150), (1, 199)])
def test_no_room_and_nothing_to_spare_is_a_deadlock(least: int, most: int) -> None:
    assert step(OLD, least=least, most=most) == Plan(0, (), deadlocked=True)


def test_a_first_deployment_is_never_deadlocked() -> None:
    assert step(least=100, most=100) == Plan(1, (), deadlocked=False)


def test_an_unhealthy_task_is_replaced_first_where_there_is_room() -> None:
    assert step(SICK) == Plan(1, (), deadlocked=False)
    assert step(SICK, PENDING) == Plan(0, (), deadlocked=False)
    assert step(SICK, NEW) == Plan(0, ("sick",), deadlocked=False)


def test_an_unhealthy_task_makes_room_where_there_is_none() -> None:
    assert step(SICK, most=100) == Plan(0, ("sick",), deadlocked=False)
    assert step(OLD, SICK) == Plan(0, ("sick",), deadlocked=False)
    assert step(SICK, replace(SICK, id="sick2")).stop == ("sick",)


def test_scaling_in_takes_those_that_do_not_serve_yet() -> None:
    assert step(NEW, PENDING) == Plan(0, ("pending",), deadlocked=False)
    assert step(NEW, desired=0) == Plan(0, ("new",), deadlocked=False)
    assert step(OLD, desired=0).stop == ("old",)


def test_a_throttled_or_failed_deployment_launches_nothing() -> None:
    assert step(OLD, may_launch=False) == Plan(0, (), deadlocked=False)


@pytest.mark.parametrize(("desired", "threshold"), [(0, 3), (1, 3), (6, 3), (7, 4), (25, 13), (1000, 200)])
def test_the_breakers_threshold(desired: int, threshold: int) -> None:
    assert breaker_threshold(desired) == threshold


seen = st.builds(
    lambda new, state: replace(NEW, new=new, running=state > 0, ready=state == 2, unhealthy=state == 3, id=""),
    st.booleans(),
    st.integers(0, 3),
)


@settings(deadline=None)  # other tests share the machine
@given(st.lists(seen, max_size=8), st.integers(0, 4), st.integers(0, 100), st.integers(100, 200), st.booleans())
def test_the_percentages_hold(tasks: list[Seen], desired: int, least: int, most: int, may: bool) -> None:
    tasks = [replace(task, id=str(number)) for number, task in enumerate(tasks)]
    result = plan(desired, least, most, tasks, may_launch=may, quiet=True)
    assert set(result.stop) <= {task.id for task in tasks}
    assert result.launch == 0 or len(tasks) + result.launch <= desired * most // 100
    stays = [task for task in tasks if task.id not in result.stop]
    ready_before = sum(task.ready for task in tasks)
    ready_after = sum(task.ready for task in stays)
    least_count = -(-desired * least // 100)
    assert ready_after >= min(ready_before, least_count)
    assert not (result.deadlocked and (result.launch or result.stop))
