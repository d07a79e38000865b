from .lineage import lineage_steps
from .tasks import germline_report

__all__ = [
    "germline_report",
    "lineage_steps",
]
