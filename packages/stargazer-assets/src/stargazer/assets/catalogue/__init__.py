"""The asset types that come with Stargazer."""

from __future__ import annotations

from stargazer.assets.catalogue.reports import (
    AnnData,
    BqsrReport,
    DuplicateMetrics,
    ProvenanceDocument,
    QcReport,
)
from stargazer.assets.catalogue.sequencing import (
    R1,
    R2,
    AlignerIndex,
    Alignment,
    AlignmentIndex,
    Intervals,
    Reference,
    ReferenceGzipIndex,
    ReferenceIndex,
    SequenceDict,
)
from stargazer.assets.catalogue.variants import (
    Annotation,
    KnownSites,
    KnownSitesIndex,
    Variants,
    VariantsIndex,
    VqsrModel,
    VqsrTranches,
)
from stargazer.assets.model import REGISTRY as REGISTRY  # complete, as the front page offers it

__all__ = ["R1", "R2", "AlignerIndex", "Alignment", "AlignmentIndex", "AnnData", "Annotation", "BqsrReport",
           "DuplicateMetrics", "Intervals", "KnownSites", "KnownSitesIndex", "ProvenanceDocument",
           "QcReport", "Reference", "ReferenceGzipIndex", "ReferenceIndex", "SequenceDict", "Variants",
           "VariantsIndex", "VqsrModel", "VqsrTranches"]  # fmt: skip
