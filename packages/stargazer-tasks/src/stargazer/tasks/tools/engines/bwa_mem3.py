"""Align read pairs with BWA-MEM: a stand-alone script around the bwa-mem3 wheel, BAM on standard output.

``python -I bwa_mem3.py mem [-Y] -t THREADS -R '@RG\\tID:..\\tSM:..' INDEX_PREFIX R1.fq[.gz] R2.fq[.gz]``

The records are those of ``bwa mem -K 10000000`` (Li, arXiv:1303.3997), unsorted, grouped by name, in stored
BGZF blocks. A batch of pairs has a fixed number of bases and is aligned by one thread, so that the output is
the same for any number of threads. After the first batch a read with several equally good places (mapping
quality 0) may be put in another one than by bwa: the library numbers each batch's reads from zero, and the
number breaks the tie.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import zip_longest

import bwa_mem3
from bwa_mem3 import BwaIndex, MemOpts, ReadPair
from stargazer.assets import FormatError
from stargazer.assets.formats import Record, name_of, read_fastq, template_name
from stargazer.tasks.tools.engines.launch import die_with_parent
from xopen import xopen

__all__ = ["main"]

BATCH_BASES = 10_000_000
BGZF_DATA = 65280
"""Bytes of data in a full BGZF block, as htslib fills them."""
BGZF_HEAD = bytes.fromhex("1f8b08040000000000ff060042430200")
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")

SECONDARY = 0x09
"""Of the upper byte of a record's flag: not primary (0x100), or supplementary (0x800)."""

PAIR_ANEW = (
    "`repair.sh in1=R1.fq.gz in2=R2.fq.gz out1=... out2=...` (BBTools) or `seqkit pair` pairs them anew"
)
"""What to do with reads of which some lack their mate, or that are in another order."""

CHAT = re.compile(rb"\[\d+\]\[PE\]|\[[a-z-]*dedup|\* |\d,\t|\s*$")
"""What the library says on standard error when nothing is wrong."""
QUIET = b"\0"
"""Written to standard error at the end: this process has reported everything itself."""


@dataclass
class Batch:
    """Read pairs to align in one call, and which of their ends, as (pair, flag), stand for empty reads."""

    pairs: list[ReadPair] = field(default_factory=list)
    empty: set[tuple[int, int]] = field(default_factory=set)
    bases: int = 0

    def add(self, name: bytes, one: Record, two: Record) -> None:
        """Add a pair; in place of a read without bases, which the library refuses, a single N."""
        _, bases_1, qualities_1 = one
        _, bases_2, qualities_2 = two
        if not bases_1:
            self.empty.add((len(self.pairs), 0x40))
            bases_1, qualities_1 = b"N", b"!"
        if not bases_2:
            self.empty.add((len(self.pairs), 0x80))
            bases_2, qualities_2 = b"N", b"!"
        self.pairs.append(ReadPair(name, bases_1, name, bases_2, qualities_1, qualities_2))
        self.bases += len(bases_1) + len(bases_2)


def main() -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="bwa_mem3", description="Align read pairs; BAM on standard output.")
    parser.add_argument("command", choices=["mem"])
    parser.add_argument("-t", dest="threads", type=int, default=1, metavar="THREADS")
    parser.add_argument("-Y", dest="soft_clip", action="store_true", help="clip supplementary records softly")
    parser.add_argument("--count", metavar="FILE", help="write how many BAM records there are")
    parser.add_argument("-R", dest="read_group", required=True, metavar="'@RG\\tID:..\\tSM:..'")
    parser.add_argument("index", metavar="INDEX_PREFIX")
    parser.add_argument("reads", nargs=2, metavar="FASTQ", help="first and second reads, plain or gzip")
    options = parser.parse_args()
    if options.threads < 1:
        parser.error(f"-t {options.threads}: expected at least one thread")
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    output, report, listener = _hush_library()
    message = ""
    try:
        records = align(
            options.index, options.reads, options.read_group, options.threads, output, options.soft_clip
        )
        os.close(output)
        if options.count:
            with open(options.count, "w") as file:
                file.write(f"{records}\n")
    except FormatError as error:
        message = str(error)
    except OSError as error:
        name = "standard output" if error.filename is None else repr(error.filename)
        message = f"{name}: {error.strerror or error}"
    except (RuntimeError, MemoryError) as error:
        message = f"bwa-mem3: {error or 'not enough memory'}"
    if message:
        os.write(report, f"bwa_mem3: {message}\n".encode(errors="backslashreplace"))
    os.write(2, QUIET)
    os.dup2(report, 1)
    os.dup2(report, 2)
    os.waitpid(listener, 0)
    return 1 if message else 0


