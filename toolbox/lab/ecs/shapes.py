"""Checks requests against botocore's own model of ECS, so that what the lab accepts is what AWS would."""

from collections.abc import Mapping
from functools import cache
from typing import Any, cast

from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape
from botocore.validate import ParamValidator

from toolbox.lab.ecs.errors import invalid


def check_request(action: str, payload: Mapping[str, Any]) -> None:
    """Raises EcsApiError when `payload` lacks a member, has an unknown one, or one of a wrong type or value."""
    if problems := _problems(payload, _model().operation_model(action).input_shape):
        raise invalid(problems)


def check_answer(action: str, answer: Mapping[str, Any]) -> str:
    """What is wrong with an answer, as text; "" when it is what the model says. Tests hold every answer to it."""
    return _problems(answer, _model().operation_model(action).output_shape)


def is_action(name: str) -> bool:
    """Whether ECS has such an action."""
    return name in _model().operation_names


@cache
def _model() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("ecs", "service-2"), "ecs")


def _problems(value: Mapping[str, Any], shape: Shape | None) -> str:
    if shape is None:
        return ""
    report: str = ParamValidator().validate(value, shape).generate_report()
    return report or "\n".join(_wrong_words(value, shape, ""))


def _wrong_words(value: Any, shape: Any, where: str) -> list[str]:
    """Strings outside of their enumeration, which botocore's validator lets pass."""
    if shape.type_name == "structure":
        inside = [(value[name], member, f"{where}.{name}") for name, member in shape.members.items() if name in value]
        return [word for part in inside for word in _wrong_words(*part)]
    if shape.type_name == "list":
        return [word for item in value for word in _wrong_words(item, shape.member, where)]
    if shape.type_name == "string" and shape.enum and value not in cast("list[str]", shape.enum):
        return [f"{where.lstrip('.')}: '{value}' is not one of {', '.join(shape.enum)}"]
    return []
