"""Registers files with what they are: `add` for Python, and what `stargazer add` shares with it.

The fields that files say themselves (`Asset.in_file`) are read by entry points of the group `stargazer.fields`, which
are functions named after the asset type.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, get_origin, overload

import attrs
from stargazer.assets import (
    Asset,
    AssetNotFoundError,
    ConfigurationError,
    FormatError,
    InvalidAssetError,
    IpFile,
    StargazerError,
    StorageClient,
    asset_class,
    current_client,
    hints_of,
    unknown_key,
)
from stargazer.assets.keyvalues import encode, plain
from stargazer.storage.additions import Addition, check_files, status_of
from stargazer.storage.checks import Lookup
from stargazer.storage.cid import is_cid
from stargazer.storage.filenames import guess_type, mates, primaries
from stargazer.storage.folders import folder_type, packed
from stargazer.storage.store import Store

__all__ = ["add", "additions_of", "additions_of_each", "check_pairs", "field_text", "fields_in"]

ENTRY_POINT_GROUP = "stargazer.fields"

Values: TypeAlias = Mapping[str, str | Asset]
"""Values by field: as text, or the asset that a link points at."""
Reader: TypeAlias = Callable[[Path, Mapping[str, str], Lookup], Values]
"""Reads fields from a file, given what is said of it as text and what it can be compared with. What is given wins."""


@overload
async def add(
    path: str | os.PathLike[str],
    *,
    client: StorageClient | None = ...,
    asset: str | type[Asset] | None = ...,
    in_place: bool = ...,
    public: bool | None = ...,
    force: bool = ...,
    **keyvalues: Any,
) -> Asset: ...


@overload
async def add(
    path: Sequence[str | os.PathLike[str]],
    *,
    client: StorageClient | None = ...,
    asset: str | type[Asset] | None = ...,
    in_place: bool = ...,
    public: bool | None = ...,
    force: bool = ...,
    **keyvalues: Any,
) -> list[Asset]: ...


async def add(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    client: StorageClient | None = None,
    asset: str | type[Asset] | None = None,
    in_place: bool = False,
    public: bool | None = None,
    force: bool = False,
    **keyvalues: Any,
) -> Asset | list[Asset]:
    """Register a file with what it is, as `stargazer add` does; of several, all or none.

        >>> reference = await add("GRCh38.fa", build="GRCh38")
        >>> alignment = await add("NA12878.bam", reference_cid=reference)
        >>> first, second = await add(["NA12878_R1.fq.gz", "NA12878_R2.fq.gz"], sample="NA12878")

    Args:
        path: of the file, or paths of several, which are checked against one another; each of `keyvalues` goes to
            those whose type has the field. A folder of Cell Ranger (matrix, barcodes, features) is one `tenx_mtx`.
        client: of the store; the current one by default.
        asset: the type; by default it is read off the names, and first and second reads whose names differ in nothing
            but 1 and 2 are linked.
        in_place: do not copy: the store points at the file, which must stay where and as it is.
        public: on the public network, if the client has one; as the settings say by default.
        force: register what a check refuses; provenance says why it was refused.
        keyvalues: the fields, as values or texts; what a BAM, CRAM, VCF, BCF, h5ad or .dict says of itself need not be
            given.

    Returns:
        The stored asset; of several paths, those of all files.

    Raises:
        InvalidAssetError: a type that cannot be guessed, a field that no file's type has, a missing or wrong value.
        AssetNotFoundError: a link points at no registered file of its type.
        FormatError: a file is missing, not of its type, or contradicts what is said of it.
        StorageError: the store cannot take it.
    """
    import asyncio  # here: the command line starts without it

    from stargazer.storage.client import StoreClient

    found = current_client(client)
    if not isinstance(found, StoreClient):
        raise ConfigurationError(f"{type(found).__name__} has no store on this machine: use its upload_file")
    store = found.store
    paths = [Path(path)] if isinstance(path, str | os.PathLike) else [Path(each) for each in path]
    pairs = {
        key: value.cid if isinstance(value, Asset) and value.cid else value  # what a link is to point at
        for key, value in keyvalues.items()
        if value is not None
    }
    if asset is not None:
        pairs["asset"] = asset if isinstance(asset, str) else asset.asset_key

    def register() -> list[IpFile]:
        items = additions_of(paths, pairs, store, in_place=in_place, public=public, force=force)
        with packed(items, store) as files:
            return store.add(files)

    stored = [Asset.from_record(record) for record in await asyncio.to_thread(register)]
    return stored[0] if isinstance(path, str | os.PathLike) else stored


def additions_of(
    paths: Sequence[Path],
    pairs: Mapping[str, Any],
    store: Store,
    *,
    there: bool = True,
    in_place: bool = False,
    public: bool | None = None,
    force: bool = False,
) -> list[Addition]:
    """What to register of these files.

    Each pair goes to the files whose type knows the key. Without `asset`, types are read off the names, and first
    and second reads whose names differ in nothing but 1 and 2 are linked. What a file says of itself (the sample of an
    alignment) need not be among the pairs. A folder that is one asset is to be packed then (`packed`).

    Args:
        there: they are on this machine (a file to be downloaded is not yet).
        in_place, public, force: of each of them (see `Addition`).

    Raises:
        FormatError: a file is missing, or a folder that is no asset.
        InvalidAssetError: a type that cannot be guessed, a key that no file's type knows, a missing or wrong value that
            the file does not say either; one file twice.
        AssetNotFoundError: a link points at a file of the wrong type, or at none.
    """
    if there:
        _refuse_twice(paths)
    folders = {path: folder_type(path) for path in paths if there and path.is_dir()}
    for path in paths if there else ():
        if path not in folders:
            status_of(path)
    pairs = dict(pairs)
    named = pairs.pop("asset", None)
    classes = {path: asset_class(named or folders.get(path) or guess_type(path.name)) for path in paths}
    for path in folders:
        if classes[path].asset_key != folders[path]:
            raise FormatError(f"{str(path)!r} is a folder, a {folders[path]} as it looks: leave asset= out")
        if in_place:
            raise FormatError(
                f"{str(path)!r} is a folder, which is packed into one file: it cannot stay in place"
            )
    kinds = list(dict.fromkeys(classes.values()))
    check_pairs(kinds, pairs, store)
    first_of = {cls: path for path, cls in reversed(classes.items())}
    meant = {cls: _asset(cls, first_of[cls], pairs) for cls in kinds}  # the words are read once for all files
    assets = {path: meant[cls].copy() for path, cls in classes.items()}
    if there:
        _add_fields(assets, dict.fromkeys(assets, pairs), store, forced=paths if force else ())
    if named is None and "r1_cid" not in pairs:
        for second, first in mates(paths).items():
            assets[second].r1_cid = assets[first]  # type: ignore[attr-defined]
    return [
        Addition(path, asset, in_place=in_place, public=public, force=force) for path, asset in assets.items()
    ]


def additions_of_each(
    said: Mapping[Path, Mapping[str, Any]], store: Store, *, forced: Collection[Path] = ()
) -> list[Addition]:
    """What to register of files of this machine of each of which something else is said, `asset` among it.

    They may go together: second reads are linked to the first, and an index to its file, where their names say so and
    nothing else is said.

    Args:
        forced: those that are registered even if they do not fit what is said of them.

    Raises:
        FormatError, InvalidAssetError, AssetNotFoundError: as `additions_of`.
    """
    paths = list(said)
    _refuse_twice(paths)
    for path in paths:
        status_of(path)
    pairs = {path: {key: value for key, value in said[path].items() if key != "asset"} for path in paths}
    classes = {path: asset_class(said[path].get("asset") or guess_type(path.name)) for path in paths}
    targets: dict[Path, tuple[str, Path]] = {}
    for path, target in (mates(paths) | primaries(paths)).items():
        link = f"{classes[target].asset_key}_cid"
        if link in classes[path].links() and link not in pairs[path]:
            targets[path] = link, target
    assets = {}
    for path, cls in classes.items():
        check_pairs([cls], pairs[path], store)
        pending = {targets[path][0]: "..."} if path in targets else {}
        assets[path] = _asset(cls, path, pairs[path] | pending)
    _add_fields(assets, pairs, store, forced=forced)
    for path, (link, target) in targets.items():
        setattr(assets[path], link, assets[target])
    return [Addition(path, asset, force=path in forced) for path, asset in assets.items()]


def fields_in(path: Path, kind: str, store: Store) -> dict[str, str]:
    """The fields that a file says itself, as text; none where it cannot be read as what it is said to be."""
    cls = asset_class(kind)
    read = _reader(tuple(getattr(base, "asset_key", "") for base in cls.__mro__)) if cls.in_file else None
    if read is None:
        return {}
    try:
        found = read(path, {}, _lookup({}, store))
    except StargazerError:
        return {}
    texts = {key: value.cid if isinstance(value, Asset) else value for key, value in found.items()}
    return {key: value for key, value in texts.items() if value and key in cls.fields()}


def _refuse_twice(paths: Sequence[Path]) -> None:
    """Refuse one file that is given twice, by whichever names: another one was meant, such as its mate."""
    seen: dict[str, Path] = {}
    for path in paths:
        first = seen.setdefault(os.path.realpath(path), path)
        if first is not path:
            same = "" if first == path else f", which is {str(first)!r}"
            raise InvalidAssetError(
                f"{str(path)!r}{same}: this file is given twice; give each file once, and of reads r1 and r2"
            )


def _add_fields(
    assets: dict[Path, Asset],
    pairs: Mapping[Path, Mapping[str, Any]],
    store: Store,
    *,
    forced: Collection[Path] = (),
) -> None:
    """Let assets have the fields that their files say and nobody gave."""
    paths = [path for path, asset in assets.items() if asset.in_file]
    if not paths:
        return
    lookup = _lookup(assets, store)
    for path in paths:
        cls = type(assets[path])
        read = _reader(tuple(getattr(base, "asset_key", "") for base in cls.__mro__))
        try:
            said = read(path, _given(cls, pairs[path]), lookup) if read else {}
        except FormatError:
            check_files([Addition(path, assets[path])])  # this may know better what is wrong
            if path not in forced:
                raise
            said = {}
        assets[path] = _asset(
            cls, path, pairs[path], {key: value for key, value in said.items() if key in cls.fields()}
        )


def _lookup(assets: Mapping[Path, Asset], store: Store) -> Lookup:
    """What files can be compared with: this machine's records; no account is asked, and no store is made."""
    return Lookup(
        [Addition(path, asset) for path, asset in assets.items()],
        lambda pairs: store.query_here(pairs) if store.exists() else [],
    )


