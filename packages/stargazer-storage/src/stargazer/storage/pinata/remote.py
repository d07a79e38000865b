"""The account at Pinata as the remote of a store: what it holds is found beside what is here, and told what changes."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from urllib.parse import urlsplit

import attrs
from stargazer.assets import IpFile, StorageError
from stargazer.storage.download.http import Body, FileProgress, SourceError, open_url
from stargazer.storage.download.sources import Gateway, Source
from stargazer.storage.ledger import claims
from stargazer.storage.outbox import Sent
from stargazer.storage.pinata.api import LEDGER, PinataApi, PinataFile, Refused, Unavailable
from stargazer.storage.pinata.send import Sender
from stargazer.storage.store import Store

__all__ = ["PinataRemote"]

FRESH = 20.0  # seconds: a workflow asks much, and the service allows 60 requests a minute
FEW = 1000  # files of a network that are listed whole: a page

_CHANGES = ("amendment", "retraction", "supersession", "trust")
"""The kinds of provenance that say what has become of records, and whom to believe."""


class PinataRemote:
    """An account at Pinata.

    Everything happens in the store first, in one transaction, together with an entry of the outbox. Sending comes
    after: when it fails, nothing is lost and nothing else fails.

    Args:
        api: the account.
        gateway: host or URL for public files.
        token: of that gateway.
        private_gateway: host or URL for private files; the account's own, which the service names, if empty.
        public: whether what is added goes to the public network unless it is said.
        sends_results: what a task makes is sent before the task ends, for the next one may run elsewhere.
    """

    def __init__(
        self,
        api: PinataApi,
        *,
        gateway: str,
        token: str = "",
        private_gateway: str = "",
        public: bool = False,
        sends_results: bool = False,
    ):
        self.api = api
        self.listing = Listing(api)
        self._gateway, self._token, self._private_gateway = gateway, token, private_gateway
        self.publishes, self.sends_results = public, sends_results
        self._unreachable = False

    # finding

    def query(self, store: Store, keyvalues: Mapping[str, str], public: bool | None = None) -> list[IpFile]:
        """The records of both sides, each once; those of one network, if `public` is said.

        Files there whose provenance is not are passed over: they are still on their way. When the service cannot
        be reached, what is here answers, with a warning.
        """
        here = {record.id: store.with_network(record) for record in store.query_here(keyvalues)}
        pairs = {key: value for key, value in keyvalues.items() if key not in ("cid", "superseded")}
        there: dict[str, IpFile] = {}
        documents = functools.cache(self.listing.documents)  # asked once, not for every file
        with self._reachable():
            for file in self.listing.files(pairs, keyvalues.get("cid", "")):
                record = file.as_record()
                side = here if record.id in here else there
                if side is here or self._counts(store, record, documents):
                    known = side.get(record.id, record)
                    side[record.id] = attrs.evolve(known, public=known.public or file.public)
        found = list(here.values())
        if there:
            superseded = keyvalues.get("superseded", None if "cid" in keyvalues else "false")
            rows = claims.select_superseded(store.index, [{"id": id} for id in there], superseded)
            local = [
                attrs.evolve(record, path=path if (path := store.objects.path(record.cid)).exists() else None)
                for record in (there[row["id"]] for row in rows)
            ]
            found = sorted([*found, *local], key=lambda record: record.created_at)
            found = store.own_words_first(found, keyvalues)
        return [record for record in found if public in (None, record.public)]

    def _counts(self, store: Store, record: IpFile, documents: Callable[[], Mapping[str, object]]) -> bool:
        """Whether a file of the account is a complete record that was not taken back here."""
        if "asset" not in record.keyvalues:
            return False
        made_by = record.keyvalues.get("provenance_cid", "")
        if not made_by:
            return True
        if store.is_registered(made_by):  # known here, so what it says is
            return not store.claims.ever_on(record.id)
        return made_by in documents()

    def documents(self, run_key: str = "") -> dict[str, bool]:
        """The CIDs of the account's provenance documents, each with whether it is this account's own word.

        Args:
            run_key: only those of executions with this key.
        """
        found: dict[str, PinataFile] = {}
        with self._reachable():
            found = self.listing.documents()
        return {
            cid: file.keyvalues.get(LEDGER) == "own"
            for cid, file in found.items()
            if not run_key or file.keyvalues.get("run_key") == run_key
        }

    def sources(self, cid: str) -> list[Source]:
        """Pinata's networks where the account has the file: nobody else is asked for private CIDs."""
        return [
            Gateway(self._gateway, self._token) if public else PrivateLink(self.api, self._private_gateway)
            for public in sorted({file.public for file in self._holders(cid)})
        ]

    def size(self, cid: str) -> int:
        """Bytes of a CID as the account says, which counts the nodes of the tree."""
        return max((file.size for file in self._holders(cid)), default=0)

    def _holders(self, cid: str) -> list[PinataFile]:
        """The account's files with this CID; none if the service cannot be asked."""
        found: list[PinataFile] = []
        with self._reachable():
            found += self.listing.files({}, cid)
        return found

    # bringing records

    def here(self, store: Store, record: IpFile) -> IpFile:
        """A record that may be only there, made known here so that it can be changed."""
        if record.id and store.here(record.id) is None:
            for found in self.query(store, {"cid": record.cid}):
                if found.id == record.id:
                    return self.take_over(store, [found])[0]
        return record

    def take_over(
        self, store: Store, records: Iterable[IpFile], failed: dict[str, str] | None = None
    ) -> list[IpFile]:
        """Records that are only there, known here too: by their provenance; those without any as imports from Pinata.

        What was changed or taken back there is so here as well. No bytes are downloaded but those of provenance.

        Args:
            failed: is told the CIDs of records whose provenance cannot be had, with why.

        Raises:
            StorageError: provenance cannot be had, and there is no `failed`.
        """
        records = list(records)
        own_there = [cid for cid, own in self.documents().items() if own and store.is_foreign(cid)]
        for cid in own_there:  # it came by a bundle first
            store.ledger.adopt(cid)
        store.replay([*own_there, *self._changes(store), *store.explaining(records)])
        found: list[IpFile] = []
        for record in records:
            current = store.here(record.id)
            if current is None and not store.claims.ever_on(record.id):
                try:
                    # it says nothing of this record, or cannot be had: then none is made up
                    if made_by := record.keyvalues.get("provenance_cid"):
                        store.read(made_by)
                except StorageError as error:
                    if failed is None:
                        raise
                    failed[record.cid] = error.explain()
                    continue
                current = store.import_record(record, origin="Pinata", command="pull")
            if current is not None:  # else it was taken back there
                self._note_files(store, current)
                found.append(store.with_network(current))
        return found

    def _changes(self, store: Store) -> list[str]:
        """The documents of changes that the account has and this store does not know: they are here now.

        Raises:
            StorageError: one of them cannot be had.
        """
        missing = [
            cid
            for cid, file in self.listing.documents().items()
            if file.keyvalues.get("kind") in _CHANGES and not store.is_registered(cid)
        ]
        for cid in missing:
            store.read(cid)
        return missing

    def _note_files(self, store: Store, record: IpFile) -> None:
        """Remember where in the account a record is."""
        files = [file for file in self.listing.files({}, record.cid) if file.as_record().id == record.id]
        with store.index.transaction():
            for file in files:
                store.outbox.sent(record.id, file.public, file.id)

    # sending

    def send(self, store: Store, progress: FileProgress | None = None) -> Sent:
        """Send everything that waits, as far as the service takes it; another process at it is waited for."""
        try:
            return Sender(store, self.api, progress).send()
        finally:
            self.listing.forget()

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


