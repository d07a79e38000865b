"""The asset types that come with Stargazer: references, reads, alignments, variants, reports, and their companions."""

from __future__ import annotations

import re
from typing import Literal

import attrs
from stargazer.assets.declaration import Companion, Derived
from stargazer.assets.formats.compression import GZIP
from stargazer.assets.formats.fasta import check_fasta
from stargazer.assets.formats.fastq import check_fastq
from stargazer.assets.formats.signatures import (
    check_alignment,
    check_hdf5,
    check_json,
    check_magic,
    check_tar,
)
from stargazer.assets.formats.tables import check_annotation, check_bed, check_dict, check_fai, check_vcf
from stargazer.assets.keyvalues import base_name, header_text, not_negative, short_text
from stargazer.assets.model import REGISTRY as REGISTRY  # complete, as the front page offers it
from stargazer.assets.model import Asset, asset

__all__ = ["R1", "R2", "AlignerIndex", "Alignment", "AlignmentIndex", "AnnData", "Annotation", "BqsrReport",
           "DuplicateMetrics", "File", "GenomicsDb", "Intervals", "KnownSites", "KnownSitesIndex", "Plot",
           "ProvenanceDocument", "QcReport", "Reference", "ReferenceGzipIndex", "ReferenceIndex", "SequenceDict",
           "Table", "TenxH5", "TenxMtx", "Variants", "VariantsIndex", "VqsrModel", "VqsrTranches"]  # fmt: skip

FASTQ_SUFFIX = {GZIP: ".fq.gz", b"": ".fq"}
VCF_SUFFIX = {b"BCF": ".bcf", GZIP: ".vcf.gz", b"": ".vcf"}
INDEX_SUFFIX = {b"CSI\x01": ".csi", b"": ".tbi"}
ENDING = re.compile(r"(\.[A-Za-z0-9]{1,8}){1,2}$")
check_index = check_magic(b"TBI\x01", b"CSI\x01", what="a tabix or CSI index")


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


@asset("variants", suffix=VCF_SUFFIX, check=check_vcf, in_file=("samples", "kind", "reference_cid", "build"))
class Variants(Asset):
    """Variant calls of one or several samples, as VCF; a GVCF also says where there are none."""

    samples: list[str] = attrs.field(factory=list)
    reference_cid: Derived[Reference] | None = None
    caller: str | None = None
    kind: Literal["calls", "gvcf", "truth"] = "calls"
    normalised: bool = False
    filtered: bool = False
    build: str | None = attrs.field(default=None, validator=header_text)

    @property
    def only_sample(self) -> str | None:
        """The sample of calls of a single one."""
        return self.samples[0] if len(self.samples) == 1 else None


@asset("variants_index", suffix=INDEX_SUFFIX, check=check_index)
class VariantsIndex(Asset):
    """Offsets into sorted, bgzip variants (`bcftools index --tbi`)."""

    variants_cid: Companion[Variants]


@asset("known_sites", suffix=VCF_SUFFIX, check=check_vcf, in_file=("reference_cid", "build"))
class KnownSites(Asset):
    """Sites of known variation (dbSNP, Mills), as VCF."""

    name: str = attrs.field(validator=header_text)
    build: str | None = attrs.field(default=None, validator=header_text)
    reference_cid: Derived[Reference] | None = None


@asset("known_sites_index", suffix=INDEX_SUFFIX, check=check_index)
class KnownSitesIndex(Asset):
    """Offsets into known sites."""

    known_sites_cid: Companion[KnownSites]


@asset("genomics_db", suffix=".tar", check=check_tar, folder=True)
class GenomicsDb(Asset):
    """The GVCFs of many samples as a folder that GATK searches."""

    build: str | None = attrs.field(default=None, validator=header_text)
    reference_cid: Derived[Reference] | None = None


@asset("vqsr_model", suffix=".recal.vcf.gz")
class VqsrModel(Asset):
    """Scores of VariantRecalibrator."""

    mode: Literal["SNP", "INDEL"]
    variants_cid: Derived[Variants]


@asset("vqsr_tranches", suffix=".tranches")
class VqsrTranches(Asset):
    """Tranches of VariantRecalibrator."""

    mode: Literal["SNP", "INDEL"]
    variants_cid: Derived[Variants]


