"""The Asset: a typed file, identified by its content; and the registry of asset classes.

    @asset("panel", suffix=".tsv")
    class GenePanel(Asset):
        name: str
        build: str = "GRCh38"

registers a class, also from a notebook cell (running the cell again replaces it).
"""

from __future__ import annotations

import difflib
import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform, get_type_hints

import attrs

from stargazer.assets.client import IpFile, StorageClient
from stargazer.assets.errors import InvalidAssetError
from stargazer.assets.keyvalues import decode, encode
from stargazer.assets.links import Link, LinkKind, link_of

__all__ = ["MAX_KEYVALUES", "REGISTRY", "Asset", "asset", "asset_class", "record_id"]

MAX_KEYVALUES = 10  # Pinata's limit for one file
BASE_FIELDS = frozenset({"cid", "path", "provenance_cid", "record", "extra"})

REGISTRY: dict[str, type[Asset]] = {}


@attrs.define(kw_only=True, slots=False)
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
        return {field.name: field for field in attrs.fields(cls) if field.name not in BASE_FIELDS}

    @classmethod
    def links(cls) -> dict[str, Link]:
        """The declared links by field name."""
        hints = _hints(cls)
        found = {name: link_of(hints[name]) for name in cls.fields()}
        return {name: link for name, link in found.items() if link}

    @property
    def keyvalues(self) -> dict[str, str]:
        """The flat metadata that the store keeps.

        Raises:
            InvalidAssetError: a field's value is not of its type, or a link points at an asset that has no CID yet.
        """
        pairs = {"asset": self.asset_key, **self.extra} if self.asset_key else dict(self.extra)
        hints = _hints(type(self))
        for name in self.fields():
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, Asset):
                if not value.cid:
                    raise InvalidAssetError(f"{_title(self)}: {name} points at a {value.asset_key} that is not stored yet")
                value = value.cid
            try:
                pairs[name] = encode(value, hints[name])
            except InvalidAssetError as error:
                raise InvalidAssetError(f"{_title(self)}: {name}: {error}") from None
        if self.provenance_cid:
            pairs["provenance_cid"] = self.provenance_cid
        if len(pairs) > MAX_KEYVALUES:
            raise InvalidAssetError(f"{_title(self)}: {len(pairs)} metadata pairs, at most {MAX_KEYVALUES} can be stored")
        return pairs

    @classmethod
    def from_keyvalues(cls, keyvalues: Mapping[str, str], **base: Any) -> Self:
        """An asset of this class from text pairs, strictly.

        Raises:
            InvalidAssetError: an unknown, reserved or missing key, or a value that its field does not take.
        """
        fields, hints, values = cls.fields(), _hints(cls), dict(base)
        for key, text in keyvalues.items():
            if key == "asset":
                if text != cls.asset_key:
                    raise InvalidAssetError(f"asset is {text!r}, expected {cls.asset_key!r}")
            elif key == "provenance_cid":
                values[key] = text
            elif key in fields:
                try:
                    values[key] = decode(text, hints[key])
                except InvalidAssetError as error:
                    raise InvalidAssetError(f"{cls.asset_key}: {key}: {error}") from None
            else:
                raise InvalidAssetError(_unknown_key(cls, key))
        missing = [name for name, field in fields.items() if field.default is attrs.NOTHING and name not in values]
        if missing:
            raise InvalidAssetError(
                f"{cls.asset_key} needs {', '.join(missing)}: give {' '.join(f'{name}=...' for name in missing)}"
            )
        return cls(**values)

    @classmethod
    def from_record(cls, record: IpFile) -> Asset:
        """The asset of a store's entry; an unknown or malformed one comes back as a bare Asset, with a warning."""
        base = {"cid": record.cid, "path": record.path, "record": record}
        try:
            return asset_class(record.keyvalues.get("asset", "")).from_keyvalues(record.keyvalues, **base)
        except InvalidAssetError as error:
            warnings.warn(f"record {record.id or record.cid}: {error}", stacklevel=2)
            pairs = dict(record.keyvalues)
            return Asset(provenance_cid=pairs.pop("provenance_cid", None), extra=pairs, **base)

    def evolve(self, **changes: Any) -> Self:
        """A new, not yet stored asset of the same class with these fields changed; bytes and provenance are its own."""
        return attrs.evolve(self, **{"cid": None, "path": None, "provenance_cid": None, "record": None, **changes})

    def values(self) -> dict[str, Any]:
        """The typed fields that are no links, by name: with the CID, what a computation can depend on."""
        return {name: getattr(self, name) for name in self.fields() if name not in self.links()}

    def own_suffix(self) -> str:
        """The suffix of this file, by its first bytes where its type has several."""
        if isinstance(self.suffix, str):
            return self.suffix
        head = b""
        if self.path is not None:
            with open(self.path, "rb") as file:
                head = file.read(max(map(len, self.suffix)))
        return next(suffix for magic, suffix in self.suffix.items() if head.startswith(magic))

    def file_name(self, stem: str) -> str:
        """`stem` with the suffix of this file."""
        return stem + self.own_suffix().removeprefix("^")

    @classmethod
    async def one(cls, *, client: StorageClient | None = None, latest: bool = False, **filters: Any) -> Self:
        """The one stored asset of this class that the filters select; `query.one` says what else can happen."""
        from stargazer.assets.query import one

        return await one(cls, client=client, latest=latest, **filters)

    @classmethod
    async def all(cls, *, client: StorageClient | None = None, **filters: Any) -> list[Self]:
        """All stored assets of this class that the filters select, oldest first."""
        from stargazer.assets.query import find

        return await find(cls, client=client, **filters)

    async def fetch(self, folder: Path | None = None, *, client: StorageClient | None = None) -> Self:
        """This asset with its verified bytes and its companions on disk, side by side under the names tools expect."""
        from stargazer.assets.fetching import fetch

        return await fetch(self, folder, client=client)


