"""The manifest of a bundle: its files and the mirrors that have them, checked as it is read: anybody may write one."""

from __future__ import annotations

import json
import platform
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urljoin, urlsplit

from attrs import NOTHING, AttrsInstance, asdict, field, fields, frozen
from stargazer.assets import MAX_KEYVALUES, FormatError, record_id
from stargazer.assets.addresses import without_secrets
from stargazer.assets.provenance import Execution
from stargazer.storage.cid import is_cid, normal

__all__ = ["ENTRY", "LARGEST", "SUFFIX", "BundleFile", "Environment", "Manifest", "Rules", "check_name",
           "differences", "dump", "dumps", "environment_here", "fill", "is_url", "loads", "parse", "refuse",
           "requirements", "structure"]  # fmt: skip

SCHEMA = "bundle/1"
SUFFIX = ".bundle.json"
LARGEST = 10_000_000
"""Bytes of a manifest, at most."""

MOST_FILES = 100_000
LARGEST_FILE = 1 << 50  # bytes: beyond this a size is a mistake
_PACKAGE = r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.!+_-]*"
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
_LINE = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*"
_LINES = _LINE.replace(r"\x00-\x1f", r"\x00-\x09\x0b-\x1f")
_TEXT = "text of valid Unicode without control characters"
_FIELD = re.compile(r"\{[^{}]*\}")
_SECRET = re.compile(
    r"(?i)token|signature|^sig$|secret|passw|^pwd|credential|api[_-]?key|access[_-]?key|^key$|^auth|jwt|session|"
    r"^x-(amz|goog|ms)-"
)

T = TypeVar("T", bound=AttrsInstance)
Reader: TypeAlias = Callable[[Any, str], Any]
"""What a value that nobody vouches for is kept as; its FormatError begins with the title that it is given."""
Rules: TypeAlias = Iterator[tuple[object, str]]
"""Whether each rule is broken, and what is said then; a rule may rely on those before it."""


@frozen(kw_only=True)
class BundleFile:
    """One file of a bundle.

    Attributes:
        name: its file name, unique in the bundle.
        size: bytes.
        cid: content identifier; empty where only sums are known.
        sha256, md5: checksums that public archives publish, in hexadecimal, where no CID is known yet.
        keyvalues: its metadata, without `provenance_cid`; empty for a provenance document.
        mirrors: URLs (or paths beside the manifest) of this file; `{cid}` and `{name}` are filled in.
        links: link fields whose CID is not known yet, to the name of the entry they point at.
    """

    name: str
    size: int
    cid: str = ""
    sha256: str = ""
    md5: str = ""
    keyvalues: Mapping[str, str]
    mirrors: tuple[str, ...] = ()
    links: Mapping[str, str] = field(factory=dict)

    @property
    def sums(self) -> dict[str, str]:
        """The checksums that are known, by their kinds, as hashlib writes them."""
        return {kind: text.lower() for kind in ("sha256", "md5") if (text := getattr(self, kind))}

    @property
    def id(self) -> str:
        """The id of the record that it becomes, where its CID and what it links to are known."""
        return record_id(self.cid, self.keyvalues)


@frozen(kw_only=True)
class Environment:
    """Where something was computed, so that it can be computed there again.

    Attributes:
        python: its version.
        platform: operating system and processor.
        packages: every installed Python package: `name==version`, sorted.
        tools: the tools of the executions: name, version and where each came from.
    """

    python: str = ""
    platform: str = ""
    packages: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()


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

    @property
    def documents(self) -> list[BundleFile]:
        """The provenance documents as entries; no manifest says their sizes."""
        return [
            BundleFile(name=f"provenance {cid}", size=0, cid=cid, keyvalues={}) for cid in self.provenance
        ]


# reading and writing


def parse(data: bytes, *, remote: bool) -> Manifest:
    """The manifest in these bytes.

    Args:
        remote: it came from a URL, so that it may not name files of this machine.

    Raises:
        FormatError: it breaks a rule; the message names the entry.
    """
    body = loads(data, "the manifest", SCHEMA)
    title = f"bundle {check_name(body.get('name'))!r}"
    manifest = structure(Manifest, body, title, _MANIFEST)
    refuse(_rules(manifest, title, remote))
    return manifest


