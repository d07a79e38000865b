"""Metrics and reports, single-cell matrices, and provenance documents."""

from __future__ import annotations

import attrs
from stargazer.assets._asset import asset
from stargazer.assets.catalogue.sequencing import Alignment, Reference
from stargazer.assets.catalogue.variants import Variants
from stargazer.assets.declaration import Derived
from stargazer.assets.formats.hdf5 import check_hdf5
from stargazer.assets.formats.signatures import check_json
from stargazer.assets.keyvalues import header_text, not_negative
from stargazer.assets.model import Asset

__all__ = ["AnnData", "BqsrReport", "DuplicateMetrics", "ProvenanceDocument", "QcReport"]


@asset("duplicate_metrics", suffix=".txt")
class DuplicateMetrics(Asset):
    """Counts of duplicate reads, as the tool that marked them writes it."""

    sample: str = attrs.field(validator=header_text)
    alignment_cid: Derived[Alignment]


@asset("bqsr_report", suffix=".table")
class BqsrReport(Asset):
    """Base quality recalibration table of an alignment."""

    sample: str = attrs.field(validator=header_text)
    alignment_cid: Derived[Alignment]


@asset("qc_report", suffix={b"{": ".json", b"<": ".html", b"": ".txt"})
class QcReport(Asset):
    """What was counted in a file: `flagstat`, `samtools_stats`, `variant_stats`, `reference`, or a run's summary.

    `mapped_reads` is what a flagstat counts, each read once: workflows decide by it without the report's bytes.
    """

    kind: str
    sample: str | None = attrs.field(default=None, validator=header_text)
    mapped_reads: int | None = attrs.field(default=None, validator=not_negative)
    alignment_cid: Derived[Alignment] | None = None
    variants_cid: Derived[Variants] | None = None
    reference_cid: Derived[Reference] | None = None


@asset("anndata", suffix=".h5ad", check=check_hdf5, in_file=("n_obs", "n_vars", "layers"))
class AnnData(Asset):
    """A matrix of cells and genes with its annotation."""

    sample: str | None = attrs.field(default=None, validator=header_text)
    stage: str | None = None
    n_obs: int | None = attrs.field(default=None, validator=not_negative)
    n_vars: int | None = attrs.field(default=None, validator=not_negative)
    layers: list[str] = attrs.field(factory=list)


@asset("provenance", suffix=".json", check=check_json)
class ProvenanceDocument(Asset):
    """How files came to be: an import, an execution, an amendment or a retraction."""

    kind: str
    task: str | None = None
    run_key: str | None = None
