"""Verified downloads: an object by its CID, a file by its checksum; resumed, retried, from one source after another."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from attrs import Factory, define, field
from stargazer.assets import IntegrityError, InvalidAssetError, StorageError
from stargazer.storage.cid import CidHasher, SumHasher, fits_another_profile, is_block
from stargazer.storage.download.http import (
    Backoff,
    Patience,
    Progress,
    SourceError,
    Speed,
    Unavailable,
    parse_url,
    without_secrets,
)
from stargazer.storage.download.reach import Reach
from stargazer.storage.download.sources import Mirror, Source, file_name, source_of
from stargazer.storage.locks import is_at, lock_part, private_folder
from stargazer.storage.refusals import explained, failed
from stargazer.storage.threads import check_interrupted, pause

if TYPE_CHECKING:
    from stargazer.storage.objects import Objects, StoredObject

__all__ = ["Assembly", "Part", "WrongBytesError", "fetch_file", "fetch_object", "open_part"]

H = TypeVar("H", CidHasher, SumHasher)

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
        most: bytes that the file has at most, as others say, or that are taken: a source that gives more is refused.
        progress: called with the bytes that are here and those in all (None where unknown).

    Raises:
        IntegrityError: a source gave wrong bytes, and none the right ones; names the CID and what each source did.
        StorageError: no source gives it, or the store cannot take it.
    """
    if not sources and objects.stat(cid) is None:
        raise StorageError(
            f"{cid} is not in the store {os.fspath(objects.root)!r}, and no source of it is known: "
            "give a mirror, or set PINATA_JWT if it is on Pinata."
        )

    def judge(hasher: CidHasher) -> None:
        hashed = hasher.finish(part.size)
        if hashed != cid and not fits_another_profile(part.fd, part.size, cid):
            raise WrongBytesError(f"gave other bytes: {_described(part)} that hash to {hashed}")

    with open_part(objects.new_temporary().with_name(f"{cid}.part")) as part:
        found = objects.stat(cid)
        if found is not None:  # perhaps somebody brought it while we waited
            part.restart()
            return found
        file = Assembly(part, CidHasher, judge, cid=cid, size=size, most=most, progress=progress)
        file.bring(sources, f"{cid} could not be fetched")
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
    most: int | None = None,
    progress: Progress | None = None,
    reach: Reach | None = None,
) -> Iterator[Path]:
    """A verified file in a private folder of the store, gone at the end of the block.

    What arrived before the connection or the process died is not asked for again by the next call.

    Args:
        url: http, https, or file:///path.
        sums: `sha256` or `md5` to the checksum in hexadecimal; at least one.
        work: folder of the store for workspaces.
        tell: told what is being downloaded.
        others: URLs that give the same bytes, asked in turn where this one does not.
        size, most, progress: as of fetch_object().
        reach: what may be asked, redirects included, if not everything: for a URL that somebody else chose.

    Raises:
        InvalidAssetError: no checksum, or one that cannot be; no URL of a file, or one out of reach.
        StorageError: the server does not give the file, or the disk does not take it.
        IntegrityError: the bytes are not what the checksum says.
    """
    wanted = _checked_sums(url, sums)
    name, shown = file_name(url), without_secrets(url)
    # a gateway's CID says nothing of a file that is asked for by its checksum
    if reach is not None:
        _check_reach(reach, (url, *others))
    sources = [Mirror(item, reach) if parse_url(item) else source_of(item) for item in (url, *others)]

    def judge(hasher: SumHasher) -> None:
        found = hasher.finish(part.size)
        for kind, text in wanted.items():
            if found[kind] != text:
                raise WrongBytesError(
                    f"gave other bytes: {kind} is {found[kind]}, expected {text}: {_described(part)}: the file has "
                    "changed or the checksum belongs to another one; nothing was registered"
                )

    tell(f"downloading {shown}")
    key = "-".join(sorted(wanted.values()))
    with open_part(work / f"download-{key}.part") as part, private_folder(work, "download") as folder:
        file = Assembly(
            part, lambda fd: SumHasher(fd, wanted), judge, size=size, most=most, progress=progress
        )
        file.bring(sources, f"{name} could not be downloaded")
        path = folder / name
        with explained(f"{shown}: cannot write {os.fspath(path)!r}"):
            part.path.rename(path)
        yield path


def _check_reach(reach: Reach, urls: Sequence[str]) -> None:
    for url in urls:
        parts = parse_url(url)
        if parts is None or (why := reach.refusal(parts)):
            reason = why if parts else "no https:// URL"
            raise InvalidAssetError(f"{without_secrets(url)!r} cannot be downloaded: {reason}")


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


