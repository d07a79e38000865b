"""How much of the machine this process may use: a container's limits count, not only the machine's size."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["available_cores", "available_memory"]

_MEMORY_LIMITS = (
    "memory.max",
    "memory/memory.limit_in_bytes",
)  # cgroup v2 and v1, as a container sees its own


def available_cores() -> int:
    """Processor cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory: the machine's, or the container's if that is less."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for name in _MEMORY_LIMITS:
        try:
            limits.append(int((cgroup / name).read_text()))
        except (OSError, ValueError):  # no such limit
            continue
    return min(limits)
