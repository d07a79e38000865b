"""Index a FASTA reference for BWA-MEM: a stand-alone script that writes the index files of bwa-mem2.

``python -I bwa_index.py REFERENCE.fa[.gz] PREFIX`` writes

- ``PREFIX.pac``, ``.ann``, ``.amb``: packed bases, contigs and ambiguous stretches, byte for byte those of
  ``bwa index`` 0.7.17 (Li, arXiv:1303.3997);
- ``PREFIX.0123``, ``.bwt.2bit.64``: both strands, one base a byte, and their FM-index, in the layout of
  bwa-mem2 (Vasimuddin et al., IPDPS 2019), which bwa-mem3 reads.

The same bases always give the same bytes. Peak memory is about 12 bytes a base up to 1 Gb, and 20 above,
where the suffix array of both strands needs 64 bits.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydivsufsort import divsufsort
from stargazer.assets import FormatError
from stargazer.assets.formats import opened
from stargazer.tasks.tools.engines.launch import die_with_parent

__all__ = ["build_index", "main"]

SEED = 11
"""Seed with which bwa replaces ambiguous bases, also written into .ann."""

SUFFIXES = (".pac", ".ann", ".amb", ".0123", ".bwt.2bit.64")
MAX_CONTIG = 2**31 - 1
READ_BYTES = 1 << 24
CHUNK_ROWS = 1 << 20
"""Rows of the Burrows-Wheeler matrix handled at once; a multiple of 64, the size of an occurrence block."""

WHITESPACE = b" \t\r\n\v\f"
SYMBOLS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz*-."
BASE_CODES = bytes({65: 0, 67: 1, 71: 2, 84: 3}.get(c & ~32 if c >= 64 else c, 4) for c in range(256))
AMBIGUOUS_RUN = re.compile(rb"([^ACGTacgt])\1*")
HEADER = re.compile(rb">(\S*)\s?(.*)", re.DOTALL)


@dataclass
class Contig:
    """One sequence: ``offset`` and ``length`` in bases, ambiguous ``runs`` as (offset, length, symbol)."""

    name: bytes
    comment: bytes
    offset: int
    length: int
    runs: list[tuple[int, int, bytes]] = field(default_factory=list)


def main() -> str | None:
    """Run the command line; return what went wrong, if anything did."""
    parser = argparse.ArgumentParser(prog="bwa_index", description="Index a FASTA reference for BWA-MEM.")
    parser.add_argument("reference", help="FASTA, plain, gzip or bgzip")
    parser.add_argument("prefix", help="path of the index files, without their suffixes")
    options = parser.parse_args()
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        build_index(options.reference, options.prefix)
    except FormatError as error:
        return f"bwa_index: {error}"
    except OSError as error:
        name = options.prefix if error.filename is None else error.filename
        return f"bwa_index: {name!r}: {error.strerror or error}"
    except MemoryError:
        return f"bwa_index: {options.reference!r}: not enough memory for an index (12 bytes a base, 20 above 1 Gb)"
    return None


def build_index(reference: str, prefix: str) -> None:
    """Write the five index files of ``reference`` at ``prefix``; on any error none of them is left.

    Raises:
        FormatError: the file is no FASTA, holds no bases, or names a contig twice.
        OSError: a file cannot be read or written.
    """
    contigs, codes = read_reference(reference)
    try:
        write_annotation(prefix, contigs)
        both_strands = write_sequence(prefix, codes)
        del codes
        write_fm_index(prefix + ".bwt.2bit.64", both_strands)
    except BaseException:
        for suffix in SUFFIXES:
            if os.path.exists(prefix + suffix):
                os.unlink(prefix + suffix)
        raise


def read_reference(path: str) -> tuple[list[Contig], NDArray[np.uint8]]:
    """Return the contigs of ``path`` and its bases as 0-3, ambiguous ones replaced as bwa does."""
    contigs: list[Contig] = []
    lines: dict[bytes, int] = {}
    codes = bytearray()
    state = SEED << 16 | 0x330E
    for line, name, comment, sequence in _read_fasta(path):
        if not name:
            raise FormatError(f"{path!r}: line {line}: a contig without a name")
        if name in lines:
            raise FormatError(f"{path!r}: line {line}: contig {_show(name)} is already on line {lines[name]}")
        if len(sequence) > MAX_CONTIG:
            raise FormatError(
                f"{path!r}: line {line}: contig {_show(name)} is longer than {MAX_CONTIG} bases"
            )
        lines[name] = line
        contig = Contig(name, comment, len(codes), len(sequence))
        for run in AMBIGUOUS_RUN.finditer(sequence):
            contig.runs.append((contig.offset + run.start(), run.end() - run.start(), run[1]))
        codes += sequence.translate(BASE_CODES)
        contigs.append(contig)
        if contig.runs:
            view = np.frombuffer(codes, np.uint8)
            for position, length, _ in contig.runs:
                replacement, state = _lrand48(length, state)
                view[position : position + length] = replacement & 3
            del view
    if not contigs:
        raise FormatError(f"{path!r}: the file is empty, expected a FASTA reference")
    if not codes:
        raise FormatError(f"{path!r}: {len(contigs)} contig(s) without a single base")
    return contigs, np.frombuffer(codes, np.uint8)


def _read_fasta(path: str) -> Iterator[tuple[int, bytes, bytes, bytes]]:
    """Yield line number, name, comment and sequence (no whitespace) of each record."""
    record: tuple[int, bytes, bytes] | None = None
    parts: list[bytes] = []
    first = 1
    with opened(Path(path)) as file:
        while lines := file.readlines(READ_BYTES):
            heads = [i for i, line in enumerate(lines) if line.startswith(b">")]
            for start, end in pairwise([-1, *heads, len(lines)]):
                if start >= 0:
                    if record is not None:
                        yield *record, b"".join(parts)
                        parts.clear()
                    name, comment = HEADER.findall(lines[start].rstrip(b"\r\n"))[0]
                    if b"\r" in comment:
                        raise FormatError(
                            f"{path!r}: line {first + start}: a bare carriage return; convert line ends to newlines"
                        )
                    record = (first + start, name, comment)
                text = b"".join(lines[start + 1 : end]).translate(None, WHITESPACE)
                if text and record is None:
                    raise FormatError(f"{path!r}: not FASTA: the first line does not begin with '>'")
                if text.translate(None, SYMBOLS):
                    _raise_symbol(path, first + start + 1, lines[start + 1 : end])
                parts.append(text)
            first += len(lines)
    if record is not None:
        yield *record, b"".join(parts)


def _raise_symbol(path: str, first: int, lines: list[bytes]) -> None:
    for number, line in enumerate(lines, first):
        if bad := line.translate(None, WHITESPACE + SYMBOLS):
            raise FormatError(f"{path!r}: line {number}: {_show(bad[:1])}, expected letters, '-' or '*'")


def _show(text: bytes) -> str:
    return repr(text.decode(errors="backslashreplace"))


def _lrand48(count: int, state: int) -> tuple[NDArray[np.uint64], int]:
    """Return the next ``count`` values of lrand48(3) after ``state``, and the state after them."""
    multiplier, increment, mask = 0x5DEECE66D, 0xB, (1 << 48) - 1
    states = np.empty(count, np.uint64)
    states[0] = (multiplier * state + increment) & mask
    done = 1
    while done < count:
        step = min(done, count - done)
        following = states[:step] * np.uint64(multiplier) + np.uint64(increment)
        states[done : done + step] = following & np.uint64(mask)
        increment = (multiplier * increment + increment) & mask
        multiplier = multiplier * multiplier & mask
        done += step
    last = int(states[-1])
    states >>= np.uint64(17)
    return states, last


def write_annotation(prefix: str, contigs: list[Contig]) -> None:
    """Write .ann (names, comments, offsets) and .amb (ambiguous stretches)."""
    total = contigs[-1].offset + contigs[-1].length
    with open(prefix + ".ann", "wb") as file:
        file.write(b"%d %d %d\n" % (total, len(contigs), SEED))
        for contig in contigs:
            file.write(b"0 %s %s\n" % (contig.name, contig.comment or b"(null)"))
            file.write(b"%d %d %d\n" % (contig.offset, contig.length, len(contig.runs)))
    runs = [run for contig in contigs for run in contig.runs]
    with open(prefix + ".amb", "wb") as file:
        file.write(b"%d %d %d\n" % (total, len(contigs), len(runs)))
        file.writelines(b"%d %d %s\n" % run for run in runs)


def write_sequence(prefix: str, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Write .pac (four bases a byte) and .0123 (with the reverse complement appended); return the latter."""
    total = len(codes)
    packed = np.zeros((total + 3) // 4, np.uint8)
    for shift in range(4):
        bases = codes[shift::4]
        packed[: len(bases)] |= bases << np.uint8(6 - 2 * shift)
    with open(prefix + ".pac", "wb") as file:
        file.write(packed.data)
        file.write(bytes([0, 0]) if total % 4 == 0 else bytes([total % 4]))
    both_strands = np.empty(2 * total, np.uint8)
    both_strands[:total] = codes
    np.subtract(3, codes[::-1], out=both_strands[total:])
    with open(prefix + ".0123", "wb") as file:
        file.write(both_strands.data)
    return both_strands


def write_fm_index(path: str, sequence: NDArray[np.uint8]) -> None:
    """Write the FM-index of ``sequence``: counts, occurrence blocks of 64 rows, every eighth suffix position.

    Row 0 of the matrix is the empty suffix, so that row r holds entry r - 1 of the suffix array.
    """
    rows = len(sequence) + 1
    counts = [np.count_nonzero(sequence == base) for base in range(4)]
    suffixes = divsufsort(sequence)
    with open(path, "wb") as file:
        file.write(np.array([rows, 0, *np.cumsum(counts)], "<i8").data)
        seen = np.zeros(4, np.int64)
        sentinel = 0
        padded_rows = (rows // 64 + 1) * 64
        for start in range(0, padded_rows, CHUNK_ROWS):
            end = min(start + CHUNK_ROWS, padded_rows)
            bwt = np.full(end - start, 255, np.uint8)
            first = max(start, 1)
            positions = suffixes[first - 1 : end - 1]
            chunk = bwt[first - start : first - start + len(positions)]
            np.take(sequence, positions - 1, out=chunk, mode="wrap")
            if start == 0:
                bwt[0] = sequence[-1]
            for whole in np.flatnonzero(positions == 0):
                chunk[whole] = 4
                sentinel = first + int(whole)
            file.write(_occurrence_blocks(bwt, seen).data)
        sampled = np.zeros(rows // 8 + 1, suffixes.dtype)
        sampled[0] = len(sequence)
        sampled[1 : 1 + len(suffixes) // 8] = suffixes[7::8]
        high = sampled >> 32 if suffixes.itemsize == 8 else np.zeros_like(sampled)
        file.write(high.astype("i1").data)
        file.write(sampled.astype("<u4").data)
        file.write(np.array([sentinel], "<i8").data)


def _occurrence_blocks(bwt: NDArray[np.uint8], seen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return, for each 64 rows, the counts of each base before them and their bits; add them to ``seen``."""
    blocks = bwt.reshape(-1, 64)
    result = np.empty((len(blocks), 8), "<i8")
    for base in range(4):
        hits = blocks == base
        running = np.cumsum(hits.sum(axis=1, dtype=np.int64))
        result[0, base] = seen[base]
        result[1:, base] = running[:-1] + seen[base]
        seen[base] += running[-1]
        result[:, 4 + base] = np.packbits(hits, axis=1).view(">i8")[:, 0]
    return result


if __name__ == "__main__":
    sys.exit(main())