def _described(part: Part) -> str:
    """What wrong bytes look like."""
    head = os.pread(part.fd, 512, 0).lstrip().lower()
    page = "an HTML page of " if head.startswith((b"<!doctype html", b"<html")) else ""
    return f"{page}{part.size:,} bytes"


# one file on its way


@define
class Assembly(Generic[H]):
    """One file on its way from untrusted sources: continued, and started over when its bytes are wrong.

    Attributes:
        part: where it is assembled.
        new_hasher: makes what computes of the arriving bytes what is needed to judge them.
        judge: raises WrongBytesError unless the bytes that were hashed are right.
        cid: asked of every source.
        size, most, progress: as of fetch_object().
    """

    part: Part
    new_hasher: Callable[[int], H]
    judge: Callable[[H], None]
    cid: str = ""
    size: int | None = None
    most: int | None = None
    progress: Progress | None = None
    _hasher: H = field(init=False, default=Factory(lambda it: it.new_hasher(it.part.fd), takes_self=True))

    def bring(self, sources: Sequence[Source], what: str) -> None:
        """Try the sources in turn until the part holds the right bytes.

        Args:
            what: begins the text of an error, which says what each source did: "bafy... could not be fetched".

        Raises:
            IntegrityError: a source gave wrong bytes, and none the right ones.
            StorageError: no source gives them, or this machine's disk does not take them.
        """
        errors: dict[int, SourceError] = {}
        backoff = Backoff(what, PATIENCE, pause)
        asked = list(range(len(sources)))
        try:
            while asked:
                for number in asked:
                    try:
                        self._bring_from(sources[number])
                        return
                    except SourceError as error:
                        errors[number] = error
                asked = [number for number in asked if errors[number].passing]
                if asked:
                    backoff.again(max((errors[number] for number in asked), key=lambda it: it.wait or 0))
        except Unavailable:
            pass
        finally:
            self._hasher.close()
        faults: list[str] = [f"{source.name} {errors[number]}" for number, source in enumerate(sources)]
        wrong = [str(error) for error in errors.values() if isinstance(error, WrongBytesError)]
        if self.cid and len(set(wrong)) < len(wrong) and not is_block(self.cid):
            faults.append("two gave the same bytes: unknown chunking or wrong bytes; give its sha256")
        text = f"{what}: {faults[0]}." if len(faults) == 1 else "\n  ".join([f"{what}:", *faults])
        raise IntegrityError(text) if wrong else StorageError(text)

    def _bring_from(self, source: Source) -> None:
        """Bring the file to its end with what one source gives.

        It has a count of cuts and a budget of time: who gives too few bytes for the time that we wait for them, in one
        connection or in many, is left, and the next source goes on where it stopped.

        Raises:
            SourceError: why it did not.
        """
        cuts, once_more, speed = 0, True, Speed()
        while True:
            before = self.part.size
            try:
                is_mixed = self._visit(source, speed)
                with self._reading_back():
                    self.judge(self._hasher)
                return
            except WrongBytesError:
                self._restart()
                if not (is_mixed and once_more):
                    raise
                once_more = False
            except SourceError as error:
                cuts += 1
                if not error.passing or self.part.size <= before or cuts > MOST_CUTS:
                    raise
                speed.check()
                if cuts > 3:
                    with speed.waiting():
                        pause(min(0.01 * cuts, 1.0))

    def _visit(self, source: Source, speed: Speed) -> bool:
        """Append what the source gives, up to the end of the file; whether the bytes before came otherwise."""
        part = self.part
        if self.size is not None and part.size > self.size:
            self._restart()
        self._hash(0)  # what is here from before, while no connection waits for it
        if part.size and part.size == self.size:  # an earlier process may have left the whole file
            return True
        with contextlib.ExitStack() as stack:
            with speed.waiting():
                body = stack.enter_context(source.open(self.cid, part.size))
            if body.start not in (0, part.size):
                raise SourceError(f"starts at byte {body.start:,}, not {part.size:,}")
            if body.start != part.size:
                self._restart()
            is_mixed = part.size > 0
            size = self._agreed(body.size)
            limit = (
                min(MOST_UNSAID if self.most is None else self.most, MOST_UNSAID) if size is None else size
            )
            for piece in speed.counted(iter(body.pieces)):
                if part.size + len(piece) > limit:
                    self._restart()
                    raise SourceError(
                        f"gives no size, and more than {limit:,} bytes: download it yourself, and add the file "
                        "(`stargazer add FILE ...`)"
                        if size is None and self.most is None
                        else f"sends more than the {limit:,} bytes "
                        f"{'of the file' if limit in (size, self.size) else 'that are taken'}"
                    )
                part.write(piece)
                self._hash(part.size)
                if size is None and part.size % CHECK_ROOM < len(piece) and part.room < RESERVE:
                    arrived, room = part.size, part.room
                    self._restart()
                    raise SourceError(
                        f"gives no size, and after {arrived:,} bytes only {room:,} are free on the disk"
                    )
                if self.progress is not None:
                    self.progress(part.size, size)
        if size is not None and part.size < size:
            raise SourceError(f"ended after {part.size:,} of {size:,} bytes", passing=True)
        return is_mixed

    def _agreed(self, offered: int | None) -> int | None:
        """The size of the file where it is known, and the disk can take what is still to come."""
        if self.size is not None and offered not in (None, self.size):
            raise SourceError(f"offers {offered:,} bytes, not the {self.size:,} of the file")
        if self.most is not None and offered is not None and offered > self.most:
            raise SourceError(f"offers {offered:,} bytes, more than the {self.most:,} that are taken")
        size = offered if self.size is None else self.size
        room = self.part.room
        if size is None or size - self.part.size <= room:
            return size
        if size != self.size:  # a source's own figures are no reason to give up others
            raise SourceError(f"offers {size:,} bytes, and the disk has room for {room:,}")
        self._restart()
        raise StorageError(
            f"the disk is full: {size:,} bytes are to be downloaded and {room:,} are free in "
            f"{os.fspath(self.part.path.parent)!r}; free some space, or move the store elsewhere (STARGAZER_LOCAL)"
        )

    def _hash(self, start: int) -> None:
        """Have the bytes from `start` on hashed, up to those that arrived last."""
        with self._reading_back():
            for end in (*range(start, self.part.size, CHECK_ROOM), self.part.size):
                check_interrupted()
                self._hasher.advance(end)

    @contextlib.contextmanager
    def _reading_back(self) -> Iterator[None]:
        try:
            yield
        except StorageError:  # an OSError, too
            raise
        except (OSError, EOFError) as error:
            reason = getattr(error, "strerror", None) or "it was changed by somebody else"
            raise StorageError(f"{os.fspath(self.part.path)!r} cannot be read back: {reason}") from error

    def _restart(self) -> None:
        self._hasher.close()
        self.part.restart()
        self._hasher = self.new_hasher(self.part.fd)


