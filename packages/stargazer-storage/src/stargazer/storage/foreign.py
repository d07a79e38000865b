"""Files whose CID has another layout than Pinata's: recognised by their root block, or taken from a verified CAR."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from stargazer.assets import FormatError, IntegrityError, StorageError
from stargazer.storage.threads import check_interrupted

from .assembling import Fault, Progress, WrongBytesError
from .cid import PINATA, UNIXFS_V0_2015, UNIXFS_V1_2025, Profile, hash_file
from .http import SourceError
from .parts import Part
from .sources import Source, TrustlessSource

if TYPE_CHECKING:
    from .dag import Node

__all__ = ["Layout", "is_trustless"]


def is_trustless(source: Source) -> TypeGuard[TrustlessSource]:
    """Whether a source gives blocks and CARs."""
    return source.trustless


class Layout:
    """What is known about the layout of one CID, which nobody says: Pinata's until its bytes hash to something else.

    Args:
        cid: of a UnixFS node ("bafybei..."); a single block has no layout.
        sources: the trustless ones of them are asked for the root block, whose hash is checked.
        temporary: makes a path for a file of our own.
    """

    def __init__(self, cid: str, sources: Sequence[Source], temporary: Callable[[], Path]) -> None:
        self._cid, self._temporary = cid, temporary
        self._sources = [source for source in sources if is_trustless(source)]
        self.profile = PINATA
        """The profile by which files are hashed while they arrive."""
        self.inferred: Profile | None = None
        """The profile that the root block tells; None where it tells none."""
        self.file: Path | None = None
        """What layouts.save() puts beside the object, once the bytes were verified; None for Pinata's layout."""
        self._root: Node | None = None
        self._asked = False

    @property
    def unknown(self) -> bool:
        """Whether the root block is known and no profile fits: only a CAR can verify the file."""
        return self._root is not None and self.inferred is None

    def recognises(self, part: Part, size: int) -> bool:
        """Whether bytes that are none of Pinata's layout are those of the CID in another one.

        Raises:
            StorageError: the CID is that of a folder, or of nothing that is a file.
        """
        self._ask()
        if self._root is None:
            guesses = [UNIXFS_V0_2015, UNIXFS_V1_2025]
        else:
            fits = self.inferred not in (None, self.profile) and self._root.size == size
            guesses = [self.inferred] if fits and self.inferred else []
        for profile in guesses:
            if hash_file(part.fd, size, profile=profile) == self._cid:
                self.profile = profile
                return True
        return False

    def note_profile(self) -> None:
        """Write the layout that the bytes were found to have."""
        from .layouts import write_profile

        if self.profile != PINATA:
            self.file = self.file or self._temporary()
            with open(self.file, "wb") as out:
                write_profile(out, self.profile)

    def extract(self, part: Part, progress: Progress | None) -> list[Fault] | None:
        """Fill the part with the file out of a CAR, verified block by block: None then, else why not.

        Raises:
            StorageError: the disk does not take it, or the CID is not that of a file.
        """
        from .car import extract
        from .layouts import recorder

        if self._root is None or self.inferred == PINATA:
            return []
        size, faults = self._root.size, list[Fault]()
        for source in self._sources:
            part.restart()
            part.check_room(size)
            self.file = self.file or self._temporary()
            try:
                with (
                    part.explained(),
                    open(self.file, "wb") as nodes,
                    os.fdopen(os.dup(part.fd), "r+b") as out,
                    source.open_as(self._cid, "car") as body,
                ):
                    out.seek(0)
                    reader = _Reader(body.pieces, lambda got: progress and progress(min(got, size), size))
                    extract(reader.read, self._cid, out, size=size, keep_node=recorder(nodes))
                part.size = size
                return None
            except SourceError as error:
                faults.append(Fault(source.name, error))
            except IntegrityError as error:
                faults.append(Fault(source.name, WrongBytesError(f"gave a bad CAR: {error}")))
            except FormatError as error:
                part.restart()
                raise StorageError(str(error)) from error
        part.restart()
        return faults

    def forget(self) -> None:
        """Remove the layout file, unless it was saved."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)

    def _ask(self) -> None:
        """Get the root block from whoever has it."""
        from .dag import MAX_BLOCK, decode, infer_profile
        from .links import parse_cid

        if self._asked:
            return
        self._asked = True
        for source in self._sources:
            try:
                with source.open_as(self._cid, "raw") as body:
                    block = _Reader(body.pieces).read_all(MAX_BLOCK)
            except SourceError:
                continue
            if hashlib.sha256(block).digest() != parse_cid(self._cid).digest:
                continue
            try:
                self._root, self.inferred = decode(block), infer_profile(block)
            except FormatError as error:
                raise StorageError(f"{self._cid} is not the CID of a file: {error}") from error
            return


class _Reader:
    """Pieces of a body as a file to read from."""

    def __init__(self, pieces: Iterator[bytes], tell: Callable[[int], object] | None = None) -> None:
        self._pieces, self._tell = pieces, tell
        self._piece = memoryview(b"")
        self._got = 0

    def read(self, count: int) -> bytes:
        """At most so many bytes; none at the end."""
        while not self._piece:
            check_interrupted()
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._piece = memoryview(piece)
            self._got += len(piece)
            if self._tell is not None:
                self._tell(self._got)
        taken, self._piece = self._piece[:count], self._piece[count:]
        return bytes(taken)

    def read_all(self, most: int) -> bytes:
        """Everything, or one byte more than `most`."""
        found = bytearray()
        while len(found) <= most and (piece := self.read(most + 1 - len(found))):
            found += piece
        return bytes(found)
