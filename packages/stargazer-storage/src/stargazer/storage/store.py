"""The local store: objects by CID beside an index of records, provenance edges and the memo; one transaction a change.

Whatever is registered becomes durable in this order: the objects, the provenance object, then one transaction of the
index. A crash in between leaves objects that nothing refers to, and nothing else.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import getpass
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from stargazer.assets import provenance
from stargazer.assets.asset import Asset, asset_class, record_id
from stargazer.assets.client import IpFile
from stargazer.assets.errors import AssetNotFoundError, FormatError, InvalidAssetError, StargazerError, StorageError
from stargazer.assets.provenance import Amendment, Document, Entry, Execution, Import, Retraction

from stargazer.storage import statcache
from stargazer.storage.objects import ObjectStore, StoredObject

if TYPE_CHECKING:
    import sqlite3

    from stargazer.storage.index import Index

__all__ = ["Addition", "LocalStore", "now"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS objects(
    cid TEXT PRIMARY KEY, size INT, mtime_ns INT, ctime_ns INT, inode INT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS edges(
    cid TEXT, role TEXT, provenance_cid TEXT, number INTEGER PRIMARY KEY);
CREATE INDEX IF NOT EXISTS edges_cid ON edges(cid, role);
CREATE TABLE IF NOT EXISTS memo(run_key TEXT PRIMARY KEY, provenance_cid TEXT) WITHOUT ROWID;
"""


@attrs.frozen
class Addition:
    """A file to register: its asset without a CID, and where it came from (a file name or a public URL)."""

    path: Path
    asset: Asset
    name: str = ""
    origin: str = ""


