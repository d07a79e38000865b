"""Checks that the index (.fai), the block index (.gzi) and the dictionary of a reference belong to it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

from stargazer.assets import FormatError, ReferenceGzipIndex, ReferenceIndex, SequenceDict
from stargazer.assets.formats import GZIP, SMALL, first_bytes, is_bgzf, opened
from stargazer.storage import Lookup
from stargazer.tasks.checks.bgzf import HEADER
from stargazer.tasks.checks.contigs import (
    CONTIGS_UNKNOWN,
    build_of,
    fai_rows,
    not_here,
    sequences_of,
    small_sequences,
    some,
)
from stargazer.tasks.checks.headers import sam_contigs

__all__ = ["dictionary", "gzip_index", "index"]

PROBES = 24
TITLE = 4096  # bytes of a title line that are looked at

T = TypeVar("T")


def index(asset: ReferenceIndex, path: Path, lookup: Lookup) -> bool | str:
    """Some contigs of a FASTA index, the first and last among them, against the reference.

    Raises:
        FormatError: a contig does not begin or end there.
    """
    rows = fai_rows(path)
    known = lookup.target(asset, "reference_cid")
    if known is None or known.path is None:
        return not_here(asset, "reference_cid", "the bytes of that reference are not on this machine")
    title = f"{path.name!r} is not the index of the reference {build_of(known)}"
    remedy = "make it again: `samtools faidx`"
    if contigs := small_sequences(known.path):
        _compare_names(title, {row[0]: row for row in rows}, contigs, remedy)
    rows = sorted((row for row in rows if row[1]), key=lambda row: row[2])
    with _fasta(known.path) as (file, whole):
        size = file.seek(0, io.SEEK_END)
        for name, length, offset, bases, width in _some_of(rows):
            full, rest = divmod(length - 1, max(bases, 1))
            end = offset + full * width + rest + 1
            if end > size and not whole:
                continue
            last = (name, length, offset, bases, width) == rows[-1] and whole
            wrong = _wrong(file, name, offset, end, last=last)
            if end > size:
                wrong = f"{name!r} ends at byte {end:,}, and the file at byte {size:,}"
            if wrong:
                raise FormatError(f"{title}: {wrong}; {remedy}")
    return True


def gzip_index(asset: ReferenceGzipIndex, path: Path, lookup: Lookup) -> bool | str:
    """Some blocks of a bgzip index against the reference.

    Raises:
        FormatError: it is damaged, or no block begins there.
    """
    data = path.read_bytes()
    count = int.from_bytes(data[:8], "little")
    if len(data) < 8 or len(data) != 8 + 16 * count:
        raise FormatError(
            f"{path.name!r} is not a bgzip index, or is truncated: make it with `samtools faidx`"
        )
    known = lookup.target(asset, "reference_cid")
    if known is None or known.path is None:
        return not_here(asset, "reference_cid", "the bytes of that reference are not on this machine")
    with open(known.path, "rb") as file:
        size = file.seek(0, io.SEEK_END)
        for number in _some_of(range(count)):
            offset = int.from_bytes(data[8 + 16 * number : 16 + 16 * number], "little")
            file.seek(min(offset, size))
            if not is_bgzf(file.read(HEADER)):
                raise FormatError(
                    f"{path.name!r} is not the block index of the reference {build_of(known)}: no block begins at "
                    f"byte {offset:,}; make it again: `samtools faidx`"
                )
    return True


def dictionary(asset: SequenceDict, path: Path, lookup: Lookup) -> bool | str:
    """The contigs of a sequence dictionary against those of the reference.

    Raises:
        FormatError: they are others, or have other lengths or checksums.
    """
    found = sam_contigs(path.read_text(errors="replace"))
    if not found:
        raise FormatError(f"{path.name!r} is no sequence dictionary: expected lines that begin with @SQ")
    known = lookup.target(asset, "reference_cid")
    contigs = sequences_of(known, lookup, dictionary=False) if known else None
    if known is None or not contigs:
        return not_here(asset, "reference_cid", CONTIGS_UNKNOWN)
    title = f"{path.name!r} is not the dictionary of the reference {build_of(known)}"
    remedy = "make it again: `samtools dict`"
    _compare_names(title, found, contigs, remedy)
    for name, contig in found.items():
        there = contigs[name]
        if contig.length != there.length:
            raise FormatError(
                f"{title}: contig {name!r} has {contig.length:,} bases in it, {there.length:,} there; {remedy}"
            )
        if contig.md5 and there.md5 and contig.md5 != there.md5:
            raise FormatError(
                f"{title}: contig {name!r} has the checksum (M5) {contig.md5} in it, {there.md5} there; {remedy}"
            )
    return True


def _compare_names(title: str, found: Collection[str], contigs: Collection[str], remedy: str) -> None:
    """Raise FormatError where a file has other contigs than the reference that it is to accompany."""
    extra = [contig for contig in found if contig not in contigs]
    missing = [contig for contig in contigs if contig not in found]
    if extra or missing:
        raise FormatError(f"{title}: it has {some(extra)} too many and lacks {some(missing)}; {remedy}")


@contextlib.contextmanager
def _fasta(path: Path) -> Iterator[tuple[BinaryIO, bool]]:
    """The text of a FASTA to seek in, and whether that is all of it: of a large bgzip one only the beginning."""
    raw, head = first_bytes(path)
    if not raw.startswith(GZIP):
        with open(path, "rb") as file:
            yield file, True
    elif path.stat().st_size > SMALL:
        yield io.BytesIO(head), False
    else:
        with opened(path) as text:
            data = text.read(SMALL + 1)
        yield io.BytesIO(data), len(data) <= SMALL


def _wrong(file: BinaryIO, name: str, offset: int, end: int, *, last: bool) -> str:
    """What is wrong with where a sequence begins and ends; "" if nothing is."""
    file.seek(max(0, offset - TITLE))
    before = file.read(offset - file.tell())
    title = before.removesuffix(b"\n").rpartition(b"\n")[2]
    found = (title[1:].decode("utf-8", "replace").split() or [""])[0]
    is_cut = len(title) >= TITLE - 1
    if not is_cut and (not before.endswith(b"\n") or not title.startswith(b">") or found != name):
        return f"the sequence of {name!r} does not begin at byte {offset:,} there"
    file.seek(end - 1)
    after = file.read(TITLE)
    residue, following, rest = after[:1], after[1:2], after[1:].lstrip()
    goes_on = rest != b"" if last else rest[:1] not in (b">", b"")
    if residue.isspace() or following.strip() or goes_on:
        return f"the sequence of {name!r} does not end at byte {end:,} there"
    return ""


def _some_of(items: Sequence[T]) -> list[T]:
    """A few of many items, evenly spread, the first and last among them."""
    if len(items) <= PROBES:
        return list(items)
    return [items[number * (len(items) - 1) // (PROBES - 1)] for number in range(PROBES)]
