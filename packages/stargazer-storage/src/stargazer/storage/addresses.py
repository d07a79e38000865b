"""URLs of downloads: their parts, and where a redirect may lead."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit

from stargazer.assets.addresses import without_secrets

__all__ = ["Follow", "anywhere", "is_loopback", "never", "parse_url", "same_site", "without_secrets"]

Follow = Callable[[SplitResult, SplitResult], str]
"""Judges a redirect from the address first asked: why not to follow it, or nothing."""


def same_site(first: SplitResult, there: SplitResult) -> str:
    """Follow to the same host or its subdomains, on the same port or from http to https."""
    host, target = first.hostname or "", there.hostname or ""
    if target != host and not target.endswith(f".{host}"):
        return "another site"
    upgraded = (first.scheme, there.scheme) == ("http", "https")
    if there.port != first.port and not (upgraded and there.port in (None, 443)):
        return "another port"
    return ""


def anywhere(first: SplitResult, there: SplitResult) -> str:
    """Follow to any public host, and from a private one to private ones."""
    if _is_private(there.hostname or "") and not _is_private(first.hostname or ""):
        return "an address of a private network"
    return ""


def parse_url(url: str) -> SplitResult | None:
    """The parts of an http or https URL; None if it is none."""
    try:
        parts = urlsplit(url)
        fit = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if fit and not re.search(r"[\x00-\x20\x7f]", url) else None


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def never(first: SplitResult, here: SplitResult, there: SplitResult) -> str:
    """What no redirect may do, whoever asked."""
    if "https" in (first.scheme, here.scheme) and there.scheme != "https":
        return "without encryption"
    if there.username is not None or there.password is not None:
        return "with credentials"
    return anywhere(first, there)


def _is_private(host: str) -> bool:
    """Whether a host is, or is resolved to, an address that the public cannot reach."""
    if is_loopback(host):
        return True
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return False
    return any(not ipaddress.ip_address(address.partition("%")[0]).is_global for address in found)