class Part:
    """An unfinished file that only we write, at its end."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path, self.fd = path, fd
        self.size = os.fstat(fd).st_size
        """Bytes that have arrived, in this process or an earlier one."""

    def write(self, piece: bytes) -> None:
        """Append.

        Raises:
            StorageError: the disk does not take it; what had arrived is forgotten, to give the space back.
        """
        left = memoryview(piece)
        try:
            while left:
                count = os.pwrite(self.fd, left, self.size)
                self.size += count
                left = left[count:]
        except OSError as error:
            self.restart()
            raise failed(f"{os.fspath(self.path.parent)!r} cannot be written", error) from error

    def restart(self) -> None:
        """Forget what has arrived."""
        with explained(f"{os.fspath(self.path.parent)!r} cannot be written"):
            os.ftruncate(self.fd, 0)
        self.size = 0

    @property
    def room(self) -> int:
        """Bytes that the disk can still take."""
        status = os.fstatvfs(self.fd)
        return status.f_bavail * status.f_frsize if status.f_blocks else 1 << 62


@contextlib.contextmanager
def open_part(path: Path) -> Iterator[Part]:
    """The unfinished file at `path`, ours until the end of the block; waits while another process has it.

    Where it cannot be locked (somebody else's, or no locks on this filesystem), a private one, removed at the end.

    Raises:
        StorageError: the folder cannot be written.
    """
    with explained(f"{os.fspath(path.parent)!r} cannot be written"):
        fd, private = lock_part(path), False
        if fd is None:
            path, private = path.with_name(f"{os.getpid()}-{secrets.token_hex(8)}"), True
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "r+b", buffering=0):
        try:
            yield Part(path, fd)
        finally:
            with contextlib.suppress(OSError):
                # by name while we hold the lock: nobody else's
                if (private or os.fstat(fd).st_size == 0) and is_at(path, fd):
                    path.unlink()
