"""What fsck does about one object: put in its place, fetched again, moved to quarantine, or said to be lost."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from stargazer.assets import StargazerError, StorageError
from stargazer.assets.provenance import Execution, Import
from stargazer.storage import verified
from stargazer.storage.cid import compute_cid, is_cid
from stargazer.storage.files import place_link
from stargazer.storage.locks import Tell, try_alone
from stargazer.storage.maintenance import known, leftovers
from stargazer.storage.maintenance.hashing import UNREADABLE
from stargazer.storage.maintenance.problems import Problem
from stargazer.storage.objects import StoredObject, Stray

if TYPE_CHECKING:
    from stargazer.storage.objects import Objects
    from stargazer.storage.store import Store

__all__ = ["Repairs"]


class Repairs:
    """Repairs of one store, or what they would be."""

    def __init__(self, store: Store, *, repair: bool, tell: Tell) -> None:
        self.store, self.repair, self.tell = store, repair, tell

    def stray(self, stray: Stray, folder: Objects) -> Problem | None:
        """Something among the objects that is none; nothing if it is on its way in."""
        path, name = stray.path, str(stray.path.relative_to(self.store.root))
        if path.name.startswith(".new-"):
            return self._half_made(path, name)
        if is_cid(path.name) and path.is_file() and not path.is_symlink() and _is_right(path):
            cid = path.name
            return self._acted(name, stray.why, "put there", lambda: _put(folder, path, cid))
        return self._acted(name, stray.why, "moved to quarantine", lambda: self.store.objects.set_aside(path))

    def damaged(self, item: StoredObject, why: str, folder: Objects, *, needed: bool) -> Problem:
        """An object whose bytes are not what its CID says: another copy of it, or quarantine."""
        cid, names = item.cid, self._names(item.cid)
        sources = self._sources(cid) if needed else []
        if not self.repair:
            done = f"would be fetched from {sources[0]}" if sources else "would be moved to quarantine"
            return Problem("damaged", cid, why, done, False, "" if sources else self._todo(cid), names)
        original = folder.original(cid)
        if (original is not None or why.startswith(UNREADABLE)) and not sources:
            # the user may bring it back as it was, or make it readable: the bytes may be right
            return Problem("damaged", cid, why, "", not needed, self._todo(cid) if needed else "", names)
        aside = folder.quarantine(cid)
        kept = f"what was here is in {str(aside.relative_to(self.store.root))!r}" if original is None else ""
        fetched = self._fetched(cid) if sources else ""
        if fetched and not fetched.startswith("!"):
            return Problem("damaged", cid, why, "; ".join(filter(None, [fetched, kept])), True, "", names)
        if original is not None:
            with contextlib.suppress(OSError):
                place_link(original, folder.path(cid))
        todo = " ".join(filter(None, [fetched[1:], self._todo(cid)])) if needed else ""
        return Problem("damaged", cid, why, kept, not needed, todo, names)

    def missing(self, cid: str) -> Problem:
        """A record's bytes that are not here."""
        original = self.store.objects.original(cid)
        found = (
            f"the file that it was added from, {str(original)!r}, is gone"
            if original
            else "its bytes are not here"
        )
        names, sources = self._names(cid), self._sources(cid)
        if sources and not self.repair:
            return Problem("missing", cid, found, f"would be fetched from {sources[0]}", False, "", names)
        fetched = self._fetched(cid) if sources else ""
        if fetched and not fetched.startswith("!"):
            return Problem("missing", cid, found, fetched, True, "", names)
        return Problem(
            "missing", cid, found, "", False, " ".join(filter(None, [fetched[1:], self._todo(cid)])), names
        )

    # how

    def _fetched(self, cid: str) -> str:
        """Bring the bytes from a source: what was done, or `!` and why it was not."""
        from stargazer.storage.download.fetch import fetch_object

        sources = self.store.sources(cid)
        self.tell(f"fetching {cid} from {sources[0].name}")
        try:
            found = fetch_object(cid, sources, self.store.folder_for(cid))
        except StorageError as error:
            return f"!{error}"
        with self.store.index.transaction() as connection:
            verified.remember(connection, [found])
        return "fetched again" if len(sources) > 1 else f"fetched again from {sources[0].name}"

    def _sources(self, cid: str) -> list[str]:
        try:
            return [source.name for source in self.store.sources(cid)]
        except StargazerError:
            return []

    def _names(self, cid: str) -> list[str]:
        with contextlib.suppress(StorageError), self.store.index.reading() as connection:
            return known.names(connection, cid)
        return []

    def _todo(self, cid: str) -> str:
        """How people can have the bytes again: by what made them."""
        original = self.store.objects.original(cid)
        ways = [f"bring {str(original)!r} back as it was"] if original else []
        try:
            documents = self.store.documents(cid, "output")
        except StargazerError:
            documents = []
        for document_cid in documents:
            try:
                document = self.store.document(document_cid)
            except StargazerError:
                continue
            if isinstance(document, Execution):
                ways.append(f"`stargazer get` it: {document.task} computes it again")
            elif isinstance(document, Import):
                origins = {entry.origin or entry.name for entry in document.files if entry.cid == cid}
                ways.append(f"add {' or '.join(sorted(origins))!r} again")
        return "; or ".join(dict.fromkeys(ways)) or "add the same file again, if you have a copy"

    def _half_made(self, path: Path, name: str) -> Problem | None:
        """What was to get its name in a moment: nobody's, if nobody is at work."""
        with try_alone(self.store.root) as nobody_else:
            if not nobody_else:
                return None
            return self._acted(
                name,
                "left by a process that was killed",
                "removed",
                lambda: leftovers.remove_tree(path),
            )

    def _acted(self, name: str, found: str, done: str, act: Callable[[], object]) -> Problem:
        """Do it, and say so; or say what would be done, or why it cannot be."""
        if not self.repair:
            return Problem("stray", name, found, f"would be {done}")
        try:
            act()
        except OSError as error:
            return Problem("stray", name, found, "", False, f"it cannot be {done}: {error.strerror or error}")
        return Problem("stray", name, found, done, True)


def _put(folder: Objects, path: Path, cid: str) -> None:
    """Give an object that lies elsewhere its place, unless another copy has it."""
    if folder.stat(cid) is None:
        folder.keep(path, cid)
    else:
        path.unlink()


def _is_right(path: Path) -> bool:
    try:
        return compute_cid(path) == path.name
    except OSError:
        return False