def align(
    prefix: str, reads: list[str], read_group_line: str, threads: int, output: int, soft_clip: bool = False
) -> int:
    """Align two FASTQ files to the index at ``prefix``, write BAM to ``output`` and return the number of records.

    At most ``threads`` + 2 batches are in memory, one of them being read or written.

    Raises:
        FormatError: index, reads or read group cannot be used.
        RuntimeError: the library did not give one primary record for every read.
        OSError: ``output`` cannot be written (no file name), or a file cannot be read.
    """
    read_group, read_group_id = parse_read_group(read_group_line)
    index = load_index(prefix)
    options = MemOpts()
    options.set_pe(True)
    options.set_read_group_id(read_group_id)
    options.set_soft_clip_supplementary(soft_clip)

    running: deque[Future[tuple[bytes, int]]] = deque()
    written = 0

    def write_next() -> int:
        data, count = running.popleft().result()
        _write(output, data)
        return count

    pool = ThreadPoolExecutor(threads)
    for number, batch in enumerate(read_batches(*reads)):
        if number == 0:
            _write(output, bgzf(bam_header(index.contigs(), read_group)))
        running.append(pool.submit(align_batch, index, options, batch))
        if len(running) > threads:
            written += write_next()
    while running:
        written += write_next()
    _write(output, BGZF_END)
    return written


def parse_read_group(line: str) -> tuple[str, str]:
    """Return the header line, its escapes replaced as bwa does, and the ID of a read group."""
    text = line.replace("\\t", "\t")
    match = re.search(r"\tID:([!-~]{1,254})(?=\t|$)", text)
    if not text.startswith("@RG\t") or match is None or not text.replace("\t", "").isprintable():
        raise FormatError(f"read group {line!r}: expected '@RG\\tID:<id>\\tSM:<sample>' and further fields")
    return text, match[1]


