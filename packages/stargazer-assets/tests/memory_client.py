"""A second, small implementation of StorageClient: records in a list, bytes in a folder. For tests only."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import attrs
from stargazer.assets import Asset, AssetNotFoundError, IntegrityError, IpFile

A = TypeVar("A", bound=Asset)


def content_id(data: bytes) -> str:
    return "bafk" + hashlib.sha256(data).hexdigest()[:28]


class MemoryClient:
    """Keeps every record it is given, in the order given, one second apart."""

    def __init__(self, folder: Path) -> None:
        self.objects = folder / "objects"
        self.views = folder / "views"
        self.records: list[IpFile] = []
        self.downloads: list[str] = []
        self.queries: list[dict[str, str]] = []
        self.objects.mkdir(parents=True)

    def put(self, data: bytes, keyvalues: Mapping[str, str]) -> IpFile:
        """Store bytes under metadata that nobody looks at, as another program might."""
        cid, number = content_id(data), len(self.records) + 1
        (self.objects / cid).write_bytes(data)
        created_at = f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z"
        record = IpFile(
            id=f"r{number}", cid=cid, size=len(data), keyvalues=dict(keyvalues), created_at=created_at
        )
        self.records.append(record)
        return record

    def store(self, asset: A, data: bytes | None = None) -> A:
        """A typed asset as it comes back from the store; its bytes are made up unless given."""
        record = self.put(repr(asset).encode() if data is None else data, asset.keyvalues)
        return attrs.evolve(asset, cid=record.cid, record=record)

    def damage(self, cid: str) -> None:
        (self.objects / cid).write_bytes(b"damaged")

    async def upload_file(
        self, path: Path, keyvalues: Mapping[str, str], public: bool | None = None, *, name: str | None = None
    ) -> IpFile:
        return self.put(path.read_bytes(), keyvalues)

    async def download_file(self, ipfile: IpFile, dest: Path | None = None) -> IpFile:
        path = self.objects / ipfile.cid
        self.downloads.append(ipfile.cid)
        if not path.exists():
            raise AssetNotFoundError(f"no bytes of {ipfile.cid}")
        if content_id(path.read_bytes()) != ipfile.cid:
            raise IntegrityError(f"{ipfile.cid}: damaged")
        if dest is not None:
            path = Path(shutil.copy(path, dest / ipfile.cid if dest.is_dir() else dest))
        return attrs.evolve(ipfile, path=path)

    async def query_files(self, keyvalues: Mapping[str, str], public: bool | None = None) -> list[IpFile]:
        self.queries.append(dict(keyvalues))
        return [
            record
            for record in self.records
            if all(
                (record.cid if key == "cid" else record.keyvalues.get(key)) == value
                for key, value in keyvalues.items()
            )
        ]

    async def update_file(self, ipfile: IpFile, keyvalues: Mapping[str, str | None]) -> IpFile:
        pairs = {k: v for k, v in {**ipfile.keyvalues, **keyvalues}.items() if v is not None}
        changed = attrs.evolve(ipfile, keyvalues=pairs)
        self.records = [changed if record.id == ipfile.id else record for record in self.records]
        return changed

    async def delete_file(self, ipfile: IpFile) -> None:
        self.records = [record for record in self.records if record.id != ipfile.id]
