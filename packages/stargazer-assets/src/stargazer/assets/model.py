"""`Asset`, the base of all asset types: a file with typed fields; `@asset`, which registers one; the types by key."""

from __future__ import annotations

import difflib
import functools
import importlib
import sys
import uuid
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, cast, dataclass_transform

import attrs
from stargazer.assets.candidates import describe_ambiguous, describe_missing
from stargazer.assets.client import IpFile, StorageClient, current_client
from stargazer.assets.declaration import (
    BASE_FIELDS,
    MAX_KEYVALUES,
    AssetLink,
    LinkKind,
    check_declaration,
    columns_of,
    define,
    hints_of,
    is_free_key,
    resolve_annotations,
    unknown_key,
)
from stargazer.assets.errors import (
    AmbiguousAssetError,
    AssetNotFoundError,
    FormatError,
    InvalidAssetError,
    StargazerError,
    StorageError,
)
from stargazer.assets.filters import Filters
from stargazer.assets.formats.compression import first_bytes
from stargazer.assets.keyvalues import MOST_NAME, check_text, composed, decode, encode

__all__ = ["REGISTRY", "Asset", "asset", "asset_class", "companions_of", "fetch", "load_asset_types"]

ENTRY_POINT_GROUP = "stargazer.assets"
CATALOGUE = "stargazer.assets.catalogue"  # our own types: a module that imports this one
FORMATS = {
    "bam": ("alignment",), "cram": ("alignment",), "sam": ("alignment",), "bai": ("alignment_index",),
    "bcf": ("variants",), "bed": ("intervals",), "fa": ("reference",), "fai": ("reference_index",),
    "fasta": ("reference",), "fastq": ("r1", "r2"), "fq": ("r1", "r2"), "gvcf": ("variants",), "h5": ("tenx_h5",),
    "h5ad": ("anndata",), "reads": ("r1", "r2"), "tbi": ("variants_index",), "vcf": ("variants",),
}  # fmt: skip
"""Formats of files that people name where a type is asked for, with the types that have them."""

REGISTRY: dict[str, type[Asset]] = {}

A = TypeVar("A", bound="Asset")
C = TypeVar("C", bound=type)


