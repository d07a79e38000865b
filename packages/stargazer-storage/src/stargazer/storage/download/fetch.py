"""Verified downloads: an object by its CID, a file by its checksum; resumed, retried, from one source after another."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from attrs import frozen
from stargazer.assets import IntegrityError, InvalidAssetError, StorageError
from stargazer.storage.cid import CidHasher, Hasher, SumHasher, fits_another_profile, is_block
from stargazer.storage.download.http import (
    Backoff,
    Patience,
    Progress,
    SourceError,
    Speed,
    Unavailable,
    without_secrets,
)
from stargazer.storage.download.sources import LocalFile, Mirror, Source, file_name, source_of
from stargazer.storage.files import sync_paths
from stargazer.storage.locks import is_at, lock_part, private_folder
from stargazer.storage.refusals import reason
from stargazer.storage.threads import check_interrupted, pause

if TYPE_CHECKING:
    from stargazer.storage.objects import Objects, StoredObject

__all__ = ["Assembly", "Fault", "Part", "WrongBytesError", "fetch_file", "fetch_object", "open_part"]

T = TypeVar("T")

PATIENCE = Patience(attempts=3, first=1.0)
"""For rounds over the sources whose failure may pass."""

MOST_CUTS = 1000
"""Connections that one source may break before the next one is asked, whatever came of them."""

MOST_UNSAID = 4 << 30
"""Bytes of a body of which neither its source nor anybody else says the size."""

RESERVE = 256 << 20
"""Bytes of the disk that a download of unknown size leaves free."""

CHECK_ROOM = 64 << 20
"""Bytes of such a download between two looks at the disk."""

_LENGTHS = {"sha256": 64, "md5": 32}


class WrongBytesError(SourceError):
    """A source gave all its bytes, and they are not those asked for."""


@frozen
class Fault:
    """A source, and what it did instead of giving the bytes: "<name> <error>" is a sentence."""

    name: str
    error: SourceError


def fetch_object(
    cid: str,
    sources: Sequence[Source],
    objects: Objects,
    *,
    size: int | None = None,
    most: int | None = None,
    progress: Progress | None = None,
) -> StoredObject:
    """The object with this CID, brought from the first source that has its bytes unless it is here already.

    What arrived before a failure, also in a process that was killed, is not asked for again. Two processes that want
    the same CID bring it once. Nothing is visible in the store before its bytes are verified. A file may be cut into
    blocks in any of the published ways (see `cid.PROFILES`).

    Args:
        sources: tried in this order, each again while it makes progress.
        size: bytes of the file, where they are certain: another figure then refuses a source at once.
        most: bytes that the file has at most, as others say: a source that gives more is refused.
        progress: called with the bytes that are here and those in all (None where unknown).

    Raises:
        IntegrityError: a source gave wrong bytes, and none the right ones; names the CID and what each source did.
        StorageError: no source gives it, or the store cannot take it.
    """
    found = objects.stat(cid)
    if found is not None:
        return found
    if not sources:
        raise StorageError(
            f"{cid} is not in the store {os.fspath(objects.root)!r}, and no source of it is known: "
            "give a mirror, or set PINATA_JWT if it is on Pinata."
        )

    def judge(hashed: str, size: int) -> None:
        if hashed != cid and not fits_another_profile(part.fd, size, cid):
            raise WrongBytesError(f"gave other bytes: {_described(part, size)} that hash to {hashed}")

    with open_part(objects.new_temporary().with_name(f"{cid}.part")) as part:
        found = objects.stat(cid)
        if found is not None:  # somebody else brought it while we waited
            part.discard()
            return found
        faults = Assembly(cid, part, CidHasher, judge, size, most, progress).bring(sources)
        if faults:
            raise _failed(cid, faults)
        return objects.keep(part.path, cid)


@contextlib.contextmanager
def fetch_file(
    url: str,
    sums: Mapping[str, str],
    work: Path,
    tell: Callable[[str], None],
    *,
    others: Sequence[str] = (),
    size: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Path]:
    """A verified file in a private folder of the store, gone at the end of the block.

    What arrived before the connection or the process died is not asked for again by the next call.

    Args:
        url: http, https, or file:///path.
        sums: `sha256` or `md5` to the checksum in hexadecimal; at least one.
        work: folder of the store for workspaces.
        tell: told what is being downloaded.
        others: URLs that give the same bytes, asked in turn where this one does not.
        size: bytes of the file, where they are certain: a server that offers another figure is refused at once.
        progress: called with the bytes that are here and those in all (None where unknown).

    Raises:
        InvalidAssetError: no checksum, or one that cannot be; no URL of a file.
        StorageError: the server does not give the file, or the disk does not take it.
        IntegrityError: the bytes are not what the checksum says.
    """
    wanted = _checked_sums(url, sums)
    name, shown = file_name(url), without_secrets(url)
    # a gateway's CID says nothing of a file that is asked for by its checksum
    sources = [
        source if isinstance(source := source_of(item), LocalFile) else Mirror(item)
        for item in (url, *others)
    ]
    key = hashlib.sha256(repr(sorted(wanted.items())).encode()).hexdigest()[:32]

    def judge(found: Mapping[str, str], size: int) -> None:
        for name, text in wanted.items():
            if found[name] != text:
                raise WrongBytesError(f"{name} is {found[name]}, expected {text}: {_described(part, size)}")

    tell(f"downloading {shown}")
    with open_part(work / f"download-{key}.part") as part, private_folder(work, "download") as folder:
        file = Assembly("", part, lambda fd: SumHasher(fd, wanted), judge, size, None, progress)
        faults = file.bring(sources)
        if faults:
            raise _kind(faults)("\n".join(map(_not_downloaded, faults)))
        path = folder / name
        try:
            part.path.rename(path)
            sync_paths([path])
        except OSError as error:
            raise StorageError(f"{shown}: cannot write {os.fspath(path)!r}: {error.strerror}") from error
        yield path


def _checked_sums(url: str, sums: Mapping[str, str]) -> dict[str, str]:
    if not sums:
        raise InvalidAssetError(
            f"{without_secrets(url)}: what is downloaded is verified: give --sha256 SUM or --md5 SUM "
            "as published beside the file (without any, download it yourself and add the file)"
        )
    for name, text in sums.items():
        if name not in _LENGTHS:
            raise InvalidAssetError(f"checksum {name!r} is not known: expected {' or '.join(_LENGTHS)}")
        if not re.fullmatch(r"[0-9a-fA-F]+", text) or len(text) != _LENGTHS[name]:
            raise InvalidAssetError(f"--{name}: expected {_LENGTHS[name]} hexadecimal digits, got {text!r}")
    return {name: text.lower() for name, text in sums.items()}


def _kind(faults: Sequence[Fault]) -> type[StorageError]:
    return (
        IntegrityError if any(isinstance(fault.error, WrongBytesError) for fault in faults) else StorageError
    )


def _failed(cid: str, faults: Sequence[Fault]) -> StorageError:
    if len(faults) == 1:
        return _kind(faults)(f"{cid} could not be fetched: {faults[0].name} {faults[0].error}.")
    lines = "".join(f"\n  {fault.name} {fault.error}" for fault in faults)
    wrong = [str(fault.error) for fault in faults if isinstance(fault.error, WrongBytesError)]
    if len(set(wrong)) < len(wrong) and not is_block(cid):
        lines += "\n  two gave the same bytes: unknown chunking or wrong bytes; give its sha256"
    return _kind(faults)(f"{cid} could not be fetched:{lines}")


def _not_downloaded(fault: Fault) -> str:
    if isinstance(fault.error, WrongBytesError):
        return (
            f"{fault.name}: {fault.error}: the file has changed or the checksum belongs to another one; "
            "nothing was registered"
        )
    return f"{fault.name}: could not be downloaded: the server {fault.error}"


def _described(part: Part, size: int) -> str:
    """What wrong bytes look like."""
    head = part.head(512).lstrip().lower()
    page = head.startswith((b"<!doctype html", b"<html"))
    return f"{'an HTML page of ' if page else ''}{size:,} bytes"


# one file on its way


class Assembly(Generic[T]):
    """One file on its way from untrusted sources: continued, and started over when its bytes are wrong.

    Args:
        cid: asked of every source.
        part: where it is assembled.
        hasher: makes what computes of the arriving bytes what is needed to judge them.
        judge: raises WrongBytesError unless the bytes with this result are right.
        size: bytes that are certain; a source that offers another number is refused.
        most: bytes that it has at most; a source that offers or sends more is refused.
        progress: told what has arrived.
    """

    def __init__(
        self,
        cid: str,
        part: Part,
        hasher: Callable[[int], Hasher[T]],
        judge: Callable[[T, int], None],
        size: int | None = None,
        most: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._cid, self._part, self._certain, self._most = cid, part, size, most
        self._new_hasher, self._judge, self._progress = hasher, judge, progress
        self._hasher = hasher(part.fd)
        self._visits = 1 if part.size else 0  # how many visits to sources this part is made of

    def bring(self, sources: Sequence[Source]) -> list[Fault]:
        """Try the sources in turn until the part holds the right bytes: nothing is returned then, else every fault.

        Raises:
            StorageError: this machine's disk does not take the bytes.
        """
        faults: dict[int, Fault] = {}
        waiting = list(range(len(sources)))
        backoff = Backoff("nobody can be asked", PATIENCE, pause)
        try:
            if self._certain is not None and self._part.size == self._certain:
                try:  # an earlier process may have left the whole file
                    self._hash(0)
                    self._conclude()
                    return []
                except SourceError:
                    self._restart()
            while waiting:
                for number in list(waiting):
                    error = self._bring_from(sources[number])
                    if error is None:
                        return []
                    faults[number] = Fault(sources[number].name, error)
                    if not error.passing:
                        waiting.remove(number)
                if waiting:
                    backoff.again(
                        max((faults[number].error for number in waiting), key=lambda error: error.wait or 0)
                    )
        except Unavailable:
            pass
        finally:
            self._hasher.close()
        return [faults[number] for number in sorted(faults)]

    def _bring_from(self, source: Source) -> SourceError | None:
        """Why this source did not bring the file to its end, or None if the right bytes are there.

        It has a count of cuts and a budget of time: who gives too few bytes for the time that we wait for them, in one
        connection or in many, is left, and the next source goes on where it stopped.
        """
        cuts, once_more, speed = 0, True, Speed()
        while True:
            check_interrupted()
            before = self._part.size
            try:
                self._visit(source, speed)
                self._conclude()
                return None
            except WrongBytesError as error:
                mixed = self._visits > 1
                self._restart()
                if not (mixed and once_more):
                    return error
                once_more = False
            except SourceError as error:
                cuts += 1
                if not error.passing or self._part.size <= before or cuts > MOST_CUTS:
                    return error
                if speed.is_too_slow():
                    return speed.failure()
                if self._part.size - before < CHECK_ROOM and cuts > 3:
                    with speed.waiting():
                        pause(min(0.01 * cuts, 1.0))

    def _visit(self, source: Source, speed: Speed) -> None:
        """Append what the source gives, up to the end of the file."""
        part = self._part
        if self._certain is not None and part.size >= self._certain:
            self._restart()
        self._hash(0)  # what is here from before, while no connection waits for it
        with contextlib.ExitStack() as stack:
            with speed.waiting():
                body = stack.enter_context(source.open(self._cid, part.size))
            if body.start != part.size:
                if body.start != 0:
                    raise SourceError(f"starts at byte {body.start:,}, not {part.size:,}")
                self._restart()
            self._visits += 1
            size = self._agreed(body.size)
            if size is not None:
                self._check_room(size)
            checked = part.size
            limit = size if size is not None else MOST_UNSAID if self._most is None else self._most
            pieces = iter(body.pieces)
            while True:
                with speed.waiting():
                    piece = next(pieces, None)
                if piece is None:
                    break
                speed.got += len(piece)
                if part.size + len(piece) > limit:
                    self._restart()
                    if size is None and self._most is None:
                        raise SourceError(
                            f"gives no size, and more than {limit:,} bytes: download it yourself, and add the file "
                            "(`stargazer add FILE ...`)"
                        )
                    raise SourceError(f"sends more than the {limit:,} bytes of the file")
                part.write(piece)
                self._hash(part.size)
                if size is None and part.size - checked >= CHECK_ROOM:
                    self._check_room(None)
                    checked = part.size
                if self._progress is not None:
                    self._progress(part.size, size)
        if size is not None and part.size < size:
            raise SourceError(f"ended after {part.size:,} of {size:,} bytes", passing=True)

    def _agreed(self, offered: int | None) -> int | None:
        if self._certain is not None and offered is not None and offered != self._certain:
            raise SourceError(f"offers {offered:,} bytes, not the {self._certain:,} of the file")
        if self._most is not None and offered is not None and offered > self._most:
            raise SourceError(f"offers {offered:,} bytes, more than the {self._most:,} of the file")
        return self._certain if self._certain is not None else offered

    def _check_room(self, size: int | None) -> None:
        """Whether the disk can take what is still to come; a source's own figures are no reason to give up others."""
        room = self._part.room
        if size is not None and size - self._part.size > room:
            if size != self._certain:
                raise SourceError(f"offers {size:,} bytes, and the disk has room for {room:,}")
            self._part.discard()
            raise StorageError(
                f"the disk is full: {size:,} bytes are to be downloaded and {room:,} are free in "
                f"{os.fspath(self._part.path.parent)!r}; free some space, or move the store elsewhere (STARGAZER_LOCAL)"
            )
        if size is None and room < RESERVE:
            arrived = self._part.size
            self._restart()
            raise SourceError(
                f"gives no size, and after {arrived:,} bytes only {room:,} are free on the disk"
            )

    def _hash(self, start: int) -> None:
        """Have the bytes from `start` on hashed in the background, up to those that arrived last."""
        with self._reading_back():
            for end in (*range(start, self._part.size, CHECK_ROOM), self._part.size):
                check_interrupted()
                self._hasher.advance(end)

    def _conclude(self) -> None:
        """Judge the complete file."""
        with self._reading_back():
            self._judge(self._hasher.finish(self._part.size), self._part.size)

    @contextlib.contextmanager
    def _reading_back(self) -> Iterator[None]:
        try:
            yield
        except StorageError:  # an OSError, too
            raise
        except (OSError, EOFError) as error:
            reason = getattr(error, "strerror", None) or "it was changed by somebody else"
            raise StorageError(f"{os.fspath(self._part.path)!r} cannot be read back: {reason}") from error

    def _restart(self) -> None:
        self._hasher.close()
        self._part.restart()
        self._hasher = self._new_hasher(self._part.fd)
        self._visits = 0


