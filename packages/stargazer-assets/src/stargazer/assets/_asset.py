"""The Asset: a typed file, identified by its content; and the registry of asset classes.

    @asset("panel", suffix=".tsv")
    class GenePanel(Asset):
        name: str
        build: str = "GRCh38"

registers a class, also from a notebook cell (running the cell again replaces it).
"""

from __future__ import annotations

import difflib
import functools
import importlib
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, cast, dataclass_transform

import attrs
from attrs.converters import pipe
from stargazer.assets.client import IpFile, StorageClient, record_id
from stargazer.assets.declaring import MAX_KEYVALUES, check_declaration, columns_of, hints_of, unknown_key
from stargazer.assets.errors import FormatError, InvalidAssetError, StorageError
from stargazer.assets.formats.heads import first_bytes
from stargazer.assets.keyvalues import composed, decode, encode
from stargazer.assets.links import Link, LinkKind

__all__ = ["MAX_KEYVALUES", "REGISTRY", "Asset", "asset", "asset_class", "companions_of", "load_asset_types",
           "record_id"]  # fmt: skip

BASE_FIELDS = frozenset({"cid", "path", "provenance_cid", "record", "extra"})

ENTRY_POINT_GROUP = "stargazer.assets"

REGISTRY: dict[str, type[Asset]] = {}


C = TypeVar("C", bound=type)


@dataclass_transform(kw_only_default=True, field_specifiers=(attrs.field,))
def _attributes(cls: C) -> C:
    return attrs.define(kw_only=True, slots=False, field_transformer=_composing)(cls)


def _composing(cls: type, fields: list[attrs.Attribute[Any]]) -> list[attrs.Attribute[Any]]:
    """The fields of a class; its own take text in one normal form of Unicode, however it was typed."""
    return [
        field
        if field.name in BASE_FIELDS or field.inherited  # type: ignore[attr-defined]
        else field.evolve(converter=pipe(field.converter, composed) if field.converter else composed)
        for field in fields
    ]


