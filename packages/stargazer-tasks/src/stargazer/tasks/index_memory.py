"""How much memory the index of an aligner needs, and what to do where there is too little."""

from __future__ import annotations

from stargazer.assets import ConfigurationError, Reference
from stargazer.storage import Settings
from stargazer.tasks.regions import contigs_of, fai_of

__all__ = ["index_memory", "refuse_too_large"]

SMALL = 1_000_000_000
"""Bases up to which the suffix array of both strands fits 32-bit numbers: tasks/tools/engines/bwa_index.py."""

INDEXING, INDEXING_LARGE = 12, 20
"""Bytes a base of our indexer: measured (benchmarks/align.py), and computed for more than SMALL bases."""

INDEXER_ALONE = 60_000_000
"""Bytes of our indexer without any reference: Python and numpy."""

SEARCHING, BWA, BWA_MEM2 = 6, 1.7, 28
"""Bytes a base of bwa-mem3's index in memory, of `bwa index` and `bwa mem`, and of `bwa-mem2 index` (their READMEs)."""


def index_memory(bases: int) -> int:
    """Bytes of memory that our own indexer needs for so many bases."""
    return INDEXER_ALONE + bases * (INDEXING if bases <= SMALL else INDEXING_LARGE)


def refuse_too_large(reference: Reference) -> None:
    """Refuse a reference whose index would need more memory than this machine may give.

    Args:
        reference: indexed by samtools_faidx.

    Raises:
        ConfigurationError: with the other ways to an index.
    """
    bases = sum(contigs_of(fai_of(reference)).values())
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
