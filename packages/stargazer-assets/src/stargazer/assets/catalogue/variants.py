"""Variant calls, known sites and what is modelled on them."""

from __future__ import annotations

from typing import Literal

import attrs
from stargazer.assets._asset import asset
from stargazer.assets.catalogue.sequencing import Reference
from stargazer.assets.declaration import Companion, Derived
from stargazer.assets.formats.compression import GZIP
from stargazer.assets.formats.signatures import check_magic
from stargazer.assets.formats.tables import check_annotation, check_vcf
from stargazer.assets.keyvalues import header_text
from stargazer.assets.model import Asset

__all__ = ["Annotation", "KnownSites", "KnownSitesIndex", "Variants", "VariantsIndex", "VqsrModel",
           "VqsrTranches"]  # fmt: skip

VCF_SUFFIX = {b"BCF": ".bcf", GZIP: ".vcf.gz", b"": ".vcf"}
INDEX_SUFFIX = {b"CSI\x01": ".csi", b"": ".tbi"}
check_index = check_magic(b"TBI\x01", b"CSI\x01", what="a tabix or CSI index")


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
