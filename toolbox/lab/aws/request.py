"""An AWS request as it arrives: which service and action it asks for, with which key, in which protocol."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs

from toolbox.lab.aws import cbor
from toolbox.lab.aws.faults import Fault
from toolbox.lab.aws.response import Wire

# Signature Version 4: Credential=KEY/date/region/service/aws4_request (AWS General Reference).
_CREDENTIAL: Final = re.compile(r"Credential=([A-Za-z0-9]+)/\d+/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request")
# These are told by their target: AWS's plugin sends a session's calls with another service's signature.
_BY_TARGET: Final = {"AmazonEC2ContainerServiceV20141113": "ecs", "AmazonSSM": "ssm"}
_RPC_V2: Final = re.compile(r"/service/(\w+)/operation/(\w+)")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. `service` is the signing name, "" when it is not signed; `target` what X-Amz-Target says."""

    method: str
    path: str
    query: bytes
    headers: Mapping[str, str]
    body: bytes
    wire: Wire
    service: str
    region: str
    action: str
    target: str
    access_key: str | None

    def parameters(self) -> dict[str, Any]:
        """What is asked for; of a query, the flat parameters. Raises Fault when the body cannot be read."""
        match self.wire:
            case Wire.QUERY | Wire.EC2:
                return {key: values[-1] for key, values in parse_qs(self.body.decode(errors="replace")).items()}
            case Wire.CBOR:
                return _cbor_map(self.body)
            case _:
                return _json_object(self.body)


def parse(method: str, path: str, query: bytes, headers: Mapping[str, str], body: bytes) -> Request:
    """The request that these parts make; header names are in lower case."""
    credential = _CREDENTIAL.search(headers.get("authorization", ""))
    access_key, region, service = credential.groups() if credential else (None, "", "")
    target = headers.get("x-amz-target", "")
    rpc = _RPC_V2.fullmatch(path)
    if rpc:
        wire, action, target = Wire.CBOR, rpc[2], f"{rpc[1]}.{rpc[2]}"
    elif target:
        prefix, _, action = target.rpartition(".")
        wire, service = Wire.JSON, _BY_TARGET.get(prefix, service)
    elif headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        wire = Wire.EC2 if service == "ec2" else Wire.QUERY
        action = parse_qs(body.decode(errors="replace")).get("Action", [""])[0]
    else:
        wire, action = Wire.REST, ""
    return Request(method, path, query, headers, body, wire, service, region, action, target, access_key)


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except ValueError as error:
        raise Fault("SerializationException", f"The request body is not JSON: {error}", 400) from error
    if not isinstance(document, dict):
        raise Fault("SerializationException", "The request body is not a JSON object", 400)
    return document


def _cbor_map(body: bytes) -> dict[str, Any]:
    try:
        document = cbor.decode(body) if body else {}
    except cbor.Malformed as error:
        raise Fault("SerializationException", f"The request body is not CBOR: {error}", 400) from error
    if not isinstance(document, dict):
        raise Fault("SerializationException", "The request body is not a CBOR map", 400)
    return document
