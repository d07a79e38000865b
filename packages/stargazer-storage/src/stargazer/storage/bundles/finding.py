"""Where bundles are: built into a distribution, in a file, behind a URL, or fetched here before."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from attrs import field, frozen
from stargazer.assets import AssetNotFoundError, FormatError, InvalidAssetError, StargazerError, StorageError
from stargazer.storage.bundles.locks import Lock, write_file
from stargazer.storage.bundles.manifest import LARGEST, SUFFIX, Manifest, check_name, dump, loads, parse
from stargazer.storage.bundles.mirrors import is_url
from stargazer.storage.ledger.documents import now

__all__ = [
    "ENTRY_POINT_GROUP",
    "BuiltinBundle",
    "Bundle",
    "builtin_bundles",
    "find_bundle",
    "known_bundles",
    "remember_bundle",
    "remember_made",
]  # fmt: skip

ENTRY_POINT_GROUP = "stargazer.bundles"
SCHEMA = "bundle-known/1"

Maker = Callable[[Path], object]
"""Makes the files of a bundle, under their names, in a folder that does not exist yet."""


@frozen
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


@frozen(kw_only=True)
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
    lock: Lock = field(eq=False)
    maker: Maker | None = field(default=None, eq=False)
    origin: str = ""
    fetched: bool = False

    @property
    def where(self) -> str:
        """Its place, for people."""
        return self.place or "built in"


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
        return _from_url(word, root)
    path = Path(word)
    bundles = [] if os.sep in word or word in (".", "..") or word.endswith(".json") else _named(word, root)
    if path.is_dir() and any(_is_in(bundle, path) for bundle in bundles):
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
        names = [bundle.manifest.name for bundle in known_bundles(root)]
        near = difflib.get_close_matches(word, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(dict.fromkeys(names)) or 'none'}"
        raise AssetNotFoundError(f"no bundle, file or folder {word!r}; {hint} (a URL begins with https://)")
    return bundles[0]


def known_bundles(root: Path) -> Iterator[Bundle]:
    """The bundles that are built in, and those that were fetched into this store; unreadable ones with a warning."""
    yield from builtin_bundles(root)
    for path in sorted((root / "bundles").glob("*.known.json")):
        try:
            yield _remembered(path, root)
        except StargazerError as error:
            warnings.warn(f"{str(path)!r}: {error}", stacklevel=2)


def builtin_bundles(root: Path) -> Iterator[Bundle]:
    """The bundles that installed distributions bring."""
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


def remember_bundle(bundle: Bundle, root: Path, at: str) -> None:
    """Keep the manifest of a bundle that was fetched, so that it is found by name.

    Raises:
        StorageError: the store cannot be written.
    """
    if not bundle.place:
        return
    body = {
        "stargazer": SCHEMA,
        "place": bundle.place,
        "at": at,
        "manifest": json.loads(dump(bundle.manifest)),
    }
    path = root / "bundles" / f"{bundle.manifest.name}-{_digest(bundle.place)}.known.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise StorageError(
            f"the bundle cannot be remembered in {str(path.parent)!r}: {error.strerror}"
        ) from error


def remember_made(root: Path, manifest: Path) -> None:
    """Keep the manifest of a bundle that was made from this store, so that it is found by name.

    Raises:
        StorageError: the store cannot be written.
    """
    remember_bundle(_from_file(manifest, root), root, now())


def _named(name: str, root: Path) -> list[Bundle]:
    """The built-in bundle of this name, else all that were fetched under it."""
    found = [bundle for bundle in known_bundles(root) if bundle.manifest.name == name]
    return [bundle for bundle in found if not bundle.place][:1] or found


def _is_in(bundle: Bundle, folder: Path) -> bool:
    return bool(bundle.place) and os.path.dirname(bundle.place) == os.path.abspath(folder)


def _from_file(path: Path, root: Path) -> Bundle:
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            data = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StorageError(f"the bundle {str(path)!r} cannot be read: {reason}") from error
    with _about(str(path)):
        manifest = parse(data, remote=False)
    place = os.path.abspath(path)
    beside = Path(place.removesuffix(".json").removesuffix(".bundle") + ".bundle.lock")
    return Bundle(
        manifest=manifest, place=place, lock=Lock(beside, _lock_here(root, manifest.name, place).path)
    )


def _from_url(url: str, root: Path) -> Bundle:
    from stargazer.storage.bundles.getting import get_manifest

    data, place = get_manifest(url, most=LARGEST)
    with _about(place):
        manifest = parse(data, remote=True)
    return Bundle(manifest=manifest, place=place, lock=_lock_here(root, manifest.name, place))


def _remembered(path: Path, root: Path) -> Bundle:
    try:
        body = loads(path.read_bytes(), "the remembered bundle")
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror}") from error
    if (
        not isinstance(body, dict)
        or body.get("stargazer") != SCHEMA
        or not isinstance(body.get("place"), str)
    ):
        raise FormatError("not a remembered bundle: fetch it again, or remove the file")
    place = body["place"]
    manifest = parse(json.dumps(body.get("manifest")).encode(), remote=is_url(place))
    here = _lock_here(root, manifest.name, place)
    if is_url(place):
        return Bundle(manifest=manifest, place=place, lock=here, fetched=True)
    beside = Path(place.removesuffix(".json").removesuffix(".bundle") + ".bundle.lock")
    lock = Lock(beside, here.path) if beside.exists() else here
    return Bundle(manifest=manifest, place=place, lock=lock, fetched=True)


def _lock_here(root: Path, name: str, place: str) -> Lock:
    return Lock(root / "bundles" / f"{check_name(name)}-{_digest(place)}.bundle.lock")


def _digest(place: str) -> str:
    return hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not hang the open


@contextlib.contextmanager
def _about(place: str) -> Iterator[None]:
    """Say in a FormatError which manifest it is about."""
    try:
        yield
    except FormatError as error:
        raise FormatError(f"{place}: {error}") from None
