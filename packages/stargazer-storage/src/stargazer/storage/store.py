"""The store: files by CID, an index of their records, a ledger of their provenance; one transaction a change.

Whatever is registered becomes durable in this order: the objects, the provenance document, then one transaction of the
index. A crash in between leaves objects that nothing refers to, or a document that `stargazer fsck` lets take effect.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import secrets
import shutil
import time
import types
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attrs
from stargazer.assets import (
    Asset,
    AssetNotFoundError,
    FormatError,
    IntegrityError,
    InvalidAssetError,
    IpFile,
    StargazerError,
    StorageError,
    asset_class,
    record_id,
)
from stargazer.assets.addresses import hidden
from stargazer.assets.provenance import (
    Amendment,
    Document,
    Entry,
    Execution,
    Import,
    Retraction,
    Supersession,
)
from stargazer.storage import doubts, mirrors, statcache, verified
from stargazer.storage.additions import (
    Addition,
    check_files,
    check_metadata,
    keyvalues_of,
    refuse_secrets,
    settle,
    with_links,
    without_provenance,
)
from stargazer.storage.checking import Checked, check_companions, run_checks
from stargazer.storage.cid import is_cid
from stargazer.storage.files import hash_in_place, is_there, open_shared
from stargazer.storage.index.location import index_path
from stargazer.storage.index.records import Index
from stargazer.storage.index.schema import IndexDamaged
from stargazer.storage.ledger import claims, memo, supersede, trust
from stargazer.storage.ledger.documents import Ledger, account, now
from stargazer.storage.lineage import dependencies
from stargazer.storage.objects import Objects, StoredObject
from stargazer.storage.outbox import Outbox

if TYPE_CHECKING:
    from stargazer.storage.download.http import Progress
    from stargazer.storage.download.sources import Source

__all__ = ["Addition", "Remote", "Store", "open_store"]

_FIELDS = {"id", "cid", "name", "size", "created_at", "keyvalues"}
_TICK = 50_000_000  # ns: a filesystem's clock may be a little behind


class Remote(Protocol):
    """An account that completes a store: what is registered here goes there, and what is there is found here."""

    @property
    def publishes(self) -> bool:
        """Whether what is added and pushed goes to the public network unless it is said."""

    def query(self, store: Store, keyvalues: Mapping[str, str], public: bool | None) -> list[IpFile]:
        """The records of both sides, each once; those of one network, if `public` is said."""

    def remembered(self, store: Store, run_key: str) -> bool:
        """Whether the account has an execution with this run key, which is known here now."""

    def sources(self, cid: str) -> list[Source]:
        """Where in the account the bytes of a CID may be had."""

    def size(self, cid: str) -> int:
        """Bytes of a CID at most, as the account says; 0 if it does not."""

    def owns(self, cid: str) -> bool | None:
        """Whether a provenance document of the account is this store's own word; None if the account has none such."""

    def takes(self, document: Document) -> bool:
        """Whether the files that a new document tells of are sent."""

    def here(self, store: Store, record: IpFile) -> IpFile:
        """A record that may be only there, made known here so that it can be changed."""

    def added(self, store: Store, records: Sequence[IpFile], additions: Sequence[Addition]) -> None:
        """Send what was added, and what was here before and is not there."""

    def changed(self, store: Store) -> None:
        """Send what can be sent; the rest waits, with a warning."""

    def committed(self, store: Store, task: str) -> None:
        """Send what an execution made, where its results have to be there before the next one begins."""

    def hand_over(self, store: Store, records: Iterable[IpFile]) -> None:
        """Send the results of what somebody started, with everything that says how they were made."""

    def replayed(self, store: Store, cids: Sequence[str]) -> None:
        """Let changes of our own wait that were written down but not enqueued, or were forgotten with an index."""


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
    opened: list[Store] = []
    database = Index(
        index_path(root, index),
        has_files=functools.partial(doubts.holds_files, root),
        first_use=lambda: opened[0].notice(),
    )
    opened.append(Store(Objects(root), database, Ledger(root), Outbox(database), remote))
    return opened[0]