def _given(cls: type[Asset], pairs: Mapping[str, Any]) -> dict[str, str]:
    return {key: field_text(cls, key, value) for key, value in pairs.items() if cls.takes(key)}


def _asset(cls: type[Asset], path: Path, pairs: Mapping[str, Any], said: Values | None = None) -> Asset:
    """An asset with what is given and what its file says.

    Args:
        said: by the file; None if it was not asked, so that what it may say need not be given.
    """
    known = _given(cls, pairs)
    if said is None:
        required = [name for name in cls.in_file if cls.fields()[name].default is attrs.NOTHING]
        known = dict.fromkeys(required, "...") | known
    links = {
        key: value for key, value in (said or {}).items() if isinstance(value, Asset) and key not in known
    }
    texts = {key: value for key, value in (said or {}).items() if isinstance(value, str)}
    known = dict.fromkeys(links, "...") | texts | known
    try:
        asset = cls.from_keyvalues(known)
    except InvalidAssetError as error:
        raise InvalidAssetError(f"{path.name!r}: {error}") from None
    for link, target in links.items():
        setattr(asset, link, target.cid or target)
    return asset


def field_text(cls: type[Asset], key: str, value: Any) -> str:
    """A value in the type's text form: a typed one is written so; in a text, a list may be written with commas.

    Raises:
        InvalidAssetError: a value that is no text is not of the field's type either.
    """
    hint = hints_of(cls).get(key, str)  # a key of somebody's own takes text
    if not isinstance(value, str):
        try:
            return encode(value, hint)
        except InvalidAssetError as error:
            raise InvalidAssetError(f"{cls.asset_key}: {key}: {error}") from None
    if get_origin(plain(hint)) is list and not value.startswith("["):
        import json

        return json.dumps(value.split(",") if value else [])
    return value


