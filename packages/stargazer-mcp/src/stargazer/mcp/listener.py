"""Sockets that servers listen at: bound before anything else is done, with errors that name address and reason."""

from __future__ import annotations

import os
import socket
from ipaddress import ip_address

from stargazer.assets import ConfigurationError

__all__ = ["bound", "is_loopback"]


def is_loopback(host: str) -> bool:
    """Whether an address or name is of this machine alone."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens at an address.

    Args:
        host: the address, or a name of it.
        port: of it; 0 for any that is free.

    Raises:
        ConfigurationError: there is no such address, or something else listens there.
    """
    try:
        family, *_, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:
        number = error.errno if isinstance(error, OSError) else None
        reason = os.strerror(number) if number and number > 0 else getattr(error, "strerror", None)
        raise ConfigurationError(
            f"cannot listen at {host}, port {port}: {reason or 'this is no address'}"
        ) from None