@_attributes
class Asset:
    """A file of a known type.

    Attributes:
        cid: content identifier of the bytes; None until stored.
        path: where the bytes are on this machine; never part of the asset's identity.
        provenance_cid: the provenance record that says how it was made; set by the store.
        record: the store's entry it was read from, if it was.
        extra: metadata of an asset read with an unknown type or malformed fields, as text.
    """

    asset_key: ClassVar[str] = ""
    suffix: ClassVar[str | Mapping[bytes, str]] = ""
    check: ClassVar[Callable[[Path], None] | None] = None
    folder: ClassVar[bool] = False

    cid: str | None = None
    path: Path | None = attrs.field(default=None, eq=False)
    provenance_cid: str | None = attrs.field(default=None, eq=False)
    record: IpFile | None = attrs.field(default=None, eq=False, repr=False)
    extra: Mapping[str, str] = attrs.field(factory=dict, repr=False)

    @classmethod
    def fields(cls) -> dict[str, attrs.Attribute[Any]]:
        """The class's own fields by name, links included."""
        return {field.name: field for field in attrs.fields(cast(Any, cls)) if field.name not in BASE_FIELDS}

    @classmethod
    def links(cls) -> dict[str, Link]:
        """The declared links by field name."""
        return {column.name: column.link for column in columns_of(cls) if column.link}

    @property
    def keyvalues(self) -> dict[str, str]:
        """The flat metadata that the store keeps.

        Raises:
            InvalidAssetError: a field's value is not of its type, a link points at an asset that has no CID
                yet, or there is more metadata than can be stored.
        """
        if self.asset_key and self.extra:
            raise InvalidAssetError(unknown_key(type(self), next(iter(self.extra))))
        pairs = {"asset": self.asset_key} if self.asset_key else dict(self.extra)
        for name, hint, link, optional in columns_of(type(self)):
            value = getattr(self, name)
            if value is None and optional:
                continue
            try:
                pairs[name] = encode(_link_target(value, link), hint)
            except InvalidAssetError as error:
                raise InvalidAssetError(f"{self.asset_key}: {name}: {error}") from None
        if self.provenance_cid:
            pairs["provenance_cid"] = self.provenance_cid
        if len(pairs) > MAX_KEYVALUES and self.record is None:
            title = self.asset_key or "asset"
            raise InvalidAssetError(
                f"{title}: {len(pairs)} metadata pairs, at most {MAX_KEYVALUES} can be stored"
            )
        return pairs

    @classmethod
    def from_keyvalues(cls, keyvalues: Mapping[str, str], **base: Any) -> Self:
        """An asset of this class from text pairs, strictly.

        Raises:
            InvalidAssetError: an unknown, reserved or missing key, or a value that its field does not take.
        """
        fields, hints, values = cls.fields(), hints_of(cls), dict(base)
        for key, text in keyvalues.items():
            if key == "asset":
                if text != cls.asset_key:
                    raise InvalidAssetError(f"asset is {text!r}, expected {cls.asset_key!r}")
            elif key in fields or key == "provenance_cid":
                try:
                    values[key] = decode(text, hints[key])
                except InvalidAssetError as error:
                    raise InvalidAssetError(f"{cls.asset_key}: {key}: {error}") from None
            else:
                raise InvalidAssetError(unknown_key(cls, key))
        missing = [
            name for name, field in fields.items() if field.default is attrs.NOTHING and name not in values
        ]
        if missing:
            needed = " ".join(f"{name}=..." for name in missing)
            raise InvalidAssetError(f"{cls.asset_key} needs {', '.join(missing)}: give {needed}")
        try:
            return cls(**values)
        except InvalidAssetError:
            raise
        except (TypeError, ValueError, LookupError) as error:  # of a validator that is not ours
            raise InvalidAssetError(f"{cls.asset_key}: {error}") from error

    @classmethod
    def from_record(cls, record: IpFile) -> Asset:
        """The asset of a store's entry; an untyped one, with a warning, if its type is unknown or it is malformed."""
        key = record.keyvalues.get("asset", "")
        try:
            kind = cls if cls.asset_key and cls.asset_key == key else asset_class(key)
        except (InvalidAssetError, TypeError):  # said once, not of every record
            warnings.warn(
                f"unknown asset type {key!r}: what is registered as that is read untyped", stacklevel=2
            )
            return cls.untyped(record)
        try:
            return kind.from_keyvalues(record.keyvalues, cid=record.cid, path=record.path, record=record)
        except (InvalidAssetError, TypeError) as error:
            warnings.warn(f"record {record.id or record.cid}: {error}", stacklevel=2)
            return cls.untyped(record)

    @staticmethod
    def untyped(record: IpFile) -> Asset:
        """The bare Asset of a store's entry: its metadata is in `extra`, as text."""
        pairs = dict(record.keyvalues)
        provenance_cid = pairs.pop("provenance_cid", None)
        return Asset(
            cid=record.cid, path=record.path, record=record, provenance_cid=provenance_cid, extra=pairs
        )

    def evolve(self, **changes: Any) -> Self:
        """A new asset with these fields changed, not yet stored: bytes and provenance are its own."""
        return self.copy(**{"cid": None, "path": None, "provenance_cid": None, "record": None, **changes})

    def copy(self, **changes: Any) -> Self:
        """The same asset with some attributes changed, such as its path."""
        return cast(Self, attrs.evolve(cast(Any, self), **changes))

    def settle_links(self) -> None:
        """Replace assets that links point at by their CIDs, now that those are stored."""
        for name in self.links():
            target = getattr(self, name)
            if isinstance(target, Asset) and target.cid:
                setattr(self, name, target.cid)

    def values(self) -> dict[str, Any]:
        """The typed fields that are no links, by name: with the CID, what a computation can depend on."""
        return {name: getattr(self, name) for name in self.fields() if name not in self.links()}

    def own_suffix(self) -> str:
        """The suffix of this file, by its first bytes (raw or decompressed) where its type has several.

        Raises:
            FormatError: it begins with none of those that its type allows.
            StorageError: its file is gone.
        """
        if isinstance(self.suffix, str):
            return self.suffix
        try:
            heads = first_bytes(self.path) if self.path is not None else (b"", b"")
        except OSError as error:
            raise StorageError(f"{str(self.path)!r} cannot be read: {error.strerror}") from error
        for magic, suffix in self.suffix.items():
            if any(head.startswith(magic) for head in heads):
                return suffix
        magics = " or ".join(map(repr, self.suffix))
        raise FormatError(
            f"{self.asset_key}: expected a file that begins with {magics}, got {heads[0][:8]!r}"
        )

    def file_name(self, stem: str) -> str:
        """`stem` with the suffix of this file."""
        return stem + self.own_suffix().removeprefix("^")

    @classmethod
    async def one(cls, *, client: StorageClient | None = None, latest: bool = False, **filters: Any) -> Self:
        """The one stored asset of this class that the filters select: see `stargazer.assets.query.one`."""
        from stargazer.assets.query import one

        return await one(cls, client=client, latest=latest, **filters)

    @classmethod
    async def all(cls, *, client: StorageClient | None = None, **filters: Any) -> list[Self]:
        """All stored assets of this class that the filters select, oldest first."""
        from stargazer.assets.query import find

        return await find(cls, client=client, **filters)

    async def fetch(self, folder: Path | None = None, *, client: StorageClient | None = None) -> Self:
        """This asset with its verified bytes on disk, its companions beside it as tools expect them."""
        from stargazer.assets.fetching import fetch

        return await fetch(self, folder, client=client)


