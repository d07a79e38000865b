"""The account at Pinata as the remote of a store: what it holds is found beside what is here; push and pull."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from urllib.parse import urlsplit

import attrs
from stargazer.assets import ConfigurationError, IpFile, StargazerError, StorageError
from stargazer.storage.companions import with_companions
from stargazer.storage.download.http import Body, FileProgress, SourceError, open_url
from stargazer.storage.download.sources import Gateway, Source
from stargazer.storage.ledger import claims
from stargazer.storage.outbox import Sent
from stargazer.storage.pinata.api import LEDGER, PinataApi, PinataFile, Refused, Unavailable
from stargazer.storage.pinata.send import Sender
from stargazer.storage.settings import PUBLIC_GATEWAY
from stargazer.storage.store import Store
from stargazer.storage.threads import each

__all__ = ["PinataRemote", "Pulled", "account_of", "pull", "push"]

AT_ONCE = 3
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
        gateway: URL of that for public files, and for private ones too unless it is anybody's.
        token: of that gateway.
        public: whether what is added goes to the public network unless it is said.
        sends_results: what a task makes is sent before the task ends, for the next one may run elsewhere.
    """

    def __init__(
        self,
        api: PinataApi,
        *,
        gateway: str,
        token: str = "",
        public: bool = False,
        sends_results: bool = False,
    ):
        self.api = api
        self.listing = Listing(api)
        own = "" if urlsplit(gateway).hostname == PUBLIC_GATEWAY else gateway
        self._sources: dict[bool, Source] = {False: PrivateLink(api, own), True: Gateway(gateway, token)}
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
        documents = functools.cache(self.documents)  # asked once, not for every file
        for file in self._listed(pairs, keyvalues.get("cid", "")):
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
        return {
            file.cid: file.keyvalues.get(LEDGER) == "own"
            for file in self._listed({"asset": "provenance"})
            if not run_key or file.keyvalues.get("run_key") == run_key
        }

    def sources(self, cid: str) -> list[Source]:
        """Pinata's networks where the account has the file: nobody else is asked for private CIDs."""
        return [self._sources[public] for public in sorted({file.public for file in self._listed({}, cid)})]

    # bringing records

    def here(self, store: Store, record: IpFile) -> None:
        """Make a record known here that may be only there, so that it can be changed."""
        if record.id and store.here(record.id) is None:
            there = [found for found in self.query(store, {"cid": record.cid}) if found.id == record.id]
            if there:
                self.take_over(store, there)

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
        changes = [
            file.cid
            for file in self.listing.files({"asset": "provenance"})
            if file.keyvalues.get("kind") in _CHANGES and not store.is_registered(file.cid)
        ]
        store.replay([*own_there, *changes, *store.explaining(records)])
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
                for file in self.listing.files({}, current.cid):
                    if file.as_record().id == current.id:
                        store.outbox.sent(current.id, file.public, file.id)
                found.append(store.with_network(current))
        return found

    # sending

    def send(self, store: Store, progress: FileProgress | None = None) -> Sent:
        """Send everything that waits, as far as the service takes it; another process at it is waited for."""
        try:
            return Sender(store, self.api, progress).send()
        finally:
            self.listing.forget()

    def _listed(self, keyvalues: Mapping[str, str], cid: str = "") -> list[PinataFile]:
        """The account's files; none where the service cannot be asked, which is said once."""
        try:
            files = self.listing.files(keyvalues, cid)
        except (Unavailable, Refused) as error:
            if not self._unreachable:
                warnings.warn(f"Pinata cannot be asked, so only what is here counts: {error}", stacklevel=4)
            self._unreachable = True
            return []
        self._unreachable = False
        return files


