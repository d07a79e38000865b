"""Bundles by name, file, folder or URL, and the lock of each: the CIDs that files with published checksums have."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
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
    ENTRY,
    LARGEST,
    SUFFIX,
    BundleFile,
    Manifest,
    dump,
    dumps,
    fill,
    is_url,
    loads,
    parse,
    refuse,
    structure,
)
from stargazer.storage.files import write_file
from stargazer.storage.locks import locked_folder
from stargazer.storage.refusals import explained, failed

__all__ = ["ENTRY_POINT_GROUP", "BuiltinBundle", "Bundle", "Lock", "find_bundle", "known_bundles",
           "remember_bundle"]  # fmt: skip

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
class Lock:
    """The pinned entries of one bundle by name, in a file that several processes may add to.

    Attributes:
        path: of the file.
        fallback: another, where that one's folder cannot be written (a manifest on a read-only disk).
    """

    path: Path
    fallback: Path | None = None

    def read(self) -> dict[str, BundleFile]:
        """What is pinned so far: the size, CID and sums of entries, by name.

        Raises:
            FormatError: the file is no lock.
            StorageError: it cannot be read.
        """
        title, pinned = f"the lock {str(self.path)!r}", Lock(self.fallback).read() if self.fallback else {}
        with explained(f"{title} cannot be read"):
            files = loads(_read(self.path), title, LOCK_SCHEMA).get("files") if self.path.exists() else {}
        if not isinstance(files, dict):
            raise FormatError(f"{title}: expected an object of files, got {files!r:.100}")
        for name, item in files.items():
            body = {"name": name, "keyvalues": {}, **(item if isinstance(item, dict) else {})}
            pinned[name] = structure(BundleFile, body, f"{title}: {name!r:.100}", ENTRY)
        refuse((not item.cid, f"{title}: {name!r:.100} has no cid") for name, item in pinned.items())
        return pinned

    def apply(self, manifest: Manifest) -> Manifest:
        """The manifest with the CIDs that are pinned.

        Raises:
            FormatError: the lock is malformed.
            IntegrityError: the manifest names other sums or sizes than those that were verified.
        """
        pinned = self.read()
        files = (self._applied(entry, pinned.get(entry.name)) for entry in manifest.files)
        return attrs.evolve(manifest, files=tuple(files))

    def _applied(self, entry: BundleFile, known: BundleFile | None) -> BundleFile:
        if entry.cid or known is None:
            return entry
        changed = [kind for kind, text in entry.sums.items() if known.sums.get(kind, text) != text]
        if changed or known.size != entry.size or not entry.sums.keys() & known.sums.keys():
            raise IntegrityError(
                f"entry {entry.name!r}: the manifest gives another {changed[0] if changed else 'size'} than the one "
                f"that was verified and pinned in {str(self.path)!r}: if the file was meant to change, remove its "
                "entry there and fetch again"
            )
        return attrs.evolve(entry, cid=known.cid)

    def pin(self, entry: BundleFile) -> None:
        """Write down what an entry turned out to be; what is pinned stays.

        Raises:
            IntegrityError: it is pinned as something else.
            StorageError: the file cannot be written.
        """
        try:
            if self.fallback is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            with locked_folder(self.path.parent):  # one writer at a time
                pinned = {entry.name: entry, **Lock(self.path).read()}
                if pinned[entry.name].cid != entry.cid:
                    raise IntegrityError(
                        f"entry {entry.name!r} is pinned as {pinned[entry.name].cid} in {str(self.path)!r}, and what "
                        f"came now is {entry.cid}"
                    )
                files = {
                    name: {"cid": item.cid, "size": item.size, **item.sums} for name, item in pinned.items()
                }
                write_file(self.path, dumps(LOCK_SCHEMA, {"files": files}))
        except OSError as error:
            if self.fallback is None or isinstance(error, StorageError):
                raise failed(f"the lock {str(self.path)!r} cannot be written", error) from error
            Lock(self.fallback).pin(entry)


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

    def targets(self, entry: BundleFile) -> list[str]:
        """The URLs and paths at which an entry or a document may be had, its own first."""
        mirrors = (*entry.mirrors, *self.manifest.mirrors)
        usable = (mirror for mirror in mirrors if entry.keyvalues or "{cid}" in mirror)
        found = (fill(mirror, self.place, cid=entry.cid, name=entry.name) for mirror in usable)
        return list(dict.fromkeys(filter(None, found)))


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
    bundles = [bundle for bundle in known if bundle.manifest.name == word]
    bundles = [bundle for bundle in bundles if not bundle.place][:1] or bundles
    if path.is_dir() and any(os.path.dirname(bundle.place) == os.path.abspath(path) for bundle in bundles):
        bundles = []  # the folder itself is meant, whatever else has this name
    if len(bundles) > 1:
        places = "\n".join(f"  {bundle.place}" for bundle in bundles)
        raise InvalidAssetError(
            f"several bundles named {word!r} were fetched or made; give the place of one:\n{places}"
        )
    if bundles:
        return bundles[0]
    if path.is_dir():
        manifests = sorted(path.glob(f"*{SUFFIX}"))
        if len(manifests) != 1:
            shown = ", ".join(repr(item.name) for item in manifests[:5]) or "none"
            raise AssetNotFoundError(f"expected one file *{SUFFIX} in the folder {word!r}, found {shown}")
        return _from_file(manifests[0], root)
    if is_path or path.is_file():
        return _from_file(path, root)
    names = list(dict.fromkeys(bundle.manifest.name for bundle in known))
    near = difflib.get_close_matches(word, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"
    raise AssetNotFoundError(f"no bundle, file or folder {word!r}; {hint} (a URL begins with https://)")


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
        lock = Lock(_kept(root, manifest.name, entry.value, "bundle.lock"))
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
        body = {"place": bundle.place, "manifest": json.loads(dump(bundle.manifest))}
        path = _kept(root, bundle.manifest.name, bundle.place, "known.json")
        with explained(f"the bundle cannot be remembered in {str(path.parent)!r}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, dumps(KNOWN_SCHEMA, body))


def _from_file(path: Path, root: Path) -> Bundle:
    try:
        data = _read(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StorageError(f"the bundle {str(path)!r} cannot be read: {reason}") from error
    return _bundle(data, str(path), os.path.abspath(path), root)


def _read(path: Path) -> bytes:
    """The bytes of a small file, one more than it may have at most; a pipe does not hang it."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        return file.read(LARGEST + 1)


