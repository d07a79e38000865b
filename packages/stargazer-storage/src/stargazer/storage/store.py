"""The local store: objects by CID beside an index of records, provenance edges and the memo; one transaction a change.

Whatever is registered becomes durable in this order: the objects, the provenance object, then one transaction of the
index. A crash in between leaves objects that nothing refers to, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs
from stargazer.assets import Asset, FormatError, InvalidAssetError, IpFile, asset_class, record_id
from stargazer.assets.provenance import Amendment, Entry, Execution, Import, Retraction
from stargazer.storage import statcache, verified
from stargazer.storage.additions import (
    Addition,
    check_files,
    check_metadata,
    keyvalues_of,
    refuse_secrets,
    settle,
)
from stargazer.storage.checking import check_companions, run_checks
from stargazer.storage.intake import StoreIntake
from stargazer.storage.objects import StoredObject
from stargazer.storage.outbox import Waiting
from stargazer.storage.recording import account, is_note, now
from stargazer.storage.statements import time_of
from stargazer.storage.unchanged import registered_ids

__all__ = ["Addition", "LocalStore", "account", "now"]


class LocalStore(StoreIntake):
    """Registers, finds and reads files in one folder; safe with several processes and threads.

    Every method blocks; `LocalStorageClient` is its asynchronous face.
    """

    def add(self, additions: Iterable[Addition], command: str = "add") -> list[IpFile]:
        """Register files as an import: copied, hashed, checked, with one provenance document for all that is new.

        All or nothing: a file that cannot be registered leaves the store as it was. Installed checks look at the
        files first (`stargazer.storage.checking`); provenance names those that did. Where all of them are registered
        already as what they are said to be, and none has changed, nothing is checked again and nothing is written.

        Raises:
            FormatError: a file is missing, empty, not of its type, or does not fit what it is said to belong to.
            InvalidAssetError: metadata that its type does not take.
            StorageError: the store cannot take it.
        """
        additions = list(additions)
        if (registered := self._registered(additions)) is not None:
            return registered
        check_files(additions)
        check_metadata([item.asset for item in additions])
        checked = run_checks(additions, self._search)
        with self._arriving() as arrived:
            signatures = [statcache.signature(item.path) for item in additions]
            stored = self._take_in(additions)
            arrived += stored
            self._refuse_documents(additions, stored)
            settle(additions, [found.cid for found in stored])
            named = [_entry(item, found) for item, found in zip(additions, stored, strict=True)]
            ids = [record_id(entry.cid, entry.keyvalues) for entry in named]
            entries = dict(zip(ids, named, strict=True))
            present = self._documents(entries)
            fresh = [entry for id, entry in entries.items() if id not in present]
            document = Import(
                files=fresh,
                command=command,
                checks=checked.ran,
                forced=checked.forced,
                account=account(),
                at=now(),
            )
            written = self.write_document(document, arrived) if fresh else None
            with self.index.transaction() as connection:
                verified.remember(connection, stored)
                for item, found, signature in zip(additions, stored, signatures, strict=True):
                    statcache.remember(connection, item.path, signature, found.cid)
                if written:
                    public = {id: item.public for id, item in zip(ids, additions, strict=True)}
                    self._apply(written, document, public=public)
                records = self._documents(entries)
        return [self._ipfile(records[id]) for id in ids]

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
            StorageError: the store cannot take it.
        """
        for role, asset in outputs:
            title = f"{execution.task}: the result {role!r}"
            if not asset.cid and asset.path is None:
                raise InvalidAssetError(f"{title} has no path: give it the file it holds")
            if not asset.cid and asset.path is not None and not asset.path.is_file():
                raise FormatError(f"{title} has no file: nothing was written to {asset.path.name!r}")
        check_metadata([asset for _, asset in outputs])
        check_companions([asset for _, asset in outputs if not asset.cid], self._search, execution.task)
        with self._arriving() as arrived:
            names = [_file_name(asset) for _, asset in outputs]
            made = [asset for _, asset in outputs if not asset.cid]
            self._adopt(made, arrived)
            for _, asset in outputs:
                asset.resolve_links()
            entries = [
                Entry(role=role, cid=cid, keyvalues=keyvalues_of(asset), name=name, size=self._size(cid))
                for (role, asset), name in zip(outputs, names, strict=True)
                if (cid := asset.cid)
            ]
            execution = attrs.evolve(execution, outputs=entries)
            stored = list(arrived)
            written = self.write_document(execution, arrived)
            with self.index.transaction() as connection:
                verified.remember(connection, stored)
                records = self._apply(written, execution)
        for asset in made:
            asset.record = records[record_id(asset.cid or "", asset.keyvalues)]
            asset.path = asset.record.path
            asset.provenance_cid = asset.record.keyvalues.get("provenance_cid")
        return execution

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
        return self._change(document)[id]

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

    def replay(self, cids: Iterable[str]) -> int:
        """Let provenance documents among the objects take effect, in any order; those that have are passed over.

        They are this store's own unless it was noted before that they are not (`note_foreign`).

        Returns:
            How many took effect.

        Raises:
            StorageError: one of them is not here.
            FormatError: one is no provenance document.
        """
        documents = [(cid, self.document(cid)) for cid in dict.fromkeys(cids)]
        documents.sort(key=lambda pair: (not is_note(pair[1]), time_of(pair[1]), pair[0]))
        new = [(cid, document) for cid, document in documents if not self.is_registered(cid)]
        with self.index.transaction():
            for cid, document in new:
                if (stored := self.objects.stat(cid)) is not None:
                    self._apply(stored, document, live=False)
        return len(new)

    def import_record(self, record: IpFile, *, origin: str, command: str) -> IpFile:
        """Register a file that is somewhere else: its bytes need not be here.

        Args:
            origin: where it is.

        Raises:
            StorageError: the store cannot be written.
        """
        pairs = {key: value for key, value in record.keyvalues.items() if key != "provenance_cid"}
        entry = Entry(cid=record.cid, keyvalues=pairs, name=record.name, size=record.size, origin=origin)
        document = Import(files=[entry], command=command, account=account(), at=now())
        with self._arriving() as arrived:
            written = self.write_document(document, arrived)
            with self.index.transaction():
                self._apply(written, document, live=False)
        id = record_id(record.cid, pairs)
        return self._existing(IpFile(cid=record.cid, id=id))

    def hand_over(self, records: Iterable[IpFile]) -> None:
        """Called with the results of what somebody started; a store that shares them with others sends them."""

    def waiting(self) -> Sequence[Waiting]:
        """What is still to be sent somewhere: of one machine, nothing."""
        return ()

    def _change(self, document: Amendment | Retraction) -> dict[str, IpFile]:
        """Write a document down that ends whatever says now that there is its record, and let it take effect."""
        with self._arriving() as arrived:
            while True:
                document = attrs.evolve(document, replaces=self._claimants(document.record))
                written = self.write_document(document, arrived)
                with self.index.transaction():
                    self._existing(IpFile(cid=document.cid, id=document.record))
                    if document.replaces == self._claimants(document.record):
                        return self._apply(written, document)

    def _registered(self, additions: Sequence[Addition]) -> list[IpFile] | None:
        """The records of files that are all registered already and unchanged; else None, and nothing has happened."""
        ids = registered_ids(self, additions)
        records = self._documents(dict.fromkeys(ids)) if ids else {}
        if ids is None or not records.keys() >= set(ids):
            return None
        found = [self._ipfile(records[id], there=True) for id in ids]
        settle(additions, [record.cid for record in found])
        return found


def _entry(item: Addition, stored: StoredObject) -> Entry:
    return Entry(
        cid=stored.cid,
        keyvalues=keyvalues_of(item.asset),
        name=item.title,
        size=stored.size,
        origin=item.public_origin,
    )


def _refuse_provenance(record: IpFile) -> None:
    if record.keyvalues.get("asset") == "provenance":
        raise InvalidAssetError(
            f"{record.cid} is provenance: it stays as it is, for it says how files came to be"
        )


def _file_name(asset: Asset) -> str:
    if asset.record is not None and asset.record.name:
        return asset.record.name
    return asset.file_name(asset.asset_key)
