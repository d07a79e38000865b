from ._evict import evict, evicted
from ._fsck import FsckReport, Problem, fsck
from ._gc import gc
from ._verify import verify
from .leftovers import remove_tree

__all__ = [
    "FsckReport",
    "Problem",
    "evict",
    "evicted",
    "fsck",
    "gc",
    "remove_tree",
    "verify",
]
