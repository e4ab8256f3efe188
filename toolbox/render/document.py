"""Results as JSON: one document, whose shape others script against."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from toolbox.model.result import Json, Result, worst

SCHEMA: Final = 1
_DIGITS: Final = 6


def document(command: str, time: datetime, results: Sequence[Result], parts: Mapping[str, Json] | None = None) -> str:
    """The document for `command`, with a newline at its end; `time` must know its zone; `parts` are further keys."""
    content: dict[str, Json] = {
        "schema": SCHEMA,
        "command": command,
        "time": time.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "status": worst(result.status for result in results),
        "results": [as_json(result) for result in results],
        **(parts or {}),
    }
    # ASCII only: whatever a server said, no control character and no broken encoding gets out.
    return json.dumps(content, allow_nan=False, indent=2) + "\n"


def as_json(result: Result) -> dict[str, Json]:
    """One Result as the contract has it; seconds in microseconds' precision."""
    return {
        "check": result.check,
        "target": result.target,
        "status": result.status,
        "cause": result.cause,
        "summary": result.summary,
        "phases": [{"name": phase.name, "seconds": round(phase.seconds, _DIGITS)} for phase in result.phases],
        "facts": dict(result.facts),
        "hint": result.hint,
    }
