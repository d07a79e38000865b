"""What a store must offer (`StorageClient`), the record of a stored file, and the client to use when none is given."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Protocol, runtime_checkable

import attrs
from stargazer.assets.errors import NoClientError

__all__ = ["ENTRY_POINT_GROUP", "IpFile", "StorageClient", "current_client", "record_id", "use_client"]

ENTRY_POINT_GROUP = "stargazer.clients"


@attrs.frozen(kw_only=True)
class IpFile:
    """A stored file: one record of an index, pointing at bytes by their content identifier.

    Attributes:
        id: the record's name within its store.
        cid: IPFS CIDv1 of the bytes.
        name: the file name it was stored under.
        size: bytes.
        keyvalues: flat metadata.
        public: whether the record is on the public network; local records are private.
        created_at: when the record was made, ISO 8601 in UTC.
        path: where the bytes are on this machine, if they are.
    """

    cid: str
    id: str = ""
    name: str = ""
    size: int = 0
    keyvalues: Mapping[str, str] = attrs.field(factory=dict)
    public: bool = False
    created_at: str = ""
    path: Path | None = attrs.field(default=None, eq=False)


@runtime_checkable
class StorageClient(Protocol):
    """What a store offers. All methods raise `StargazerError`s whose text is complete.

    `views` is the folder in which `Asset.fetch()` lays out links to read-only files when no folder is given.
    """

    views: Path

    async def upload_file(
        self, path: Path, keyvalues: Mapping[str, str], public: bool | None = None, *, name: str | None = None
    ) -> IpFile:
        """Store a file under its CID with this metadata; the same bytes and metadata are the same record."""

    async def download_file(self, ipfile: IpFile, dest: Path | None = None) -> IpFile:
        """Bring verified bytes. dest is a file or an existing folder, which gets a copy of its own;
        None gives the store's own read-only file."""

    async def query_files(self, keyvalues: Mapping[str, str], public: bool | None = None) -> list[IpFile]:
        """All records whose metadata has every one of these pairs, oldest first.

        The key `cid` means the record's CID.
        """

    async def update_file(self, ipfile: IpFile, keyvalues: Mapping[str, str | None]) -> IpFile:
        """Merge metadata into one record; a value of None removes its key."""

    async def delete_file(self, ipfile: IpFile) -> None:
        """Remove one record; never another record of the same bytes."""


def record_id(cid: str, keyvalues: Mapping[str, str]) -> str:
    """The identity of a record: same bytes, type, fields and links (provenance aside) are the same record."""
    pairs = {key: value for key, value in keyvalues.items() if key != "provenance_cid"}
    return hashlib.sha256(_canonical([cid, pairs]).encode()).hexdigest()[:32]


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_client: ContextVar[StorageClient | None] = ContextVar("stargazer_client", default=None)


@contextmanager
def use_client(client: StorageClient) -> Iterator[StorageClient]:
    """Make a client the current one inside a `with` block."""
    token = _client.set(client)
    try:
        yield client
    finally:
        _client.reset(token)


def current_client(client: StorageClient | None = None) -> StorageClient:
    """The client to use: the one given, else the one of `use_client`, else that of an installed distribution.

    Raises:
        NoClientError: none of the three is there.
    """
    found = client if client is not None else _client.get()
    return found if found is not None else _installed_provider()()


@functools.cache
def _installed_provider() -> Callable[[], StorageClient]:
    from importlib.metadata import entry_points

    found = sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: entry.name != "default")
    if not found:
        raise NoClientError(
            "no storage client: install one with `pip install stargazer-storage`, "
            "or name one with `with use_client(client):`"
        )
    provider: Callable[[], StorageClient] = found[0].load()
    return provider
