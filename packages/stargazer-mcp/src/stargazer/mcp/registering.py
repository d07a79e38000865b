"""From file names and key=value pairs to what the store registers."""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from stargazer.assets import (
    Asset,
    AssetNotFoundError,
    FormatError,
    InvalidAssetError,
    IpFile,
    asset_class,
    unknown_key,
)
from stargazer.mcp.guessing import guess_type, mates
from stargazer.storage import Addition, Lookup, Store, check_files, is_cid, refused
from stargazer.tasks.checks import References, Said, fields_of

__all__ = ["additions", "check_links", "field_text"]


def additions(
    paths: Sequence[Path],
    pairs: Mapping[str, str],
    store: Store,
    *,
    there: bool = True,
    in_place: bool = False,
    force: bool = False,
) -> list[Addition]:
    """What to register of these files.

    Each pair goes to the files whose type knows the key. Without `asset`, types are read off the names, and first
    and second reads whose names differ in nothing but 1 and 2 are linked. What a file says of itself (the sample of an
    alignment) need not be among the pairs.

    Args:
        there: they are on this machine (a file to be downloaded is not yet).
        in_place, force: of each of them (see `Addition`).

    Raises:
        FormatError: a file is missing, or a folder.
        InvalidAssetError: a type that cannot be guessed, a key that no file's type knows, a missing or wrong value that
            the file does not say either.
        AssetNotFoundError: a link points at a file of the wrong type, or at none.
    """
    for path in paths if there else ():
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            raise FormatError(f"no such file: {str(path)!r}") from None
        except OSError as error:
            raise FormatError(str(refused(error, path))) from error
        if stat.S_ISDIR(status.st_mode):
            raise FormatError(f"{str(path)!r} is a folder: give the files in it")
    pairs = dict(pairs)
    named = pairs.pop("asset", None)
    classes = {path: asset_class(named or guess_type(path.name)) for path in paths}
    kinds = list(dict.fromkeys(classes.values()))
    for key in pairs:
        if not any(key in cls.fields() for cls in kinds):
            raise InvalidAssetError("\n".join(unknown_key(cls, key) for cls in kinds))
    for cls in kinds:
        check_links(cls, pairs, store)
    first_of = {cls: path for path, cls in reversed(classes.items())}
    meant = {cls: _asset(cls, first_of[cls], pairs) for cls in kinds}  # the words are read once for all files
    assets = {path: meant[cls].copy() for path, cls in classes.items()}
    if there:
        _add_fields(assets, pairs, store, force=force)
    if named is None and "r1_cid" not in pairs:
        for second, first in mates(paths).items():
            assets[second].r1_cid = assets[first]  # type: ignore[attr-defined]
    return [
        Addition(path=path, asset=asset, name=_text(path.name), in_place=in_place, force=force)
        for path, asset in assets.items()
    ]


def _add_fields(assets: dict[Path, Asset], pairs: Mapping[str, str], store: Store, *, force: bool) -> None:
    """Let assets have the fields that their files say and nobody gave."""
    readers = {path: read for path, asset in assets.items() if (read := fields_of(type(asset)))}
    if not readers:
        return
    lookup = Lookup(
        [Addition(path, asset) for path, asset in assets.items()], functools.partial(_here, store)
    )
    references = References(lookup)
    for path, fields in readers.items():
        cls = type(assets[path])
        try:
            said = fields.read(path, _given(cls, pairs), references)
        except FormatError:
            check_files([Addition(path, assets[path])])  # this may know better what is wrong
            if not force:
                raise
            said = {}
        assets[path] = _asset(
            cls, path, pairs, {key: value for key, value in said.items() if key in cls.fields()}
        )


def _here(store: Store, pairs: dict[str, str]) -> list[IpFile]:
    """This machine's records: no account is asked, and no store is made."""
    return store.query_here(pairs) if store.exists() else []


def _given(cls: type[Asset], pairs: Mapping[str, str]) -> dict[str, str]:
    return {key: field_text(cls, key, value) for key, value in pairs.items() if key in cls.fields()}


def _asset(cls: type[Asset], path: Path, pairs: Mapping[str, str], said: Said | None = None) -> Asset:
    """An asset with what is given and what its file says.

    Args:
        said: by the file; None if it was not asked, so that what it may say need not be given.
    """
    known = _given(cls, pairs)
    if said is None and (fields := fields_of(cls)):
        known = dict.fromkeys(fields.required, "...") | known
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


def field_text(cls: type[Asset], key: str, value: str) -> str:
    """A value as the type's text form: a list may be written with commas."""
    from typing import get_origin

    from stargazer.assets import hints_of
    from stargazer.assets.keyvalues import plain

    if get_origin(plain(hints_of(cls)[key])) is list and not value.startswith("["):
        import json

        return json.dumps(value.split(",") if value else [])
    return value


def check_links(cls: type[Asset], pairs: Mapping[str, str], store: Store) -> None:
    """Raise where a link points at no registered file of its type."""
    for name, link in cls.links().items():
        cid, wanted = pairs.get(name), link.target.asset_key
        if cid is None:
            continue
        if not is_cid(cid):
            raise InvalidAssetError(f"{cls.asset_key}: {name}: expected the CID of a {wanted}, got {cid!r}")
        if not store.query({"cid": cid, "asset": wanted}):
            raise AssetNotFoundError(f"{cls.asset_key}: {name}: no {wanted} {cid} is registered; "
                                     f"`stargazer query asset={wanted}` lists them")  # fmt: skip


def _text(name: str) -> str:
    """A file name as valid text: bytes that are no UTF-8 are escaped."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
