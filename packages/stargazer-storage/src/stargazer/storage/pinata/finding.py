"""Finding what an account holds beside what is here: records, the memo, bytes, and how they came to be."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from stargazer.assets import IpFile, StargazerError, StorageError
from stargazer.assets.provenance import Execution
from stargazer.storage import outbox, superseding
from stargazer.storage.pinata.api import Refused, Unavailable
from stargazer.storage.pinata.listing import Listing, as_record
from stargazer.storage.pinata.private_link import PrivateLink
from stargazer.storage.recording import NOTE
from stargazer.storage.statements import statements_of
from stargazer.storage.store import LocalStore

if TYPE_CHECKING:
    from stargazer.storage.download.sources import Source
    from stargazer.storage.pinata.api import PinataApi

__all__ = ["AccountReader"]

_CHANGES = ("amendment", "retraction", "supersession", NOTE)
"""The kinds of provenance that say what has become of records, and whose documents others are."""


class AccountReader(LocalStore):
    """A local store that also finds and reads what an account at Pinata has.

    Args:
        root, index: of the local store, which is also the verified cache of what is downloaded.
        api: the account.
        gateway: host or URL for public files.
        token: of that gateway.
        private_gateway: host or URL for private files; the account's own, which the service names, if empty.
    """

    def __init__(
        self,
        root: Path,
        index: Path | None,
        api: PinataApi,
        *,
        gateway: str,
        token: str = "",
        private_gateway: str = "",
    ):
        super().__init__(root, index)
        self.api = api
        self.listing = Listing(api)
        self._gateway, self._token, self._private_gateway = gateway, token, private_gateway
        self._unreachable = False

    def exists(self) -> bool:
        """True: the account can always be asked."""
        return True

    def query(self, keyvalues: Mapping[str, str], public: bool | None = None) -> list[IpFile]:
        """The records of both sides, each once; those of one network, if `public` is said.

        Files there whose provenance is not are passed over: they are still on their way. When the service cannot
        be reached, what is here answers, with a warning.
        """
        here = {record.id: self._with_network(record) for record in self._search(keyvalues)}
        pairs = {key: value for key, value in keyvalues.items() if key not in ("cid", "superseded")}
        there: dict[str, IpFile] = {}
        documents = functools.cache(self.listing.documents)  # asked once, not for every file
        with self._reachable():
            for file in self.listing.files(pairs, cid=keyvalues.get("cid", "")):
                record = as_record(file)
                if record.id in here:
                    here[record.id] = attrs.evolve(
                        here[record.id], public=here[record.id].public or file.public
                    )
                elif self._counts(record, documents):
                    there[record.id] = attrs.evolve(
                        there.get(record.id, record),
                        public=file.public or there.get(record.id, record).public,
                    )
        found = list(here.values())
        if there:
            superseded = keyvalues.get("superseded", None if "cid" in keyvalues else "false")
            with self.index.reading() as connection:
                rows = superseding.selected(connection, [{"id": id} for id in there], superseded)
            there = {row["id"]: there[row["id"]] for row in rows}
            local = [attrs.evolve(record, path=self._path(record.cid)) for record in there.values()]
            found = sorted([*found, *local], key=lambda record: record.created_at)
            found = self._own_words_first(found, keyvalues)
        return [record for record in found if public in (None, record.public)]

    def get(self, id: str) -> IpFile | None:
        """One record by its id; one that is only there is not found by that."""
        record = self.here(id)
        return self._with_network(record) if record else None

    def remembered(self, run_key: str) -> tuple[str, Execution] | None:
        """What the memo knows here, else what the account's provenance says; its records are then known here too."""
        found = super().remembered(run_key)
        if found is not None:
            return found
        with self._reachable():
            for cid, file in self.listing.documents().items():
                if file.keyvalues.get("run_key") != run_key:
                    continue
                with contextlib.suppress(StargazerError):  # wrong or missing bytes: computed anew
                    document = self.document(cid)
                    if isinstance(document, Execution) and document.run_key == run_key:
                        self.replay([cid])
                        return super().remembered(run_key)
        return None

    def _comes_alone(self, cid: str) -> bool:
        """Also the provenance of the account: others of it may have sent it."""
        if super()._comes_alone(cid):
            return True
        taken = False
        with self._reachable():
            file = self.listing.documents().get(cid)
            if file is not None:
                if file.keyvalues.get("kind") != NOTE:
                    self._take_notes()  # before it is an object: it must not count as ours if it is not
                taken = True
        return taken

    def _take_notes(self) -> None:
        """Know whose documents those of the account are."""
        LocalStore.replay(self, self._missing_changes(NOTE))

    def sources(self, cid: str) -> list[Source]:
        """Mirrors, and Pinata's networks where the account has the file: nobody else is asked for private CIDs."""
        from stargazer.storage.download.sources import Gateway

        networks: set[bool] = set()
        with self._reachable():
            networks = {file.public for file in self.listing.files({}, cid=cid)}
        found: list[Source] = list(super().sources(cid))
        if False in networks:
            found.append(PrivateLink(self.api, self._private_gateway))
        if True in networks:
            found.append(Gateway(self._gateway, self._token))
        return found

    def _most(self, cid: str) -> int:
        """Also as the account says, which counts the nodes of the tree."""
        known = super()._most(cid)
        if not known:
            with self._reachable():
                known = max((file.size for file in self.listing.files({}, cid=cid)), default=0)
        return known

    def is_to_be_had(self, cid: str) -> bool:
        """Whether the account has these bytes, or a mirror of them is known; others are known from provenance alone."""
        return bool(self.mirrors(cid) or self.listing.files({}, cid=cid))

    def take_over(self, records: Iterable[IpFile], failed: dict[str, str] | None = None) -> list[IpFile]:
        """Records that are only there, known here too: by their provenance; those without any as imports from Pinata.

        What was changed or taken back there is so here as well. No bytes are downloaded but those of provenance.

        Args:
            failed: is told the CIDs of records whose provenance cannot be had, with why.

        Raises:
            StorageError: provenance cannot be had, and there is no `failed`.
        """
        records = list(records)
        LocalStore.replay(self, [*self._missing_changes(*_CHANGES), *self.explaining(records)])
        found: list[IpFile] = []
        for record in records:
            current = self.here(record.id)
            if current is None and not self._was_claimed(record.id):
                try:
                    self._explained(record)
                except StorageError as error:
                    if failed is None:
                        raise
                    failed[record.cid] = error.explain()
                    continue
                current = self.import_record(record, origin="Pinata", command="pull")
            if current is not None:  # else it was taken back there
                self._find_there(current)
                found.append(self._with_network(current))
        return found

    def _explained(self, record: IpFile) -> None:
        """Make sure that provenance which does not speak of a record was read: none is made up in its place.

        Raises:
            StorageError: what the record's metadata names cannot be read now.
        """
        if made_by := record.keyvalues.get("provenance_cid"):
            self.read(made_by)

    def _missing_changes(self, *kinds: str) -> list[str]:
        """The documents of these kinds that the account has and this store did not know: they are here now.

        Raises:
            StorageError: one of them cannot be had.
        """
        listed = self.listing.documents().items()
        changes = [cid for cid, file in listed if file.keyvalues.get("kind") in kinds]
        return [self._fetched(cid) for cid in changes if not self.is_registered(cid)]

    def _fetched(self, cid: str) -> str:
        """The CID of a file that is here now."""
        self.read(cid)
        return cid

    def _find_there(self, record: IpFile) -> None:
        """Remember where in the account a record is."""
        files = [file for file in self.listing.files({}, cid=record.cid) if as_record(file).id == record.id]
        with self.index.transaction() as connection:
            for file in files:
                outbox.sent(connection, record.id, file.public, file.id)

    def _here(self, ipfile: IpFile) -> IpFile:
        """A record that may be only there, so that it can be changed."""
        if ipfile.id and self.here(ipfile.id) is None:
            for record in self.query({"cid": ipfile.cid}):
                if record.id == ipfile.id:
                    return self.take_over([record])[0]
        return ipfile

    def _with_network(self, record: IpFile) -> IpFile:
        with self.index.reading() as connection:
            networks = outbox.remote_ids(connection, [record.id]).get(record.id, [])
        return attrs.evolve(record, public=any(public for public, _ in networks))

    def _counts(self, record: IpFile, documents: Callable[[], Mapping[str, object]]) -> bool:
        """Whether a file of the account is a complete record that was not taken back here."""
        if "asset" not in record.keyvalues:
            return False
        made_by = record.keyvalues.get("provenance_cid", "")
        if not made_by:
            return True
        if self._search({"asset": "provenance", "cid": made_by}):  # known here, so what it says is
            return not self._was_claimed(record.id)
        return made_by in documents()

    def makers_of(self, record: str) -> set[str]:
        """The CIDs of provenance with which a record was here, or is."""
        found: set[str] = set()
        for cid in self._claims(record):
            with contextlib.suppress(StargazerError):
                statements = statements_of(cid, self.document(cid))
                found |= {statement.made_by for statement in statements if statement.id == record}
        return found

    def _was_claimed(self, record: str) -> bool:
        return bool(self._claims(record))

    def _claims(self, record: str) -> list[str]:
        """The documents that say or said that there is this record."""
        with self.index.reading() as connection:
            sql = "SELECT document FROM claims WHERE record = ?"
            return [document for (document,) in connection.execute(sql, (record,)).fetchall()]

    def _path(self, cid: str) -> Path | None:
        path = self.objects.path(cid)
        return path if path.exists() else None

    @contextlib.contextmanager
    def _reachable(self) -> Iterator[None]:
        """Go on without the service when it cannot be asked, and say so once."""
        try:
            yield
            self._unreachable = False
        except (Unavailable, Refused) as error:
            if not self._unreachable:
                warnings.warn(f"Pinata cannot be asked, so only what is here counts: {error}", stacklevel=4)
            self._unreachable = True