def load_index(prefix: str) -> BwaIndex:
    """Load the bwa-mem2 index at ``prefix``, after checking what the library would die of."""
    total = _read_counts(prefix + ".ann", lines_per_item=2, column=1)
    _read_counts(prefix + ".amb", lines_per_item=1, column=2)
    rows = 2 * total + 1
    fm_index = 8 + 5 * 8 + 64 * (rows // 64 + 1) + 5 * (rows // 8 + 1) + 8
    for suffix, expected in (".pac", total // 4 + 2), (".0123", 2 * total), (".bwt.2bit.64", fm_index):
        size = os.stat(prefix + suffix).st_size
        if size != expected:
            raise FormatError(f"{prefix + suffix!r}: damaged index file: {size} bytes, expected {expected}")
    return BwaIndex(prefix)


def _read_counts(path: str, lines_per_item: int, column: int) -> int:
    """Return the bases that .ann or .amb counts; its head says in ``column`` how many items follow."""
    try:
        with open(path, "rb") as file:
            counts = [int(count) for count in file.readline().split()]
            if len(counts) == 3 and sum(1 for _ in file) == lines_per_item * counts[column]:
                return counts[0]
    except ValueError:
        pass
    raise FormatError(f"{path!r}: damaged index file")


def read_batches(first: str, second: str) -> Iterator[Batch]:
    """Read pairs from two FASTQ files in batches of BATCH_BASES, as ``bwa mem -K`` does."""
    batch = Batch()
    for name, one, two in read_pairs(first, second):
        batch.add(name, one, two)
        if batch.bases >= BATCH_BASES:
            yield batch
            batch = Batch()
    if batch.pairs:
        yield batch


def read_pairs(first: str, second: str) -> Iterator[tuple[bytes, Record, Record]]:
    """Yield the mates of two FASTQ files with the name that they have in common."""
    number = 0
    for number, (one, two) in enumerate(zip_longest(_records(first), _records(second)), 1):
        if one is None or two is None:
            ended, longer = (first, second) if one is None else (second, first)
            if number == 1:
                raise FormatError(f"{ended!r}: no reads, expected as many as in {longer!r}")
            raise FormatError(f"{ended!r} ends after record {number - 1}, {longer!r} goes on")
        names = name_of(one[0]), name_of(two[0])
        name = template_name(*names)
        if name is None:
            shown = " and ".join(repr(name.decode()) for name in names)
            remedy = PAIR_ANEW if number > 1 else "give the files of one run, first reads first"
            what = "these files are not mates" + (", or one of them lacks a read" if number > 1 else "")
            raise FormatError(
                f"{first!r} and {second!r}: record {number}: the names differ: {shown}: {what}: {remedy}"
            )
        yield name, one, two
    if number == 0:
        raise FormatError(f"{first!r}: no reads, and none in {second!r}")


def _records(path: str) -> Iterator[Record]:
    """Yield the records of a FASTQ file; say what is wrong with it in its own terms."""
    count = 0
    try:
        with xopen(path, "rb", threads=0) as file:
            for count, record in enumerate(read_fastq(file, path), 1):  # noqa: B007
                yield record
    except (FormatError, MemoryError):
        raise
    except OSError as error:
        if error.errno is not None:
            raise OSError(error.errno, error.strerror, path) from None
        raise FormatError(f"{path!r}: damaged gzip after record {count}: {error}") from None
    except Exception as error:  # EOFError, or what zlib, igzip and zlib-ng call their own
        raise FormatError(f"{path!r}: truncated or damaged gzip after record {count}: {error}") from None


def align_batch(index: BwaIndex, options: MemOpts, batch: Batch) -> tuple[bytes, int]:
    """Align one batch and return its BAM records in BGZF blocks, and how many they are."""
    records, _ = bwa_mem3.align_batch(index, options, batch.pairs)
    data = [record.bytes for record in records]
    primary = sum(not record[19] & SECONDARY for record in data)
    if primary != 2 * len(batch.pairs):
        raise RuntimeError(f"it gave {primary} primary records for {2 * len(batch.pairs)} reads")
    if batch.empty:
        for number, record in enumerate(records):
            if (record.pair_idx, record.bytes[18] & 0xC0) in batch.empty:
                data[number] = _without_bases(record.bytes)
    return bgzf(b"".join(data)), len(data)


def _without_bases(record: bytes) -> bytes:
    """Return an unmapped BAM record of one base without the base and its quality."""
    size = int.from_bytes(record[:4], "little") - 2
    bases = 36 + record[12]
    return size.to_bytes(4, "little") + record[4:20] + bytes(4) + record[24:bases] + record[bases + 2 :]


def bam_header(contigs: list[tuple[str, int]], read_group: str) -> bytes:
    """Return the header of a BAM file of reads grouped by name, uncompressed."""
    lines = ["@HD\tVN:1.6\tSO:unsorted\tGO:query"]
    lines += [f"@SQ\tSN:{name}\tLN:{length}" for name, length in contigs]
    text = "".join(line + "\n" for line in [*lines, read_group]).encode()
    parts = [b"BAM\1", struct.pack("<i", len(text)), text, struct.pack("<i", len(contigs))]
    for name, length in contigs:
        query = name.encode() + b"\0"
        parts += [struct.pack("<i", len(query)), query, struct.pack("<i", length)]
    return b"".join(parts)


def bgzf(data: bytes) -> bytes:
    """Return ``data`` in BGZF blocks (SAM specification, 4.1) that are stored, not compressed."""
    view = memoryview(data)
    parts: list[bytes | memoryview] = []
    for start in range(0, len(data), BGZF_DATA):
        chunk = view[start : start + BGZF_DATA]
        size = len(chunk)
        parts.append(BGZF_HEAD + struct.pack("<HBHH", size + 30, 1, size, size ^ 0xFFFF))
        parts.append(chunk)
        parts.append(struct.pack("<II", zlib.crc32(chunk), size))
    return b"".join(parts)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _hush_library() -> tuple[int, int, int]:
    """Put the library's output aside; return the real standard output and error, and the listener's pid.

    The library chats while all is well, and writes a line and ends the process when it is not. A child
    process listens, and passes on the last that was said if this process ends without having written QUIET.
    """
    output, report = os.dup(1), os.dup(2)
    ear, mouth = os.pipe()
    listener = os.fork()
    if listener == 0:
        os.close(mouth)
        os.close(output)
        os.closerange(0, 3)
        _pass_on(ear, report)
        os._exit(0)
    os.close(ear)
    os.dup2(mouth, 1)
    os.dup2(mouth, 2)
    os.close(mouth)
    return output, report, listener


def _pass_on(ear: int, report: int) -> None:
    said = b""
    while more := os.read(ear, 1 << 16):
        said = (said + more)[-4096:]
    if QUIET not in said:
        for line in said.splitlines(keepends=True):
            if not CHAT.match(line):
                os.write(report, line)


if __name__ == "__main__":
    os._exit(main())
