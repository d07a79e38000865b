"""What a token of a server is as text, and how one is compared."""

from __future__ import annotations

import hashlib

from stargazer.assets import ConfigurationError

__all__ = ["check_token", "digest"]

LEAST = 16  # characters of a token


def check_token(token: str, source: str) -> None:
    """See that a token is long enough not to be guessed, and can be sent.

    Args:
        source: what it is of, for the error, which repeats nothing of it.

    Raises:
        ConfigurationError: it is short, or has other characters than visible ones of ASCII.
    """
    if len(token) < LEAST or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError(
            f"{source}: a token has {LEAST} ASCII characters at least: make one with `openssl rand -hex 24`"
        )


def digest(token: str) -> bytes:
    """What is kept of a token: its SHA-256, to be compared by `hmac.compare_digest`."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
