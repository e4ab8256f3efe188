"""Lists in pages, with a token that names the last entry."""

import base64
import binascii
from collections.abc import Sequence
from typing import Final

from toolbox.lab.ecs.errors import invalid
from toolbox.lab.ecs.state import Document

MOST: Final = 100


def page(entries: Sequence[str], request: Document, name: str, size: int = MOST) -> Document:
    """The page of sorted `entries` that `request` asks for, under `name`; `size` when it names none."""
    size = request.get("maxResults", size)
    if not 1 <= size <= MOST:
        raise invalid("maxResults must be between 1 and 100.")
    ordered = sorted(entries)
    if token := request.get("nextToken"):
        last = _decoded(token)
        ordered = [entry for entry in ordered if entry > last]
    answer: Document = {name: ordered[:size]}
    if len(ordered) > size:
        answer["nextToken"] = base64.b64encode(ordered[size - 1].encode()).decode()
    return answer


def _decoded(token: str) -> str:
    try:
        return base64.b64decode(token, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise invalid("Invalid token") from error
