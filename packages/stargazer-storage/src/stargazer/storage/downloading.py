"""Downloads that are verified before anybody sees them: objects by CID, and files by a published checksum."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stargazer.assets import IntegrityError, InvalidAssetError, StorageError
from stargazer.storage.files import sync_paths
from stargazer.storage.locks import private_folder

from .assembling import Assembly, Fault, Progress, WrongBytesError
from .cid import BLOCK_SIZE, hash_file
from .foreign import Layout
from .links import parse_cid
from .parts import Compute, Part, WaitUntil, open_part
from .profiles import RAW
from .sources import LocalFile, Mirror, Source, file_name, source_of, without_secrets

if TYPE_CHECKING:
    from .objects import Objects, StoredObject

__all__ = ["Progress", "fetch_file", "fetch_object", "file_name", "without_secrets"]

_LENGTHS = {"sha256": 64, "md5": 32}


def fetch_object(
    cid: str,
    sources: Sequence[Source],
    objects: Objects,
    *,
    size: int | None = None,
    most: int | None = None,
    progress: Progress | None = None,
    accept: Callable[[Path], None] | None = None,
) -> StoredObject:
    """The object with this CID, brought from the first source that has its bytes unless it is here already.

    What arrived before a failure, also in a process that was killed, is not asked for again. Two processes that want
    the same CID bring it once. Nothing is visible in the store before its bytes are verified.

    Args:
        sources: tried in this order, each again while it makes progress.
        size: bytes of the file, where they are certain: another figure then refuses a source at once.
        most: bytes that the file has at most, as others say: a source that gives more is refused.
        progress: called with the bytes that are here and those in all (None where unknown).
        accept: given the verified file before it is visible in the store; refuses it by a StorageError.

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
    with open_part(objects.new_temporary().with_name(f"{cid}.part")) as part:
        found = objects.stat(cid)
        if found is not None:  # somebody else brought it while we waited
            part.discard()
            return found

        def keep(layout: Path | None = None) -> StoredObject:
            if accept is not None:
                try:
                    accept(part.path)
                except StorageError as error:
                    part.discard()
                    raise StorageError(f"{cid} is not kept: {error}") from None
            return objects.keep(part.path, cid, layout=layout)

        if parse_cid(cid).codec == RAW:  # one block, however large
            return _fetch_block(cid, part, sources, keep, size, most, progress)
        return _fetch_tree(
            cid, part, sources, Layout(cid, sources, objects.new_temporary), keep, size, most, progress
        )


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
    sources = [_file_source(item) for item in (url, *others)]
    key = hashlib.sha256(repr(sorted(wanted.items())).encode()).hexdigest()[:32]

    def judge(found: dict[str, str], size: int) -> None:
        for name, text in wanted.items():
            if found[name] != text:
                raise WrongBytesError(f"{name} is {found[name]}, expected {text}: {_described(part, size)}")

    tell(f"downloading {shown}")
    with open_part(work / f"download-{key}.part") as part, private_folder(work, "download") as folder:
        faults = Assembly("", part, size, _digests(list(wanted)), judge, progress).bring(sources)
        if faults:
            wrong = any(isinstance(fault.error, WrongBytesError) for fault in faults)
            raise (IntegrityError if wrong else StorageError)("\n".join(map(_not_downloaded, faults)))
        path = folder / name
        try:
            part.path.rename(path)
            sync_paths([path])
        except OSError as error:
            raise StorageError(f"{shown}: cannot write {os.fspath(path)!r}: {error.strerror}") from error
        yield path


def _file_source(url: str) -> Source:
    """What gives a file that is asked for by its checksum: a gateway's CID says nothing of it."""
    source = source_of(url)
    return source if isinstance(source, LocalFile) else Mirror(url)


def _not_downloaded(fault: Fault) -> str:
    if isinstance(fault.error, WrongBytesError):
        return (
            f"{fault.name}: {fault.error}: the file has changed or the checksum belongs to another one; "
            "nothing was registered"
        )
    return f"{fault.name}: could not be downloaded: the server {fault.error}"


def _fetch_block(
    cid: str,
    part: Part,
    sources: Sequence[Source],
    keep: Callable[[], StoredObject],
    size: int | None,
    most: int | None,
    progress: Progress | None,
) -> StoredObject:
    """An object whose CID is the SHA-256 of its bytes."""
    wanted = parse_cid(cid).digest.hex()

    def judge(found: dict[str, str], size: int) -> None:
        if found["sha256"] != wanted:
            raise WrongBytesError(
                f"gave other bytes: {_described(part, size)} with SHA-256 {found['sha256']}"
            )

    faults = Assembly(cid, part, size, _digests(["sha256"]), judge, progress, most=most).bring(sources)
    if faults:
        raise _failed(cid, faults)
    return keep()


def _fetch_tree(
    cid: str,
    part: Part,
    sources: Sequence[Source],
    layout: Layout,
    keep: Callable[[Path | None], StoredObject],
    size: int | None,
    most: int | None,
    progress: Progress | None,
) -> StoredObject:
    """An object whose CID is that of a tree over its bytes: in Pinata's layout, or in a foreign one."""

    def compute(fd: int, size: int, wait_until: WaitUntil) -> str:
        return hash_file(fd, size, wait_until, profile=layout.profile)

    def judge(hashed: str, size: int) -> None:
        if hashed != cid and not layout.recognises(part, size):
            if layout.unknown:
                raise _NeedsCar
            raise WrongBytesError(f"gave other bytes: {_described(part, size)} that hash to {hashed}")

    faults: list[Fault] = []
    in_car = False
    try:
        try:
            faults = Assembly(cid, part, size, compute, judge, progress, most=most).bring(sources)
        except _NeedsCar:
            in_car = True
        if faults or in_car:
            more = layout.extract(part, progress)
            if more is not None:
                raise _failed(cid, [*faults, *more])
        else:
            layout.note_profile()
        return keep(layout.file)
    finally:
        layout.forget()


class _NeedsCar(Exception):
    """The bytes came, and no profile tells whether they are right."""


def _failed(cid: str, faults: Sequence[Fault]) -> StorageError:
    kind = (
        IntegrityError if any(isinstance(fault.error, WrongBytesError) for fault in faults) else StorageError
    )
    if len(faults) == 1:
        return kind(f"{cid} could not be fetched: {faults[0].name} {faults[0].error}.")
    lines = "".join(f"\n  {fault.name} {fault.error}" for fault in faults)
    return kind(f"{cid} could not be fetched:{lines}")


def _described(part: Part, size: int) -> str:
    """What wrong bytes look like."""
    head = part.head(512).lstrip().lower()
    page = head.startswith((b"<!doctype html", b"<html"))
    return f"{'an HTML page of ' if page else ''}{size:,} bytes"


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


def _digests(names: Sequence[str]) -> Compute[dict[str, str]]:
    """Computes these checksums of a file while it arrives."""

    def compute(fd: int, size: int, wait_until: WaitUntil) -> dict[str, str]:
        digests = {name: hashlib.new(name, usedforsecurity=False) for name in names}
        at = 0
        while at < size:
            end = min(at + BLOCK_SIZE, size)
            wait_until(end)
            block = os.pread(fd, end - at, at)
            if not block:
                raise EOFError
            for digest in digests.values():
                digest.update(block)
            at += len(block)
        return {name: digest.hexdigest() for name, digest in digests.items()}

    return compute
