"""The store: files by CID, an index of their records, a ledger of their provenance; one transaction a change.

Whatever is registered becomes durable in this order: the objects, the provenance document, then one transaction of the
index. A crash in between leaves objects that nothing refers to, or a document that `stargazer fsck` lets take effect.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import time
import types
import warnings
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import urlsplit

import attrs
from stargazer.assets import (
    Asset,
    AssetNotFoundError,
    FormatError,
    InvalidAssetError,
    IpFile,
    StargazerError,
    StorageError,
    record_id,
)
from stargazer.assets.provenance import Amendment, Change, Document, Entry, Execution, Import
from stargazer.storage import doubts, outbox, statcache, verified
from stargazer.storage.additions import (
    Addition,
    check_files,
    check_metadata,
    keyvalues_of,
    settle,
    with_links,
    without_provenance,
)
from stargazer.storage.checks import Checked, check_companions, run_checks
from stargazer.storage.cid import is_cid
from stargazer.storage.files import hash_in_place, is_there, replaced, write_file
from stargazer.storage.index.location import index_path
from stargazer.storage.index.records import Index
from stargazer.storage.index.schema import FORMAT, IndexDamaged
from stargazer.storage.ledger import claims, memo
from stargazer.storage.ledger.documents import Ledger, account, now
from stargazer.storage.locks import at_work
from stargazer.storage.objects import Objects, StoredObject
from stargazer.storage.outbox import Account, Outbox, Sent

if TYPE_CHECKING:
    import sqlite3

    from stargazer.storage.download.http import Progress
    from stargazer.storage.download.sources import Source

__all__ = ["Arrivals", "Order", "Remote", "Store", "check_format", "import_of", "open_store"]

Order = Literal["created_at", "name", "size"]
"""What records are sorted by."""

_FIELDS = {"id", "cid", "name", "size", "created_at", "keyvalues"}
_RECORDS = "(SELECT tid FROM tables WHERE name = 'records')"
_TICK = 50_000_000  # ns: a filesystem's clock may be a little behind


class Remote(Account, Protocol):
    """An account that completes a store: what is registered here goes there, and what is there is found here."""

    def query(self, store: Store, keyvalues: Mapping[str, str], public: bool | None) -> list[IpFile]:
        """The records of both sides, each once; those of one network, if `public` is said."""

    def here(self, store: Store, record: IpFile) -> None:
        """Make a record known here that may be only there, so that it can be changed."""

    def documents(self, run_key: str = "") -> dict[str, bool]:
        """The CIDs of provenance documents there, each with whether it is the store's own; of one run key, if given."""

    def sources(self, cid: str) -> list[Source]:
        """Where in the account the bytes of a CID may be had."""

    def send(self, store: Store) -> Sent:
        """Send everything that waits, as far as the service takes it."""


@attrs.define
class Arrivals:
    """What a change has brought into a store so far: it is removed again if the change fails."""

    objects: list[StoredObject] = attrs.field(factory=list)
    documents: list[StoredObject] = attrs.field(factory=list)


def open_store(root: Path, index: Path | None = None, remote: Remote | None = None) -> Store:
    """The store in a folder. Nothing is made on disk before something is asked of it.

    Args:
        root: the store's folder.
        index: folder of its index, if that is not to be in the store.
        remote: the account that completes it.

    Raises:
        StorageError: the store is on a network filesystem, and no disk of this machine takes its index.
    """
    root = Path(root)
    database = Index(
        index_path(root, index),
        before=functools.partial(check_format, root),
        has_files=functools.partial(doubts.holds_files, root),
        first_use=lambda: store.notice(),
    )
    store: Store = Store(Objects(root), database, Ledger(root), Outbox(database), remote)
    return store


def check_format(root: Path) -> None:
    """Refuse a store that another version wrote otherwise; a new one is marked with the format of this version.

    Raises:
        StorageError: it is of another format, or cannot be looked at or marked.
    """
    path = root / "format"
    try:  # looked at before the format, which another process that makes the store writes before its objects
        old = is_there(root / "objects") and not is_there(root / "ledger")
        found = path.read_text().strip()
    except FileNotFoundError:
        found = "1" if old else ""
    except OSError as error:
        raise StorageError(f"the store {str(root)!r} cannot be read: {error.strerror}") from error
    if found == str(FORMAT):
        return
    if found:
        older = found.isdecimal() and int(found) < FORMAT
        raise StorageError(
            f"the store {str(root)!r} was written by {'an older' if older else 'a newer'} Stargazer (format {found}, "
            f"not {FORMAT}), and was not changed: "
            + ("move it away and add its files again" if older else "upgrade stargazer-storage")
        )
    with contextlib.suppress(OSError):  # what is to be written next says why it cannot be
        root.mkdir(parents=True, exist_ok=True)
        write_file(path, f"{FORMAT}\n".encode(), shared=root)


