"""The provenance documents of a store: its own lie in `ledger/own`, those that others wrote in `ledger/foreign`."""

from __future__ import annotations

import contextlib
import datetime
import getpass
import os
from collections.abc import Iterator
from pathlib import Path

from stargazer.assets import IpFile, StorageError, provenance
from stargazer.assets.provenance import Document
from stargazer.storage.objects import Objects, StoredObject, Stray
from stargazer.storage.refusals import explained

__all__ = ["Ledger", "account", "now"]


def now() -> str:
    """The time as every document and record holds it: ISO 8601 in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def account() -> str:
    """The name of the operating system's user, as documents hold it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


class Ledger:
    """Provenance documents by CID, kept like objects: durable, read-only, verified when they are read.

    The folder says whose word a document is. One that lies in both folders is the store's own.
    """

    def __init__(self, root: Path):
        self.own = Objects(root, "ledger/own")
        self.foreign = Objects(root, "ledger/foreign")

    def folder(self, cid: str) -> Objects | None:
        """The folder that holds a document; None if neither does."""
        return next((folder for folder in (self.own, self.foreign) if folder.stat(cid) is not None), None)

    def is_own(self, cid: str) -> bool:
        """Whether a document is here and is the store's own word."""
        return self.own.stat(cid) is not None

    def path(self, cid: str) -> Path | None:
        """The verified file of a document; None if it is not here.

        Raises:
            IntegrityError: its bytes are not what the CID says.
            StorageError: it cannot be read.
        """
        folder = self.folder(cid)
        if folder is None:
            return None
        folder.verify(cid)
        return folder.path(cid)

    def read(self, cid: str) -> Document:
        """A document that is here.

        Raises:
            IntegrityError: its bytes are not what the CID says.
            FormatError: they are no provenance document.
            StorageError: it is not here, or cannot be read.
        """
        path = self.path(cid)
        if path is None:
            raise StorageError(f"the provenance document {cid} is not in the store {str(self.own.root)!r}")
        return provenance.load(IpFile(cid=cid, path=path))

    def write(self, document: Document) -> StoredObject:
        """Write a document of the store's own, durably.

        Raises:
            StorageError: the store cannot take it.
        """
        with explained(f"the store {str(self.own.root)!r} cannot save provenance"):
            path = self.own.new_temporary()
            try:
                path.write_bytes(provenance.dump(document))
                written = self.own.adopt(path)
            finally:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            self.foreign.remove(written.cid)
        return written

    def keep(self, path: Path, cid: str) -> StoredObject:
        """Take in a document that somebody else wrote: a finished file whose bytes were found to be those of the CID.

        The file moves. A document that is the store's own stays so.

        Raises:
            StorageError: the store cannot take it.
        """
        return self.own.stat(cid) or self.foreign.keep(path, cid)

    def adopt(self, cid: str) -> StoredObject | None:
        """Make a document of others the store's own; it is in one of the folders at every moment. None if not here.

        Raises:
            StorageError: the store cannot be written.
        """
        if self.own.stat(cid) is None and self.foreign.stat(cid) is not None:
            path = self.own.new_temporary()
            try:
                os.link(self.foreign.path(cid), path)
            except OSError:  # a filesystem without links
                self.own.add(self.foreign.path(cid))
            else:
                self.own.keep(path, cid)
            self.foreign.remove(cid)
        return self.own.stat(cid)

    def remove(self, cid: str) -> None:
        """Remove a document from both folders; it is no error if it is gone already."""
        for folder in (self.own, self.foreign):
            folder.remove(cid)

    def scan(self) -> Iterator[tuple[StoredObject | Stray, bool]]:
        """Everything in the two folders, each with whether it lies among the store's own.

        Raises:
            StorageError: a folder cannot be read.
        """
        for folder in (self.own, self.foreign):
            for found in folder.scan():
                yield found, folder is self.own

    def cids(self) -> set[str]:
        """The CIDs of all documents."""
        return {found.cid for found, _ in self.scan() if isinstance(found, StoredObject)}
