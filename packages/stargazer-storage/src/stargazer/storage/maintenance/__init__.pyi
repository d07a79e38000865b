from ._evict import evict
from ._fsck import FsckReport, Problem, fsck
from ._gc import gc
from ._verify import verify
from .evictions import evicted

__all__ = [
    "FsckReport",
    "Problem",
    "evict",
    "evicted",
    "fsck",
    "gc",
    "verify",
]
