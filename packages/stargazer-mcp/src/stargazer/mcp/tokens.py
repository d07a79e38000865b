"""Who may call a server over HTTP: tokens of a text, or those that an issuer signs (JWT), with the scopes of each."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from pathlib import Path

from fastmcp import FastMCP
from fastmcp.server.auth import AccessToken, JWTVerifier, TokenVerifier, restrict_tag
from fastmcp.server.middleware import AuthMiddleware
from stargazer.assets import ConfigurationError
from stargazer.mcp.token_text import check_token, digest

__all__ = ["Tokens", "guard", "read_tokens", "signed_tokens"]

READ, WRITE = "read", "write"
EXAMPLE = "a line for each token, then its scope: `TOKEN read` or `TOKEN write`"
ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA")


class Tokens(TokenVerifier):
    """Tokens that are known beforehand; what is kept of each is its SHA-256.

    Args:
        scopes: by token.
    """

    def __init__(self, scopes: Mapping[str, Sequence[str]]):
        super().__init__(required_scopes=[READ])
        self._known = [(digest(token), list(allowed)) for token, allowed in scopes.items()]

    async def verify_token(self, token: str) -> AccessToken | None:
        """What a token allows; None of one that is not known."""
        given = digest(token)
        found = [scopes for known, scopes in self._known if hmac.compare_digest(known, given)]
        return AccessToken(token=token, client_id=given.hex()[:12], scopes=found[0]) if found else None


def read_tokens(text: str, source: str) -> Tokens:
    """The tokens of a text: in each line a token and `read` or `write`, which includes `read`; # begins a comment.

    Args:
        text: the lines.
        source: what they are of, for errors, which repeat nothing of a line.

    Raises:
        ConfigurationError: a line is something else, a token is short or there twice, or there is none.
    """
    scopes: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        token, *allowed = words
        where = f"line {number} of {source}"
        if not allowed or not {READ, WRITE}.issuperset(allowed):
            raise ConfigurationError(f"{where}: expected {EXAMPLE}")
        check_token(token, where)
        if token in scopes:
            raise ConfigurationError(f"{where}: this token is there twice")
        scopes[token] = [READ, WRITE] if WRITE in allowed else [READ]
    if not scopes:
        raise ConfigurationError(f"no token in {source}: expected {EXAMPLE}")
    return Tokens(scopes)


class Signed(JWTVerifier):
    """Signed tokens that end some time."""

    async def verify_token(self, token: str) -> AccessToken | None:
        """What a token allows; None of one that is not rightly signed, has ended, or never ends."""
        found = await super().verify_token(token)
        return found if found is not None and found.expires_at is not None else None


def signed_tokens(key: str, *, issuer: str, audience: str, algorithm: str) -> TokenVerifier:
    """Tokens that an issuer signs, with an end (`exp`), and the scopes `read` and `write` in `scope` or `scp`.

    Args:
        key: a file with the issuer's public key (PEM), or the https URL of its key set (JWKS).
        issuer: what the claim `iss` must be.
        audience: what the claim `aud` must be, or have among its values.
        algorithm: with which they are signed.

    Raises:
        ConfigurationError: an algorithm that needs no public key, no https URL, or no key in the file.
        OSError: the file cannot be read.
    """
    if algorithm not in ALGORITHMS:
        raise ConfigurationError(f"unknown algorithm {algorithm!r}; expected one of {', '.join(ALGORITHMS)}")
    if key.startswith("https://"):
        return Signed(
            jwks_uri=key, issuer=issuer, audience=audience, algorithm=algorithm, required_scopes=[READ]
        )
    if "://" in key:
        raise ConfigurationError(f"{key!r}: expected an https URL, or a file with a public key")
    text = Path(key).read_text(errors="replace")
    if "-----BEGIN " not in text or "PRIVATE KEY" in text:
        raise ConfigurationError(f"{key!r}: expected a public key in PEM (-----BEGIN PUBLIC KEY-----)")
    return Signed(
        public_key=text, issuer=issuer, audience=audience, algorithm=algorithm, required_scopes=[READ]
    )


def guard(server: FastMCP, tokens: TokenVerifier) -> None:
    """Take calls with a token alone; tools that write need the scope `write`, and others do not see them."""
    server.auth = tokens
    server.add_middleware(AuthMiddleware(auth=restrict_tag("write", scopes=[WRITE])))