@asset("annotation", suffix={GZIP: ".gff3.gz", b"": ".gff3"}, check=check_annotation)
class Annotation(Asset):
    """Genes and transcripts of a build, as GFF3 or GTF."""

    name: str = attrs.field(validator=header_text)
    build: str = attrs.field(validator=header_text)


@asset("duplicate_metrics", suffix=".txt")
class DuplicateMetrics(Asset):
    """Counts of duplicate reads, as the tool that marked them writes it."""

    sample: str = attrs.field(validator=header_text)
    alignment_cid: Derived[Alignment]
    library: str | None = attrs.field(default=None, validator=header_text)


@asset("bqsr_report", suffix=".table")
class BqsrReport(Asset):
    """Base quality recalibration table of an alignment."""

    sample: str = attrs.field(validator=header_text)
    alignment_cid: Derived[Alignment]


@asset("tenx_h5", suffix=".h5", check=check_hdf5)
class TenxH5(Asset):
    """Counts of a sample's cells by gene as Cell Ranger writes them, in one HDF5 file."""

    sample: str = attrs.field(validator=header_text)
    batch: str | None = attrs.field(default=None, validator=header_text)
    condition: str | None = attrs.field(default=None, validator=header_text)


@asset("tenx_mtx", suffix=".tar", check=check_tar, folder=True)
class TenxMtx(Asset):
    """Counts of a sample's cells by gene as Cell Ranger writes them: a folder of matrix, barcodes and features."""

    sample: str = attrs.field(validator=header_text)
    batch: str | None = attrs.field(default=None, validator=header_text)
    condition: str | None = attrs.field(default=None, validator=header_text)


@asset("anndata", suffix=".h5ad", check=check_hdf5, in_file=("n_obs", "n_vars", "layers"))
class AnnData(Asset):
    """A matrix of cells and genes with its annotation."""

    sample: str | None = attrs.field(default=None, validator=header_text)
    stage: str | None = None
    n_obs: int | None = attrs.field(default=None, validator=not_negative)
    n_vars: int | None = attrs.field(default=None, validator=not_negative)
    layers: list[str] = attrs.field(factory=list)
    batch: str | None = attrs.field(default=None, validator=header_text)
    condition: str | None = attrs.field(default=None, validator=header_text)


@asset("qc_report", suffix={b"{": ".json", b"<": ".html", b"": ".txt"})
class QcReport(Asset):
    """What was counted in a file: `flagstat`, `samtools_stats`, `coverage`, `variant_stats`, `reference`; or what a run
    ends in: its `summary`, and the page that shows it, as `germline_report` and `scrna_report`.

    `library` and `lane` are those of the alignment, where it has one. `mapped_reads` is what a flagstat counts, each
    read once: workflows decide by it without the report's bytes.
    """

    kind: str
    sample: str | None = attrs.field(default=None, validator=header_text)
    library: str | None = attrs.field(default=None, validator=header_text)
    lane: str | None = attrs.field(default=None, validator=header_text)
    mapped_reads: int | None = attrs.field(default=None, validator=not_negative)
    alignment_cid: Derived[Alignment] | None = None
    variants_cid: Derived[Variants] | None = None
    reference_cid: Derived[Reference] | None = None


@asset("plot", suffix=".png")
class Plot(Asset):
    """A picture of cells, as `violin`, `knee` or `umap`, in PNG."""

    kind: str
    sample: str | None = attrs.field(default=None, validator=header_text)
    anndata_cid: Derived[AnnData] | None = None


@asset("table", suffix=".csv")
class Table(Asset):
    """Rows and columns as comma-separated text, the first line their names."""

    kind: str
    sample: str | None = attrs.field(default=None, validator=header_text)
    anndata_cid: Derived[AnnData] | None = None


@asset("file", suffix="", in_file=("name",), free_keys=True)
class File(Asset):
    """A file of no known type, kept as it is: with its name, notes, and a few keys of your own.

    The keys of your own are in `extra`: `File(name="genes.tsv", extra={"project": "brca"})`.
    """

    name: str = attrs.field(validator=base_name)
    notes: str | None = attrs.field(default=None, validator=short_text)

    def own_suffix(self) -> str:
        """The ending of its name, as far as that is one: `.tsv.gz`."""
        found = ENDING.search(self.name)
        return found[0] if found else ""


@asset("provenance", suffix=".json", check=check_json)
class ProvenanceDocument(Asset):
    """How files came to be: an import, an execution, an amendment or a retraction."""

    kind: str
    task: str | None = None
    run_key: str | None = None
