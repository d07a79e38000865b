"""The reading half of the local store: records by their metadata, provenance by its edges, verified bytes by CID."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import shutil
import threading
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stargazer.assets import IpFile, StargazerError, StorageError, provenance, record_id
from stargazer.assets.provenance import Amendment, Document, Execution
from stargazer.storage import (
    doubts,
    memo,
    mirrors,
    outbox,
    superseding,
    verified,
)
from stargazer.storage.cid import is_cid
from stargazer.storage.documents import refuse_document
from stargazer.storage.files import is_there
from stargazer.storage.objects import Objects

if TYPE_CHECKING:
    from stargazer.storage.download.http import Progress
    from stargazer.storage.download.sources import Source
    from stargazer.storage.index.records import Index

__all__ = ["StoreReader"]

_FIELDS = {"id", "cid", "name", "size", "created_at", "keyvalues"}
_AT_ONCE = 200  # records asked for by id: each that is found is compared with all that were asked for


class StoreReader:
    """Finds and reads files in one folder.

    Args:
        root: the store's folder, made when something is written to it.
        index: folder of the index, if it is not to be in the store's own.

    Every method blocks; `LocalStorageClient` is the asynchronous face.
    """

    def __init__(self, root: Path, index: Path | None = None):
        self.root = Path(root)
        self.objects = Objects(self.root)
        self._index_folder = index
        self._index: Index | None = None
        self._opening = threading.Lock()
        self.is_checked = False  # fsck is at work, and says itself what is wrong with the index

    @property
    def views(self) -> Path:
        """Folder of the links that are laid out for this user: others of a shared store have their own."""
        return self.root / f"views-{os.getuid()}"

    @property
    def index(self) -> Index:
        """The records, opened at first use; a warning says so if they may not be all."""
        with self._opening:
            doubt = ""
            if self._index is None:
                from stargazer.storage.index.records import Index

                has_files = functools.partial(doubts.holds_files, self.root)
                self._index = Index(self.index_path, has_files)
                doubt = doubts.noticed(self, self._index)
            index = self._index
        if doubt and not self.is_checked:
            warnings.warn(doubt, stacklevel=2)
        return index

    @property
    def is_open(self) -> bool:
        """Whether the index was opened."""
        return self._index is not None

    def open_index(self) -> None:
        """Open the index, or make it, before files arrive: one that is made where files are is taken for a lost one."""
        with self.index.reading():
            pass

    @property
    def index_path(self) -> Path:
        """The file of the index: on a local disk, wherever the objects are."""
        from stargazer.storage.index.location import index_path

        return index_path(self.root, self._index_folder)

    def exists(self) -> bool:
        """Whether there can be anything to find: looking for a file makes no store.

        Raises:
            OSError: it cannot be told, as where there is no permission.
        """
        return is_there(self.index_path) or is_there(self.root / "objects")

    # finding

    def query(self, keyvalues: Mapping[str, str], public: bool | None = None) -> list[IpFile]:
        """All records with every one of these pairs (the key `cid` means the record's CID), oldest first.

        Of what accompanies a file (a key like `alignment_cid`), what others say comes last if it is not trusted.
        Of superseded records, those alone whose CID is named; with `superseded=true`, only superseded ones.
        `public` selects a network, which records of one machine have none of: all of them answer.
        """
        return self._search(keyvalues)

    def _search(self, keyvalues: Mapping[str, str]) -> list[IpFile]:
        """The records of this machine's index, in the order in which they came, whatever the clock said."""
        from tinydb import where

        pairs = dict(keyvalues)
        superseded = pairs.pop("superseded", None if "cid" in pairs else "false")
        condition: Any = None
        for key, value in pairs.items():
            part = where("cid") == value if key == "cid" else where("keyvalues")[key] == value
            condition = part if condition is None else condition & part
        records = self.index.table("records")
        found: Iterable[Any] = records.all() if condition is None else records.search(condition)
        with self.index.reading() as connection:
            found = superseding.selected(connection, found, superseded)
        return self._own_words_first([self._ipfile(document) for document in found], pairs)

    def _own_words_first(self, records: list[IpFile], pairs: Mapping[str, str]) -> list[IpFile]:
        """Records that accompany a file (if a link is asked for): last those that only somebody else speaks of."""
        if len(records) < 2 or not any(key.endswith("_cid") for key in pairs):
            return records
        known = self._documents(record.id for record in records)
        with self.index.reading() as connection:
            others = {
                id
                for id, document in known.items()
                if not memo.is_believed(connection, document.get("stated_by", ""))
            }
        return sorted(records, key=lambda record: record.id in others)

    def get(self, id: str) -> IpFile | None:
        """One record by its id."""
        return self.here(id)

    def remembered(self, run_key: str) -> tuple[str, Execution] | None:
        """The provenance CID and the execution that has this run key, if none of its results was taken back."""
        with self.index.reading() as connection:
            cid = memo.answer(connection, run_key)
        if not cid:
            return None
        try:
            document = self.document(cid)
        except StargazerError:
            return None
        if not isinstance(document, Execution):
            return None
        return None if self.taken_back(cid, document) else (cid, document)

    def taken_back(self, cid: str, execution: Execution) -> list[str]:
        """The roles of those results of an execution that it does not stand for any more, or that have no record."""
        sql = "SELECT record FROM claims WHERE document = ? AND NOT ended"
        with self.index.reading() as connection:
            standing = {record for (record,) in connection.execute(sql, (cid,)).fetchall()}
        ids = {entry.role: record_id(entry.cid, entry.keyvalues) for entry in execution.outputs}
        there = standing & self._documents(ids.values()).keys()
        return [role for role, id in ids.items() if id not in there]

    def documents(self, cid: str, role: str = "output") -> list[str]:
        """CIDs of the provenance documents that name a file as `output` (made, imported) or `input`, oldest first.

        The roles `amended` and `retracted` name the documents of what was done to the file's records.
        """
        sql = "SELECT provenance_cid FROM edges WHERE cid = ? AND role = ? GROUP BY 1 ORDER BY min(number)"
        with self.index.reading() as connection:
            return [found for (found,) in connection.execute(sql, (cid, role)).fetchall()]

    def is_registered(self, cid: str) -> bool:
        """Whether a provenance document has taken effect in this store."""
        return any(record.keyvalues.get("asset") == "provenance" for record in self._search({"cid": cid}))

    def is_foreign(self, cid: str) -> bool:
        """Whether a provenance document came from somebody else."""
        with self.index.reading() as connection:
            return memo.is_foreign(connection, cid)

    def is_trusted(self, cid: str) -> bool:
        """Whether the memo may answer with an execution: this store's own, or one of others that was vouched for."""
        with self.index.reading() as connection:
            return memo.is_believed(connection, cid)

    def executions_with(self, run_key: str) -> list[str]:
        """CIDs of the provenance of all executions with a run key, trusted or not, the last one first."""
        with self.index.reading() as connection:
            return memo.executions(connection, run_key)

    def explaining(self, records: Iterable[IpFile]) -> list[str]:
        """CIDs of the provenance documents that lead to these records, back to imports, as far as they can be read."""
        found: dict[str, None] = {}
        waiting = [cid for record in records for cid in self._speaking_of(record.id, record.keyvalues)]
        while waiting:
            cid = waiting.pop()
            if cid in found:
                continue
            try:
                document = self.document(cid)
            except StargazerError:
                continue
            found[cid] = None
            if isinstance(document, Execution):
                for entry in document.inputs:
                    id = record_id(entry.cid, entry.keyvalues)
                    waiting += self._speaking_of(id, {"provenance_cid": entry.provenance_cid})
            elif isinstance(document, Amendment):
                waiting += [document.made_by, *document.replaces]
        return list(found)

    def _speaking_of(self, record: str, keyvalues: Mapping[str, str]) -> list[str]:
        """The documents that say that there is a record, and the one that its metadata names."""
        return [*self._claimants(record), *filter(None, [keyvalues.get("provenance_cid", "")])]

    def _claimants(self, record: str) -> list[str]:
        """The documents that say that there is this record, in a fixed order."""
        sql = "SELECT document FROM claims WHERE record = ? AND NOT ended ORDER BY at, document"
        with self.index.reading() as connection:
            return [found for (found,) in connection.execute(sql, (record,)).fetchall()]

    # reading

    def read(self, cid: str) -> Path:
        """The read-only file of a CID, verified: by its times since it was last hashed, else by hashing it.

        Bytes that are not here are brought from a mirror or service that has them.

        Raises:
            StorageError: it is not to be had.
            IntegrityError: its bytes are not what the CID says.
        """
        return self.bring(cid) if self.objects.stat(cid) is None else self.read_here(cid)

    def read_here(self, cid: str) -> Path:
        """The same, of bytes that are here: nothing is downloaded.

        Raises:
            StorageError: they are not here.
            IntegrityError: they are not what the CID says.
        """
        found = self.objects.stat(cid)
        if found is None:
            raise self._missing(cid)
        with self.index.reading() as connection:
            verify = not verified.is_verified(connection, found)
        if verify:
            found = self.objects.verify(cid)
            with contextlib.suppress(StorageError), self.index.transaction() as connection:
                verified.remember(connection, [found])  # a read-only store is verified every time
        return self.objects.path(cid)

    def sources(self, cid: str) -> list[Source]:
        """Where the bytes of a CID may be had besides this store: nobody's word is taken for them."""
        from stargazer.storage.download.sources import source_of

        return [source_of(url) for url in self.mirrors(cid)]

    def mirrors(self, cid: str) -> list[str]:
        """URLs that are said to give the bytes of a CID."""
        with self.index.reading() as connection:
            return mirrors.known(connection, cid)

    def add_mirrors(self, urls: Mapping[str, Iterable[str]]) -> None:
        """Remember URLs of CIDs.

        Raises:
            InvalidAssetError: a URL that holds credentials, which would be shown to others.
        """
        with self.index.transaction() as connection:
            mirrors.remember(connection, urls)

    def bring(self, cid: str, progress: Progress | None = None) -> Path:
        """The read-only file of a CID, downloaded from a source if it is not here.

        Raises:
            StorageError: no source has it (the message says what was wrong with each), or it is provenance that
                nobody here speaks of.
            IntegrityError: what they gave is not what the CID says.
        """
        if self.objects.stat(cid) is not None:
            return self.read_here(cid)
        sources = self.sources(cid)
        if not sources:
            raise self._missing(cid)
        from stargazer.storage.download.fetch import fetch_object

        accept = None if self._comes_alone(cid) else refuse_document
        found = fetch_object(
            cid, sources, self.objects, most=self._most(cid) or None, progress=progress, accept=accept
        )
        with contextlib.suppress(StorageError), self.index.transaction() as connection:
            verified.remember(connection, [found])
        return self.objects.path(cid)

    def _most(self, cid: str) -> int:
        """Bytes of a CID at most, as the records of it say; 0 where nobody does."""
        return max((record.size for record in self._search({"cid": cid})), default=0)

    def _comes_alone(self, cid: str) -> bool:
        """Whether bytes may be brought though they turn out to be provenance.

        What no bundle has registered as somebody else's counts as this store's own word when the index is made again.
        """
        return self.is_registered(cid)

    def export(self, cid: str, target: Path) -> Path:
        """A copy of verified bytes for the user to keep; an existing file is replaced only by the whole copy.

        Raises:
            StorageError: the bytes are not here, or the target cannot be written.
            IntegrityError: the bytes are not what the CID says.
        """
        source = self.read(cid)
        temporary = target.parent / f".stargazer-{secrets.token_hex(8)}"
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
        """A provenance document by its CID.

        Raises:
            StorageError: it is not here, or its bytes are not what the CID says.
            FormatError: it is no provenance document.
        """
        return provenance.load(IpFile(cid=cid, path=self.read(cid)))

    def _missing(self, cid: str) -> StorageError:
        if (original := self.objects.original(cid)) is not None:
            return StorageError(
                f"the bytes of {cid} were added in place, and their file {str(original)!r} is gone: "
                "put it back, or add a copy of it"
            )
        records = [record.id for record in self._search({"cid": cid})]
        with self.index.reading() as connection:
            if outbox.remote_ids(connection, records):
                return StorageError(
                    f"the bytes of {cid} are on Pinata and not in the store {str(self.root)!r}: set PINATA_JWT to a "
                    "token of the account"
                )
        return StorageError(
            f"the bytes of {cid} are not in the store {str(self.root)!r}, and no mirror of them is known: "
            "add the file again"
        )

    # records as they are kept

    def here(self, id: str) -> IpFile | None:
        """One record by its id, if this machine's index has it."""
        from tinydb import where

        document = self.index.table("records").get(where("id") == id)
        return self._ipfile(document) if document else None

    def _documents(self, ids: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        """Those of these records that are there, by id."""
        from tinydb import where

        records, ids = self.index.table("records"), list(ids)
        found: dict[str, Mapping[str, Any]] = {}
        for start in range(0, len(ids), _AT_ONCE):
            wanted = where("id").one_of(ids[start : start + _AT_ONCE])
            found |= {document["id"]: document for document in records.search(wanted)}
        return found

    def _ipfile(self, document: Mapping[str, Any], *, there: bool = False) -> IpFile:
        """A record for others; `there`: its object was found just now, and need not be looked for."""
        cid = str(document.get("cid"))
        if not document.keys() >= _FIELDS:
            from stargazer.storage.index.schema import IndexDamaged

            raise IndexDamaged(str(self.index_path), f"the record {document.get('id')!r} is not whole")
        path = self.objects.path(cid) if is_cid(cid) else None
        return IpFile(
            id=document["id"],
            cid=cid,
            name=document["name"],
            size=document["size"],
            created_at=document["created_at"],
            keyvalues=document["keyvalues"],
            path=path if path is not None and (there or os.path.exists(path)) else None,
        )
