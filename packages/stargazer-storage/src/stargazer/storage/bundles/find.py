"""Bundles by name, file, folder or URL, and the lock of each: the CIDs that files with published checksums have."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs
from stargazer.assets import (
    AssetNotFoundError,
    FormatError,
    IntegrityError,
    InvalidAssetError,
    StargazerError,
    StorageError,
)
from stargazer.assets.addresses import without_secrets
from stargazer.storage.bundles.manifest import (
    LARGEST,
    SUFFIX,
    SUMS,
    Manifest,
    dump,
    is_url,
    loads,
    parse,
)
from stargazer.storage.cid import is_cid
from stargazer.storage.files import write_file
from stargazer.storage.ledger.documents import now
from stargazer.storage.locks import locked_folder

__all__ = [
    "ENTRY_POINT_GROUP",
    "BuiltinBundle",
    "Bundle",
    "Lock",
    "Pinned",
    "find_bundle",
    "known_bundles",
    "remember_bundle",
]

ENTRY_POINT_GROUP = "stargazer.bundles"
KNOWN_SCHEMA = "bundle-known/1"
LOCK_SCHEMA = "bundle-lock/1"

Maker = Callable[[Path], object]
"""Makes the files of a bundle, under their names, in a folder that does not exist yet."""


@attrs.frozen
class BuiltinBundle:
    """What an entry point of the group `stargazer.bundles` names.

    Attributes:
        manifest: the file of the manifest, in the distribution.
        maker: makes the files where no mirror holds them; they are verified like those of a mirror.
        origin: where the files come from, for their provenance.
    """

    manifest: Path
    maker: Maker | None = None
    origin: str = ""


@attrs.frozen
class Pinned:
    """What an entry turned out to be."""

    cid: str
    size: int
    sums: Mapping[str, str]


@attrs.frozen
class Lock:
    """The pinned entries of one bundle by name, in a file that several processes may add to.

    Attributes:
        path: of the file.
        fallback: another, where that one's folder cannot be written (a manifest on a read-only disk).
    """

    path: Path
    fallback: Path | None = None

    def read(self) -> dict[str, Pinned]:
        """What is pinned so far.

        Raises:
            FormatError: the file is no lock.
            StorageError: it cannot be read.
        """
        return (_read_lock(self.fallback) if self.fallback else {}) | _read_lock(self.path)

    def apply(self, manifest: Manifest) -> Manifest:
        """The manifest with the CIDs that are pinned.

        Raises:
            FormatError: the lock is malformed.
            IntegrityError: the manifest names other sums or sizes than those that were verified.
        """
        pinned, files = self.read(), []
        for entry in manifest.files:
            if not entry.cid and (known := pinned.get(entry.name)):
                changed = [kind for kind, text in entry.sums.items() if known.sums.get(kind, text) != text]
                if changed or known.size != entry.size or not entry.sums.keys() & known.sums.keys():
                    what = changed[0] if changed else "size"
                    raise IntegrityError(
                        f"entry {entry.name!r}: the manifest gives another {what} than the one that was verified and "
                        f"pinned in {str(self.path)!r}: if the file was meant to change, remove its entry there and "
                        "fetch again"
                    )
                entry = attrs.evolve(entry, cid=known.cid)
            files.append(entry)
        return attrs.evolve(manifest, files=tuple(files))

    def pin(self, name: str, pinned: Pinned) -> None:
        """Write down what an entry turned out to be; what is pinned stays.

        Raises:
            IntegrityError: it is pinned as something else.
            StorageError: the file cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with locked_folder(self.path.parent):  # one writer at a time
                known = _read_lock(self.path)
                if name in known and known[name].cid != pinned.cid:
                    raise IntegrityError(
                        f"entry {name!r} is pinned as {known[name].cid} in {str(self.path)!r}, and what came now is "
                        f"{pinned.cid}"
                    )
                items = {**known, name: pinned}.items()
                files = {key: {"cid": item.cid, "size": item.size, **item.sums} for key, item in items}
                write_file(self.path, _json(LOCK_SCHEMA, {"files": files}))
        except StorageError:
            raise
        except OSError as error:
            if self.fallback is None:
                raise StorageError(
                    f"the lock {str(self.path)!r} cannot be written: {error.strerror}"
                ) from error
            Lock(self.fallback).pin(name, pinned)