def dump(manifest: Manifest) -> bytes:
    """The manifest as JSON for people and programs; what is empty is left out."""
    body = asdict(manifest, filter=lambda attribute, value: attribute.name == "size" or bool(value))
    return dumps(SCHEMA, body)


def loads(data: bytes, title: str, schema: str) -> dict[str, Any]:
    """An object of JSON that nobody vouches for, without the name of its schema: bounded, no key twice.

    Raises:
        FormatError: it is no such JSON; `title` says what it should have been.
    """
    if len(data) > LARGEST:
        raise FormatError(f"{title} is larger than {LARGEST:,} bytes")
    try:
        body = json.loads(data, object_pairs_hook=_unique)
    except FormatError as error:
        raise FormatError(f"{title}: {error}") from None
    except RecursionError:
        raise FormatError(f"{title} is nested too deeply") from None
    except ValueError as error:
        raise FormatError(f"{title} is not JSON: {str(error)[:200]}") from None
    found = body.pop("stargazer", None) if isinstance(body, dict) else type(body).__name__
    if found != schema:
        kind = schema.partition("/")[0]
        raise FormatError(f'{title} is not a {kind}: expected "stargazer": "{schema}", got {found!r:.100}')
    return dict(body)


def dumps(schema: str, body: Mapping[str, Any]) -> bytes:
    """A small file for people and programs, which `loads` reads."""
    return (json.dumps({"stargazer": schema, **body}, indent=1, ensure_ascii=False) + "\n").encode()


def structure(kind: type[T], body: object, title: str, readers: Mapping[str, Reader]) -> T:
    """What an object of JSON stands for, every value as the reader of its name has it.

    Raises:
        FormatError: it is no object, has an unknown key, or holds what a reader refuses; `title` says where.
    """
    if not isinstance(body, dict):
        raise FormatError(f"{title}: expected an object, got {body!r:.100}")
    if unknown := sorted(body.keys() - readers.keys()):
        raise FormatError(f"{title}: unknown key {unknown[0]!r:.100}; known: {', '.join(sorted(readers))}")
    keys = body.keys() | {item.name for item in fields(kind) if item.default is NOTHING}
    return kind(**{key: readers[key](body.get(key), f"{title}: {key}") for key in readers if key in keys})


def refuse(rules: Rules) -> None:
    """Raise a FormatError of what the first broken rule says, if there is one."""
    for is_broken, reason in rules:
        if is_broken:
            raise FormatError(reason)