def _read_url(url: str) -> tuple[bytes, str]:
    """The bytes of a manifest behind a URL, no more than show that they are too many, and the URL without secrets."""
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
                found += piece
                if len(found) > LARGEST:
                    break
            if body.size is not None and len(found) < min(body.size, LARGEST):
                raise StorageError(f"{place}: ended after {len(found):,} of {body.size:,} bytes; try again")
    except SourceError as error:
        raise StorageError(f"{place}: {error}") from None
    return bytes(found), place


def _remembered(path: Path, root: Path) -> Bundle:
    with explained("it cannot be read"):
        body = loads(_read(path), "what was remembered (fetch it again, or remove the file)", KNOWN_SCHEMA)
    place = str(body.get("place", ""))
    bundle = _bundle(json.dumps(body.get("manifest")).encode(), "its manifest", place, root)
    return attrs.evolve(bundle, fetched=True)


def _bundle(data: bytes, title: str, place: str, root: Path) -> Bundle:
    """A bundle, whose lock is beside a manifest that is a file of this machine; `title` is for errors."""
    try:
        manifest = parse(data, remote=is_url(place))
    except FormatError as error:
        raise FormatError(f"{title}: {error}") from None
    lock = Lock(_kept(root, manifest.name, place, "bundle.lock"))
    if not is_url(place):
        lock = Lock(Path(place.removesuffix(".json").removesuffix(".bundle") + ".bundle.lock"), lock.path)
    return Bundle(manifest=manifest, place=place, lock=lock)


def _kept(root: Path, name: str, place: str, kind: str) -> Path:
    """A file in the store of the bundle with this name and place."""
    digest = hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return root / "bundles" / f"{name}-{digest}.{kind}"
