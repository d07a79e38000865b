"""What a setting may be: from the text of a variable, or a value of config.toml, to its value."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from stargazer.assets import ConfigurationError
from stargazer.assets.addresses import is_address
from stargazer.storage.modes import Mode

__all__ = ["HIDDEN", "SECRETS", "Visibility", "is_here", "parse"]

Visibility = Literal["private", "public"]

SECRETS = frozenset({"pinata_jwt", "pinata_gateway_token"})
"""Settings that are in no message, log or provenance, and in no tool's environment."""

HIDDEN = "***"

_CHOICES = {"mode": get_args(Mode), "pinata_visibility": get_args(Visibility)}
_FOLDERS = {"home", "local", "index"}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)i?B?", re.ASCII | re.IGNORECASE)
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]+", re.ASCII)
_LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|::1", re.ASCII)


def parse(name: str, value: object, source: str) -> Any:
    """The value of a setting; what is secret is in no message.

    Raises:
        ConfigurationError: it is none; the message names its source.
    """
    if name == "cores":
        return _count(value, source)
    if name == "memory":
        return _bytes(value, source)
    if not isinstance(value, str):
        shown = HIDDEN if name in SECRETS else value
        raise ConfigurationError(f"{source} is {shown!r}, expected text in quotes")
    if name in SECRETS:
        return _secret(value, source)
    if name in _FOLDERS:
        return _folder(value, source)
    if name == "pinata_gateway":
        return _gateway(value, source)
    if name in ("pinata_api", "pinata_uploads"):
        return _service(value, source)
    if value not in _CHOICES[name]:
        raise ConfigurationError(f"{source} is {value!r}, expected {' or '.join(_CHOICES[name])}")
    return value


def _folder(value: str, source: str) -> Path:
    if is_address(value):
        raise ConfigurationError(f"{source} is {value!r}, a URL: expected a folder of this machine")
    try:
        return Path(value).expanduser().absolute()
    except (RuntimeError, OSError) as error:
        raise ConfigurationError(f"{source} is {value!r}: {error}; give an absolute path") from None


def _secret(value: str, source: str) -> str:
    """A token that can stand in a header: one word; the blanks and line ends of copying are no part of it."""
    token = value.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError(f"{source} is no token: expected one word; copy it again, whole")
    return token


def _gateway(value: str, source: str) -> str:
    """A host (`mine.mypinata.cloud`) or the URL of one; paths are those of IPFS, made where they are asked for."""
    text = value.strip()
    _check_url(text if "://" in text else f"https://{text}", source, _shown(value), paths=False)
    return text.rstrip("/")


def _service(value: str, source: str) -> str:
    """The URL of a service that is sent the token."""
    text, shown = value.strip(), _shown(value)
    _check_url(text, source, shown, paths=True)
    if text.lower().startswith("http://") and not is_here(text):
        raise ConfigurationError(
            f"{source} is {shown}, which is sent the token in the clear: expected https:// "
            "(http:// is for servers on this machine)"
        )
    return text.rstrip("/")


def is_here(url: str) -> bool:
    """Whether a URL is that of a server on this machine."""
    return _LOOPBACK.fullmatch(urlsplit(url).hostname or "") is not None


def _check_url(url: str, source: str, shown: str, paths: bool) -> None:
    """Refuse a URL that is malformed, or holds something secret."""
    expected = "expected a URL" if paths else "expected a host such as mine.mypinata.cloud, or its URL"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigurationError(f"{source} is {shown}, {expected}") from None
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigurationError(
            f"{source} is {shown}, {expected} without user, password, query and fragment: a token of the gateway "
            "belongs to PINATA_GATEWAY_TOKEN"
        )
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or not url.isprintable():
        raise ConfigurationError(f"{source} is {shown}, {expected}")
    if parts.path not in ("", "/") and not paths:
        raise ConfigurationError(f"{source} is {shown}, {expected} without the path {parts.path!r}")


def _shown(value: str) -> str:
    """A URL in a message; one that may hold a password or a token is not shown."""
    return repr(HIDDEN if "@" in value or "?" in value or "#" in value else value)


def _count(value: object, source: str) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch("[0-9]{1,9}", text) or int(text) < 1:
        raise ConfigurationError(f"{source} is {value!r}, expected a whole number above 0")
    return int(text)


def _bytes(value: object, source: str) -> int:
    found = _SIZE.fullmatch(str(value).strip())
    size = int(float(found[1]) * (1 << _UNITS[found[2].upper()])) if found else 0
    if isinstance(value, bool) or size < 1:
        raise ConfigurationError(f"{source} is {value!r}, expected a size such as 8G, or bytes")
    return size
