"""Images in the lab: an ECR tag whose manifest says in annotations which program it stands for.

Pushing another one is ECR's own PutImage with such a manifest: that is how a drill ships a broken version.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from toolbox.lab.contract import Image

MEDIA_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
_ENTRY_POINT: Final = "lab.entry-point"
_COMMAND: Final = "lab.command"
_ENVIRONMENT: Final = "lab.environment"


@dataclass(frozen=True, slots=True)
class Reference:
    """`REGISTRY/NAME:TAG` or `REGISTRY/NAME@DIGEST`, taken apart."""

    registry: str
    repository: str
    tag: str | None
    digest: str | None


def parse_reference(text: str) -> Reference:
    """The parts of an image reference; no tag means `latest`, as for Docker."""
    registry, _, rest = text.rpartition("/") if text.count("/") <= 1 else text.partition("/")
    if "." not in registry.partition("/")[0]:
        registry, rest = "", text
    name, at, digest = rest.partition("@")
    name, _, tag = name.partition(":")
    if at:
        return Reference(registry, name, None, digest)
    return Reference(registry, name, tag or "latest", None)


def manifest(
    entry_point: Sequence[str], command: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> str:
    """The manifest of an image that runs this program, ready for PutImage; equal programs have equal digests."""
    annotations = {
        _ENTRY_POINT: json.dumps(list(entry_point)),
        _COMMAND: json.dumps(list(command)),
        _ENVIRONMENT: json.dumps(dict(environment or {}), sort_keys=True),
    }
    layer = "sha256:" + hashlib.sha256(json.dumps(annotations, sort_keys=True).encode()).hexdigest()
    document = {
        "schemaVersion": 2,
        "mediaType": MEDIA_TYPE,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": layer, "size": 0},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer, "size": 0}],
        "annotations": annotations,
    }
    return json.dumps(document, sort_keys=True)


def read_manifest(text: str, digest: str) -> Image | None:
    """The image that a manifest stands for; None when it was not made for the lab."""
    try:
        annotations = json.loads(text)["annotations"]
        entry_point, command, environment = (
            json.loads(annotations[key]) for key in (_ENTRY_POINT, _COMMAND, _ENVIRONMENT)
        )
    except (ValueError, KeyError, TypeError):
        return None
    return Image(digest, tuple(entry_point), tuple(command), environment)
