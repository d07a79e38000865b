"""What people decide of what a store knows: a record takes the place of another, others' executions are trusted."""

from __future__ import annotations

from collections.abc import Iterable

from stargazer.assets import AssetNotFoundError, InvalidAssetError, IpFile
from stargazer.assets.addresses import hidden
from stargazer.assets.provenance import Import, Supersession
from stargazer.storage import memo, superseding
from stargazer.storage.checking import Checked
from stargazer.storage.lineage import dependencies
from stargazer.storage.recording import StoreRecorder, account, now

__all__ = ["StoreDecider"]


class StoreDecider(StoreRecorder):
    """Writes decisions down like everything else, so that an index which is made again knows them.

    Whose word a document is follows from a note, which is an object before that document is one.
    """

    def successor(self, id: str) -> str:
        """The id of the record that takes the place of this one; empty if it is not superseded."""
        with self.index.reading() as connection:
            return superseding.successor(connection, id)

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

    def _supersede(self, old: IpFile, new: IpFile | None, reason: str) -> None:
        with self._arriving() as arrived, self.index.transaction() as connection:
            document = Supersession(
                record=old.id,
                cid=old.cid,
                successor=new.id if new else "",
                successor_cid=new.cid if new else "",
                reason=hidden(reason),
                replaces=superseding.standing(connection, old.id),
                account=account(),
                at=now(),
            )
            self._apply(self.write_document(document, arrived), document)

    def note_foreign(self, cids: Iterable[str], checked: Checked | None = None) -> None:
        """Write down that documents are somebody else's, before they are kept: an index that is made again knows it.

        Args:
            cids: of documents; those that are known here already stay what they are.
            checked: what came of the checks of the files that they tell of, written down beside that.

        Raises:
            StorageError: the store cannot be written.
        """
        checked = checked or Checked()
        with self._arriving() as arrived, self.index.transaction() as connection:
            new = [
                cid
                for cid in sorted(cids)
                if not self.is_registered(cid) and not memo.is_foreign(connection, cid)
            ]
            if new:
                document = Import(
                    files=[],
                    command="fetch",
                    foreign=new,
                    checks=checked.ran,
                    forced=checked.forced,
                    account=account(),
                    at=now(),
                )
                self._apply(self.write_document(document, arrived), document, live=False)

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
                counts = memo.is_believed(connection, cid)
            if not known:
                raise AssetNotFoundError(f"no execution {cid!r} is known in the store {str(self.root)!r}")
            new += [] if counts else [cid]
        if new:
            with self._arriving() as arrived, self.index.transaction():
                document = Import(files=[], command=command, trusted=new, account=account(), at=now())
                self._apply(self.write_document(document, arrived), document)
        return new