@attrs.frozen(kw_only=True)
class Bundle:
    """A bundle that was found.

    Attributes:
        place: URL or absolute path of its manifest, without secrets; empty if it is built in.
        lock: what its entries turned out to be.
        maker, origin: of a built-in one.
        fetched: it was found among those that were fetched into this store, or made from it.
    """

    manifest: Manifest
    place: str = ""
    lock: Lock = attrs.field(eq=False)
    maker: Maker | None = attrs.field(default=None, eq=False)
    origin: str = ""
    fetched: bool = False

    @property
    def where(self) -> str:
        """Its place, for people."""
        return self.place or "built in"

    @property
    def folder(self) -> Path | None:
        """The folder with its manifest and its files, if it was found there and not by what the store remembers."""
        entries = (mirror for entry in self.manifest.files for mirror in entry.mirrors)
        beside = any(not is_url(mirror) for mirror in (*self.manifest.mirrors, *entries))
        found = beside and self.place and not is_url(self.place) and not self.fetched
        return Path(self.place).parent if found else None


def find_bundle(word: str, root: Path) -> Bundle:
    """The bundle that a name, a file, a folder or a URL stands for.

    Args:
        root: of the store, which remembers the bundles that were fetched.

    Raises:
        AssetNotFoundError: there is none.
        InvalidAssetError: several of that name were fetched.
        FormatError: its manifest breaks a rule.
        StorageError: its manifest cannot be had.
    """
    if word.startswith("file://"):
        word = unquote(urlsplit(word).path)
    if "://" in word:
        data, place = _read_url(word)
        return _bundle(data, place, place, root)
    path = Path(word)
    is_path = os.sep in word or word in (".", "..") or word.endswith(".json")
    known = [] if is_path else list(known_bundles(root))
    named = [bundle for bundle in known if bundle.manifest.name == word]
    bundles = [bundle for bundle in named if not bundle.place][:1] or named
    if path.is_dir() and any(os.path.dirname(bundle.place) == os.path.abspath(path) for bundle in bundles):
        bundles = []  # the folder itself is meant, whatever else has this name
    if path.is_dir() and not bundles:
        manifests = sorted(path.glob(f"*{SUFFIX}"))
        if len(manifests) != 1:
            shown = ", ".join(repr(item.name) for item in manifests[:5]) or "none"
            raise AssetNotFoundError(f"expected one file *{SUFFIX} in the folder {word!r}, found {shown}")
        path = manifests[0]
    if not bundles and (path.is_file() or word.endswith(".json") or os.sep in word):
        return _from_file(path, root)
    if len(bundles) > 1:
        places = "\n".join(f"  {bundle.place}" for bundle in bundles)
        raise InvalidAssetError(
            f"several bundles named {word!r} were fetched or made; give the place of one:\n{places}"
        )
    if not bundles:
        names = list(dict.fromkeys(bundle.manifest.name for bundle in known))
        near = difflib.get_close_matches(word, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"
        raise AssetNotFoundError(f"no bundle, file or folder {word!r}; {hint} (a URL begins with https://)")
    return bundles[0]


def known_bundles(root: Path) -> Iterator[Bundle]:
    """The bundles that are built in, and those that were fetched into this store; unreadable ones with a warning."""
    from importlib.metadata import entry_points

    for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: entry.name):
        try:
            builtin: BuiltinBundle = entry.load()
            manifest = parse(builtin.manifest.read_bytes(), remote=False)
        except Exception as error:  # somebody else's code: it must not hide the other bundles
            warnings.warn(f"the bundle {entry.value} could not be loaded: {error!r}", stacklevel=2)
            continue
        lock = _lock_here(root, manifest.name, entry.value)
        yield Bundle(manifest=manifest, lock=lock, maker=builtin.maker, origin=builtin.origin)
    for path in sorted((root / "bundles").glob("*.known.json")):
        try:
            yield _remembered(path, root)
        except StargazerError as error:
            warnings.warn(f"{str(path)!r}: {error}", stacklevel=2)


