"""URLs without their secrets: no user, password, query, fragment or token is shown or stored."""

from __future__ import annotations

import re

__all__ = ["has_secrets", "hidden", "is_address", "without_secrets"]

_URL = re.compile(r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{0,30}:/[^\s\"<>`]+")
_QUERY = re.compile(r"(?<=[\w/.~%-])\?[A-Za-z][\w.%-]{0,100}=[^\s'\"`)]*")
_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_.-]+")
_CLOSING = "]'.,:;)}!"  # of the sentence around a URL
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]*\]|[^:\[\]]*)(:[0-9]+)?")


def without_secrets(url: str) -> str:
    """A URL of any scheme without credentials, parameters, query, fragment and tokens."""
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/+|//", url)
    head, rest = (scheme[0], url[scheme.end() :]) if scheme else ("", url)
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if head and "@" in host:
        rest = rest[rest.rindex("@") + 1 :]  # a password that nobody escaped may hold more of them
    elif head and "@" in rest and ":" in host:  # a password that nobody escaped
        path = re.split(r"[?#]", rest, maxsplit=1)[0] if _HOST.fullmatch(host) else rest
        rest = rest[path.rfind("@") + 1 :]
    return head + _TOKEN.sub("...", re.split(r"[?#;]", rest, maxsplit=1)[0])


def hidden(text: str) -> str:
    """A text with every URL in it as without_secrets() shows it."""
    if "/" not in text and "?" not in text and "eyJ" not in text:
        return text
    text = _URL.sub(_shown, text)
    return _TOKEN.sub("...", _QUERY.sub("?...", text))


def is_address(word: str) -> bool:
    """Whether a word is meant as a URL, of whatever scheme; also as a path that was made of one."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", word) is not None


def has_secrets(text: str) -> bool:
    """Whether a URL in a text has what is not shown."""
    return _URL.sub(_shown, text) != text


def _shown(match: re.Match[str]) -> str:
    url = match[0].rstrip(_CLOSING)
    return without_secrets(url) + match[0][len(url) :]
