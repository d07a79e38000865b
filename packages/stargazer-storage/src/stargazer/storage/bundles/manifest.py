"""A bundle's manifest: the files it names, how it is read from bytes that nobody vouches for, and how it is written."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import asdict, field, frozen
from stargazer.assets import MAX_KEYVALUES, FormatError
from stargazer.storage.bundles.environment import Environment, parse_environment
from stargazer.storage.bundles.mirrors import check_mirror
from stargazer.storage.cid import is_cid

__all__ = ["LARGEST", "SUFFIX", "SUMS", "BundleFile", "Manifest", "check_name", "dump", "loads", "parse"]

SCHEMA = "bundle/1"
SUFFIX = ".bundle.json"
LARGEST = 10_000_000
"""Bytes of a manifest, at most."""
SUMS = {"sha256": 64, "md5": 32}
"""Checksums that public archives publish, with their hexadecimal digits."""

MOST_FILES = 100_000
LARGEST_FILE = 1 << 50  # bytes: beyond this a size is a mistake
LONGEST_NAME = 255  # bytes, as file systems have it
LONGEST_TEXT = 10_000
MOST_MIRRORS = 50
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


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
    files = body.get("files")
    if not isinstance(files, list) or not files:
        raise FormatError(f"bundle {name!r}: expected a list of files, got {files!r:.100}")
    if len(files) > MOST_FILES:
        raise FormatError(f"bundle {name!r}: {len(files)} files, at most {MOST_FILES} are allowed")
    manifest = Manifest(
        name=name,
        description=_text(
            body.get("description", ""), f"bundle {name!r}: description", most=LONGEST_TEXT, lines=True
        ),
        mirrors=_mirrors(body.get("mirrors", []), f"bundle {name!r}", remote=remote, template=True),
        files=tuple(_entry(item, number, remote) for number, item in enumerate(files, 1)),
        provenance=_cids(body.get("provenance", []), f"bundle {name!r}: provenance"),
        environment=_environment(body.get("environment"), f"bundle {name!r}: environment"),
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


def _environment(value: object, title: str) -> Environment | None:
    return None if value is None else parse_environment(value, title)


def _entry(item: object, number: int, remote: bool) -> BundleFile:
    title = f"entry {number}"
    if not isinstance(item, dict):
        raise FormatError(f"{title}: expected an object, got {item!r:.100}")
    name = _file_name(item.get("name"), title)
    title = f"{title} ({name!r})"
    allowed = {"name", "size", "cid", *SUMS, "keyvalues", "mirrors", "links"}
    _refuse_unknown(item, allowed, title)
    size = item.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= LARGEST_FILE:
        raise FormatError(f"{title}: size is {size!r:.100}, expected a number of bytes up to {LARGEST_FILE}")
    cid, sums = item.get("cid", ""), {key: item[key] for key in SUMS if key in item}
    if bool(cid) == bool(sums):
        raise FormatError(f"{title}: expected either a cid or a checksum (sha256, md5)")
    if cid and not is_cid(cid):
        cid = _normal(cid, title)
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


def _normal(cid: object, title: str) -> str:
    """A CID of another version or base, as Stargazer writes it."""
    from stargazer.storage.cid import normal

    try:
        return normal(_text(cid, f"{title}: cid", most=200))
    except FormatError as error:
        raise FormatError(f"{title}: {cid!r:.100} is not a CID: {error}") from None


def _check_keys(keyvalues: Mapping[str, str], links: Mapping[str, str], title: str) -> None:
    if not keyvalues.get("asset"):
        raise FormatError(f"{title}: keyvalues do not say what it is: give them an asset")
    if keyvalues["asset"] == "provenance":
        raise FormatError(f"{title}: a provenance document belongs in provenance, not in files")
    if "provenance_cid" in {**keyvalues, **links}:
        raise FormatError(f"{title}: provenance_cid is set by the store alone")
    if keyvalues.keys() & links.keys():
        raise FormatError(f"{title}: {sorted(keyvalues.keys() & links.keys())} is in keyvalues and in links")
    if len(keyvalues) + len(links) > MAX_KEYVALUES:
        raise FormatError(
            f"{title}: {len(keyvalues) + len(links)} metadata pairs, at most {MAX_KEYVALUES} can be stored"
        )


def _check_together(manifest: Manifest) -> None:
    """What no entry can be asked alone: names, and links between entries."""
    by_name: dict[str, BundleFile] = {}
    for entry in manifest.files:
        if entry.name in by_name:
            raise FormatError(f"bundle {manifest.name!r}: two entries are named {entry.name!r}")
        by_name[entry.name] = entry
    for entry in manifest.files:
        for key, target in entry.links.items():
            if target not in by_name:
                raise FormatError(f"entry {entry.name!r}: {key} points at {target!r}, which is no entry")
            if target == entry.name:
                raise FormatError(f"entry {entry.name!r}: {key} points at itself")
        if not (manifest.mirrors or entry.mirrors or entry.cid):
            raise FormatError(f"entry {entry.name!r}: no mirror says where it can be had")


def _file_name(name: object, title: str) -> str:
    found = _text(name, f"{title}: name", most=LONGEST_NAME)
    if not found or found in (".", "..") or "/" in found or "\\" in found:
        raise FormatError(f"{title}: {found!r} is no file name: expected one without folders")
    return found


def _text(value: object, title: str, *, most: int, lines: bool = False) -> str:
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
        _text(text, f"{title}: {key}", most=LONGEST_TEXT)
    return value


def _mirrors(value: object, title: str, *, remote: bool, template: bool) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MOST_MIRRORS:
        raise FormatError(
            f"{title}: mirrors: expected a list of up to {MOST_MIRRORS} URLs, got {value!r:.100}"
        )
    for text in value:
        _text(text, f"{title}: mirrors", most=4096)
        check_mirror(text, title, remote=remote, template=template)
    return tuple(value)


def _cids(value: object, title: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MOST_FILES:
        raise FormatError(f"{title}: expected a list of CIDs, got {value!r:.100}")
    for cid in value:
        if not is_cid(cid):
            raise FormatError(f"{title}: {cid!r:.100} is not a CID")
    if len(set(value)) < len(value):
        raise FormatError(f"{title}: a CID is there twice")
    return tuple(value)


def _refuse_unknown(body: Mapping[str, object], allowed: Iterable[str], title: str) -> None:
    unknown = sorted(body.keys() - set(allowed))
    if unknown:
        raise FormatError(f"{title}: unknown key {unknown[0]!r:.100}; known: {', '.join(sorted(allowed))}")