def check_pairs(kinds: Sequence[type[Asset]], pairs: Mapping[str, Any], store: Store) -> None:
    """Refuse keys that none of some types has, and links that point at no registered file of their type.

    Raises:
        InvalidAssetError: the first, or a link that is no CID.
        AssetNotFoundError: the second.
    """
    for key in pairs:
        if not any(cls.takes(key) for cls in kinds):
            raise InvalidAssetError("\n".join(unknown_key(cls, key) for cls in kinds))
    for cls in kinds:
        for name, link in cls.links().items():
            cid, wanted = pairs.get(name), link.target.asset_key
            if cid is None:
                continue
            title = f"{cls.asset_key}: {name}"
            if not (isinstance(cid, str) and is_cid(cid)):
                raise InvalidAssetError(f"{title}: expected the CID of a {wanted}, got {cid!r}")
            if not store.query({"cid": cid, "asset": wanted}):
                raise AssetNotFoundError(
                    f"{title}: no {wanted} {cid} is registered; `stargazer query asset={wanted}` lists them"
                )


@functools.cache
def _reader(keys: tuple[str, ...]) -> Reader | None:
    """What reads the fields of a type from its files, if that is installed, by its key and those of what it extends."""
    from importlib.metadata import entry_points  # here: it takes a while to import

    registered = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    entry = next((registered[key] for key in keys if key in registered), None)
    return entry.load() if entry else None
