"""Preparing a reference once, for every sample that is aligned to it."""

from __future__ import annotations

from typing import Literal, NamedTuple

from stargazer.assets import (
    AlignerIndex,
    ConfigurationError,
    Reference,
    ReferenceIndex,
    SequenceDict,
    current_client,
)
from stargazer.storage.settings import Settings
from stargazer.tasks.reference import (
    index_for_bwa_mem3,
    index_with_bwa,
    index_with_bwa_mem2,
    samtools_faidx,
    select_contigs,
    sequence_dictionary,
)
from stargazer.tasks.regions import contigs_of
from stargazer.workflows.environments import workflow_env
from stargazer.workflows.parallel import parallel

__all__ = ["Aligner", "PreparedReference", "prepare_reference"]

Aligner = Literal["bwa-mem3", "bwa"]
Indexer = Literal["wheel", "bwa-mem2"]

SMALL = 1_000_000_000
"""Bases up to which the suffix array of both strands fits 32-bit numbers: tasks/tools/engines/bwa_index.py."""

INDEXING, INDEXING_LARGE = 12, 20
"""Bytes a base of our indexer: measured (benchmarks/align.py), and computed for more than SMALL bases."""

INDEXER_ALONE = 60_000_000
"""Bytes of our indexer without any reference: Python and numpy."""

SEARCHING, BWA, BWA_MEM2 = 6, 1.7, 28
"""Bytes a base of bwa-mem3's index in memory, of `bwa index` and `bwa mem`, and of `bwa-mem2 index` (their READMEs)."""


class PreparedReference(NamedTuple):
    """A reference with what tasks need beside it; the aligner index only where reads will be aligned."""

    reference: Reference
    reference_index: ReferenceIndex
    dictionary: SequenceDict
    aligner_index: AlignerIndex | None


@workflow_env.task
async def prepare_reference(
    build: str,
    contigs: list[str] | None = None,
    aligner: Literal["bwa-mem3", "bwa", "none"] = "bwa-mem3",
    indexer: Indexer = "wheel",
) -> PreparedReference:
    """Index the reference of a build: offsets, dictionary, and the index of an aligner.

    Args:
        build: of the one reference to prepare, such as GRCh38.
        contigs: only these, as a reference of their own; all by default.
        aligner: bwa-mem3 (from wheels), bwa (from PATH), or none for no aligner index.
        indexer: what makes the index of bwa-mem3: ours, or bwa-mem2 from PATH.

    Raises:
        AssetNotFoundError, AmbiguousAssetError: not exactly one reference of this build.
        InvalidAssetError: a contig that the reference does not have.
        ConfigurationError: indexing would need more memory than this machine may give; the message says what to do.
        ToolError: the reference is no FASTA or plain gzip, or a tool is missing or failed.
    """
    reference = await Reference.one(build=build)
    if contigs:
        reference = await select_contigs(reference, contigs, f"{build}[{','.join(contigs)}]")
    indexed = await samtools_faidx(reference)
    dictionary, aligner_index = await parallel(
        (sequence_dictionary(reference), _aligner_index(reference, indexed.fai, aligner, indexer))
    )
    return PreparedReference(reference, indexed.fai, dictionary, aligner_index)


async def _aligner_index(
    reference: Reference, index: ReferenceIndex, aligner: Literal["bwa-mem3", "bwa", "none"], indexer: Indexer
) -> AlignerIndex | None:
    """The index that is registered, else one made now."""
    if aligner == "none":
        return None
    if found := await AlignerIndex.all(reference_cid=reference.cid, aligner=aligner):
        return found[0]
    made: AlignerIndex
    if aligner == "bwa":
        made = await index_with_bwa(reference)
    elif indexer == "bwa-mem2":
        made = await index_with_bwa_mem2(reference)
    else:
        await _refuse_too_large(reference, index)
        made = await index_for_bwa_mem3(reference)
    return made


def index_memory(bases: int) -> int:
    """Bytes of memory that our own indexer needs for so many bases."""
    return INDEXER_ALONE + bases * (INDEXING if bases <= SMALL else INDEXING_LARGE)


async def _refuse_too_large(reference: Reference, index: ReferenceIndex) -> None:
    fetched = await index.fetch(client=current_client())
    assert fetched.path is not None
    bases = sum(contigs_of(fetched.path).values())
    needed, allowed = index_memory(bases), Settings.load().memory
    if needed > allowed:
        raise ConfigurationError(
            f"indexing {reference.build} ({bases:,} bases) for bwa-mem3 needs about {_size(needed)} of memory, this "
            f"machine may give {_size(allowed)} (STARGAZER_MEMORY). Instead:\n"
            f"  - aligner=bwa, with bwa on PATH: indexing takes about {_size(bases * BWA)}\n"
            "  - contigs=chr20,chr21: work on chosen contigs only\n"
            f"  - add an index made elsewhere: `stargazer add URL --sha256 SUM asset=aligner_index aligner=bwa-mem3 "
            f"reference_cid={reference.cid}`, a tar of the files of `bwa-mem2 index -p index`; aligning then takes "
            f"about {_size(bases * SEARCHING)}\n"
            f"  - indexer=bwa-mem2, with bwa-mem2 on PATH: takes about {_size(bases * BWA_MEM2)}"
        )


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