class Store:
    """Registers, finds and reads files in one folder; safe with several processes and threads.

    Every method blocks; `StoreClient` is its asynchronous face. Changes of what is registered are functions that take
    a store: see `stargazer.storage.changes`.

    Attributes:
        objects: the bytes of files, by CID.
        index: the records, and what follows from provenance.
        ledger: the provenance documents.
        outbox: what is still to be sent to an account.
        remote: the account that completes the store, if it has one.
        is_open: the index was opened.
        is_checked: fsck is at work, and says itself what is wrong with the index.
    """

    def __init__(
        self, objects: Objects, index: Index, ledger: Ledger, outbox: Outbox, remote: Remote | None = None
    ):
        self.objects, self.index, self.ledger, self.outbox = objects, index, ledger, outbox
        self.remote = remote
        self.claims = claims.Claims(index, ledger)
        self.verified = verified.Verified(objects, index)
        self.root = objects.root
        self.is_checked = self.is_open = False
        self._answered: tuple[object, array[int]] = ((), array("q"))

    @property
    def views(self) -> Path:
        """Folder of the links that are laid out for this user: others of a shared store have their own."""
        return self.root / f"views-{os.getuid()}"

    @property
    def index_path(self) -> Path:
        """The file of the index: on a local disk, wherever the objects are."""
        return Path(self.index.path)

    def open_index(self) -> None:
        """Open the index, or make it, before files arrive: one that is made where files are is taken for a lost one."""
        with self.index.reading():
            pass

    def notice(self) -> None:
        """Called when the index was opened: a warning says so if the records may not be all."""
        self.is_open = True
        doubt = doubts.noticed(self.root, self.index)
        if doubt and not self.is_checked:
            warnings.warn(doubt, stacklevel=2)

    def doubt(self) -> str:
        """Why answers of the index may be wrong, and what to do about it; empty if nothing speaks against them."""
        return doubts.doubt(self.root, self.index)

    def exists(self) -> bool:
        """Whether there can be anything to find: looking for a file makes no store.

        Raises:
            OSError: it cannot be told, as where there is no permission.
        """
        return bool(self.remote) or is_there(self.index_path) or is_there(self.root / "objects")

    # finding

    def query(self, keyvalues: Mapping[str, str], public: bool | None = None) -> list[IpFile]:
        """All records with every one of these pairs (the key `cid` means the record's CID), oldest first.

        Of what accompanies a file (a key like `alignment_cid`), what others say comes last if it is not trusted.
        Of superseded records, those alone whose CID is named; with `superseded=true`, only superseded ones.
        `public` selects a network of the account, if there is one.
        """
        if self.remote is not None:
            return self.remote.query(self, keyvalues, public)
        return self.query_here(keyvalues)

    def query_here(self, keyvalues: Mapping[str, str]) -> list[IpFile]:
        """The same of this machine's records, in the order in which they came, whatever the clock said."""
        from tinydb import where

        pairs = dict(keyvalues)
        superseded = pairs.pop("superseded", None if "cid" in pairs else "false")
        condition: Any = None
        for key, value in pairs.items():
            part = where("cid") == value if key == "cid" else where("keyvalues")[key] == value
            condition = part if condition is None else condition & part
        records = self.index.table("records")
        found: Iterable[Any] = records.all() if condition is None else records.search(condition)
        found = claims.select_superseded(self.index, found, superseded)
        return self.own_words_first([self._ipfile(document) for document in found], pairs)

    def values(self, key: str, begins: str = "", most: int = 100) -> list[str]:
        """What records of this machine have under a key (`cid`: their CIDs), of what begins with a text, in order.

        Of superseded ones only the CIDs.
        """
        holds = "true" if key == "cid" else _with_id(claims.SUPERSEDED, excluded=True)
        sql = f"""SELECT DISTINCT value FROM terms WHERE tid = {_RECORDS}
            AND key = ? AND value >= ? AND value < ? AND {holds} ORDER BY value LIMIT ?"""
        name = key if key == "cid" else f".{key}"
        return [value for (value,) in self.index.rows(sql, name, begins, f"{begins}\U0010ffff", most)]

    def page(
        self,
        asked: Sequence[Mapping[str, str]],
        limit: int,
        offset: int = 0,
        *,
        order: Order = "created_at",
        descending: bool = True,
        public: bool | None = None,
    ) -> tuple[int, list[IpFile]]:
        """How many records of this machine have all of some pairs, and some of these records.

        Of superseded ones none. However many there are, only those that are wanted are read in full.

        Args:
            asked: pairs, of which a record has all of one of these; without any, whatever is not provenance.
            limit: at most so many.
            offset: leave out so many, the first in this order.
            order: what they are sorted by; those that are equal come in the order in which they were registered.
            public: only those that are known to be on the public network, or only the others.
        """
        having = f"SELECT seq FROM terms WHERE tid = {_RECORDS} AND key = ? AND value = ?"
        parts = [" INTERSECT ".join([having] * len(pairs)) for pairs in asked]
        values = [text for pairs in asked for key, value in pairs.items() for text in (f".{key}", value)]
        condition = " OR ".join(f"seq IN ({part})" for part in parts)
        if not asked:
            condition, values = f"seq NOT IN ({having})", [".asset", "provenance"]
        where = f"tid = {_RECORDS} AND ({condition}) AND {_with_id(claims.SUPERSEDED, excluded=True)}"
        if public is not None:
            where += f" AND {_with_id(outbox.PUBLIC, excluded=not public)}"
        way = "DESC" if descending else "ASC"
        sql = f"""SELECT seq FROM docs WHERE {where}
            ORDER BY json_extract(body, '$.{order}') {way}, seq {way}"""
        with self.index.reading() as connection:
            found = self._found_before(connection, sql, values)
            bodies = connection.execute(
                "SELECT body FROM json_each(?) JOIN docs ON seq = value ORDER BY json_each.key",
                [json.dumps(found[offset : offset + limit].tolist())],
            ).fetchall()
        return len(found), [self._ipfile(json.loads(body)) for (body,) in bodies]

    def _found_before(self, connection: sqlite3.Connection, sql: str, values: Sequence[str]) -> array[int]:
        """The numbers that a SELECT gives; the last answer is kept until the index changes, for who turns pages."""
        ((version,),) = connection.execute("PRAGMA data_version")  # changes of others; total_changes: our own
        question = (connection, version, connection.total_changes, sql, tuple(values))
        if self._answered[0] != question or connection.in_transaction:  # which may be undone
            found = array("q", (seq for (seq,) in connection.execute(sql, values)))
            self._answered = (question, found)
        return self._answered[1]

    def type_counts(self) -> dict[str, int]:
        """How many records of this machine each type has that has any; superseded ones and provenance do not count."""
        sql = f"""SELECT value, count(*) FROM terms
            WHERE tid = {_RECORDS} AND key = '.asset' AND value != 'provenance'
            AND {_with_id(claims.SUPERSEDED, excluded=True)} GROUP BY value ORDER BY value"""
        return dict(self.index.rows(sql))

    def own_words_first(self, records: list[IpFile], pairs: Mapping[str, str]) -> list[IpFile]:
        """Records that accompany a file (if a link is asked for): last those that only somebody else speaks of."""
        if len(records) < 2 or not any(key.endswith("_cid") for key in pairs):
            return records
        known = self.claims.records(record.id for record in records)
        speakers = {id: document.get("stated_by", "") for id, document in known.items()}
        others = {id for id, speaker in speakers.items() if not memo.is_believed(self.index, speaker)}
        return sorted(records, key=lambda record: record.id in others)

    def get(self, id: str) -> IpFile | None:
        """One record by its id; of an account, one that is known here."""
        record = self.here(id)
        return self.with_network(record) if record else None

    def here(self, id: str) -> IpFile | None:
        """One record by its id, if this machine's index has it."""
        from tinydb import where

        document = self.index.table("records").get(where("id") == id)
        return self._ipfile(document) if document else None

    def existing(self, record: IpFile) -> IpFile:
        """A record as it is now; one that is in the account alone is made known here.

        Raises:
            AssetNotFoundError: there is none.
        """
        if self.remote is not None:
            self.remote.here(self, record)
        current = self.here(record.id or record_id(record.cid, record.keyvalues))
        if current is None:
            raise self.no_record(record.id or record.cid)
        return current

    def no_record(self, name: str) -> AssetNotFoundError:
        """The error that there is no record of this id or CID."""
        return AssetNotFoundError(f"no record {name!r} in the store {str(self.root)!r}")

    def with_network(self, record: IpFile) -> IpFile:
        """A record, with whether it is known to be on the public network of the account."""
        if self.remote is None:
            return record
        return attrs.evolve(record, public=True in self.outbox.networks(record.id))

    def remembered(self, run_key: str) -> tuple[str, Execution] | None:
        """The provenance CID and the execution that has this run key, if none of its results was taken back."""
        found = self._remembered_here(run_key)
        if found is None and self.remote is not None:
            for cid in self.remote.documents(run_key):
                with contextlib.suppress(StargazerError):  # wrong or missing bytes: computed anew
                    document = self.document(cid)
                    if isinstance(document, Execution) and document.run_key == run_key:
                        self.replay([cid])
                        return self._remembered_here(run_key)
        return found

    def _remembered_here(self, run_key: str) -> tuple[str, Execution] | None:
        cid = memo.answer(self.index, run_key)
        with contextlib.suppress(StargazerError):
            document = self.document(cid) if cid else None
            if isinstance(document, Execution) and not self.taken_back(cid, document):
                return cid, document
        return None

    def taken_back(self, cid: str, execution: Execution) -> list[str]:
        """The roles of those results of an execution that it does not stand for any more, or that have no record."""
        ids = {entry.role: record_id(entry.cid, entry.keyvalues) for entry in execution.outputs}
        there = self.claims.of(cid) & self.claims.records(ids.values()).keys()
        return [role for role, id in ids.items() if id not in there]

    # provenance

    def document(self, cid: str) -> Document:
        """A provenance document by its CID, brought from the account if it is not here.

        Raises:
            StorageError: it is not to be had, or its bytes are not what the CID says.
            FormatError: it is no provenance document.
        """
        if self.ledger.folder(cid) is None:
            if self.objects.stat(cid) is not None:
                raise FormatError(f"{cid} is a file, and no provenance document")
            if self.folder_for(cid) is not self.objects:
                self.read(cid)
        return self.ledger.read(cid)

    def documents(self, cid: str, role: str = "output") -> list[str]:
        """CIDs of the provenance documents that name a file as `output` (made, imported) or `input`, oldest first.

        The roles `amended` and `retracted` name the documents of what was done to the file's records.
        """
        sql = "SELECT provenance_cid FROM edges WHERE cid = ? AND role = ? GROUP BY 1 ORDER BY min(number)"
        return [found for (found,) in self.index.rows(sql, cid, role)]

    def is_registered(self, cid: str) -> bool:
        """Whether a provenance document has taken effect in this store."""
        return claims.is_registered(self.index, cid)

    def is_foreign(self, cid: str) -> bool:
        """Whether a provenance document is known here and was written by somebody else."""
        return memo.is_foreign(self.index, cid)

    def is_trusted(self, cid: str) -> bool:
        """Whether the memo may answer with an execution: this store's own, or one of others that is trusted."""
        return memo.is_believed(self.index, cid)

    def explaining(self, records: Iterable[IpFile]) -> list[str]:
        """CIDs of the provenance documents that lead to these records, back to imports, as far as they can be read."""

        def speaking_of(record: str, made_by: str) -> list[str]:
            return [*self.claims.on(record), *filter(None, [made_by])]

        found: dict[str, None] = {}
        waiting = [
            cid
            for record in records
            for cid in speaking_of(record.id, record.keyvalues.get("provenance_cid", ""))
        ]
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
                    waiting += speaking_of(record_id(entry.cid, entry.keyvalues), entry.provenance_cid)
            elif isinstance(document, Amendment):
                waiting += [document.made_by, *document.replaces]
        return list(found)

    # reading

    def is_here(self, cid: str) -> bool:
        """Whether the bytes of a CID are here, as an object or as a provenance document."""
        return self.objects.stat(cid) is not None or self.ledger.folder(cid) is not None

    def read_here(self, cid: str) -> Path:
        """The read-only file of a CID that is here, verified: by its times since it was last hashed, or by hashing it.

        Raises:
            StorageError: they are not here.
            IntegrityError: they are not what the CID says.
        """
        if (found := self.objects.stat(cid)) is not None:
            return self.verified.path(found)
        if (path := self.ledger.path(cid)) is not None:
            return path
        raise self._missing(cid)

    def sources(self, cid: str) -> list[Source]:
        """Where the bytes of a CID may be had besides this store: nobody's word is taken for them."""
        from stargazer.storage.download.sources import source_of

        found = [source_of(url) for url in self.mirrors(cid)]
        return found + (self.remote.sources(cid) if self.remote else [])

    def mirrors(self, cid: str) -> list[str]:
        """URLs that are said to give the bytes of a CID."""
        return [url for (url,) in self.index.rows("SELECT url FROM mirrors WHERE cid = ? ORDER BY url", cid)]

    def add_mirrors(self, urls: Mapping[str, Iterable[str]]) -> None:
        """Remember URLs of CIDs.

        Raises:
            InvalidAssetError: a URL that holds credentials, which would be shown to others.
        """
        rows = [(cid, url) for cid, several in urls.items() for url in several]
        for parts in (urlsplit(url) for _, url in rows):
            if "@" in parts.netloc or parts.query:
                raise InvalidAssetError(
                    f"a mirror on {parts.hostname!r} is given with credentials or a query, which others would see: "
                    "give a URL that needs neither"
                )
        with self.index.transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO mirrors VALUES(?, ?)", rows)

    def read(self, cid: str, progress: Progress | None = None) -> Path:
        """The verified read-only file of a CID; from a mirror or the account if it is not here.

        Raises:
            StorageError: no source has it; the message says what was wrong with each.
            IntegrityError: its bytes, or those that all sources gave, are not what the CID says.
        """
        if self.is_here(cid):
            return self.read_here(cid)
        folder = self.folder_for(cid)
        sources = self.sources(cid)
        if not sources:
            raise self._missing(cid)
        from stargazer.storage.download.fetch import fetch_object

        known = self.query_here({"cid": cid}) or self.query({"cid": cid})
        most = max((record.size for record in known), default=0) or None
        found = fetch_object(cid, sources, folder, most=most, progress=progress)
        if folder is self.objects:
            self.verified.remember(found)
        return folder.path(cid)

    def folder_for(self, cid: str) -> Objects:
        """Where bytes that are not here belong: those of a document to the ledger, as the account marks it."""
        own = self.remote.documents().get(cid) if self.remote else None
        if own is None and self.is_registered(cid):
            own = not self.is_foreign(cid)
        if own is None:
            return self.objects
        return self.ledger.own if own else self.ledger.foreign

    def export(self, cid: str, target: Path) -> Path:
        """A copy of verified bytes for the user to keep; an existing file is replaced only by the whole copy.

        Raises:
            StorageError: the bytes are not here, or the target cannot be written.
            IntegrityError: the bytes are not what the CID says.
        """
        source = self.read(cid)
        try:
            with replaced(target) as new:
                shutil.copyfile(source, new)
        except OSError as error:
            raise StorageError(f"cannot write {str(target)!r}: {error.strerror}") from error
        return target

    def _missing(self, cid: str) -> StorageError:
        if (original := self.objects.original(cid)) is not None:
            return StorageError(
                f"the bytes of {cid} were added in place, and their file {str(original)!r} is gone: "
                "put it back, or add a copy of it"
            )
        where = f"not in the store {str(self.root)!r}"
        if any(self.outbox.networks(record.id) for record in self.query_here({"cid": cid})):
            return StorageError(
                f"the bytes of {cid} are on Pinata and {where}: set PINATA_JWT to a token of the account"
            )
        return StorageError(
            f"the bytes of {cid} are {where}, and no mirror of them is known: add the file again"
        )

    def _ipfile(self, document: Mapping[str, Any], *, there: bool = False) -> IpFile:
        """A record for others; `there`: its object was found just now, and need not be looked for."""
        if not document.keys() >= _FIELDS:
            raise IndexDamaged(str(self.index_path), f"the record {document.get('id')!r} is not whole")
        fields = {key: document[key] for key in _FIELDS}
        cid, path = str(document["cid"]), None
        if is_cid(cid):
            is_document = document["keyvalues"].get("asset") == "provenance"
            folder = self.ledger.folder(cid) if is_document else self.objects
            path = folder.path(cid) if folder else None
            if path and folder is self.objects and not there and not os.path.exists(path):
                path = None
        return IpFile(**{**fields, "cid": cid}, path=path)

    # registering

    def add(
        self,
        additions: Iterable[Addition],
        command: str = "add",
        *,
        warn: Callable[[str], object] | None = None,
    ) -> list[IpFile]:
        """Register files as an import: copied, hashed, checked, with one provenance document for all that is new.

        All or nothing: a file that cannot be registered leaves the store as it was. Installed checks look at the
        files first (`stargazer.storage.checks`); provenance names those that did. Where all of them are registered
        already as what they are said to be, and none has changed, nothing is checked again and nothing is written.
        With an account they are sent then; what cannot be sent now waits in the outbox.

        Args:
            command: what provenance says registered them.
            warn: told what is said of a file and could not be checked; else a Python warning says it.

        Raises:
            FormatError: a file is missing, empty, not of its type, or does not fit what it is said to belong to.
            InvalidAssetError: metadata that its type does not take.
            StorageError: the store cannot take it.
        """
        additions = list(additions)
        cids: list[str | None] = [None] * len(additions)
        if self.index_path.exists():  # asking makes no store
            cids = statcache.known_cids(self.index, [item.path for item in additions])
        records = self._registered(additions, cids)
        if records is None:
            records = self._add(additions, cids, command, warn)
        if self.remote is not None:
            for record, item in zip(records, additions, strict=True):
                public = self.remote.publishes if item.public is None else item.public
                self.outbox.enqueue_missing(record, public=public)
            self.send_now()
        return list(map(self.with_network, records))

    def _registered(self, additions: Sequence[Addition], known: Sequence[str | None]) -> list[IpFile] | None:
        """The records of files that are all registered already and unchanged; else None, and nothing has happened.

        What is wrong with a file or with what is said of it is not told here.
        """
        cids = [cid for cid in known if cid]
        stored = [found for cid in cids if (found := self.objects.stat(cid))]
        if len(stored) < len(additions):
            return None
        for cid, item in zip(cids, additions, strict=True):
            original = item.path.resolve() if item.in_place else None
            if self.objects.original(cid) != original or not os.access(item.path, os.R_OK):
                return None
        together = {id(item.asset): cid for item, cid in zip(additions, cids, strict=True)}
        try:
            pairs = [keyvalues_of(with_links(item.asset, together)) for item in additions]
        except InvalidAssetError:
            return None
        ids = [record_id(cid, said) for cid, said in zip(cids, pairs, strict=True)]
        records = self.claims.records(dict.fromkeys(ids)) if self.verified.are_known(stored) else {}
        if not records.keys() >= set(ids):
            return None
        settle(additions, cids)
        return [self._ipfile(records[id], there=True) for id in ids]

    def _add(
        self,
        additions: Sequence[Addition],
        known: Sequence[str | None],
        command: str,
        warn: Callable[[str], object] | None,
    ) -> list[IpFile]:
        """Register files of which something is new; `known`: the CIDs of those that have not changed since."""
        check_files(additions)
        check_metadata([item.asset for item in additions])
        checked = run_checks(additions, self.query_here, warn)
        with self.arriving() as arrived:
            signatures = [statcache.signature(item.path) for item in additions]
            if any(known):  # they may have changed while they were checked
                known = statcache.known_cids(self.index, [item.path for item in additions])
            pairs = list(zip(additions, known, strict=True))
            by_path = self.verified.copy({item.path: cid for item, cid in pairs if not item.in_place})
            by_path |= {item.path: self.verified.link(item.path, cid) for item, cid in pairs if item.in_place}
            stored = [by_path[item.path] for item in additions]
            arrived.objects += stored
            settle(additions, [found.cid for found in stored])
            said = [
                Entry(
                    cid=found.cid,
                    keyvalues=keyvalues_of(item.asset),
                    name=item.title,
                    size=found.size,
                    origin=item.public_origin,
                )
                for item, found in zip(additions, stored, strict=True)
            ]
            ids = [record_id(entry.cid, entry.keyvalues) for entry in said]
            entries = dict(zip(ids, said, strict=True))
            records = {id: self._ipfile(record) for id, record in self.claims.records(entries).items()}
            document = import_of(
                [entry for id, entry in entries.items() if id not in records], command, checked
            )
            written = self.write_document(document, arrived) if document.files else None
            with self.index.transaction() as connection:
                verified.remember(connection, stored)
                for item, found, signature in zip(additions, stored, signatures, strict=True):
                    statcache.remember(connection, item.path, signature, found.cid)
                if written:
                    public = {id: item.public for id, item in zip(ids, additions, strict=True)}
                    records |= self.apply(written, document, public=public)
        return [records[id] for id in ids]

    def commit(self, execution: Execution, outputs: Sequence[tuple[str, Asset]]) -> Execution:
        """Register what an execution made: the files are moved in from the workspace, with provenance and memo.

        Args:
            execution: what is known of it, without outputs.
            outputs: role and asset, whose `path` is a file in the store's work folder. Links may point at other
                outputs. CID, provenance and record of each are set. An asset that has a CID is handed on.

        Returns:
            The execution as it was written, with its outputs.

        Raises:
            FormatError: a result whose file is missing, or does not belong to the file that it is to accompany.
            InvalidAssetError: a result without a path, or with metadata that its type does not take.
            StorageError: the store cannot take it, or the account where it has to be there.
        """
        made = [asset for _, asset in outputs if not asset.cid]
        for role, asset in outputs:
            title = f"{execution.task}: the result {role!r}"
            if asset.cid:
                continue
            if asset.path is None:
                raise InvalidAssetError(f"{title} has no path: give it the file it holds")
            if not asset.path.is_file():
                raise FormatError(f"{title} has no file: nothing was written to {asset.path.name!r}")
        check_metadata([asset for _, asset in outputs])
        check_companions(made, self.query_here, execution.task)
        with self.arriving() as arrived:
            names = [
                (asset.record.name if asset.record else "") or asset.file_name(asset.asset_key)
                for _, asset in outputs
            ]
            self._take(made, arrived)
            entries = []
            for (role, asset), name in zip(outputs, names, strict=True):
                asset.resolve_links()
                cid = asset.cid or ""
                found = self.objects.stat(cid)
                size = found.size if found else 0
                entries.append(Entry(role=role, cid=cid, keyvalues=keyvalues_of(asset), name=name, size=size))
            execution = attrs.evolve(execution, outputs=entries)
            written = self.write_document(execution, arrived)
            with self.index.transaction() as connection:
                verified.remember(connection, arrived.objects)
                records = self.apply(written, execution)
        for asset in made:
            asset.record = records[record_id(asset.cid or "", asset.keyvalues)]
            asset.path = asset.record.path
            asset.provenance_cid = asset.record.keyvalues.get("provenance_cid")
        if self.remote is not None and self.remote.sends_results and (left := self.remote.send(self).left):
            raise StorageError(
                f"{execution.task}: its results are not on Pinata, where the next task would look for them:\n"
                + "\n".join(f"  {item.record}: {item.error}" for item in left)
            )
        return execution

    def _take(self, assets: Sequence[Asset], arrived: Arrivals) -> None:
        """Move the files of new assets in, and set their CIDs."""
        taken: dict[Path, str] = {}
        for asset in assets:
            path = Path(asset.path or "")
            if path not in taken:
                taken[path] = hash_in_place(path)
                self.verified.sound(taken[path])  # removes a damaged one, which this takes the place of
                arrived.objects.append(self.objects.keep(path, taken[path]))
            asset.cid = taken[path]

    def import_record(self, record: IpFile, *, origin: str, command: str) -> IpFile:
        """Register a file that is somewhere else: its bytes need not be here.

        Args:
            origin: where it is.

        Raises:
            StorageError: the store cannot be written.
        """
        pairs = without_provenance(record.keyvalues)
        entry = Entry(cid=record.cid, keyvalues=pairs, name=record.name, size=record.size, origin=origin)
        with self.arriving() as arrived:
            document = import_of([entry], command)
            self.apply(self.write_document(document, arrived), document, live=False)
        return self.existing(IpFile(cid=record.cid, id=record_id(record.cid, pairs)))

    def restore(self, files: Mapping[Path, str]) -> None:
        """Take in files of the work folder whose bytes were just found to be those of CIDs: records are as they were.

        Raises:
            StorageError: the store cannot take them.
        """
        with self.arriving() as arrived:
            for path, cid in files.items():
                self.verified.sound(cid)
                arrived.objects.append(self.objects.keep(path, cid))
            with self.index.transaction() as connection:
                verified.remember(connection, arrived.objects)

    # what every change is made of

    @contextlib.contextmanager
    def arriving(self) -> Iterator[Arrivals]:
        """What arrives inside is noted in the answer; when the block fails, what nothing refers to is removed.

        Everybody holds a shared lock from an object's arrival to the transaction that refers to it. Whoever clears up
        takes it alone, so that an object which another process found here and counts on is not removed; while another
        is at work, nothing is.

        Raises:
            StorageError: the store cannot be written.
        """
        self.open_index()
        with at_work(self.root) as is_alone:
            arrived = Arrivals()
            began = time.time_ns() - _TICK
            try:
                yield arrived
            except BaseException:
                with contextlib.suppress(OSError):  # nothing can be removed
                    if is_alone():
                        self._clear_up(arrived, began)
                raise

    def _clear_up(self, arrived: Arrivals, began: int) -> None:
        for found in arrived.objects:
            if found.ctime_ns >= began and self.verified.state(found.cid) is None:
                self.objects.remove(found.cid)
        for found in arrived.documents:
            if found.ctime_ns >= began and not self.is_registered(found.cid):
                self.ledger.remove(found.cid)

    def write_document(self, document: Document, arrived: Arrivals) -> StoredObject:
        """Write a document of the store's own to the ledger.

        Raises:
            StorageError: the store cannot take it.
        """
        arrived.documents.append(self.ledger.write(document))
        return arrived.documents[-1]

    def apply(
        self,
        written: StoredObject,
        document: Document,
        *,
        own: bool = True,
        live: bool = True,
        public: Mapping[str, bool | None] = types.MappingProxyType({}),
    ) -> dict[str, IpFile]:
        """Let a document of the ledger take effect, in one transaction.

        Args:
            own: it is the store's own word.
            live: it was written just now, so that the account has to be told.
            public: of records by id, whether they are to be public where that has a meaning.

        Returns:
            The records that it claims, as far as they stand, by id.
        """
        with self.index.transaction() as connection:
            verified.remember(connection, [written])
            rows = self.claims.take_effect(connection, written.cid, written.size, document, own=own)
            records = {id: self._ipfile(row) for id, row in rows.items()}
            if live:
                self.outbox.enqueue_effect(written.cid, document, records, public, self.remote)
        return records

    def replay(self, cids: Iterable[str]) -> int:
        """Let documents of the ledger take effect, in any order; those that have are passed over.

        Returns:
            How many took effect.

        Raises:
            StorageError: one of them is not here.
            FormatError: one is no provenance document.
        """
        documents = [(cid, self.document(cid)) for cid in dict.fromkeys(cids)]
        documents.sort(key=lambda pair: (claims.time_of(pair[1]), pair[0]))
        new = []
        for cid, document in documents:
            own = self.ledger.is_own(cid)
            if not self.is_registered(cid) or (own and self.is_foreign(cid)):
                new.append((cid, document, own))
        with self.index.transaction():
            for cid, document, own in new:
                folder = self.ledger.folder(cid)
                if folder is not None and (written := folder.stat(cid)) is not None:
                    self.apply(written, document, own=own, live=False)
        if self.remote is not None and any(own for _, _, own in new):
            there = self.remote.documents()
            for cid, document, own in new:
                if own and cid not in there and isinstance(document, Change):
                    ids = (statement.id for statement in claims.statements_of(cid, document))
                    became = next(filter(self.here, ids), "")
                    self.outbox.enqueue_change(cid, document, became, doubtful=True)
        return len(new)

    # the account

    def send_now(self) -> None:
        """Send what waits to the account, if there is one; what cannot be sent now stays, with a warning."""
        sent = self.remote.send(self) if self.remote else None
        if sent and sent.left:
            count = f"{len(sent.left)} of {sent.count + len(sent.left)} files"
            warnings.warn(
                f"{count} are not on Pinata yet ({sent.left[0].error}); they are safe here, "
                "and `stargazer push` sends them",
                stacklevel=3,
            )

    def hand_over(self, records: Iterable[IpFile]) -> None:
        """Send the results of what somebody started to the account, with everything that says how they were made."""
        if self.remote is not None:
            self.enqueue(records, public=False)
            self.send_now()

    def enqueue(self, records: Iterable[IpFile], *, public: bool) -> None:
        """Let records wait to be sent, with the provenance that leads to them, as far as either is not there."""
        records = list(records)
        documents = self.explaining(records)
        documents += [cid for found in documents for cid in self.documents(found, "trusted")]
        own = [record for cid in documents for record in self.query_here({"asset": "provenance", "cid": cid})]
        with self.index.transaction():
            for record in records:
                self.outbox.enqueue_missing(record, public=public)
            for record in own:
                self.outbox.enqueue_missing(record, public=False)


def import_of(files: list[Entry], command: str, checked: Checked | None = None) -> Import:
    """The document of an import that is done now, of files of which this came of the checks."""
    checks, forced = (checked.ran, checked.forced) if checked else ([], [])
    return Import(files=files, command=command, checks=checks, forced=forced, account=account(), at=now())


def _with_id(ids: str, *, excluded: bool = False) -> str:
    """SQL that is true of the documents of records whose id is among those that a SELECT gives, or is not."""
    sql = f"SELECT seq FROM terms WHERE tid = {_RECORDS} AND key = 'id' AND value IN ({ids})"
    return f"seq {'NOT ' if excluded else ''}IN ({sql})"
