"""Which addresses a download may ask, where somebody else chose its URL: those of the public internet, encrypted."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import SplitResult

from attrs import frozen

__all__ = ["OutOfReach", "Reach", "is_loopback"]


class OutOfReach(Exception):
    """A host has an address that may not be asked; no OSError, so that nobody takes it for a broken connection."""


@frozen
class Reach:
    """What may be asked: hosts of the public internet by https, none of a private network, and no proxy.

    A host is judged by all addresses that it has when the connection is made, and the connection goes to one of those.

    Attributes:
        loopback: this machine may be asked, too, and by http: for tests.
    """

    loopback: bool = False

    def refusal(self, parts: SplitResult) -> str:
        """Why not to ask for a URL; empty if nothing in the URL itself is a reason."""
        if parts.username is not None or parts.password is not None:
            return "with a user or a password in it"
        if parts.scheme != "https" and not (self.loopback and is_loopback(parts.hostname or "")):
            return "not encrypted: expected https://"
        return ""

    def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host.

        Raises:
            OutOfReach: one of them may not be asked.
            OSError: it has none.
        """
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError as error:
            raise socket.gaierror(socket.EAI_NONAME, "no host name") from error
        addresses = [str(entry[4][0]) for entry in found]
        if not all(map(self._allows, addresses)):
            raise OutOfReach("is an address of this machine or of a private network: it is not asked")
        return list(dict.fromkeys(addresses))

    def _allows(self, address: str) -> bool:
        parsed = ipaddress.ip_address(address)
        if parsed.is_loopback:
            return self.loopback
        if isinstance(parsed, ipaddress.IPv6Address) and (
            parsed.is_site_local or parsed.ipv4_mapped or parsed.sixtofour or parsed.teredo
        ):
            return False  # of whatever IPv4 address is in it
        return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
