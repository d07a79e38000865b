from ._evict import evict, evicted
from ._fsck import FsckReport, Problem, fsck
from ._gc import gc
from ._verify import verify
from .leftovers import GRACE, remove_tree

__all__ = [
    "GRACE",
    "FsckReport",
    "Problem",
    "evict",
    "evicted",
    "fsck",
    "gc",
    "remove_tree",
    "verify",
]
