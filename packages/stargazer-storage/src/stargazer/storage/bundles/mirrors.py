"""Mirrors of a bundle: URL templates, what is refused in them, and the URLs that they come to for one file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urljoin, urlsplit

from stargazer.assets import FormatError
from stargazer.assets.addresses import without_secrets

if TYPE_CHECKING:
    from stargazer.storage.bundles.manifest import BundleFile, Manifest

__all__ = ["check_mirror", "fill", "is_url", "local_path", "targets_of"]

_FIELD = re.compile(r"\{[^{}]*\}")
_SECRET = re.compile(
    r"token|signature|^sig$|secret|passw|^pwd|credential|api[_-]?key|access[_-]?key|^key$|^auth|jwt|session|"
    r"^x-(amz|goog|ms)-",
    re.IGNORECASE,
)


def check_mirror(text: str, title: str, *, remote: bool, template: bool) -> None:
    """Refuse a mirror that is malformed or carries credentials; in a manifest from a URL also files of this machine.

    Args:
        title: the entry, for the message.
        remote: the manifest came from a URL.
        template: it stands for many files, so it needs `{cid}` or `{name}`.

    Raises:
        FormatError: it is refused.
    """
    shown = f"{title}: the mirror {without_secrets(text)[:200]!r}"
    fields = set(_FIELD.findall(text))
    if fields - {"{cid}", "{name}"} or re.search(r"[{}]", _FIELD.sub("", text)):
        raise FormatError(f"{shown}: expected {{cid}} or {{name}} in braces, and nothing else")
    if template and not fields:
        raise FormatError(f"{shown} is that of a whole bundle: it needs {{cid}} or {{name}}")
    try:
        url = urlsplit(_FIELD.sub("x", text))
        host, named, _ = url.hostname, url.username or url.password, url.port
    except ValueError as error:
        raise FormatError(f"{shown} is not a URL: {error}") from None
    if not text.strip() or (any(character.isspace() for character in text) and url.scheme):
        raise FormatError(f"{shown} is not a URL")
    if named is not None:
        raise FormatError(f"{shown} carries credentials: a manifest is public")
    if any(_SECRET.search(key) for key, _ in parse_qsl(url.query, keep_blank_values=True)):
        raise FormatError(f"{shown} carries a secret in its query: a manifest is public")
    if url.scheme in ("http", "https"):
        if not host or "{" in text.split("//", 1)[-1].split("/", 1)[0]:
            raise FormatError(f"{shown} names no host")
    elif url.scheme or (url.netloc and not remote):
        if url.scheme != "file":
            raise FormatError(f"{shown}: expected http, https or a path beside the manifest")
        if remote:
            raise FormatError(f"{shown} is a file of this machine, in a manifest from a URL: refused")
        if host not in (None, "localhost"):
            raise FormatError(f"{shown} names a file of another machine")


def fill(mirror: str, place: str, *, cid: str, name: str) -> str:
    """The URL or path that a mirror is for one file; empty if the file has no CID and the mirror needs one.

    Args:
        place: where the manifest is (a URL or a path), for relative mirrors; empty for one that is built in.
    """
    if "{cid}" in mirror and not cid:
        return ""
    as_url = is_url(mirror) or is_url(place) or mirror.startswith("file:")
    found = mirror.replace("{cid}", cid).replace("{name}", quote(name, safe="") if as_url else name)
    if is_url(found):
        return found
    if found.startswith("file:"):
        return unquote(urlsplit(found).path)
    if is_url(place):
        # a name may hold a colon or begin with a slash in its quoted form only: it is a path, never a scheme
        return urljoin(place, found if "/" in found.split(":", 1)[0] or ":" not in found else f"./{found}")
    return str(Path(place).parent / found) if place else ""


def targets_of(manifest: Manifest, place: str, entry: BundleFile) -> list[str]:
    """The URLs and paths at which an entry may be had, its own first."""
    found = [
        fill(mirror, place, cid=entry.cid, name=entry.name) for mirror in (*entry.mirrors, *manifest.mirrors)
    ]
    return list(dict.fromkeys(filter(None, found)))


def is_url(text: str) -> bool:
    """Whether this is an http or https URL."""
    return text.startswith(("http://", "https://"))


def local_path(target: str) -> Path | None:
    """The file that a filled-in mirror is, if it is one of this machine."""
    return None if not target or is_url(target) else Path(target)
