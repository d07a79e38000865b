"""The manifest of a bundle: its files and the mirrors that have them, checked as it is read: anybody may write one."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urljoin, urlsplit

from attrs import asdict, field, frozen
from stargazer.assets import MAX_KEYVALUES, FormatError, record_id
from stargazer.assets.addresses import without_secrets
from stargazer.storage.bundles.environment import Environment, parse_environment
from stargazer.storage.cid import is_cid, normal

__all__ = [
    "LARGEST",
    "SUFFIX",
    "SUMS",
    "BundleFile",
    "Manifest",
    "check_name",
    "dump",
    "fill",
    "is_url",
    "loads",
    "parse",
    "targets_of",
]

SCHEMA = "bundle/1"
SUFFIX = ".bundle.json"
LARGEST = 10_000_000
"""Bytes of a manifest, at most."""
SUMS = {"sha256": 64, "md5": 32}
"""Checksums that public archives publish, with their hexadecimal digits."""

MOST_FILES = 100_000
MOST_MIRRORS = 50
LARGEST_FILE = 1 << 50  # bytes: beyond this a size is a mistake
LONGEST_NAME = 255  # bytes, as file systems have it
LONGEST_TEXT = 10_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_FIELD = re.compile(r"\{[^{}]*\}")
_SECRET = re.compile(
    r"token|signature|^sig$|secret|passw|^pwd|credential|api[_-]?key|access[_-]?key|^key$|^auth|jwt|session|"
    r"^x-(amz|goog|ms)-",
    re.IGNORECASE,
)


@frozen(kw_only=True)
class BundleFile:
    """One file of a bundle.

    Attributes:
        name: its file name, unique in the bundle.
        size: bytes.
        cid: content identifier; empty where only sums are known.
        sums: `sha256` or `md5` to the checksum, where no CID is known yet.
        keyvalues: its metadata, without `provenance_cid`.
        mirrors: URLs (or paths beside the manifest) of this file; `{cid}` and `{name}` are filled in.
        links: link fields whose CID is not known yet, to the name of the entry they point at.
    """

    name: str
    size: int
    cid: str = ""
    sums: Mapping[str, str] = field(factory=dict)
    keyvalues: Mapping[str, str]
    mirrors: tuple[str, ...] = ()
    links: Mapping[str, str] = field(factory=dict)

    @property
    def id(self) -> str:
        """The id of the record that it becomes, where its CID and what it links to are known."""
        return record_id(self.cid, self.keyvalues)


@frozen(kw_only=True)
class Manifest:
    """A bundle: files, where they can be had, and the provenance documents that travel along.

    Attributes:
        mirrors: URL templates with `{cid}` or `{name}`; relative ones are relative to the manifest's own place.
        provenance: CIDs of provenance documents, found at the mirrors with `{cid}`.
        environment: of a capsule: what is needed to compute its files again.
    """

    name: str
    description: str = ""
    mirrors: tuple[str, ...] = ()
    files: tuple[BundleFile, ...]
    provenance: tuple[str, ...] = ()
    environment: Environment | None = None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum({entry.cid or entry.name: entry.size for entry in self.files}.values())


# reading and writing


def parse(data: bytes, *, remote: bool) -> Manifest:
    """The manifest in these bytes.

    Args:
        remote: it came from a URL, so that it may not name files of this machine.

    Raises:
        FormatError: it breaks a rule; the message names the entry.
    """
    body = loads(data, "the manifest")
    if not isinstance(body, dict) or body.get("stargazer") != SCHEMA:
        found = body.get("stargazer") if isinstance(body, dict) else type(body).__name__
        raise FormatError(f'not a bundle: expected "stargazer": "{SCHEMA}", got {found!r:.100}')
    allowed = {"stargazer", "name", "description", "mirrors", "files", "provenance", "environment"}
    _refuse_unknown(body, allowed, "the manifest")
    name = check_name(body.get("name"))
    title = f"bundle {name!r}"
    files, environment = body.get("files"), body.get("environment")
    if not isinstance(files, list) or not files:
        raise FormatError(f"{title}: expected a list of files, got {files!r:.100}")
    if len(files) > MOST_FILES:
        raise FormatError(f"{title}: {len(files)} files, at most {MOST_FILES} are allowed")
    manifest = Manifest(
        name=name,
        description=_text(body.get("description", ""), f"{title}: description", lines=True),
        mirrors=_mirrors(body.get("mirrors", []), title, remote=remote, template=True),
        files=tuple(_entry(item, number, remote) for number, item in enumerate(files, 1)),
        provenance=_cids(body.get("provenance", []), f"{title}: provenance"),
        environment=None if environment is None else parse_environment(environment, f"{title}: environment"),
    )
    _check_together(manifest)
    return manifest


def dump(manifest: Manifest) -> bytes:
    """The manifest as JSON for people and programs; what is empty is left out."""
    files = []
    for entry in manifest.files:
        body = asdict(entry)
        sums = body.pop("sums")
        files.append({key: value for key, value in {**body, **sums}.items() if value or key == "size"})
    body = {"stargazer": SCHEMA, **asdict(manifest), "files": files}
    kept = {key: value for key, value in body.items() if value}
    return (json.dumps(kept, indent=1, ensure_ascii=False) + "\n").encode()


def loads(data: bytes, title: str) -> Any:
    """The value of JSON that nobody vouches for: bounded, no key twice, no NaN.

    Raises:
        FormatError: it is no such JSON; `title` says what it should have been.
    """
    if len(data) > LARGEST:
        raise FormatError(f"{title} is larger than {LARGEST:,} bytes")
    try:
        return json.loads(data, object_pairs_hook=_unique, parse_constant=_no_constant)
    except FormatError as error:
        raise FormatError(f"{title}: {error}") from None
    except RecursionError:
        raise FormatError(f"{title} is nested too deeply") from None
    except ValueError as error:
        raise FormatError(f"{title} is not JSON: {str(error)[:200]}") from None


def check_name(name: object) -> str:
    """The name of a bundle, which also names its files on disk.

    Raises:
        FormatError: it cannot be one.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise FormatError(
            f"{name!r:.120} cannot name a bundle: use up to 100 letters, digits, dots, dashes and underscores"
        )
    return name


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        times = Counter(key for key, _ in pairs)
        twice = next(key for key, count in times.items() if count > 1)
        raise FormatError(f"the key {twice!r:.100} is there twice")
    return found


