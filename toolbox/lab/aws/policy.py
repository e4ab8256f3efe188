"""Whether identity-based policies grant an action (IAM User Guide, 'Policy evaluation logic'), as far as the lab needs.

Effect, Action, NotAction, Resource and NotResource count; conditions are taken as met.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any


class Decision(Enum):
    """What policies say of one action on one resource."""

    ALLOWED = "allowed"
    NOT_ALLOWED = "not allowed"  # no statement grants it
    DENIED = "denied"  # a statement forbids it


def decide(documents: Iterable[Mapping[str, Any]], action: str, resource: str) -> Decision:
    """What all `documents` together say: a Deny wins over every Allow."""
    effects = {
        statement.get("Effect")
        for document in documents
        for statement in _as_list(document.get("Statement"))
        if _concerns(statement, action, resource)
    }
    if "Deny" in effects:
        return Decision.DENIED
    return Decision.ALLOWED if "Allow" in effects else Decision.NOT_ALLOWED


def refusal(principal: str, action: str, resource: str, decision: Decision) -> str:
    """AWS's sentence for a decision that is not ALLOWED (IAM User Guide, 'Troubleshoot access denied')."""
    why = (
        "with an explicit deny in an identity-based policy"
        if decision is Decision.DENIED
        else f"because no identity-based policy allows the {action} action"
    )
    return f"User: {principal} is not authorized to perform: {action} on resource: {resource} {why}"


def _concerns(statement: Mapping[str, Any], action: str, resource: str) -> bool:
    if "NotAction" in statement:
        acts = not _any_matches(statement["NotAction"], action, ignore_case=True)
    else:
        acts = _any_matches(statement.get("Action"), action, ignore_case=True)
    if "NotResource" in statement:
        return acts and not _any_matches(statement["NotResource"], resource)
    return acts and _any_matches(statement.get("Resource"), resource)


def _any_matches(patterns: object, value: str, *, ignore_case: bool = False) -> bool:
    """Whether one of `patterns` matches; `*` and `?` are wildcards, brackets are themselves."""
    texts = [str(pattern).replace("[", "[[]") for pattern in _as_list(patterns)]
    if ignore_case:
        return any(fnmatchcase(value.lower(), text.lower()) for text in texts)
    return any(fnmatchcase(value, text) for text in texts)


def _as_list(value: object) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