class Listing:
    """The files of an account as the service lists them: asked anew when its last answer is older than FRESH.

    Raises, from every method:
        Unavailable: the service cannot be asked now.
        Refused: it does not answer this account.
    """

    def __init__(self, api: PinataApi):
        self._api = api
        self._lock = threading.RLock()
        self.forget()

    def forget(self) -> None:
        """The account was changed by us, or was asked long ago."""
        with self._lock:
            self._known: dict[object, list[PinataFile]] = {}
            self._failure: Unavailable | None = None
            self._since = time.monotonic()

    def files(self, keyvalues: Mapping[str, str], cid: str = "") -> list[PinataFile]:
        """The files with every one of these pairs (and this CID, if one is given).

        Raises:
            StorageError: the account is of an older format.
        """
        found = []
        for public in (False, True):
            files = self._asked({}, "", public, FEW + 1)  # if they are few: one question instead of many
            found += files if len(files) <= FEW else self._asked(keyvalues, cid, public)
        if any({"asset": "provenance", "kind": "note"}.items() <= file.keyvalues.items() for file in found):
            raise StorageError(
                "the account at Pinata was written by an older Stargazer (format 1): nothing was changed; use another "
                "account, or remove its files and push them again from a store of this version"
            )
        return [
            file for file in found if keyvalues.items() <= file.keyvalues.items() and cid in ("", file.cid)
        ]

    def _asked(
        self, keyvalues: Mapping[str, str], cid: str, public: bool, most: int | None = None
    ) -> list[PinataFile]:
        key = tuple(sorted(keyvalues.items())), cid, public, most
        with self._lock:
            if time.monotonic() - self._since > FRESH:
                self.forget()
            if self._failure is not None:
                raise self._failure
            if key not in self._known:
                files = self._api.files(public=public, keyvalues=keyvalues, cid=cid)
                try:
                    self._known[key] = list(islice(files, most))
                except Unavailable as error:
                    self.forget()
                    self._failure = error  # not asked again for a while: everybody would wait for it in turn
                    raise
            return self._known[key]


class PrivateLink:
    """The private network of an account as a source: every attempt gets a signed link of its own, which nobody sees.

    Args:
        api: the account.
        gateway: URL of the account's own gateway; the service is asked for it if it is empty.
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
            self._gateway = self._gateway or f"https://{self._api.gateway()}"
            link = self._api.private_link(f"{self._gateway}/files/{cid}")
        except (Unavailable, Refused) as error:
            raise SourceError(str(error), passing=isinstance(error, Unavailable)) from None
        if urlsplit(link).hostname != urlsplit(self._gateway).hostname:
            raise SourceError("signed a link to another host than the account's gateway")
        with open_url(link, offset=offset, same=True) as body:
            yield body


@attrs.frozen
class Pulled:
    """What came of a pull.

    Attributes:
        records: known here now.
        fetched: CIDs whose bytes came.
        failed: CIDs whose bytes or provenance could not be had, with why.
    """

    records: list[IpFile]
    fetched: list[str]
    failed: dict[str, str]


def account_of(store: Store) -> PinataRemote:
    """The account of a store.

    Raises:
        ConfigurationError: it has none.
    """
    if not isinstance(store.remote, PinataRemote):
        raise ConfigurationError(
            "this needs an account at Pinata: set PINATA_JWT to a token of it (https://app.pinata.cloud/developers)"
        )
    return store.remote


def push(
    store: Store,
    records: Sequence[IpFile] = (),
    *,
    public: bool = False,
    progress: FileProgress | None = None,
) -> Sent:
    """Send records with their companions and the provenance that leads to them, and whatever waits besides.

    What is there already is not sent again. A cut upload goes on where it stopped.

    Args:
        public: to the public network, for ever; provenance is always private.

    Raises:
        ConfigurationError: the store has no account.
    """
    account = account_of(store)
    store.enqueue(with_companions(store, records), public=public)
    return account.send(store, progress)


def pull(
    store: Store, records: Sequence[IpFile], *, bytes_too: bool = True, progress: FileProgress | None = None
) -> Pulled:
    """Bring records that Pinata has, with companions and provenance; nothing that is here is brought again.

    One file that cannot be had does not keep the others; the same command goes on where it stopped.

    Raises:
        ConfigurationError: the store has no account.
        Unavailable: the service cannot be asked for the provenance now.
    """
    account = account_of(store)
    failed: dict[str, str] = {}
    known = account.take_over(store, with_companions(store, records), failed)

    def bring(record: IpFile) -> None:
        try:
            store.read(record.cid, functools.partial(progress, record.name) if progress else None)
        except StargazerError as error:
            failed[record.cid] = error.explain()

    missing = {
        record.cid: record
        for record in known
        if bytes_too
        and record.path is None
        and (store.mirrors(record.cid) or account.listing.files({}, record.cid))
    }
    each(bring, missing.values(), AT_ONCE, "stargazer-pull")
    return Pulled(known, [cid for cid in missing if cid not in failed], failed)