def now() -> str:
    """The time as every record holds it: ISO 8601 in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class LocalStore:
    """Registers, finds and reads files in one folder; safe with several processes and threads.

    Every method blocks; `LocalStorageClient` is its asynchronous face.
    """

    def __init__(self, root: Path):
        self.root = Path(root)
        self.objects = ObjectStore(self.root)

    @functools.cached_property
    def index(self) -> Index:
        """The records, opened at first use."""
        from stargazer.storage.index import Index

        return Index(self.root / "index.sqlite", schema=SCHEMA + statcache.SCHEMA)

    # registering

    def add(self, additions: Iterable[Addition], command: str = "add") -> list[IpFile]:
        """Register files as an import: copied, hashed, checked, with one provenance document for all that is new.

        All or nothing: a file that cannot be registered leaves the store as it was.

        Raises:
            FormatError: a file is missing, empty, or not of its type.
            InvalidAssetError: metadata that its type does not take.
            StorageError: the store cannot take it.
        """
        additions = list(additions)
        for item in additions:
            _check_source(item)
        signatures = [statcache.signature(item.path) for item in additions]
        stored = self._add_objects([item.path for item in additions])
        for item, found in zip(additions, stored, strict=True):
            item.asset.cid = found.cid
        for item in additions:
            item.asset.settle_links()
        pairs = [item.asset.keyvalues for item in additions]
        fresh = [
            number
            for number, item in enumerate(additions)
            if self.get(record_id(item.asset.cid or "", pairs[number])) is None
        ]
        provenance_cid = ""
        if fresh:
            document = Import(
                files=[
                    Entry(
                        cid=stored[number].cid,
                        keyvalues=pairs[number],
                        name=_name(additions[number]),
                        size=stored[number].size,
                        origin=additions[number].origin or additions[number].path.name,
                    )
                    for number in fresh
                ],
                command=command,
                account=account(),
                at=now(),
            )
            provenance_cid = self._write(document)
        with self._changing(stored) as connection:
            for item, found, signature in zip(additions, stored, signatures, strict=True):
                statcache.remember(connection, item.path, signature, found.cid)
            if provenance_cid:
                self._insert_document(provenance_cid, document)
            return [
                self._insert(found, name=_name(item), keyvalues=keyvalues, provenance_cid=provenance_cid)
                for item, found, keyvalues in zip(additions, stored, pairs, strict=True)
            ]

    def commit(self, execution: Execution, outputs: Sequence[tuple[str, Asset]]) -> Execution:
        """Register what an execution made: the files are moved in from the workspace, with provenance and memo.

        Args:
            execution: what is known of it, without outputs.
            outputs: role and asset, whose `path` is a file in the store's work folder. Links may point at other
                outputs. CID, provenance and record of each are set.

        Returns:
            The execution as it was written, with its outputs.
        """
        made: list[tuple[Asset, StoredObject]] = []
        for role, asset in outputs:
            if asset.cid:
                continue  # an input handed on
            if asset.path is None:
                raise InvalidAssetError(f"{execution.task}: the result {role!r} has no path: give it the file it holds")
            found = self.objects.adopt(Path(asset.path))
            asset.cid, asset.path = found.cid, self.objects.path(found.cid)
            made.append((asset, found))
        for _, asset in outputs:
            asset.settle_links()
        entries = [
            Entry(role=role, cid=asset.cid or "", keyvalues=_pairs(asset), name=asset.file_name(asset.asset_key),
                  size=asset.path.stat().st_size if asset.path else 0)
            for role, asset in outputs
        ]  # fmt: skip
        execution = attrs.evolve(execution, outputs=entries)
        provenance_cid = self._write(execution)
        with self._changing([found for _, found in made]) as connection:
            self._insert_document(provenance_cid, execution)
            for asset, found in made:
                name = asset.file_name(asset.asset_key)
                asset.record = self._insert(
                    found, name=name, keyvalues=_pairs(asset), provenance_cid=provenance_cid
                )
                asset.provenance_cid = asset.record.keyvalues["provenance_cid"]
            if execution.run_key:
                connection.execute("INSERT OR REPLACE INTO memo VALUES(?, ?)", (execution.run_key, provenance_cid))
        return execution

    def amend(self, ipfile: IpFile, keyvalues: Mapping[str, str | None]) -> IpFile:
        """Merge metadata into one record (None removes a key) and write down that it was done.

        Raises:
            AssetNotFoundError: no such record.
            InvalidAssetError: metadata that its type does not take.
        """
        current = self._existing(ipfile)
        merged = {**current.keyvalues, **keyvalues}
        changed = {key: value for key, value in merged.items() if value is not None}
        cls = asset_class(changed.get("asset", ""))
        changed = cls.from_keyvalues(changed, cid=current.cid).keyvalues
        if changed == current.keyvalues:
            return current
        made_by = changed.pop("provenance_cid", "")
        document = Amendment(record=current.id, made_by=made_by, cid=current.cid, keyvalues=changed,
                             account=account(), at=now())  # fmt: skip
        provenance_cid = self._write(document)
        with self._changing([]):
            self._insert_document(provenance_cid, document)
            self._remove(current)
            return self._insert(
                StoredObject(cid=current.cid, size=current.size, mtime_ns=0, ctime_ns=0, inode=0),
                name=current.name, keyvalues=changed, provenance_cid=made_by or provenance_cid,
                created_at=current.created_at,
            )  # fmt: skip

    def retract(self, ipfile: IpFile) -> None:
        """Remove one record and write down that it was done; its bytes and other records stay.

        Raises:
            AssetNotFoundError: no such record.
        """
        current = self._existing(ipfile)
        document = Retraction(record=current.id, made_by=current.keyvalues.get("provenance_cid", ""),
                              cid=current.cid, account=account(), at=now())  # fmt: skip
        provenance_cid = self._write(document)
        with self._changing([]):
            self._insert_document(provenance_cid, document)
            self._remove(current)

    # finding

    def query(self, keyvalues: Mapping[str, str]) -> list[IpFile]:
        """All records with every one of these pairs (the key `cid` means the record's CID), oldest first."""
        from tinydb import where

        condition: Any = None
        for key, value in keyvalues.items():
            part = where("cid") == value if key == "cid" else where("keyvalues")[key] == value
            condition = part if condition is None else condition & part
        records = self.index.table("records")
        found: Iterable[Any] = records.all() if condition is None else records.search(condition)
        return [self._ipfile(document) for document in found]

    def get(self, id: str) -> IpFile | None:
        """One record by its id."""
        from tinydb import where

        document = self.index.table("records").get(where("id") == id)
        return self._ipfile(document) if document else None

    def remembered(self, run_key: str) -> tuple[str, Execution] | None:
        """The provenance CID and the execution that has this run key, if the records of all its outputs are there."""
        with self.index.reading() as connection:
            row = connection.execute("SELECT provenance_cid FROM memo WHERE run_key = ?", (run_key,)).fetchone()
        if row is None:
            return None
        try:
            document = self.document(row[0])
        except StargazerError:
            return None
        assert isinstance(document, Execution)
        there = all(self.get(record_id(entry.cid, entry.keyvalues)) for entry in document.outputs)
        return (row[0], document) if there else None

    def documents(self, cid: str, role: str = "output") -> list[str]:
        """CIDs of the provenance documents that name a file as `output` (made, imported) or `input`, oldest first."""
        with self.index.reading() as connection:
            rows = connection.execute(
                "SELECT provenance_cid FROM edges WHERE cid = ? AND role = ? ORDER BY number", (cid, role)
            ).fetchall()
        return [row[0] for row in rows]

    # reading

    def read(self, cid: str) -> Path:
        """The read-only file of a CID, verified: by its times since it was last hashed, else by hashing it.

        Raises:
            StorageError: it is not here.
            IntegrityError: its bytes are not what the CID says.
        """
        found = self.objects.stat(cid)
        if found is None:
            raise StorageError(f"the bytes of {cid} are not in the store {self.root}; add the file again, "
                               "or run what made it with --refresh")  # fmt: skip
        known = (found.size, found.mtime_ns, found.ctime_ns, found.inode)
        with self.index.reading() as connection:
            row = connection.execute(
                "SELECT size, mtime_ns, ctime_ns, inode FROM objects WHERE cid = ?", (cid,)
            ).fetchone()
        if row is None or tuple(row) != known:
            self.objects.verify(cid)
            try:
                with self.index.transaction() as connection:
                    _remember_object(connection, found)
            except StorageError:
                pass  # a read-only store is verified every time
        return self.objects.path(cid)

    def export(self, cid: str, target: Path) -> Path:
        """A copy of verified bytes for the user to keep; an existing file is replaced only by the whole copy.

        Raises:
            StorageError: the bytes are not here, or the target cannot be written.
            IntegrityError: the bytes are not what the CID says.
        """
        source = self.read(cid)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            shutil.copyfile(source, temporary)
            temporary.replace(target)
        except OSError as error:
            raise StorageError(f"cannot write {str(target)!r}: {error.strerror}") from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        return target

    def document(self, cid: str) -> Document:
        """A provenance document by its CID."""
        return provenance.load(IpFile(cid=cid, path=self.read(cid)))

    # within a change

    def _add_objects(self, paths: Sequence[Path]) -> list[StoredObject]:
        with self.index.reading() as connection:
            cids = {path: statcache.known_cid(connection, path) for path in paths}
        known = {path: found for path, cid in cids.items() if cid and (found := self.objects.stat(cid))}
        fresh = [path for path in paths if path not in known]
        made = dict(zip(fresh, self.objects.add_many(fresh), strict=True))
        return [known[path] if path in known else made[path] for path in paths]

    def _write(self, document: Document) -> str:
        path = self.objects.new_temporary()
        try:
            path.write_bytes(provenance.dump(document))
            return self.objects.adopt(path).cid
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(f"cannot write to the store {self.root}: {error.strerror}") from error
        finally:
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _changing(self, stored: Iterable[StoredObject]) -> Iterator[sqlite3.Connection]:
        """One transaction of the index; the objects are durable already."""
        with self.index.transaction() as connection:
            for found in stored:
                _remember_object(connection, found)
            yield connection

    def _insert(self, stored: StoredObject, *, name: str, keyvalues: Mapping[str, str], provenance_cid: str,
                created_at: str = "") -> IpFile:  # fmt: skip
        """The record of these bytes and metadata: the one that is there, else a new one."""
        id = record_id(stored.cid, keyvalues)
        existing = self.get(id)
        if existing:
            return existing
        pairs = {**keyvalues, "provenance_cid": provenance_cid} if provenance_cid else dict(keyvalues)
        document = {"id": id, "cid": stored.cid, "name": name, "size": stored.size,
                    "created_at": created_at or now(), "keyvalues": pairs}  # fmt: skip
        self.index.table("records").insert(document)
        return self._ipfile(document)

    def _insert_document(self, cid: str, document: Document) -> None:
        """The record of a provenance document and the edges it draws."""
        pairs = {"asset": "provenance", "kind": type(document).__name__.lower()}
        if isinstance(document, Execution):
            pairs |= {"task": document.task, "run_key": document.run_key}
            edges = [(e.cid, "input") for e in document.inputs] + [(e.cid, "output") for e in document.outputs]
        elif isinstance(document, Import):
            edges = [(entry.cid, "output") for entry in document.files]
        else:
            edges = [(document.cid, "amended" if isinstance(document, Amendment) else "retracted")]
        found = self.objects.stat(cid)
        assert found is not None
        self._insert(found, name=f"{pairs['kind']}.json", keyvalues=pairs, provenance_cid="")
        with self.index.transaction() as connection:
            _remember_object(connection, found)
            connection.executemany(
                "INSERT INTO edges(cid, role, provenance_cid) VALUES(?, ?, ?)", [(*edge, cid) for edge in edges]
            )

    def _remove(self, record: IpFile) -> None:
        from tinydb import where

        self.index.table("records").remove(where("id") == record.id)

    def _existing(self, ipfile: IpFile) -> IpFile:
        current = self.get(ipfile.id or record_id(ipfile.cid, ipfile.keyvalues))
        if current is None:
            raise AssetNotFoundError(f"no record {ipfile.id or ipfile.cid!r} in the store {self.root}")
        return current

    def _ipfile(self, document: Mapping[str, Any]) -> IpFile:
        path = self.objects.path(document["cid"])
        return IpFile(
            id=document["id"],
            cid=document["cid"],
            name=document["name"],
            size=document["size"],
            created_at=document["created_at"],
            keyvalues=document["keyvalues"],
            path=path if path.exists() else None,
        )


def account() -> str:
    """Who is at work: the name of the operating system's user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _check_source(item: Addition) -> None:
    if not item.path.exists():
        raise FormatError(f"no such file: {str(item.path)!r}")
    if not item.path.is_file():
        raise FormatError(f"{str(item.path)!r} is not a file; add the files in it")
    if not os.access(item.path, os.R_OK):
        raise FormatError(f"{str(item.path)!r} cannot be read: check its permissions")
    if item.path.stat().st_size == 0:
        raise FormatError(f"{str(item.path)!r} is empty")
    if item.asset.check:
        item.asset.check(item.path)


def _name(item: Addition) -> str:
    return item.name or item.path.name


def _pairs(asset: Asset) -> dict[str, str]:
    pairs = asset.keyvalues
    pairs.pop("provenance_cid", None)
    return pairs


def _remember_object(connection: sqlite3.Connection, stored: StoredObject) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO objects VALUES(?, ?, ?, ?, ?)",
        (stored.cid, stored.size, stored.mtime_ns, stored.ctime_ns, stored.inode),
    )
