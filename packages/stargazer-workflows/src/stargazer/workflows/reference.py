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

Aligner = Literal["bwa-mem3", "bwa", "none"]
Indexer = Literal["wheel", "bwa-mem2"]

INDEX_BYTES_PER_BASE = 52  # of the wheel indexer, measured: benchmarks/align.py


class PreparedReference(NamedTuple):
    """A reference with what tasks need beside it; the aligner index only where reads will be aligned."""

    reference: Reference
    index: ReferenceIndex
    dictionary: SequenceDict
    aligner_index: AlignerIndex | None


@workflow_env.task
async def prepare_reference(
    build: str,
    contigs: list[str] | None = None,
    aligner: Aligner = "bwa-mem3",
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
        ConfigurationError: indexing would need more memory than this machine may give; the message says what to do.
    """
    reference = await Reference.one(build=build)
    if contigs:
        reference = await select_contigs(reference, contigs, f"{build}[{','.join(contigs)}]")
    indexed, dictionary = await parallel([samtools_faidx(reference), sequence_dictionary(reference)])
    if aligner == "none":
        return PreparedReference(reference, indexed.fai, dictionary, None)
    if found := await AlignerIndex.all(reference_cid=reference.cid, aligner=aligner):
        return PreparedReference(reference, indexed.fai, dictionary, found[0])
    if aligner == "bwa":
        made = await index_with_bwa(reference)
    elif indexer == "bwa-mem2":
        made = await index_with_bwa_mem2(reference)
    else:
        await _refuse_too_large(reference, indexed.fai)
        made = await index_for_bwa_mem3(reference)
    return PreparedReference(reference, indexed.fai, dictionary, made)


async def _refuse_too_large(reference: Reference, index: ReferenceIndex) -> None:
    fai = (await index.fetch(client=current_client())).path
    assert fai is not None
    bases = sum(contigs_of(fai).values())
    needed, allowed = bases * INDEX_BYTES_PER_BASE, Settings.load().memory
    if needed > allowed:
        raise ConfigurationError(
            f"indexing {reference.build} ({bases:,} bases) for bwa-mem3 needs about {needed / 1e9:.0f} GB of memory, "
            f"this machine may give {allowed / 1e9:.0f} GB. Instead:\n"
            f"  - use an index made elsewhere: `stargazer add URL --sha256 SUM asset=aligner_index aligner=bwa-mem3 "
            f"reference_cid={reference.cid}` (a tar of the files of `bwa-mem2 index -p index`)\n"
            "  - with bwa-mem2 on PATH: indexer=bwa-mem2\n"
            "  - with bwa on PATH, about 5 GB for a human genome: aligner=bwa\n"
            "  - work on chosen contigs only: contigs=chr20,chr21"
        )
