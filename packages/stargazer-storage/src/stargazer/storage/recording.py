"""Writing down what is known of files: records, and the provenance documents that say how they came to be."""

from __future__ import annotations

import contextlib
import datetime
import getpass
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs
from stargazer.assets import provenance
from stargazer.assets.asset import record_id
from stargazer.assets.client import IpFile
from stargazer.assets.errors import AssetNotFoundError, StorageError
from stargazer.assets.provenance import Amendment, Document, Entry, Execution, Import
from stargazer.storage import verified
from stargazer.storage.arrivals import arriving
from stargazer.storage.objects import StoredObject
from stargazer.storage.reading import StoreReader

__all__ = ["StoreRecorder", "account", "now"]


def now() -> str:
    """The time as every record holds it: ISO 8601 in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def account() -> str:
    """Who is at work: the name of the operating system's user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


class StoreRecorder(StoreReader):
    """What every change of a store is made of."""

    def _arriving(self) -> contextlib.AbstractContextManager[list[StoredObject]]:
        """A list for the objects of one change, which are removed again if it fails."""
        return arriving(self.root, self.objects, lambda: self.index)

    def _write(self, document: Document, arrived: list[StoredObject]) -> StoredObject:
        """A provenance document as an object."""
        path = self.objects.new_temporary()
        try:
            path.write_bytes(provenance.dump(document))
            arrived.append(self.objects.adopt(path))
        except StorageError:
            raise
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise StorageError(f"the store {str(self.root)!r} cannot save provenance: {reason}") from error
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        return arrived[-1]

    @contextlib.contextmanager
    def _written_down(self, document: Document, current: IpFile) -> Iterator[None]:
        """A transaction that changes one record, if it is still there, and registers the document that says so."""
        with self._arriving() as arrived:
            written = self._write(document, arrived)
            with self.index.transaction():
                self._existing(current)
                self._insert_document(written, document)
                yield

    def _existing(self, ipfile: IpFile) -> IpFile:
        """The record as it is now."""
        current = self.get(ipfile.id or record_id(ipfile.cid, ipfile.keyvalues))
        if current is None:
            raise AssetNotFoundError(f"no record {ipfile.id or ipfile.cid!r} in the store {str(self.root)!r}")
        return current

    # inside a transaction

    def _insert(self, entries: Iterable[Entry], provenance_cid: str = "") -> dict[str, IpFile]:
        """The records of files by id: those that are there, and new ones for the others."""
        wanted = {record_id(entry.cid, entry.keyvalues): entry for entry in entries}
        documents = self._documents(wanted)
        made = {"provenance_cid": provenance_cid} if provenance_cid else {}
        new: dict[str, dict[str, Any]] = {
            id: {
                "id": id,
                "cid": entry.cid,
                "name": entry.name,
                "size": entry.size,
                "created_at": now(),
                "keyvalues": {**entry.keyvalues, **made},
            }
            for id, entry in wanted.items()
            if id not in documents
        }
        self.index.table("records").insert_multiple(new.values())
        return {id: self._ipfile(document) for id, document in {**documents, **new}.items()}

    def _insert_document(self, stored: StoredObject, document: Document) -> None:
        """The record of a provenance document and the edges it draws."""
        kind = type(document).__name__.lower()
        pairs = {"asset": "provenance", "kind": kind}
        if isinstance(document, Execution):
            pairs |= {"task": document.task} | ({"run_key": document.run_key} if document.run_key else {})
            edges = [(entry.cid, "input") for entry in document.inputs]
            edges += [(entry.cid, "output") for entry in document.outputs]
        elif isinstance(document, Import):
            edges = [(entry.cid, "output") for entry in document.files]
        else:
            edges = [(document.cid, "amended" if isinstance(document, Amendment) else "retracted")]
        self._insert([Entry(cid=stored.cid, keyvalues=pairs, name=f"{kind}.json", size=stored.size)])
        with self.index.transaction() as connection:
            verified.remember(connection, [stored])
            connection.executemany(
                "INSERT INTO edges(cid, role, provenance_cid) VALUES(?, ?, ?)",
                [(*edge, stored.cid) for edge in edges],
            )

    def _replace(self, current: IpFile, pairs: Mapping[str, str]) -> IpFile:
        """Give a record other metadata in its place; it goes if such a record is there already."""
        from tinydb import where

        id = record_id(current.cid, pairs)
        same = self.get(id)
        if same is not None:
            self._remove(current)
            return same
        made = {key: value for key, value in current.keyvalues.items() if key == "provenance_cid"}
        keyvalues = {**pairs, **made}
        self.index.table("records").update({"id": id, "keyvalues": keyvalues}, where("id") == current.id)
        return attrs.evolve(current, id=id, keyvalues=keyvalues)

    def _remove(self, record: IpFile) -> None:
        from tinydb import where

        self.index.table("records").remove(where("id") == record.id)
