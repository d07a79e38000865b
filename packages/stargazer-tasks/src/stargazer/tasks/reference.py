"""Tasks that prepare a reference: check it, index it, for aligners too, choose contigs, cut it into pieces."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, NamedTuple

from stargazer.assets import (
    AlignerIndex,
    FormatError,
    Intervals,
    QcReport,
    Reference,
    ReferenceGzipIndex,
    ReferenceIndex,
    SequenceDict,
)
from stargazer.assets.formats import first_bytes, is_bgzf
from stargazer.tasks.aligner_index import compare_index, index_prefix, refuse_too_large
from stargazer.tasks.environments import htslib_env, index_env
from stargazer.tasks.execution import pack, workspace
from stargazer.tasks.regions import (
    Region,
    by_contig,
    contigs_of,
    count_bases,
    fai_of,
    pieces,
    read_bed,
    whole,
    write_bed,
    write_contigs,
)
from stargazer.tasks.tools import Library, bwa, bwa_index, bwa_mem2, call, expect, samtools

__all__ = ["IndexedReference", "check_aligner_index", "check_reference", "index_for_bwa_mem3",
           "index_with_bwa", "index_with_bwa_mem2", "samtools_faidx",
           "select_contigs", "sequence_dictionary", "split_contigs", "split_intervals"]  # fmt: skip


class IndexedReference(NamedTuple):
    """Offsets of the contigs, and of the blocks where the reference is bgzip."""

    fai: ReferenceIndex
    gzi: ReferenceGzipIndex | None


@htslib_env.task(tools=[])
async def check_reference(reference: Reference) -> QcReport:
    """Read a reference from beginning to end before anything is made of it, and count its bases.

    The report, JSON, has under `notes` what there is to know before variants are called on it.

    Raises:
        FormatError: it breaks a rule of `stargazer.assets.formats.fasta`: which, in which line, and what mends it.
    """
    report = workspace() / "reference.json"
    name = reference.record.name if reference.record is not None else ""
    await call(count_bases, source=reference.path, target=report, build=reference.build, name=name)
    return QcReport(path=report, kind="reference", reference_cid=reference)


@htslib_env.task(tools=[samtools])
async def samtools_faidx(reference: Reference) -> IndexedReference:
    """Index a FASTA for random access (`samtools faidx`); a gzip file must be bgzip.

    Raises:
        FormatError: it is gzip but not bgzip, or has a contig twice.
        ToolError: it is no FASTA.
    """
    assert reference.path is not None
    fai, gzi = workspace() / "reference.fai", workspace() / "reference.gzi"
    compressed = reference.path.suffix == ".gz"
    if compressed and not is_bgzf(first_bytes(reference.path)[0]):
        raise FormatError(f"the reference {reference.build} is gzip, which cannot be read in parts; decompress it "
                          "(`gunzip`) or compress it with `bgzip`, and add that")  # fmt: skip
    blocks: list[str | Path] = ["--gzi-idx", gzi] if compressed else []
    said = await samtools("faidx", "--fai-idx", fai, *blocks, reference.path)
    if twice := re.search(r"duplicate sequence (\"[^\"]*\")", said):  # samtools only warns
        raise FormatError(
            f"the reference {reference.build} has the contig {twice[1]} twice; remove or rename one"
        )
    return IndexedReference(
        ReferenceIndex(path=expect(fai, by="samtools faidx"), reference_cid=reference),
        ReferenceGzipIndex(path=gzi, reference_cid=reference) if compressed else None,
    )


@htslib_env.task(tools=[samtools])
async def sequence_dictionary(reference: Reference) -> SequenceDict:
    """Names, lengths and MD5 of the contigs as a SAM header (`samtools dict`)."""
    assert reference.path is not None
    dictionary = workspace() / "reference.dict"
    await samtools("dict", "-u", reference.path.name, "-o", dictionary, reference.path)
    return SequenceDict(path=dictionary, reference_cid=reference)


@index_env.task(tools=[Library("numpy")])
async def check_aligner_index(index: AlignerIndex, reference: Reference) -> None:
    """See that an index from elsewhere was made of a reference, before hours of aligning: its contigs and bases.

    Raises:
        FormatError: it is of another reference, or damaged.
    """
    title = f"the {index.aligner} index {index.cid} is not of the reference {reference.build}"
    remedy = f"take it back (`stargazer rm {index.cid}`), and one is made here, or add the right one"
    await call(compare_index, source=reference.path, prefix=index_prefix(index), title=title, remedy=remedy)


@index_env.task(tools=[bwa_index])
async def index_for_bwa_mem3(reference: Reference) -> AlignerIndex:
    """The index of bwa-mem3, made with wheels only: 12 to 20 bytes of memory for each base.

    Args:
        reference: indexed by samtools_faidx.

    Raises:
        ConfigurationError: indexing would need more memory than this machine may give; the message says what to do.
    """
    refuse_too_large(reference)
    await bwa_index(reference.path, _index_folder() / "index")
    return _packed(reference, "bwa-mem3")


@index_env.task(tools=[bwa_mem2])
async def index_with_bwa_mem2(reference: Reference) -> AlignerIndex:
    """The index of bwa-mem3, made by `bwa-mem2 index` from PATH: for references too large for ours."""
    await bwa_mem2("index", "-p", _index_folder() / "index", reference.path)
    return _packed(reference, "bwa-mem3")


@index_env.task(tools=[bwa])
async def index_with_bwa(reference: Reference) -> AlignerIndex:
    """The index of the original bwa, from PATH (`bwa index`): a human genome takes about 5 GB of memory."""
    await bwa("index", "-p", _index_folder() / "index", reference.path)
    return _packed(reference, "bwa")


def _index_folder() -> Path:
    folder = workspace() / "index"
    folder.mkdir()
    return folder


def _packed(reference: Reference, aligner: Literal["bwa-mem3", "bwa"]) -> AlignerIndex:
    """What was written to the folder of an index, as one asset."""
    archive = pack(workspace() / "index", workspace() / "index.tar")
    return AlignerIndex(path=archive, reference_cid=reference, aligner=aligner)


@htslib_env.task(tools=[])
async def select_contigs(reference: Reference, contigs: list[str], build: str) -> Reference:
    """A reference of these contigs only, in the order of the original, under a build name of its own.

    Raises:
        InvalidAssetError: a contig that the reference does not have.
    """
    chosen = workspace() / "chosen.fa"
    await call(write_contigs, source=reference.path, target=chosen, contigs=contigs)
    return Reference(path=chosen, build=build, species=reference.species)


@htslib_env.task(tools=[])
async def split_intervals(
    reference: Reference, intervals: Intervals | None = None, count: int = 1, bases: int | None = None
) -> list[Intervals]:
    """Cut a reference, or the given intervals of it, into pieces of equal size, to be worked on apart.

    Args:
        reference: indexed by samtools_faidx.
        count: how many pieces; fewer where that is above 200, or a piece below 10,000 bases.
        bases: of a piece, instead of `count`: as many pieces as that makes.

    Raises:
        FormatError: the intervals are no BED, or lie outside the reference.
    """
    regions = _regions(reference, intervals)
    if bases is not None:
        count = -(-sum(end - start for _, start, end in regions) // bases)
    return _written(pieces(regions, count), reference)


@htslib_env.task(tools=[])
async def split_contigs(reference: Reference, intervals: Intervals | None = None) -> list[Intervals]:
    """Cut a reference, or the given intervals of it, between contigs, into pieces up to the size of the longest one.

    Args:
        reference: indexed by samtools_faidx.

    Raises:
        FormatError: the intervals are no BED, or lie outside the reference.
    """
    return _written(by_contig(_regions(reference, intervals)), reference)


def _regions(reference: Reference, intervals: Intervals | None) -> list[Region]:
    """All of a reference, or the given intervals of it."""
    contigs = contigs_of(fai_of(reference))
    if intervals is None:
        return whole(contigs)
    assert intervals.path is not None
    return read_bed(intervals.path, contigs, intervals.name)


def _written(parts: list[list[Region]], reference: Reference) -> list[Intervals]:
    made = []
    for number, piece in enumerate(parts):
        bed = workspace() / f"piece{number}.bed"
        write_bed(piece, bed)
        made.append(
            Intervals(path=bed, name=f"piece {number + 1}", build=reference.build, reference_cid=reference)
        )
    return made