C = TypeVar("C", bound=type)


@dataclass_transform(kw_only_default=True, field_specifiers=(attrs.field,))
def asset(
    key: str,
    *,
    suffix: str | Mapping[bytes, str] = "",
    check: Callable[[Path], None] | None = None,
    folder: bool = False,
) -> Callable[[C], C]:
    """Make a class an asset type and register it under `key`.

    Args:
        key: its name in metadata and queries.
        suffix: what its files are called, beginning with a dot, or first bytes -> suffix, tried in order. For a
            companion that replaces its primary's suffix (x.fa, x.dict) the suffix begins with `^`.
        check: looks at head and tail of a file that is registered, and raises FormatError.
        folder: the file is an uncompressed tar of a folder.

    Raises:
        InvalidAssetError: a link's name does not follow from what it points at, or there are too many fields.
    """

    def register(cls: C) -> C:
        made: Any = attrs.define(kw_only=True, slots=False)(cls)
        made.asset_key, made.suffix, made.folder = key, suffix, folder
        made.check = staticmethod(check) if check else None
        for name, link in made.links().items():
            if name != f"{link.target.asset_key}_cid":
                raise InvalidAssetError(f"{key}: the link {name} points at {link.target.asset_key}: "
                                        f"call it {link.target.asset_key}_cid")  # fmt: skip
        if len(made.fields()) > MAX_KEYVALUES - 2:
            raise InvalidAssetError(f"{key}: {len(made.fields())} fields, at most {MAX_KEYVALUES - 2} can be stored "
                                    "beside `asset` and `provenance_cid`")  # fmt: skip
        reserved = [name for name in made.fields() if name.startswith("_") or name == "asset"]
        if reserved:
            raise InvalidAssetError(f"{key}: {reserved[0]!r} is a reserved name")
        REGISTRY[key] = made
        return made

    return register


def asset_class(key: str) -> type[Asset]:
    """The class registered under a key; distributions that provide asset types are looked through once.

    Raises:
        InvalidAssetError: no such type; the message names the nearest ones.
    """
    if key not in REGISTRY:
        _load_plugins()
    if key not in REGISTRY:
        near = difflib.get_close_matches(key, REGISTRY, n=3) or sorted(REGISTRY)
        raise InvalidAssetError(f"unknown asset type {key!r}; known: {', '.join(near)}")
    return REGISTRY[key]


def companions_of(cls: type[Asset]) -> list[tuple[type[Asset], str]]:
    """The asset types that accompany `cls`, each with the name of its link."""
    return [
        (other, name)
        for other in REGISTRY.values()
        for name, link in other.links().items()
        if link.kind is LinkKind.COMPANION and link.target.asset_key == cls.asset_key
    ]


def record_id(cid: str, keyvalues: Mapping[str, str]) -> str:
    """The identity of a record: same bytes, type, fields and links (provenance aside) are the same record."""
    pairs = {key: value for key, value in keyvalues.items() if key != "provenance_cid"}
    text = json.dumps([cid, pairs], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


_hints_of: dict[type, dict[str, Any]] = {}
_plugins_loaded = False


def _hints(cls: type[Asset]) -> dict[str, Any]:
    if cls not in _hints_of:
        _hints_of[cls] = get_type_hints(cls, include_extras=True)
    return _hints_of[cls]


def _load_plugins() -> None:
    global _plugins_loaded
    if not _plugins_loaded:
        from importlib.metadata import entry_points

        _plugins_loaded = True
        for entry in entry_points(group="stargazer.assets"):
            entry.load()


def _title(instance: Asset) -> str:
    return instance.asset_key or "asset"


def _unknown_key(cls: type[Asset], key: str) -> str:
    if key.startswith("_"):
        return f"{cls.asset_key}: {key!r} is reserved (keys that begin with an underscore are)"
    near = difflib.get_close_matches(key, cls.fields(), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{cls.asset_key}: unknown key {key!r}; {hint}known: {', '.join(cls.fields())}"