class Part:
    """An unfinished file that only we write, at its end."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path, self.fd = path, fd
        self.size = os.fstat(fd).st_size
        """Bytes that have arrived, in this process or an earlier one."""

    def write(self, piece: bytes) -> None:
        """Append.

        Raises:
            StorageError: the disk does not take it; what had arrived is removed, to give the space back.
        """
        with self._explained():
            left = memoryview(piece)
            while left:
                count = os.pwrite(self.fd, left, self.size)
                self.size += count
                left = left[count:]

    def restart(self) -> None:
        """Forget what has arrived."""
        with self._explained():
            os.ftruncate(self.fd, 0)
        self.size = 0

    def discard(self) -> None:
        """Remove the file."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            os.ftruncate(self.fd, 0)
        self.size = 0

    @property
    def room(self) -> int:
        """Bytes that the disk can still take."""
        status = os.fstatvfs(self.fd)
        return status.f_bavail * status.f_frsize if status.f_blocks else 1 << 62

    def head(self, count: int) -> bytes:
        """The first bytes."""
        return os.pread(self.fd, count, 0)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Say what the disk refuses as a StorageError, and give back what had arrived."""
        try:
            yield
        except StorageError:
            raise
        except OSError as error:
            self.discard()
            raise StorageError(
                f"{os.fspath(self.path.parent)!r} cannot be written: {reason(error)}"
            ) from error


@contextlib.contextmanager
def open_part(path: Path) -> Iterator[Part]:
    """The unfinished file at `path`, ours until the end of the block; waits while another process has it.

    Where it cannot be locked (somebody else's, or no locks on this filesystem), a private one, removed at the end.

    Raises:
        StorageError: the folder cannot be written.
    """
    try:
        part, private = lock_part(path), False
        if part is None:
            path, private = path.with_name(f"{os.getpid()}-{secrets.token_hex(8)}"), True
            part = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"{os.fspath(path.parent)!r} cannot be written: {reason(error)}") from error
    with open(part, "r+b", buffering=0):
        try:
            yield Part(path, part)
        finally:
            with contextlib.suppress(OSError):
                # by name while we hold the lock: nobody else's
                if (private or os.fstat(part).st_size == 0) and is_at(path, part):
                    path.unlink()