class Store:
    """Registers, finds and reads files in one folder; safe with several processes and threads.

    Every method blocks; `StoreClient` is its asynchronous face.

    Attributes:
        objects: the bytes of files, by CID.
        index: the records, and what follows from provenance.
        ledger: the provenance documents.
        outbox: what is still to be sent to an account.
        remote: the account that completes the store, if it has one.
        is_checked: fsck is at work, and says itself what is wrong with the index.
    """

    def __init__(
        self, objects: Objects, index: Index, ledger: Ledger, outbox: Outbox, remote: Remote | None = None
    ):
        self.objects, self.index, self.ledger, self.outbox, self.remote = (
            objects,
            index,
            ledger,
            outbox,
            remote,
        )
        self.claims = claims.Claims(index, ledger)
        self.root = objects.root
        self.is_checked = self.is_open = False

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
        with self.index.reading() as connection:
            found = supersede.selected(connection, found, superseded)
        return self.own_words_first([self._ipfile(document) for document in found], pairs)

    def own_words_first(self, records: list[IpFile], pairs: Mapping[str, str]) -> list[IpFile]:
        """Records that accompany a file (if a link is asked for): last those that only somebody else speaks of."""
        if len(records) < 2 or not any(key.endswith("_cid") for key in pairs):
            return records
        known = self.claims.records(record.id for record in records)
        with self.index.reading() as connection:
            others = {
                id
                for id, document in known.items()
                if not trust.is_believed(connection, document.get("stated_by", ""))
            }
        return sorted(records, key=lambda record: record.id in others)

    def get(self, id: str) -> IpFile | None:
        """One record by its id; of an account, one that is known here."""
        record = self.here(id)
        return self.with_network(record) if record and self.remote else record

    def here(self, id: str) -> IpFile | None:
        """One record by its id, if this machine's index has it."""
        from tinydb import where

        document = self.index.table("records").get(where("id") == id)
        return self._ipfile(document) if document else None

    def with_network(self, record: IpFile) -> IpFile:
        """A record, with whether it is known to be on the public network."""
        return attrs.evolve(record, public=True in self.outbox.networks(record.id))

    def remembered(self, run_key: str) -> tuple[str, Execution] | None:
        """The provenance CID and the execution that has this run key, if none of its results was taken back."""
        found = self._remembered_here(run_key)
        if found is None and self.remote is not None and self.remote.remembered(self, run_key):
            found = self._remembered_here(run_key)
        return found

    def _remembered_here(self, run_key: str) -> tuple[str, Execution] | None:
        with self.index.reading() as connection:
            cid = memo.answer(connection, run_key)
        if not cid:
            return None
        try:
            document = self.document(cid)
        except StargazerError:
            return None
        if not isinstance(document, Execution) or self.taken_back(cid, document):
            return None
        return cid, document

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
                self.bring(cid)
        return self.ledger.read(cid)

    def documents(self, cid: str, role: str = "output") -> list[str]:
        """CIDs of the provenance documents that name a file as `output` (made, imported) or `input`, oldest first.

        The roles `amended` and `retracted` name the documents of what was done to the file's records.
        """
        sql = "SELECT provenance_cid FROM edges WHERE cid = ? AND role = ? GROUP BY 1 ORDER BY min(number)"
        with self.index.reading() as connection:
            return [found for (found,) in connection.execute(sql, (cid, role)).fetchall()]

    def is_registered(self, cid: str) -> bool:
        """Whether a provenance document has taken effect in this store."""
        with self.index.reading() as connection:
            return claims.is_registered(connection, cid)

    def is_trusted(self, cid: str) -> bool:
        """Whether the memo may answer with an execution: this store's own, or one of others that is trusted."""
        with self.index.reading() as connection:
            return trust.is_believed(connection, cid)

    def is_foreign(self, cid: str) -> bool:
        """Whether a provenance document is known here and was written by somebody else."""
        with self.index.reading() as connection:
            return trust.is_foreign(connection, cid)

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
        return [*self.claims.on(record), *filter(None, [keyvalues.get("provenance_cid", "")])]

    # reading

    def read(self, cid: str) -> Path:
        """The read-only file of a CID, verified: by its times since it was last hashed, else by hashing it.

        Bytes that are not here are brought from a mirror or an account that has them.

        Raises:
            StorageError: it is not to be had.
            IntegrityError: its bytes are not what the CID says.
        """
        return self.read_here(cid) if self.is_here(cid) else self.bring(cid)

    def read_here(self, cid: str) -> Path:
        """The same, of bytes that are here: nothing is downloaded.

        Raises:
            StorageError: they are not here.
            IntegrityError: they are not what the CID says.
        """
        found = self.objects.stat(cid)
        if found is None:
            path = self.ledger.path(cid)
            if path is None:
                raise self._missing(cid)
            return path
        with self.index.reading() as connection:
            verify = not verified.is_verified(connection, found)
        if verify:
            self._remember_verified(self.objects.verify(cid))
        return self.objects.path(cid)

    def is_here(self, cid: str) -> bool:
        """Whether the bytes of a CID are here, as an object or as a provenance document."""
        return self.objects.stat(cid) is not None or self.ledger.folder(cid) is not None

    def sources(self, cid: str) -> list[Source]:
        """Where the bytes of a CID may be had besides this store: nobody's word is taken for them."""
        from stargazer.storage.download.sources import source_of

        found = [source_of(url) for url in self.mirrors(cid)]
        return found + (self.remote.sources(cid) if self.remote else [])

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

        A provenance document goes to the ledger: that of an account as the account marks it.

        Raises:
            StorageError: no source has it; the message says what was wrong with each.
            IntegrityError: what they gave is not what the CID says.
        """
        if self.is_here(cid):
            return self.read_here(cid)
        folder = self.folder_for(cid)
        sources = self.sources(cid)
        if not sources:
            raise self._missing(cid)
        from stargazer.storage.download.fetch import fetch_object

        found = fetch_object(cid, sources, folder, most=self._most(cid) or None, progress=progress)
        if folder is self.objects:
            self._remember_verified(found)
        return folder.path(cid)

    def folder_for(self, cid: str) -> Objects:
        """Where bytes that are not here belong: a document that is known here or in the account to the ledger."""
        own = self.remote.owns(cid) if self.remote else None
        if own is None and self.is_registered(cid):
            own = not self.is_foreign(cid)
        if own is None:
            return self.objects
        return self.ledger.own if own else self.ledger.foreign

    def _remember_verified(self, found: StoredObject) -> None:
        with contextlib.suppress(StorageError), self.index.transaction() as connection:
            verified.remember(connection, [found])  # a read-only store is verified every time

    def _most(self, cid: str) -> int:
        """Bytes of a CID at most, as the records of it say, or an account; 0 where nobody does."""
        known = max((record.size for record in self.query_here({"cid": cid})), default=0)
        return known or (self.remote.size(cid) if self.remote else 0)

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

    def _missing(self, cid: str) -> StorageError:
        if (original := self.objects.original(cid)) is not None:
            return StorageError(
                f"the bytes of {cid} were added in place, and their file {str(original)!r} is gone: "
                "put it back, or add a copy of it"
            )
        if self.outbox.is_remote(record.id for record in self.query_here({"cid": cid})):
            return StorageError(
                f"the bytes of {cid} are on Pinata and not in the store {str(self.root)!r}: set PINATA_JWT to a "
                "token of the account"
            )
        return StorageError(
            f"the bytes of {cid} are not in the store {str(self.root)!r}, and no mirror of them is known: "
            "add the file again"
        )

    def _ipfile(self, document: Mapping[str, Any], *, there: bool = False) -> IpFile:
        """A record for others; `there`: its object was found just now, and need not be looked for."""
        cid = str(document.get("cid"))
        if not document.keys() >= _FIELDS:
            raise IndexDamaged(str(self.index_path), f"the record {document.get('id')!r} is not whole")
        path = None
        if is_cid(cid):
            path = self.objects.path(cid)
            if not there and not os.path.exists(path):
                folder = (
                    self.ledger.folder(cid) if document["keyvalues"].get("asset") == "provenance" else None
                )
                path = folder.path(cid) if folder is not None else None
        return IpFile(
            id=document["id"],
            cid=cid,
            name=document["name"],
            size=document["size"],
            created_at=document["created_at"],
            keyvalues=document["keyvalues"],
            path=path,
        )

    # registering

    def add(self, additions: Iterable[Addition], command: str = "add") -> list[IpFile]:
        """Register files as an import: copied, hashed, checked, with one provenance document for all that is new.

        All or nothing: a file that cannot be registered leaves the store as it was. Installed checks look at the
        files first (`stargazer.storage.checking`); provenance names those that did. Where all of them are registered
        already as what they are said to be, and none has changed, nothing is checked again and nothing is written.
        With an account they are sent then; what cannot be sent now waits in the outbox.

        Raises:
            FormatError: a file is missing, empty, not of its type, or does not fit what it is said to belong to.
            InvalidAssetError: metadata that its type does not take.
            StorageError: the store cannot take it.
        """
        additions = list(additions)
        records = self._registered(additions)
        if records is None:
            records = self._add(additions, command)
        if self.remote is not None:
            self.remote.added(self, records, additions)
            records = list(map(self.with_network, records))
        return records

    def _registered(self, additions: Sequence[Addition]) -> list[IpFile] | None:
        """The records of files that are all registered already and unchanged; else None, and nothing has happened.

        Told without opening a file: each has the size, times and inode it had when it was added, and its object those
        it had when it was hashed. What is wrong with a file or with what is said of it is not told here.
        """
        if not self.index_path.exists():  # asking makes no store
            return None
        with self.index.reading() as connection:
            cids = [cid for cid in statcache.known_cids(connection, [item.path for item in additions]) if cid]
            stored = [found for cid in cids if (found := self.objects.stat(cid))]
            if len(stored) < len(additions) or not verified.are_verified(connection, stored):
                return None
        if not all(
            os.access(item.path, os.R_OK) and self._is_kept_as_said(found, item)
            for item, found in zip(additions, stored, strict=True)
        ):
            return None
        together = {id(item.asset): cid for item, cid in zip(additions, cids, strict=True)}
        try:
            pairs = [keyvalues_of(with_links(item.asset, together)) for item in additions]
        except InvalidAssetError:
            return None
        ids = [record_id(cid, said) for cid, said in zip(cids, pairs, strict=True)]
        records = self.claims.records(dict.fromkeys(ids))
        if not records.keys() >= set(ids):
            return None
        settle(additions, cids)
        return [self._ipfile(records[id], there=True) for id in ids]

    def _is_kept_as_said(self, stored: StoredObject, item: Addition) -> bool:
        """Whether an object is what adding makes of a file: in place a link to this very one, else bytes of our own."""
        if item.in_place:
            return self.objects.original(stored.cid) == item.path.resolve()
        return not self.objects.is_link(stored.cid)

    def _add(self, additions: Sequence[Addition], command: str) -> list[IpFile]:
        check_files(additions)
        check_metadata([item.asset for item in additions])
        checked = run_checks(additions, self.query_here)
        with self.arriving() as arrived:
            signatures = [statcache.signature(item.path) for item in additions]
            stored = self._take_in(additions)
            arrived.objects += stored
            settle(additions, [found.cid for found in stored])
            named = [
                Entry(
                    cid=found.cid,
                    keyvalues=keyvalues_of(item.asset),
                    name=item.title,
                    size=found.size,
                    origin=item.public_origin,
                )
                for item, found in zip(additions, stored, strict=True)
            ]
            ids = [record_id(entry.cid, entry.keyvalues) for entry in named]
            entries = dict(zip(ids, named, strict=True))
            records = {id: self._ipfile(record) for id, record in self.claims.records(entries).items()}
            fresh = [entry for id, entry in entries.items() if id not in records]
            document = self._import(fresh, command, checked)
            written = self.write_document(document, arrived) if fresh else None
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
        for role, asset in outputs:
            title = f"{execution.task}: the result {role!r}"
            if not asset.cid and asset.path is None:
                raise InvalidAssetError(f"{title} has no path: give it the file it holds")
            if not asset.cid and asset.path is not None and not asset.path.is_file():
                raise FormatError(f"{title} has no file: nothing was written to {asset.path.name!r}")
        check_metadata([asset for _, asset in outputs])
        made = [asset for _, asset in outputs if not asset.cid]
        check_companions(made, self.query_here, execution.task)
        with self.arriving() as arrived:
            names = [_file_name(asset) for _, asset in outputs]
            self._adopt(made, arrived)
            for _, asset in outputs:
                asset.resolve_links()
            entries = [
                Entry(role=role, cid=cid, keyvalues=keyvalues_of(asset), name=name, size=self._size(cid))
                for (role, asset), name in zip(outputs, names, strict=True)
                if (cid := asset.cid)
            ]
            execution = attrs.evolve(execution, outputs=entries)
            written = self.write_document(execution, arrived)
            with self.index.transaction() as connection:
                verified.remember(connection, arrived.objects)
                records = self.apply(written, execution)
        for asset in made:
            asset.record = records[record_id(asset.cid or "", asset.keyvalues)]
            asset.path = asset.record.path
            asset.provenance_cid = asset.record.keyvalues.get("provenance_cid")
        if self.remote is not None:
            self.remote.committed(self, execution.task)
        return execution

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
            document = self._import([entry], command)
            self.apply(self.write_document(document, arrived), document, live=False)
        return self._existing(IpFile(cid=record.cid, id=record_id(record.cid, pairs)))

    def restore(self, files: Mapping[Path, str]) -> None:
        """Take in files of the work folder whose bytes were just found to be those of CIDs: records are as they were.

        Raises:
            StorageError: the store cannot take them.
        """
        with self.arriving() as arrived:
            for path, cid in files.items():
                self._sound(cid)
                arrived.objects.append(self.objects.keep(path, cid))
            with self.index.transaction() as connection:
                verified.remember(connection, arrived.objects)

    def hand_over(self, records: Iterable[IpFile]) -> None:
        """Called with the results of what somebody started: they are sent to the account, if there is one."""
        if self.remote is not None:
            self.remote.hand_over(self, records)

    def _import(self, files: list[Entry], command: str, checked: Checked | None = None) -> Import:
        checked = checked or Checked()
        return Import(
            files=files,
            command=command,
            checks=checked.ran,
            forced=checked.forced,
            account=account(),
            at=now(),
        )

    def _take_in(self, additions: Sequence[Addition]) -> list[StoredObject]:
        """The objects of files, copied or linked unless they are known and unchanged; what is there is verified."""
        linked = {item.path: self._link(item.path) for item in additions if item.in_place}
        paths = [item.path for item in additions if item.path not in linked]
        with self.index.reading() as connection:
            cids = dict(zip(paths, statcache.known_cids(connection, paths), strict=True))
        own = {path: cid for path, cid in cids.items() if cid and not self.objects.is_link(cid)}
        known = {path: found for path, cid in own.items() if (found := self._sound(cid))}
        fresh = [path for path in cids if path not in known]
        known.update(zip(fresh, self.objects.add_many(fresh), strict=True))
        for path in fresh:
            if not self._sound(known[path].cid):
                (known[path],) = self.objects.add_many([path])
        known |= linked
        return [known[item.path] for item in additions]

    def _link(self, path: Path) -> StoredObject:
        """The object that is a link to a user's file, hashed unless it is known and unchanged."""
        with self.index.reading() as connection:
            (cid,) = statcache.known_cids(connection, [path])
            found = self.objects.stat(cid) if cid and self.objects.original(cid) == path.resolve() else None
            if found is not None and verified.is_verified(connection, found):
                return found
        return self.objects.link(path)

    def _sound(self, cid: str) -> StoredObject | None:
        """The object as it is now; None if it is missing, or was damaged and is removed."""
        found = self.objects.stat(cid)
        with self.index.reading() as connection:
            before = verified.state(connection, cid)
        if found is None or before in (None, found):
            return found
        try:
            return self.objects.verify(cid)
        except IntegrityError:
            self.objects.remove(cid)
            return None

    def _adopt(self, assets: Sequence[Asset], arrived: Arrivals) -> None:
        """Move the files of new assets in, and set their CIDs."""
        taken: dict[Path, str] = {}
        for asset in assets:
            path = Path(asset.path or "")
            if path not in taken:
                cid = hash_in_place(path)
                self._sound(cid)  # removes a damaged one, which this takes the place of
                arrived.objects.append(self.objects.keep(path, cid))
                taken[path] = cid
            asset.cid = taken[path]

    def _size(self, cid: str) -> int:
        found = self.objects.stat(cid)
        return found.size if found else 0

    # changing records

    def amend(self, ipfile: IpFile, keyvalues: Mapping[str, str | None]) -> IpFile:
        """Merge metadata into one record (None removes a key) and write down that it was done.

        The record's id follows from its metadata, so the amended one has another.

        Raises:
            AssetNotFoundError: no such record.
            InvalidAssetError: metadata that its type does not take, or that the store sets itself.
        """
        current = self._existing(ipfile)
        _refuse_provenance(current)
        made_by = current.keyvalues.get("provenance_cid", "")
        if keyvalues.get("provenance_cid", made_by) != made_by:
            raise InvalidAssetError("provenance_cid says how a file was made: it is set by the store alone")
        merged = {**current.keyvalues, **keyvalues}
        changed = {key: value for key, value in merged.items() if value is not None}
        asset = asset_class(changed.get("asset", "")).from_keyvalues(changed, cid=current.cid)
        check_metadata([asset])
        pairs = keyvalues_of(asset)
        refuse_secrets({key: value for key, value in pairs.items() if value != current.keyvalues.get(key)})
        id = record_id(current.cid, pairs)
        if id == current.id:
            return current
        document = Amendment(
            record=current.id,
            made_by=made_by,
            cid=current.cid,
            keyvalues=pairs,
            name=current.name,
            size=current.size,
            created_at=current.created_at,
            account=account(),
            at=now(),
        )
        record = self._change(document)[id]
        return self.with_network(record) if self.remote else record

    def retract(self, ipfile: IpFile) -> None:
        """Remove one record and write down that it was done; its bytes and other records stay.

        Raises:
            AssetNotFoundError: no such record.
            InvalidAssetError: the record of a provenance document, which stays with what it speaks of.
        """
        current = self._existing(ipfile)
        _refuse_provenance(current)
        made_by = current.keyvalues.get("provenance_cid", "")
        self._change(
            Retraction(record=current.id, made_by=made_by, cid=current.cid, account=account(), at=now())
        )

    def successor(self, id: str) -> str:
        """The id of the record that takes the place of this one; empty if it is not superseded."""
        with self.index.reading() as connection:
            return supersede.successor(connection, id)

    def supersede(self, old: IpFile, new: IpFile, reason: str = "") -> None:
        """Let one record take the place of another, and write down that it does: searches pass the old one over.

        Nothing is removed, and whatever was computed from the old one stays (see `stale`). Of a record that was
        superseded before, this holds instead.

        Raises:
            AssetNotFoundError: no such record.
            InvalidAssetError: the same record, another type, provenance, or a new one that is superseded itself.
        """
        before, after = self._existing(old), self._existing(new)
        kinds = [record.keyvalues.get("asset", "") for record in (before, after)]
        if "provenance" in kinds:
            raise InvalidAssetError("provenance is not superseded: it says how files came to be")
        if before.id == after.id:
            raise InvalidAssetError(f"the record {before.id!r} cannot take its own place: name two records")
        if kinds[0] != kinds[1]:
            raise InvalidAssetError(f"{kinds[1]!r} cannot take the place of {kinds[0]!r}: name two of a type")
        if instead := self.successor(after.id):
            raise InvalidAssetError(
                f"the record {after.id!r} is superseded itself, by {instead!r}: name that"
            )
        self._supersede(before, after, reason)

    def reinstate(self, record: IpFile, reason: str = "") -> None:
        """Let a record that is superseded count again, and write down that it does.

        Raises:
            AssetNotFoundError: no such record.
            InvalidAssetError: it is not superseded.
        """
        current = self._existing(record)
        if not self.successor(current.id):
            raise InvalidAssetError(f"the record {current.id!r} is not superseded")
        self._supersede(current, None, reason)

    def trust(self, cids: Iterable[str], command: str = "trust") -> list[str]:
        """Let the memo answer with executions that others did, and write down that it may.

        Args:
            cids: of executions that are known here; those that are trusted already are passed over.

        Returns:
            Those of them that were not trusted before.

        Raises:
            AssetNotFoundError: one of them is not known here.
        """
        new = []
        for cid in dict.fromkeys(cids):
            with self.index.reading() as connection:
                known = dependencies.is_execution(connection, cid)
                counts = trust.is_believed(connection, cid)
            if not known:
                raise AssetNotFoundError(f"no execution {cid!r} is known in the store {str(self.root)!r}")
            new += [] if counts else [cid]
        if new:
            document = Import(files=[], command=command, trusted=new, account=account(), at=now())
            with self.arriving() as arrived:
                self.apply(self.write_document(document, arrived), document)
        return new

    def _existing(self, ipfile: IpFile) -> IpFile:
        """The record as it is now; one that is in the account alone is made known here."""
        if self.remote is not None:
            ipfile = self.remote.here(self, ipfile)
        current = self.here(ipfile.id or record_id(ipfile.cid, ipfile.keyvalues))
        return self._checked(current, ipfile.id or ipfile.cid)

    def _checked(self, record: IpFile | None, name: str) -> IpFile:
        if record is None:
            raise AssetNotFoundError(f"no record {name!r} in the store {str(self.root)!r}")
        return record

    def _change(self, document: Amendment | Retraction) -> dict[str, IpFile]:
        """Write a document down that ends whatever says now that there is its record, and let it take effect."""
        with self.arriving() as arrived:
            while True:
                document = attrs.evolve(document, replaces=self.claims.on(document.record))
                written = self.write_document(document, arrived)
                with self.index.transaction():
                    self._checked(self.here(document.record), document.record)
                    if document.replaces == self.claims.on(document.record):
                        records = self.apply(written, document)
                        break
        if self.remote is not None:
            self.remote.changed(self)
        return records

    def _supersede(self, old: IpFile, new: IpFile | None, reason: str) -> None:
        with self.arriving() as arrived, self.index.transaction() as connection:
            document = Supersession(
                record=old.id,
                cid=old.cid,
                successor=new.id if new else "",
                successor_cid=new.cid if new else "",
                reason=hidden(reason),
                replaces=supersede.standing(connection, old.id),
                account=account(),
                at=now(),
            )
            self.apply(self.write_document(document, arrived), document)
        if self.remote is not None:
            self.remote.changed(self)

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
        with arrival_lock(self.root) as fd:
            arrived = Arrivals()
            began = time.time_ns() - _TICK
            try:
                yield arrived
            except BaseException:
                with contextlib.suppress(OSError):  # somebody else is at work, or nothing can be removed
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    with self.index.reading() as connection:
                        objects = [
                            found.cid
                            for found in arrived.objects
                            if found.ctime_ns >= began and verified.state(connection, found.cid) is None
                        ]
                        documents = [
                            found.cid
                            for found in arrived.documents
                            if found.ctime_ns >= began and not claims.is_registered(connection, found.cid)
                        ]
                    for cid in objects:
                        self.objects.remove(cid)
                    for cid in documents:
                        self.ledger.remove(cid)
                raise

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
                self._enqueue(written.cid, document, records, public)
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
        if self.remote is not None and (own_ones := [cid for cid, _, own in new if own]):
            self.remote.replayed(self, own_ones)
        return len(new)

    def enqueue_document(self, cid: str, *, doubtful: bool = False) -> None:
        """Let a document wait to be sent; see `Outbox.enqueue`."""
        for own in self.query_here({"asset": "provenance", "cid": cid}):
            self.outbox.enqueue(own.id, cid, public=False, rank=1, doubtful=doubtful)

    def follow(self, document: Amendment | Retraction, records: Mapping[str, IpFile]) -> None:
        """A record is changed or removed there too, wherever it is; what replaces it belongs where it was to be."""
        became = next(iter(records), "")
        networks = [public for public in (False, True) if self.outbox.is_known(document.record, public)]
        for public in (False, True):
            self.outbox.enqueue(document.record, document.cid, public=public, wanted=False, became=became)
        for public in networks if became else ():
            self.outbox.enqueue(became, document.cid, public=public, doubtful=True)

    def _enqueue(
        self,
        cid: str,
        document: Document,
        records: Mapping[str, IpFile],
        public: Mapping[str, bool | None],
    ) -> None:
        """Let what a new document says wait to be sent: to the account, or of a record that is in one, token or not."""
        remote = self.remote
        changes = isinstance(document, Amendment | Retraction | Supersession)
        if remote is None and not (changes and self.outbox.networks(getattr(document, "record", ""))):
            return
        if isinstance(document, Amendment | Retraction):
            self.follow(document, records)
        elif remote is not None and remote.takes(document):
            publish = remote.publishes and not isinstance(document, Execution)  # what tasks make never is
            for record in records.values():
                wanted = public.get(record.id)
                self.outbox.enqueue(record.id, record.cid, public=publish if wanted is None else wanted)
        self.enqueue_document(cid)


@contextlib.contextmanager
def arrival_lock(root: Path) -> Iterator[int]:
    try:
        root.mkdir(parents=True, exist_ok=True)
        fd = open_shared(root / "arrivals.lock", root)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"the store {str(root)!r} cannot be written: {reason}; check its permissions and the mount, "
            "or use another store (STARGAZER_LOCAL)"
        ) from error
    try:
        with contextlib.suppress(OSError):  # no locks on this filesystem
            fcntl.flock(fd, fcntl.LOCK_SH)
        yield fd
    finally:
        os.close(fd)


def _refuse_provenance(record: IpFile) -> None:
    if record.keyvalues.get("asset") == "provenance":
        raise InvalidAssetError(
            f"{record.cid} is provenance: it stays as it is, for it says how files came to be"
        )


def _file_name(asset: Asset) -> str:
    if asset.record is not None and asset.record.name:
        return asset.record.name
    return asset.file_name(asset.asset_key)
