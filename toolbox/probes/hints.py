"""What to do next, for the causes that every probe shares; one sentence each."""

from collections.abc import Mapping
from typing import Final

from toolbox.model.result import Cause

_NETWORK: Final[Mapping[Cause, str]] = {
    Cause.DNS_NXDOMAIN: "Check the host name in {variable}, and that the private zone is associated with this VPC.",
    Cause.DNS_SERVFAIL: "Ask another name server (--resolver); check forwarding rules and the zone's own servers.",
    Cause.DNS_REFUSED: "Check the name server (resolv.conf, --resolver): it is down, or does not serve this network.",
    Cause.DNS_TIMEOUT: "Check the VPC's DNS settings and that UDP and TCP port 53 to the name server are allowed.",
    Cause.DNS_NO_ADDRESS: "Check the record behind the name in {variable}: it has no A and no AAAA.",
    Cause.TCP_REFUSED: "Nothing listens there: check that the server is up, and the port in {variable}.",
    Cause.TCP_TIMEOUT: "Check that the server's security group admits the task's on port {port}, then ACLs and routes.",
    Cause.TCP_UNREACHABLE: "Check the route tables of this task's subnet, and that the address is one of this VPC.",
    Cause.TCP_RESET: "Something closed the connection: check the server's log, and proxies on the way.",
    Cause.TCP_PARTIAL: "Check the servers behind the dead addresses; clients that try only one will fail now and then.",
    Cause.TLS_EXPIRED: "Renew the server's certificate.",
    Cause.TLS_EXPIRES_SOON: "Renew the server's certificate before it expires.",
    Cause.TLS_NOT_YET_VALID: "Check the server's certificate and the clocks on both sides.",
    Cause.TLS_UNTRUSTED: "Check that the certificate authority of the server is in the trust store that is used.",
    Cause.TLS_SELF_SIGNED: "Trust the certificate explicitly, or give the server one from a known authority.",
    Cause.TLS_CHAIN_INCOMPLETE: "Let the server send its intermediate certificates, too.",
    Cause.TLS_HOSTNAME: "Use a host name that the certificate holds, or renew it with this one.",
    Cause.TLS_PROTOCOL: "Let client and server agree on a TLS version: one of them is too old.",
    Cause.TLS_HANDSHAKE: "Look into the server's log for the reason that it broke the handshake off.",
    Cause.PROTOCOL_MISMATCH: "Check the port and the TLS setting in {variable}: the other side speaks something else.",
}


def network_hint(cause: Cause, *, variable: str, port: int) -> str | None:
    """The hint for a cause that names, sockets and TLS have in common; None for any other."""
    hint = _NETWORK.get(cause)
    return hint.format(variable=variable, port=port) if hint else None
