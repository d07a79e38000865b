"""References, reads and alignments, with what accompanies them."""

from __future__ import annotations

from typing import Literal

import attrs
from stargazer.assets._asset import asset
from stargazer.assets.declaration import Companion, Derived
from stargazer.assets.formats.compression import GZIP
from stargazer.assets.formats.fasta import check_fasta
from stargazer.assets.formats.fastq import check_fastq
from stargazer.assets.formats.signatures import check_alignment, check_magic, check_tar
from stargazer.assets.formats.tables import check_bed, check_dict, check_fai
from stargazer.assets.keyvalues import header_text
from stargazer.assets.model import Asset

__all__ = ["R1", "R2", "AlignerIndex", "Alignment", "AlignmentIndex", "Intervals", "Reference",
           "ReferenceGzipIndex", "ReferenceIndex", "SequenceDict"]  # fmt: skip

FASTQ_SUFFIX = {GZIP: ".fq.gz", b"": ".fq"}


@asset("reference", suffix={GZIP: ".fa.gz", b"": ".fa"}, check=check_fasta)
class Reference(Asset):
    """A reference genome or a part of one, as FASTA (plain or bgzip)."""

    build: str = attrs.field(validator=header_text)
    species: str | None = None


@asset("reference_index", suffix=".fai", check=check_fai)
class ReferenceIndex(Asset):
    """Offsets of the contigs of a reference (`samtools faidx`)."""

    reference_cid: Companion[Reference]


@asset("reference_gzi", suffix=".gzi")
class ReferenceGzipIndex(Asset):
    """Offsets of the blocks of a bgzip reference (`samtools faidx`)."""

    reference_cid: Companion[Reference]


@asset("sequence_dict", suffix="^.dict", check=check_dict, in_file=("reference_cid",))
class SequenceDict(Asset):
    """Names, lengths and checksums of the contigs of a reference, as a SAM header."""

    reference_cid: Companion[Reference]


@asset("aligner_index", suffix=".tar", check=check_tar, folder=True)
class AlignerIndex(Asset):
    """What an aligner searches instead of the reference: a folder whose files all begin with `index.`."""

    aligner: str
    reference_cid: Derived[Reference]


@asset("r1", suffix=FASTQ_SUFFIX, check=check_fastq)
class R1(Asset):
    """The first reads of pairs of one read group, as FASTQ (plain or gzip)."""

    sample: str = attrs.field(validator=header_text)
    library: str | None = attrs.field(default=None, validator=header_text)
    lane: str | None = attrs.field(default=None, validator=header_text)
    platform: str = attrs.field(default="ILLUMINA", validator=header_text)


@asset("r2", suffix={magic: f"^_R2{suffix}" for magic, suffix in FASTQ_SUFFIX.items()}, check=check_fastq)
class R2(Asset):
    """The mates of the reads of an R1, in the same order."""

    sample: str = attrs.field(validator=header_text)
    library: str | None = attrs.field(default=None, validator=header_text)
    lane: str | None = attrs.field(default=None, validator=header_text)
    platform: str = attrs.field(default="ILLUMINA", validator=header_text)
    r1_cid: Companion[R1] | None = None


@asset(
    "alignment",
    suffix={b"CRAM": ".cram", b"": ".bam"},
    check=check_alignment,
    in_file=("sample", "library", "sorted_by", "duplicates_marked", "reference_cid", "build"),
)
class Alignment(Asset):
    """Reads of one sample aligned to a reference, as BAM or CRAM; with a lane, of one read group."""

    sample: str = attrs.field(validator=header_text)
    reference_cid: Derived[Reference] | None = None
    library: str | None = attrs.field(default=None, validator=header_text)
    lane: str | None = attrs.field(default=None, validator=header_text)
    sorted_by: Literal["coordinate", "queryname", "unsorted"] = "unsorted"
    duplicates_marked: bool = False
    recalibrated: bool = False
    build: str | None = attrs.field(default=None, validator=header_text)


@asset(
    "alignment_index",
    suffix={b"CSI\x01": ".csi", b"": ".bai"},
    check=check_magic(b"BAI\x01", b"CSI\x01", what="a BAM index"),
)
class AlignmentIndex(Asset):
    """Offsets into a coordinate-sorted alignment (`samtools index`)."""

    alignment_cid: Companion[Alignment]


@asset("intervals", suffix={GZIP: ".bed.gz", b"": ".bed"}, check=check_bed)
class Intervals(Asset):
    """Parts of a reference, as BED (zero-based, half open)."""

    name: str = attrs.field(validator=header_text)
    build: str | None = attrs.field(default=None, validator=header_text)
    reference_cid: Derived[Reference] | None = None
