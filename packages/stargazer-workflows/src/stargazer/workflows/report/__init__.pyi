from .lineage import lineage_steps
from .tasks import germline_report, scrna_report

__all__ = [
    "germline_report",
    "lineage_steps",
    "scrna_report",
]