@define
class Asset:
    """A file of a known type.

    Attributes:
        cid: content identifier of the bytes; None until stored.
        path: where the bytes are on this machine; never part of the asset's identity.
        provenance_cid: the provenance record that says how it was made; set by the store.
        record: the store's entry it was read from, if it was.
        extra: metadata of an asset read with an unknown type or malformed fields, as text; and the keys of somebody's
            own, where the type takes such.
    """

    asset_key: ClassVar[str] = ""
    suffix: ClassVar[str | Mapping[bytes, str]] = ""
    check: ClassVar[Callable[[Path], None] | None] = None
    folder: ClassVar[bool] = False
    in_file: ClassVar[tuple[str, ...]] = ()
    free_keys: ClassVar[bool] = False

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
    def links(cls) -> dict[str, AssetLink]:
        """The declared links by field name."""
        return {column.name: column.link for column in columns_of(cls) if column.link}

    @classmethod
    def takes(cls, key: str) -> bool:
        """Whether assets of this class may have a value under a key."""
        return key in cls.fields() or (cls.free_keys and is_free_key(cls, key))

    @property
    def keyvalues(self) -> dict[str, str]:
        """The flat metadata that the store keeps.

        Raises:
            InvalidAssetError: a field's value is not of its type, a link points at an asset that has no CID
                yet, or there is more metadata than can be stored.
        """
        if self.asset_key:
            self._check_extra()
        pairs = {"asset": self.asset_key} if self.asset_key else dict(self.extra)
        for name, hint, link, optional in columns_of(type(self)):
            value = getattr(self, name)
            if value is None and optional:
                continue
            try:
                pairs[name] = encode(_link_target(value, link), hint)
            except InvalidAssetError as error:
                raise InvalidAssetError(f"{self.asset_key}: {name}: {error}") from None
        if self.asset_key:
            pairs.update({key: composed(text) for key, text in self.extra.items()})
        if self.provenance_cid:
            pairs["provenance_cid"] = self.provenance_cid
        if len(pairs) > MAX_KEYVALUES and self.record is None:
            raise InvalidAssetError(
                f"{self.asset_key or 'asset'}: {len(pairs)} metadata pairs, at most {MAX_KEYVALUES} can be stored"
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
            elif cls.takes(key):
                values["extra"] = {**values.get("extra", {}), key: composed(text)}
            else:
                raise InvalidAssetError(unknown_key(cls, key))
        required = [name for name, field in fields.items() if field.default is attrs.NOTHING]
        if missing := [name for name in required if name not in values]:
            needed = " ".join(f"{name}=..." for name in missing)
            raise InvalidAssetError(f"{cls.asset_key} needs {', '.join(missing)}: give {needed}")
        try:
            made = cls(**values)
        except InvalidAssetError:
            raise
        except (TypeError, ValueError, LookupError) as error:  # of a validator that is not ours
            raise InvalidAssetError(f"{cls.asset_key}: {error}") from error
        made._check_extra()
        return made

    @classmethod
    def from_record(cls, record: IpFile) -> Asset:
        """The asset of a store's entry; an untyped one, with a warning, if its type is unknown or it is malformed."""
        key = record.keyvalues.get("asset", "")
        try:
            kind = cls if cls.asset_key and cls.asset_key == key else asset_class(key)
        except (InvalidAssetError, TypeError):  # said once, not of every record
            said = f"unknown asset type {key!r}: what is registered as that is read untyped"
            warnings.warn(said, stacklevel=2)
            return cls.untyped(record)
        try:
            return kind.from_keyvalues(record.keyvalues, cid=record.cid, path=record.path, record=record)
        except (InvalidAssetError, TypeError) as error:
            warnings.warn(f"record {record.id or record.cid}: {error}", stacklevel=2)
            return cls.untyped(record)

    @staticmethod
    def untyped(record: IpFile) -> Asset:
        """The bare Asset of a store's entry: its metadata is in `extra`, as text."""
        made, pairs = record.keyvalues.get("provenance_cid"), dict(record.keyvalues)
        pairs.pop("provenance_cid", None)
        return Asset(cid=record.cid, path=record.path, record=record, provenance_cid=made, extra=pairs)

    def evolve(self, **changes: Any) -> Self:
        """A new asset with these fields changed, not yet stored: bytes and provenance are its own."""
        return self.copy(**{"cid": None, "path": None, "provenance_cid": None, "record": None, **changes})

    def copy(self, **changes: Any) -> Self:
        """The same asset with some attributes changed, such as its path."""
        return cast(Self, attrs.evolve(cast(Any, self), **changes))

    def _check_extra(self) -> None:
        """Refuse keys that the class does not take, and values that cannot be seen."""
        for key, text in self.extra.items():
            if not (self.free_keys and is_free_key(type(self), key)):
                raise InvalidAssetError(unknown_key(type(self), key))
            try:
                encode(text, str)
            except InvalidAssetError as error:
                raise InvalidAssetError(f"{self.asset_key}: {key}: {error}") from None
            check_text(self.asset_key, key, text, is_stored=self.record is not None)
            if len(text) > MOST_NAME and self.record is None:
                said = f"{len(text):,} characters, at most {MOST_NAME}: write it in the notes"
                raise InvalidAssetError(f"{self.asset_key}: {key}: {said}")

    def resolve_links(self) -> None:
        """Replace assets that links point at by their CIDs, now that those are stored."""
        for name in self.links():
            target = getattr(self, name)
            if isinstance(target, Asset) and target.cid:
                setattr(self, name, target.cid)

    def values(self) -> dict[str, Any]:
        """The typed fields that are no links, and keys of somebody's own: with the CID, what a result depends on."""
        own = {name: getattr(self, name) for name in self.fields() if name not in self.links()}
        return {**own, **self.extra} if self.free_keys else own

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

    def path_beside(self, primary: Path) -> Path:
        """Where tools look for this companion: `x.bam.bai` for `x.bam`; `x.dict` for `x.fa` (suffix `^.dict`)."""
        suffix = self.own_suffix()
        if not suffix.startswith("^"):
            return primary.with_name(primary.name + suffix)
        return primary.with_name(Path(primary.name.removesuffix(".gz")).stem + suffix[1:])

    @classmethod
    async def one(cls, *, client: StorageClient | None = None, latest: bool = False, **filters: Any) -> Self:
        """The one stored asset of this class that the filters select; with `latest`, the newest of several.

        Raises:
            AssetNotFoundError: none; the message says what there is instead.
            AmbiguousAssetError: several; the message lists them with what separates them, and the filter to add.
            InvalidAssetError: a filter the type does not know, or a value that its field does not take.
        """
        found = await cls.all(client=client, **filters)
        if len(found) == 1 or (found and latest):
            return found[-1]
        kind, client = cls.asset_key, current_client(client)
        if found:
            raise AmbiguousAssetError(await describe_ambiguous(kind, filters, found, client))
        raise AssetNotFoundError(describe_missing(kind, filters, await cls.all(client=client)))

    @classmethod
    async def all(cls, *, client: StorageClient | None = None, **filters: Any) -> list[Self]:
        """All stored assets of this class that the filters select, oldest first; of `Asset` itself, all records.

        Raises:
            InvalidAssetError: a filter the type does not know, or a value that its field does not take.
        """
        wanted, client = Filters(cls, filters), current_client(client)
        return wanted.select([r for pairs in wanted.asked for r in await client.query_files(pairs)])

    async def fetch(self, folder: Path | None = None, *, client: StorageClient | None = None) -> Self:
        """This asset with its verified bytes on this machine, its companions beside it as tools expect them.

        Args:
            folder: where links to the store's read-only files are laid; the client's view of this CID by default.
            client: the store to fetch from; the current one by default.

        Returns:
            The asset with `path` set.

        Raises:
            AssetNotFoundError: it has no CID yet.
            StorageError: the store cannot give its verified bytes, or `folder` has another file of that name.
        """
        if not self.cid:
            raise AssetNotFoundError(
                f"this {self.asset_key or 'asset'} has no CID: store it before fetching it"
            )
        client = current_client(client)
        view = client.views / self.cid if folder is None else folder
        view.mkdir(parents=True, exist_ok=True)
        stored = await client.download_file(self.record or IpFile(cid=self.cid))
        path = view / self.copy(path=stored.path).file_name(self.asset_key or "asset")
        _lay_link(path, stored.path, replace=folder is None)
        for companion in await self.companions(client=client):
            _lay_link(companion.path_beside(path), companion.path, replace=folder is None)
        return self.copy(path=path)

    async def companions(self, *, client: StorageClient | None = None) -> list[Asset]:
        """One companion of each type, the oldest whose verified bytes are here, else can be had, with `path` set."""
        client = current_client(client)
        found: list[Asset] = []
        for cls, link in companions_of(type(self)):
            records = await client.query_files({"asset": cls.asset_key, link: self.cid or ""})
            for record in sorted(records, key=lambda record: record.path is None):
                companion = cls.from_record(record)
                if not isinstance(companion, cls):  # malformed: from_record has said so
                    continue
                try:
                    stored = await client.download_file(record)
                except StargazerError as error:
                    # its place is this one, whoever asks: it is said once
                    warnings.warn(f"skipping a {cls.asset_key} of {self.cid}: {error}", stacklevel=1)
                    continue
                found.append(companion.copy(path=stored.path))
                break
        return found


@dataclass_transform(kw_only_default=True, field_specifiers=(attrs.field,))
def asset(
    key: str,
    *,
    suffix: str | Mapping[bytes, str] | None = None,
    check: Callable[[Path], None] | None = None,
    folder: bool | None = None,
    in_file: tuple[str, ...] | None = None,
    free_keys: bool | None = None,
) -> Callable[[C], C]:
    """Make a class an asset type and register it under `key`; done again, as in a notebook cell, it replaces the class.

        @asset("panel", suffix=".tsv")
        class GenePanel(Asset):
            name: str
            build: str = "GRCh38"

    Args:
        key: its name in metadata and queries.
        suffix: what its files are called, beginning with a dot, or first bytes -> suffix, tried in order on
            the bytes as they are and decompressed; b"" stands for all others. For a companion that replaces
            its primary's suffix (x.fa, x.dict) the suffix begins with `^`.
        check: looks at head and tail of a file that is registered, and raises FormatError.
        folder: the file is an uncompressed tar of a folder.
        in_file: fields that files of this type say themselves, so that they need not be given when one is added.
        free_keys: an asset may have keys of somebody's own beside its fields, with text (`Asset.extra`).

    What is not given is inherited from the class that this one extends.

    Raises:
        InvalidAssetError: a field's name is reserved or its type has no text form, a link's name does not
            follow from what it points at, or there are too many fields.
    """

    def register(cls: C) -> C:
        made: Any = define(cls)
        checks = staticmethod(check) if check else None
        given = {
            "asset_key": key,
            "suffix": suffix,
            "check": checks,
            "folder": folder,
            "in_file": in_file,
            "free_keys": free_keys,
        }
        for name, value in given.items():
            if value is not None:
                setattr(made, name, value)
        resolve_annotations(made, sys._getframe(1).f_locals)
        check_declaration(key, made, Asset)
        REGISTRY[key] = made
        return cast(C, made)

    return register


async def fetch(asset: A, folder: Path | None = None, *, client: StorageClient | None = None) -> A:
    """An asset with its verified bytes on this machine, its companions beside it: see `Asset.fetch`."""
    return await asset.fetch(folder, client=client)


def asset_class(key: str) -> type[Asset]:
    """The class registered under a key; distributions that provide asset types are looked through once.

    Raises:
        InvalidAssetError: no such type; the message names the nearest ones.
    """
    if key not in REGISTRY:
        importlib.import_module(CATALOGUE)
    if key not in REGISTRY:
        load_asset_types()
    if key not in REGISTRY:
        if meant := FORMATS.get(str(key).lower().removesuffix(".gz").lstrip(".")):
            raise InvalidAssetError(f"unknown asset type {key!r}; did you mean {' or '.join(meant)}?")
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


@functools.cache
def load_asset_types() -> None:
    """Import, once, our own asset types and the modules in which installed distributions declare theirs."""
    from importlib.metadata import entry_points

    importlib.import_module(CATALOGUE)
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            entry.load()
        except Exception as error:  # somebody else's code: it must not make every store unreadable
            warnings.warn(f"the asset types of {entry.value} could not be loaded: {error!r}", stacklevel=2)


def _link_target(value: Any, link: AssetLink | None) -> Any:
    """The CID of a linked asset; any other value as it is."""
    if link is None or not isinstance(value, Asset):
        return value
    if link.target.asset_key not in [getattr(base, "asset_key", "") for base in type(value).__mro__]:
        got = value.asset_key or "unknown"
        raise InvalidAssetError(f"expected an asset of type {link.target.asset_key}, got one of type {got}")
    if not value.cid:
        raise InvalidAssetError(f"points at a {value.asset_key} that is not stored yet")
    return value.cid


def _lay_link(path: Path, file: Path | None, *, replace: bool) -> None:
    """A symbolic link at `path` to a file of the store; another file there stays, unless `replace`.

    Raises:
        StorageError: another file is there, or the link cannot be made.
    """
    if file is None:
        raise StorageError(f"the store gave no file for {path.name!r}")
    target = file.absolute()
    try:
        path.symlink_to(target)
    except FileExistsError:
        if path.resolve() == target.resolve():
            return
        if not replace and path.exists():
            raise StorageError(f"{str(path)!r} is another file: fetch into a folder of its own") from None
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        temporary.symlink_to(target)
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"cannot lay out {path.name!r} in {str(path.parent)!r}: {error.strerror}"
        ) from error