def remember_bundle(bundle: Bundle, root: Path) -> None:
    """Keep the manifest of a bundle that was fetched or made, so that it is found by name; of those built in nothing.

    Raises:
        StorageError: the store cannot be written.
    """
    if bundle.place:
        body = {"place": bundle.place, "at": now(), "manifest": json.loads(dump(bundle.manifest))}
        path = root / "bundles" / f"{bundle.manifest.name}-{_digest(bundle.place)}.known.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, _json(KNOWN_SCHEMA, body))
        except OSError as error:
            reason = f"the bundle cannot be remembered in {str(path.parent)!r}: {error.strerror}"
            raise StorageError(reason) from error


def _from_file(path: Path, root: Path) -> Bundle:
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            data = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StorageError(f"the bundle {str(path)!r} cannot be read: {reason}") from error
    return _bundle(data, str(path), os.path.abspath(path), root)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not hang the open


def _read_url(url: str) -> tuple[bytes, str]:
    """The bytes of a manifest behind a URL, one more than it may have at most, and the URL without secrets."""
    from stargazer.storage.download.http import SourceError, open_url, parse_url

    place, parts = without_secrets(url), parse_url(url)
    if parts is None or "@" in parts.netloc:
        raise InvalidAssetError(
            f"{place!r}: a manifest's URL begins with http:// or https:// and carries no credentials"
        )
    found = bytearray()
    try:
        with open_url(url) as body:
            for piece in body.pieces:
                found += piece[: LARGEST + 1 - len(found)]
                if len(found) > LARGEST:
                    break
            if body.size is not None and len(found) < min(body.size, LARGEST):
                raise StorageError(f"{place}: ended after {len(found):,} of {body.size:,} bytes; try again")
    except SourceError as error:
        raise StorageError(f"{place}: {error}") from None
    return bytes(found), place


def _remembered(path: Path, root: Path) -> Bundle:
    try:
        body = loads(path.read_bytes(), "the remembered bundle")
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror}") from error
    place = body.get("place") if isinstance(body, dict) and body.get("stargazer") == KNOWN_SCHEMA else None
    if not isinstance(place, str):
        raise FormatError("not a remembered bundle: fetch it again, or remove the file")
    bundle = _bundle(json.dumps(body.get("manifest")).encode(), "its manifest", place, root)
    lock = bundle.lock
    if lock.fallback and not lock.path.exists():
        lock = Lock(lock.fallback)
    return attrs.evolve(bundle, lock=lock, fetched=True)


def _bundle(data: bytes, title: str, place: str, root: Path) -> Bundle:
    """A bundle, whose lock is beside a manifest that is a file of this machine; `title` is for errors."""
    try:
        manifest = parse(data, remote=is_url(place))
    except FormatError as error:
        raise FormatError(f"{title}: {error}") from None
    lock = _lock_here(root, manifest.name, place)
    if not is_url(place):
        lock = Lock(Path(place.removesuffix(".json").removesuffix(".bundle") + ".bundle.lock"), lock.path)
    return Bundle(manifest=manifest, place=place, lock=lock)


def _lock_here(root: Path, name: str, place: str) -> Lock:
    return Lock(root / "bundles" / f"{name}-{_digest(place)}.bundle.lock")


def _digest(place: str) -> str:
    return hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _read_lock(path: Path) -> dict[str, Pinned]:
    title = f"the lock {str(path)!r}"
    try:
        with open(path, "rb") as file:
            body = loads(file.read(LARGEST + 1), title)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageError(f"{title} cannot be read: {error.strerror}") from error
    files = body.get("files") if isinstance(body, dict) else None
    if not isinstance(files, dict) or body.get("stargazer") != LOCK_SCHEMA:
        raise FormatError(f'{title} is no lock: expected "stargazer": "{LOCK_SCHEMA}" and files')
    pinned = {}
    for name, item in files.items():
        sums = dict(item) if isinstance(item, dict) else {}
        cid, size = sums.pop("cid", None), sums.pop("size", None)
        good = is_cid(cid) and type(size) is int and sums.keys() <= SUMS.keys()
        if not good or not all(re.fullmatch("[0-9a-f]+", str(text)) for text in sums.values()):
            raise FormatError(f"{title}: {name!r:.100}: expected cid, size and sums, got {item!r:.200}")
        pinned[name] = Pinned(cid, size, sums)
    return pinned


def _json(schema: str, body: Mapping[str, Any]) -> bytes:
    """A small file of ours, for people and programs."""
    return (json.dumps({"stargazer": schema, **body}, indent=1, ensure_ascii=False) + "\n").encode()
