"""Checks that a BAI, TBI or CSI belongs to its alignment or variants: some of its offsets are looked up there."""

from __future__ import annotations

import contextlib
import gzip
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
from stargazer.assets import AlignmentIndex, FormatError, KnownSitesIndex, VariantsIndex
from stargazer.assets.formats import GZIP, first_bytes
from stargazer.storage import Lookup
from stargazer.tasks.checks.bgzf import opened
from stargazer.tasks.checks.contigs import not_here, some
from stargazer.tasks.checks.headers import Contig, alignment_header, is_cram, variants_header

__all__ = ["alignment_index", "needs_csi", "variants_index"]

LARGEST = 256 << 20  # bytes, decompressed
END = 1 << 29  # bases of a contig that a BAI or TBI reaches (SAM specification, section 5.1.1)
MOST_BITS = 62  # of a position on a contig
CONTIGS = 3  # with records, that are looked at
PROBES = 8  # of each of them
TBI_HEADER = struct.Struct("<6i")
"""Format, columns of sequence, begin and end, comment character, lines to skip."""


def needs_csi(contigs: Mapping[str, Contig]) -> bool:
    """Whether there is a contig that a BAI or TBI does not reach the end of."""
    return any(contig.length is not None and contig.length >= END for contig in contigs.values())


def alignment_index(asset: AlignmentIndex, path: Path, lookup: Lookup) -> bool | str:
    """The number of contigs of a BAI or CSI, and some of its offsets, against the BAM.

    Raises:
        FormatError: it is the index of another file, or damaged.
    """
    known = lookup.target(asset, "alignment_cid")
    if known is None or known.path is None:
        return not_here(asset, "alignment_cid", "the bytes of that alignment are not on this machine")
    if not first_bytes(known.path)[1].startswith((b"BAM\x01", b"CRAM")):
        return False
    with _explained(path, "alignment", "`samtools index`"):
        if is_cram(known.path):
            raise FormatError("that is CRAM, whose index is CRAI")
        index = _read(path)
        lengths = alignment_header(known.path).contigs
        contigs = list(lengths)
        if index.count != len(contigs):
            raise FormatError(f"it has {index.count:,} contigs, the alignment {len(contigs):,}")
        for chunk in index.chunks():
            record = _record(known.path, chunk.offset, 12)
            _, contig, position = struct.unpack("<3i", record)
            if contig != chunk.contig or not chunk.holds(position):
                raise _elsewhere(contigs[chunk.contig], chunk)
    _check_reach(path, index, lengths, "BAI", "samtools index -c")
    return True


def variants_index(asset: VariantsIndex | KnownSitesIndex, path: Path, lookup: Lookup) -> bool | str:
    """The contigs of a TBI or CSI, and some of its offsets, against the VCF or BCF.

    Raises:
        FormatError: it is the index of another file, or damaged.
    """
    link = "variants_cid" if isinstance(asset, VariantsIndex) else "known_sites_cid"
    known = lookup.target(asset, link)
    if known is None or known.path is None:
        return not_here(asset, link, "the bytes of those variants are not on this machine")
    with _explained(path, "variants", "`bcftools index`"):
        index = _read(path)
        if index.names and index.count != len(index.names):
            raise FormatError(f"it has {index.count:,} contigs and the names of {len(index.names):,}")
        lengths = variants_header(known.path).contigs
        contigs = list(lengths)
        if contigs and (unknown := [name for name in index.names if name not in contigs]):
            raise FormatError(f"it has the contigs {some(unknown)}, which the variants lack")
        names = index.names or contigs
        for chunk in index.chunks():
            name = names[chunk.contig] if chunk.contig < len(names) else ""
            if index.names:
                found, position = _vcf_place(known.path, chunk.offset)
                is_there = found == name
            else:
                _, _, contig, position = struct.unpack("<4i", _record(known.path, chunk.offset, 16))
                is_there = contig == chunk.contig
            if not is_there or not chunk.holds(max(position, 0)):
                raise _elsewhere(name, chunk)
    _check_reach(path, index, lengths, "TBI", "bcftools index --csi")
    return True


@attrs.frozen
class _Chunk:
    """Where the records of a part of a contig begin.

    Attributes:
        contig: its number.
        start, end: of the part, zero-based and half open; all of these records lie in it.
        offset: virtual, of the first of them.
    """

    contig: int
    start: int
    end: int
    offset: int

    def holds(self, position: int) -> bool:
        return self.start <= position < self.end