@dataclass_transform(kw_only_default=True, field_specifiers=(attrs.field,))
def asset(
    key: str,
    *,
    suffix: str | Mapping[bytes, str] | None = None,
    check: Callable[[Path], None] | None = None,
    folder: bool | None = None,
) -> Callable[[C], C]:
    """Make a class an asset type and register it under `key`.

    Args:
        key: its name in metadata and queries.
        suffix: what its files are called, beginning with a dot, or first bytes -> suffix, tried in order on
            the bytes as they are and decompressed; b"" stands for all others. For a companion that replaces
            its primary's suffix (x.fa, x.dict) the suffix begins with `^`.
        check: looks at head and tail of a file that is registered, and raises FormatError.
        folder: the file is an uncompressed tar of a folder.

    What is not given is inherited from the class that this one extends.

    Raises:
        InvalidAssetError: a field's name is reserved or its type has no text form, a link's name does not
            follow from what it points at, or there are too many fields.
    """

    def register(cls: C) -> C:
        made: Any = _attributes(cls)
        given = {"suffix": suffix, "check": staticmethod(check) if check else None, "folder": folder}
        for name, value in {"asset_key": key, **given}.items():
            if value is not None:
                setattr(made, name, value)
        hints_of(made, scope=sys._getframe(1).f_locals)
        check_declaration(key, made, Asset)
        REGISTRY[key] = made
        return cast(C, made)

    return register


def asset_class(key: str) -> type[Asset]:
    """The class registered under a key; distributions that provide asset types are looked through once.

    Raises:
        InvalidAssetError: no such type; the message names the nearest ones.
    """
    for load in (_load_catalogue, load_asset_types):
        if key not in REGISTRY:
            load()
    if key not in REGISTRY:
        near = difflib.get_close_matches(str(key), REGISTRY, n=3) or sorted(REGISTRY)
        raise InvalidAssetError(f"unknown asset type {key!r}; known: {', '.join(near)}")
    return REGISTRY[key]


def companions_of(cls: type[Asset]) -> list[tuple[type[Asset], str]]:
    """The asset types that accompany `cls` or what it extends, each with the name of its link."""
    keys = {base.asset_key for base in cls.__mro__ if issubclass(base, Asset) and base.asset_key}
    return [
        (other, name)
        for other in REGISTRY.values()
        for name, link in other.links().items()
        if link.kind is LinkKind.COMPANION and link.target.asset_key in keys
    ]


def _load_catalogue() -> None:
    importlib.import_module("stargazer.assets.catalogue")


@functools.cache
def load_asset_types() -> None:
    """Import, once, the catalogue and the modules that installed distributions declare asset types in."""
    from importlib.metadata import entry_points

    _load_catalogue()
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            entry.load()
        except Exception as error:  # somebody else's code: it must not make every store unreadable
            warnings.warn(f"the asset types of {entry.value} could not be loaded: {error!r}", stacklevel=2)


def _link_target(value: Any, link: Link | None) -> Any:
    """The CID of a linked asset; any other value as it is."""
    if link is None or not isinstance(value, Asset):
        return value
    if link.target.asset_key not in [getattr(base, "asset_key", "") for base in type(value).__mro__]:
        got = value.asset_key or "unknown"
        raise InvalidAssetError(f"expected an asset of type {link.target.asset_key}, got one of type {got}")
    if not value.cid:
        raise InvalidAssetError(f"points at a {value.asset_key} that is not stored yet")
    return value.cid
