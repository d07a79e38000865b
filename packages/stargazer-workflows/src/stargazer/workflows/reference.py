"""The workflow that prepares a reference once, for every sample that is aligned to it."""

from __future__ import annotations

from typing import Literal, NamedTuple

from stargazer.assets import AlignerIndex, QcReport, Reference, ReferenceIndex, SequenceDict
from stargazer.tasks import (
    check_aligner_index,
    check_reference,
    index_for_bwa_mem3,
    index_with_bwa,
    index_with_bwa_mem2,
    samtools_faidx,
    select_contigs,
    sequence_dictionary,
)
from stargazer.workflows.environments import parallel, workflow_env
from stargazer.workflows.inputs import made_here

__all__ = ["Aligner", "PreparedReference", "prepare_reference"]

Aligner = Literal["bwa-mem3", "bwa"]
Indexer = Literal["wheel", "bwa-mem2"]


class PreparedReference(NamedTuple):
    """A reference with what tasks need beside it; the aligner index only where reads will be aligned.

    `report` says what the reference holds, and what to know before variants are called on it.
    """

    reference: Reference
    reference_index: ReferenceIndex
    dictionary: SequenceDict
    aligner_index: AlignerIndex | None
    report: QcReport


@workflow_env.task
async def prepare_reference(
    build: str,
    contigs: list[str] | None = None,
    aligner: Literal["bwa-mem3", "bwa", "none"] = "bwa-mem3",
    indexer: Indexer = "wheel",
) -> PreparedReference:
    """Check the reference of a build as a whole, then index it: offsets, dictionary, and the index of an aligner.

    Args:
        build: of the one reference to prepare, such as GRCh38.
        contigs: only these, as a reference of their own; all by default.
        aligner: bwa-mem3 (from wheels), bwa (from PATH), or none for no aligner index.
        indexer: what makes the index of bwa-mem3: ours, or bwa-mem2 from PATH.

    Raises:
        AssetNotFoundError, AmbiguousAssetError: not exactly one reference of this build.
        FormatError: the reference breaks a rule; the message names the line and what mends it.
        InvalidAssetError: a contig that the reference does not have.
        ConfigurationError: indexing would need more memory than this machine may give; the message says what to do.
        ToolError: a tool is missing or failed.
    """
    reference = await Reference.one(build=build)
    if contigs:
        reference = await select_contigs(reference, contigs, f"{build}[{','.join(contigs)}]")
    report = await check_reference(reference)
    indexed = await samtools_faidx(reference)
    dictionary, aligner_index = await parallel(
        (sequence_dictionary(reference), _aligner_index(reference, aligner, indexer))
    )
    return PreparedReference(reference, indexed.fai, dictionary, aligner_index, report)


async def _aligner_index(
    reference: Reference, aligner: Literal["bwa-mem3", "bwa", "none"], indexer: Indexer
) -> AlignerIndex | None:
    """The index that was registered from elsewhere, else one made here."""
    if aligner == "none":
        return None
    found = await AlignerIndex.all(reference_cid=reference.cid, aligner=aligner)
    if imported := [index for index in found if not await made_here(index)]:
        await check_aligner_index(imported[0], reference)
        return imported[0]
    if aligner == "bwa":
        return await index_with_bwa(reference)
    return await (index_with_bwa_mem2 if indexer == "bwa-mem2" else index_for_bwa_mem3)(reference)