def _no_constant(text: str) -> None:
    raise FormatError(f"{text} is no number")


def _entry(item: object, number: int, remote: bool) -> BundleFile:
    title = f"entry {number}"
    if not isinstance(item, dict):
        raise FormatError(f"{title}: expected an object, got {item!r:.100}")
    name = _text(item.get("name"), f"{title}: name", most=LONGEST_NAME)
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        raise FormatError(f"{title}: {name!r} is no file name: expected one without folders")
    title = f"{title} ({name!r})"
    _refuse_unknown(item, {"name", "size", "cid", *SUMS, "keyvalues", "mirrors", "links"}, title)
    size = item.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= LARGEST_FILE:
        raise FormatError(f"{title}: size is {size!r:.100}, expected a number of bytes up to {LARGEST_FILE}")
    cid, sums = item.get("cid", ""), {key: item[key] for key in SUMS if key in item}
    if bool(cid) == bool(sums):
        raise FormatError(f"{title}: expected either a cid or a checksum (sha256, md5)")
    if cid and not is_cid(cid):
        try:
            cid = normal(_text(cid, f"{title}: cid", most=200))
        except FormatError as error:
            raise FormatError(f"{title}: {cid!r:.100} is not a CID: {error}") from None
    for kind, text in sums.items():
        if not isinstance(text, str) or not re.fullmatch(f"[0-9a-fA-F]{{{SUMS[kind]}}}", text):
            raise FormatError(f"{title}: {kind} is {text!r:.100}, expected {SUMS[kind]} hexadecimal digits")
    keyvalues = _pairs(item.get("keyvalues"), f"{title}: keyvalues")
    links = _pairs(item.get("links", {}), f"{title}: links")
    _check_keys(keyvalues, links, title)
    return BundleFile(
        name=name,
        size=size,
        cid=cid,
        sums={kind: text.lower() for kind, text in sums.items()},
        keyvalues=keyvalues,
        mirrors=_mirrors(item.get("mirrors", []), title, remote=remote, template=False),
        links=links,
    )