def check_name(name: object) -> str:
    """The name of a bundle, which also names its files on disk.

    Raises:
        FormatError: it cannot be one.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise FormatError(
            f"{name!r:.120} cannot name a bundle: use up to 100 letters, digits, dots, dashes and underscores"
        )
    return name


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    times = Counter(key for key, _ in pairs)
    refuse((count > 1, f"the key {key!r:.100} is there twice") for key, count in times.items())
    return dict(pairs)


# the values of a manifest


def _text(
    value: object, title: str, *, pattern: str = _LINE, expected: str = _TEXT, most: int = 10_000
) -> str:
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise FormatError(f"{title} is {value!r:.100}, expected {expected}")
    if len(value.encode()) > most:
        raise FormatError(f"{title} is longer than {most} bytes: {value!r:.100}")
    return value


def _size(value: object, title: str) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST_FILE:
        raise FormatError(f"{title} is {value!r:.100}, expected a number of bytes up to {LARGEST_FILE}")
    return value


def _cid(value: object, title: str) -> str:
    text = _text(value, title, most=200)
    try:
        return text if is_cid(text) else normal(text)
    except FormatError as error:
        raise FormatError(f"{title}: {text!r:.100} is not a CID: {error}") from None


def _pairs(value: object, title: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise FormatError(f"{title}: expected an object of text values, got {value!r:.100}")
    return {key: _text(text, f"{title}: {key!r:.100}") for key, text in value.items()}


def _list(value: object, title: str, *, read: Reader, most: int, what: str) -> tuple[Any, ...]:
    if not isinstance(value, list) or len(value) > most:
        raise FormatError(f"{title}: expected a list of {what}, got {value!r:.100}")
    return tuple(read(item, title) for item in value)


def _entries(value: object, title: str) -> tuple[BundleFile, ...]:
    found = []
    items = _list(value, title, read=lambda item, _: item, most=MOST_FILES, what="files, at most 100,000")
    for number, item in enumerate(items, 1):
        name = f" ({item.get('name')!r:.100})" if isinstance(item, dict) else ""
        found.append(structure(BundleFile, item, f"entry {number}{name}", ENTRY))
    return tuple(found)


_MIRRORS = partial(_list, read=partial(_text, most=4096), most=50, what="up to 50 URLs")
ENTRY: Mapping[str, Reader] = {
    "name": partial(_text, most=255),  # bytes, as file systems have it
    "size": _size,
    "cid": _cid,
    "sha256": partial(_text, pattern="[0-9a-fA-F]{64}", expected="64 hexadecimal digits"),
    "md5": partial(_text, pattern="[0-9a-fA-F]{32}", expected="32 hexadecimal digits"),
    "keyvalues": _pairs,
    "mirrors": _MIRRORS,
    "links": _pairs,
}
_PACKAGES = partial(_text, pattern=_PACKAGE, expected="a package: name==version")
_ENVIRONMENT: Mapping[str, Reader] = {
    "python": _text,
    "platform": _text,
    "packages": partial(_list, read=_PACKAGES, most=10_000, what="up to 10,000 packages"),
    "tools": partial(_list, read=_text, most=10_000, what="up to 10,000 texts"),
}
_MANIFEST: Mapping[str, Reader] = {
    "name": _text,
    "description": partial(_text, pattern=_LINES),
    "mirrors": _MIRRORS,
    "files": _entries,
    "provenance": partial(_list, read=_cid, most=MOST_FILES, what="up to 100,000 CIDs"),
    "environment": lambda value, title: structure(Environment, value, title, _ENVIRONMENT),
}


# what is wrong with values together, and with mirrors


def _rules(manifest: Manifest, title: str, remote: bool) -> Rules:
    times = Counter(entry.name for entry in manifest.files)
    documents = manifest.provenance
    yield not manifest.files, f"{title}: expected a list of files, got none"
    yield len(set(documents)) < len(documents), f"{title}: provenance: a CID is there twice"
    for mirror in manifest.mirrors:
        yield from _mirror_rules(mirror, title, remote=remote, template=True)
    for number, entry in enumerate(manifest.files, 1):
        title, name, kind = f"entry {number} ({entry.name!r})", entry.name, entry.keyvalues.get("asset")
        count, both = len(entry.keyvalues) + len(entry.links), entry.keyvalues.keys() & entry.links.keys()
        has_one = bool(entry.cid) != bool(entry.sums)
        can_be_had = manifest.mirrors or entry.mirrors or entry.cid
        is_path = name in ("", ".", "..") or re.search(r"[/\\]", name)
        yield is_path, f"{title}: that is no file name: expected one without folders"
        yield times[name] > 1, f"bundle {manifest.name!r}: two entries are named {name!r}"
        yield not has_one, f"{title}: expected either a cid or a checksum (sha256, md5)"
        yield not kind, f"{title}: keyvalues do not say what it is: give them an asset"
        yield kind == "provenance", f"{title}: a provenance document belongs in provenance, not in files"
        for key in (*entry.keyvalues, *entry.links):
            yield not _KEY.fullmatch(key), f"{title}: {key!r:.100} is no metadata key"
            yield key == "provenance_cid", f"{title}: {key} is set by the store alone"
        yield both, f"{title}: {sorted(both)} is in keyvalues and in links"
        yield count > MAX_KEYVALUES, f"{title}: {count} metadata pairs, at most {MAX_KEYVALUES} can be stored"
        yield not can_be_had, f"{title}: no mirror says where it can be had"
        for key, target in entry.links.items():
            yield target not in times, f"{title}: {key} points at {target!r}, which is no entry"
            yield target == name, f"{title}: {key} points at itself"
        for mirror in entry.mirrors:
            yield from _mirror_rules(mirror, title, remote=remote, template=False)


def _mirror_rules(text: str, title: str, *, remote: bool, template: bool) -> Rules:
    """A mirror is well formed and carries no credentials; in a manifest from a URL it is no file of this machine.

    Args:
        template: it stands for many files, so it needs `{cid}` or `{name}`.
    """
    shown = f"{title}: the mirror {without_secrets(text)[:200]!r}"
    filled_in = set(_FIELD.findall(text))
    is_odd = filled_in - {"{cid}", "{name}"} or re.search(r"[{}]", _FIELD.sub("", text))
    yield is_odd, f"{shown}: expected {{cid}} or {{name}} in braces, and nothing else"
    yield template and not filled_in, f"{shown} is that of a whole bundle: it needs {{cid}} or {{name}}"
    try:
        url = urlsplit(_FIELD.sub("x", text))
        host, named, _ = url.hostname, url.username or url.password, url.port
    except ValueError as error:
        raise FormatError(f"{shown} is not a URL: {error}") from None
    secrets = (key for key, _ in parse_qsl(url.query, keep_blank_values=True) if _SECRET.search(key))
    is_web, is_file = url.scheme in ("http", "https"), url.scheme == "file"
    is_other = not (is_web or is_file) and (url.scheme or (url.netloc and not remote))
    yield not text.strip() or (url.scheme and re.search(r"\s", text)), f"{shown} is not a URL"
    yield named is not None, f"{shown} carries credentials: a manifest is public"
    yield any(secrets), f"{shown} carries a secret in its query: a manifest is public"
    yield is_web and (not host or "{" in text.split("//", 1)[-1].split("/", 1)[0]), f"{shown} names no host"
    yield is_other, f"{shown}: expected http, https or a path beside the manifest"
    yield is_file and remote, f"{shown} is a file of this machine, in a manifest from a URL: refused"
    yield is_file and host not in (None, "localhost"), f"{shown} names a file of another machine"


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


def is_url(text: str) -> bool:
    """Whether this is an http or https URL."""
    return text[:8].lower().startswith(("http://", "https://"))


# environments


def environment_here(executions: Iterable[Execution] = ()) -> Environment:
    """The environment of this process, with the tools of these executions."""
    from importlib.metadata import distributions

    installed = (f"{_normal(found.metadata['Name'] or '')}=={found.version}" for found in distributions())
    tools = {
        f"{tool.name} {tool.version}" + (f" ({tool.source})" if tool.source else "")
        for execution in executions
        for tool in execution.tools
    }
    return Environment(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        packages=tuple(sorted({package for package in installed if re.fullmatch(_PACKAGE, package)})),
        tools=tuple(sorted(tools)),
    )


def requirements(environment: Environment) -> str:
    """The packages as pip takes them (`pip install -r`), with the rest as comments."""
    comments = [f"Python {environment.python}, {environment.platform}", *environment.tools]
    return "\n".join([*(f"# {line}" for line in comments), *environment.packages]) + "\n"


def differences(then: Environment, now: Environment) -> list[str]:
    """What is not the same now: Python, platform, and packages that both or only the first have."""
    versions = _versions(now)
    found = [("Python", then.python, now.python), ("platform", then.platform, now.platform)]
    found += [(name, a, versions.get(name, "not installed")) for name, a in _versions(then).items()]
    return [f"{name}: {a} then, {b} now" for name, a, b in found if a != b]


def _versions(environment: Environment) -> dict[str, str]:
    pairs = (package.split("==") for package in environment.packages)
    return {_normal(name): version for name, version in pairs}


def _normal(name: str) -> str:
    """A package's name as PyPI compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
