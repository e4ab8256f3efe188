"""DescribeTargetHealth's answer in the query protocol: moto would call every target healthy."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import uuid4
from xml.sax.saxutils import escape

from toolbox.lab.aws.response import Response

_NAMESPACE: Final = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"


def describe_target_health(descriptions: Sequence[Mapping[str, Any]]) -> Response:
    """`descriptions` as ELB v2 API Reference, TargetHealthDescription, has them: nested, with its names."""
    members = "".join(f"<member>{_elements(description)}</member>" for description in descriptions)
    request_id = str(uuid4())
    body = (
        f'<DescribeTargetHealthResponse xmlns="{_NAMESPACE}"><DescribeTargetHealthResult>'
        f"<TargetHealthDescriptions>{members}</TargetHealthDescriptions></DescribeTargetHealthResult>"
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></DescribeTargetHealthResponse>"
    )
    return Response(200, {"content-type": "text/xml", "x-amzn-requestid": request_id}, body.encode())


def _elements(values: Mapping[str, Any]) -> str:
    parts = []
    for name, value in values.items():
        if value is not None:
            text = _elements(value) if isinstance(value, Mapping) else escape(str(value))
            parts.append(f"<{name}>{text}</{name}>")
    return "".join(parts)