def _check_keys(keyvalues: Mapping[str, str], links: Mapping[str, str], title: str) -> None:
    if not keyvalues.get("asset"):
        raise FormatError(f"{title}: keyvalues do not say what it is: give them an asset")
    if keyvalues["asset"] == "provenance":
        raise FormatError(f"{title}: a provenance document belongs in provenance, not in files")
    if "provenance_cid" in {**keyvalues, **links}:
        raise FormatError(f"{title}: provenance_cid is set by the store alone")
    if both := keyvalues.keys() & links.keys():
        raise FormatError(f"{title}: {sorted(both)} is in keyvalues and in links")
    if (count := len(keyvalues) + len(links)) > MAX_KEYVALUES:
        raise FormatError(f"{title}: {count} metadata pairs, at most {MAX_KEYVALUES} can be stored")


def _check_together(manifest: Manifest) -> None:
    """Refuse two entries of one name, and links between entries that lead nowhere."""
    times = Counter(entry.name for entry in manifest.files)
    for entry in manifest.files:
        if times[entry.name] > 1:
            raise FormatError(f"bundle {manifest.name!r}: two entries are named {entry.name!r}")
        for key, target in entry.links.items():
            if target not in times:
                raise FormatError(f"entry {entry.name!r}: {key} points at {target!r}, which is no entry")
            if target == entry.name:
                raise FormatError(f"entry {entry.name!r}: {key} points at itself")
        if not (manifest.mirrors or entry.mirrors or entry.cid):
            raise FormatError(f"entry {entry.name!r}: no mirror says where it can be had")


def _text(value: object, title: str, *, most: int = LONGEST_TEXT, lines: bool = False) -> str:
    if not isinstance(value, str):
        raise FormatError(f"{title} is {value!r:.100}, expected text")
    if _CONTROL.search(value.replace("\n", " ") if lines else value):
        raise FormatError(f"{title} is {value!r:.100}, which has control characters or is not valid Unicode")
    if len(value.encode()) > most:
        raise FormatError(f"{title} is longer than {most} bytes: {value!r:.100}")
    return value


def _pairs(value: object, title: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise FormatError(f"{title}: expected an object of text values, got {value!r:.100}")
    for key, text in value.items():
        if not _KEY.fullmatch(key):
            raise FormatError(f"{title}: {key!r:.100} is no metadata key")
        _text(text, f"{title}: {key}")
    return value


def _list(value: object, title: str, wanted: str, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise FormatError(f"{title}: expected a list of {wanted}, got {value!r:.100}")
    return value


def _cids(value: object, title: str) -> tuple[str, ...]:
    cids = _list(value, title, "CIDs", MOST_FILES)
    for cid in cids:
        if not is_cid(cid):
            raise FormatError(f"{title}: {cid!r:.100} is not a CID")
    if len(set(cids)) < len(cids):
        raise FormatError(f"{title}: a CID is there twice")
    return tuple(cids)


def _refuse_unknown(body: Mapping[str, object], allowed: set[str], title: str) -> None:
    for key in sorted(body.keys() - allowed):
        raise FormatError(f"{title}: unknown key {key!r:.100}; known: {', '.join(sorted(allowed))}")


# mirrors


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
    mirrors = (*entry.mirrors, *manifest.mirrors)
    found = (fill(mirror, place, cid=entry.cid, name=entry.name) for mirror in mirrors)
    return list(dict.fromkeys(filter(None, found)))


def is_url(text: str) -> bool:
    """Whether this is an http or https URL."""
    return text[:8].lower().startswith(("http://", "https://"))


def _mirrors(value: object, title: str, *, remote: bool, template: bool) -> tuple[str, ...]:
    mirrors = _list(value, f"{title}: mirrors", f"up to {MOST_MIRRORS} URLs", MOST_MIRRORS)
    for text in mirrors:
        _text(text, f"{title}: mirrors", most=4096)
        _check_mirror(text, title, remote=remote, template=template)
    return tuple(mirrors)


def _check_mirror(text: str, title: str, *, remote: bool, template: bool) -> None:
    """Refuse a mirror that is malformed or carries credentials; in a manifest from a URL also files of this machine.

    Args:
        template: it stands for many files, so it needs `{cid}` or `{name}`.
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
