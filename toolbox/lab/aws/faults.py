"""An error as AWS answers it, in the protocol that was asked in (AWS General Reference, 'Common errors')."""

from uuid import uuid4
from xml.sax.saxutils import escape

from toolbox.lab.aws.response import Response, Wire


class Fault(Exception):
    """An error code, its message and the HTTP status that go to the client."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


def unknown_key(wire: Wire) -> Fault:
    """The access key is none that AWS knows."""
    message = "The security token included in the request is invalid."
    match wire:
        case Wire.EC2:
            return Fault("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
        case Wire.QUERY:
            return Fault("InvalidClientTokenId", message, 403)
        case Wire.REST:
            return Fault("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", 403)
        case Wire.JSON | Wire.CBOR:
            return Fault("UnrecognizedClientException", message)


def no_key(wire: Wire) -> Fault:
    """The request is not signed."""
    if wire in (Wire.JSON, Wire.CBOR):
        return Fault("MissingAuthenticationTokenException", "Missing Authentication Token")
    return Fault("MissingAuthenticationToken", "Request is missing Authentication Token", 403)


def expired(wire: Wire) -> Fault:
    """The session behind the access key has ended."""
    message = "The security token included in the request is expired"
    match wire:
        case Wire.EC2:
            return Fault("RequestExpired", "Request has expired.")
        case Wire.QUERY | Wire.REST:
            return Fault("ExpiredToken", message, 403)
        case Wire.JSON | Wire.CBOR:
            return Fault("ExpiredTokenException", message)


def denied(wire: Wire, message: str) -> Fault:
    """The caller's policies do not grant the action."""
    match wire:
        case Wire.EC2:
            return Fault("UnauthorizedOperation", f"You are not authorized to perform this operation. {message}", 403)
        case Wire.QUERY | Wire.REST:
            return Fault("AccessDenied", message, 403)
        case Wire.JSON | Wire.CBOR:
            return Fault("AccessDeniedException", message)


def answer(wire: Wire, fault: Fault) -> Response:
    """The HTTP answer that says `fault`."""
    if wire in (Wire.JSON, Wire.CBOR):
        return Response.of_document({"__type": fault.code, "message": fault.message}, wire, fault.status)
    request_id = str(uuid4())
    error = f"<Code>{escape(fault.code)}</Code><Message>{escape(fault.message)}</Message>"
    if wire is Wire.EC2:
        body = f"<Response><Errors><Error>{error}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
    elif wire is Wire.QUERY:
        error = f"<Error><Type>Sender</Type>{error}</Error>"
        body = f"<ErrorResponse>{error}<RequestId>{request_id}</RequestId></ErrorResponse>"
    else:
        body = f"<Error>{error}<RequestId>{request_id}</RequestId></Error>"
    return Response(fault.status, {"content-type": "text/xml", "x-amzn-requestid": request_id}, body.encode())
