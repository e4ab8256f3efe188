"""An HTTP answer of the lab's AWS API, and the protocols that it may be in."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from uuid import uuid4

from toolbox.lab.aws import cbor


class Wire(Enum):
    """The protocols that AWS's services speak (botocore's names)."""

    JSON = "json"
    QUERY = "query"
    EC2 = "ec2"
    CBOR = "smithy-rpc-v2-cbor"
    REST = "rest"


@dataclass(frozen=True, slots=True)
class Response:
    """Status, headers and body; `content-length` is added when it is sent."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @staticmethod
    def of_document(document: Mapping[str, Any], wire: Wire = Wire.JSON, status: int = 200) -> "Response":
        """`document` in CBOR where that was asked for, else in the JSON 1.1 protocol."""
        headers = {"content-type": "application/x-amz-json-1.1", "x-amzn-requestid": str(uuid4())}
        if wire is Wire.CBOR:
            headers |= {"content-type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}
            return Response(status, headers, cbor.encode(document))
        return Response(status, headers, json.dumps(document).encode())
