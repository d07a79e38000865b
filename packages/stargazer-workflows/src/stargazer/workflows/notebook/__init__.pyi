from ._progress import progress
from .lineage import lineage_graph
from .needs import require_extra, require_records
from .place import execution_place
from .tables import latest_run, run_table

__all__ = [
    "execution_place",
    "latest_run",
    "lineage_graph",
    "progress",
    "require_extra",
    "require_records",
    "run_table",
]