@attrs.frozen
class _Index:
    """A BAI, TBI or CSI (SAM specification, section 5.2; CSI and tabix specifications).

    Attributes:
        data: decompressed.
        at: where the contigs begin in it.
        count: of contigs.
        names: of the contigs; [] where the indexed file numbers them.
        shift, depth: of the bins.
        is_csi: bins hold an offset, and there is no linear index.
    """

    data: bytes
    at: int
    count: int
    names: list[str]
    shift: int = 14
    depth: int = 5
    is_csi: bool = False

    def chunks(self) -> Iterator[_Chunk]:
        """Some chunks of the first contigs with records, the first and last of each among them."""
        at, seen = self.at, 0
        for contig in range(self.count):
            bins, at = self._bins(at)
            chunks = sorted(bins, key=lambda item: item[1])
            step = max(1, (len(chunks) - 1) // (PROBES - 1))
            for number, offset in {*chunks[::step][:PROBES], *chunks[-1:]}:
                yield _Chunk(contig, *self._place(number), offset)
            seen += bool(chunks)
            if seen == CONTIGS:
                return

    def _bins(self, at: int) -> tuple[list[tuple[int, int]], int]:
        """Number and first offset of the bins of a contig, and where the next contig begins."""
        count = _count(self.data, at)
        at += 4
        head = struct.Struct("<IQi" if self.is_csi else "<Ii")
        limit = ((1 << 3 * (self.depth + 1)) - 1) // 7  # the number of bins; beyond are counts
        found = []
        for _ in range(count):
            number, *_, chunks = head.unpack_from(self.data, at)
            at += head.size
            if chunks < 0:
                raise FormatError(f"it is damaged: a bin of {chunks:,} chunks")
            if number < limit and chunks > 0:
                found.append((number, struct.unpack_from("<Q", self.data, at)[0]))
            at += 16 * chunks
        if not self.is_csi:
            at += 4 + 8 * _count(self.data, at)
        return found, at

    def _place(self, number: int) -> tuple[int, int]:
        """The part of a contig that a bin stands for."""
        first, bins, width = 0, 1, self.shift + 3 * self.depth
        while number >= first + bins:
            first, bins, width = first + bins, 8 * bins, width - 3
        start = (number - first) << width
        return start, start + (1 << width)


def _read(path: Path) -> _Index:
    data = path.read_bytes()
    if data.startswith(GZIP):
        with gzip.open(path) as file:
            data = file.read(LARGEST)
    if data.startswith(b"BAI\x01"):
        return _Index(data, 8, _count(data, 4), [])
    if data.startswith(b"TBI\x01"):
        names, end = _names(data, 8)
        return _Index(data, end, _count(data, 4), names)
    shift, depth, auxiliary = (_count(data, at) for at in (4, 8, 12))
    if shift + 3 * depth > MOST_BITS:
        raise FormatError(f"it is damaged: bins of {shift} bits in {depth} levels")
    names = _names(data, 16)[0] if auxiliary >= TBI_HEADER.size + 4 else []
    at = 16 + auxiliary
    return _Index(data, at + 4, _count(data, at), names, shift, depth, is_csi=True)


def _check_reach(path: Path, index: _Index, contigs: Mapping[str, Contig], kind: str, tool: str) -> None:
    """Raise FormatError where contigs are longer than an index of this kind can be."""
    if index.is_csi:
        return
    for name, contig in contigs.items():
        if contig.length is not None and contig.length > END:
            raise FormatError(
                f"{path.name!r} is a {kind}, which ends at base {END:,} of a contig, and {name!r} has "
                f"{contig.length:,}: make a CSI index: `{tool}`, and add that"
            )


def _count(data: bytes, at: int) -> int:
    (count,) = struct.unpack_from("<i", data, at)
    if count < 0:
        raise FormatError(f"it is damaged: a count of {count:,}")
    return int(count)


def _names(data: bytes, at: int) -> tuple[list[str], int]:
    """The names of contigs behind a tabix header, and where they end."""
    at += TBI_HEADER.size
    size = _count(data, at)
    names = data[at + 4 : at + 4 + size].rstrip(b"\0").decode("utf-8", "replace")
    return names.split("\0") if names else [], at + 4 + size


def _record(path: Path, offset: int, size: int) -> bytes:
    with opened(open(path, "rb"), offset) as file:
        return file.read(size)


def _vcf_place(path: Path, offset: int) -> tuple[str, int]:
    """The contig and the zero-based position of the record at a virtual offset."""
    with opened(open(path, "rb"), offset) as file:
        fields = file.readline(1 << 20).split(b"\t", 2)
    if len(fields) < 2 or not fields[1].isdigit():
        return "", -1
    return fields[0].decode("utf-8", "replace"), int(fields[1]) - 1


def _elsewhere(name: str, chunk: _Chunk) -> FormatError:
    part = f"{name}:{chunk.start + 1:,}-{chunk.end:,}"
    return FormatError(f"no record of {part} begins where it says (block at byte {chunk.offset >> 16:,})")


@contextlib.contextmanager
def _explained(path: Path, kind: str, tool: str) -> Iterator[None]:
    """Errors of what is read here, as what they mean for the index."""
    try:
        yield
    except (ValueError, struct.error, OSError, EOFError, zlib.error, IndexError, OverflowError) as error:
        reason = str(error) if isinstance(error, FormatError) else f"it leads nowhere ({error})"
        title = f"{path.name!r} is not the index of the {kind} that it is registered for"
        raise FormatError(f"{title}: {reason}; make it again: {tool}") from None