class Listing:
    """The files of an account as the service lists them: asked anew when its last answer is older than FRESH.

    Raises, from every method:
        Unavailable: the service cannot be asked now.
        Refused: it does not answer this account.
    """

    def __init__(self, api: PinataApi):
        self._api = api
        self._known: dict[object, tuple[float, list[PinataFile]]] = {}
        self._lock = threading.RLock()
        self._failure: tuple[float, Unavailable] | None = None

    def files(self, keyvalues: Mapping[str, str], cid: str = "") -> list[PinataFile]:
        """The files with every one of these pairs (and this CID, if one is given)."""
        found = []
        for public in (False, True):
            files = self._asked({}, "", public, FEW + 1)  # if they are few: one question instead of many
            if len(files) > FEW:
                files = self._asked(keyvalues, cid, public)
            found += [file for file in files if keyvalues.items() <= file.keyvalues.items()]
        return [file for file in found if cid in ("", file.cid)]

    def documents(self) -> dict[str, PinataFile]:
        """The provenance documents by CID.

        Raises:
            StorageError: they are of an older format.
        """
        found = {file.cid: file for file in self.files({"asset": "provenance"})}
        if any(file.keyvalues.get("kind") == "note" for file in found.values()):
            raise StorageError(
                "the account at Pinata was written by an older Stargazer (format 1): nothing was changed; use another "
                "account, or remove its files and push them again from a store of this version"
            )
        return found

    def forget(self) -> None:
        """The account was changed by us."""
        with self._lock:
            self._known.clear()
            self._failure = None

    def _asked(
        self, keyvalues: Mapping[str, str], cid: str, public: bool, most: int | None = None
    ) -> list[PinataFile]:
        key = tuple(sorted(keyvalues.items())), cid, public, most
        with self._lock:
            if self._failure is not None and time.monotonic() - self._failure[0] < FRESH:
                raise self._failure[1]
            if key not in self._known or time.monotonic() - self._known[key][0] > FRESH:
                try:
                    files = list(islice(self._api.files(public=public, keyvalues=keyvalues, cid=cid), most))
                except Unavailable as error:
                    # not asked again for a while: everybody would wait for it in turn
                    self._failure = time.monotonic(), error
                    raise
                self._known[key] = time.monotonic(), files
            return self._known[key][1]


class PrivateLink:
    """The private network of an account as a source: every attempt gets a signed link of its own, which nobody sees.

    Args:
        api: the account.
        gateway: host or URL of the account's own gateway; the service is asked for it if it is empty.
    """

    name = "Pinata (private)"

    def __init__(self, api: PinataApi, gateway: str = ""):
        self._api, self._gateway = api, gateway

    @contextlib.contextmanager
    def open(self, cid: str, offset: int) -> Iterator[Body]:
        """The file's bytes from `offset` on, or from 0.

        Raises:
            SourceError: the service signs no link, or the link gives no bytes.
        """
        try:
            self._gateway = self._gateway or self._api.gateway()
            base = self._gateway if "://" in self._gateway else f"https://{self._gateway}"
            link = self._api.private_link(f"{base.rstrip('/')}/files/{cid}")
        except (Unavailable, Refused) as error:
            raise SourceError(str(error), passing=isinstance(error, Unavailable)) from None
        if urlsplit(link).hostname != urlsplit(base).hostname:
            raise SourceError("signed a link to another host than the account's gateway")
        with open_url(link, offset=offset, same=True) as body:
            yield body
