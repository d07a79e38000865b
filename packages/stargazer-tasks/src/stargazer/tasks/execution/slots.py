"""The pool of cores and memory that all processes of a machine share: a file for each slot, held by flock.

- The kernel drops a lock with its last descriptor: nothing to clean up after kill -9. Pass `grant.fds` on to a
  tool (`pass_fds`) and an orphaned tool keeps its slots until it ends; else they do not survive exec.
- Only who holds the gate collects slots, and keeps it until it has all of them. So nobody else holds a part
  (no deadlock), and while a big request waits nobody takes what comes free (no starvation).
- The memory is 64 slots of equal size; a request is rounded up to whole slots.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from stargazer.assets import ConfigurationError
from stargazer.tasks.execution.locks import poll, release_flock, try_flock

__all__ = ["Grant", "Slots"]

MEMORY_SLOTS = 64


@dataclass(frozen=True)
class Grant:
    """What a holder may use: cores, memory in bytes, and the descriptors that keep it reserved."""

    cores: int
    memory: int
    fds: tuple[int, ...]


class Slots:
    """The pool of one machine.

        pool = Slots(home / "slots" / machine_id, cores=8, memory=16 << 30)
        async with pool.hold(cores=2, memory=3 << 30) as grant:
            ...  # grant.cores threads, subprocess with pass_fds=grant.fds

    Every process must name the same folder and the same totals. The folder belongs to one machine: locks over
    NFS would span several. A holder must not ask for slots again: it could wait for itself.

    Args:
        folder: On a local disk, made when first needed.
        cores: Cores of the pool.
        memory: Bytes of the pool.

    Raises:
        ConfigurationError: A pool without a core or without memory.
    """

    def __init__(self, folder: Path, cores: int, memory: int) -> None:
        if cores < 1 or memory < 1:
            raise ConfigurationError(
                f"a pool of {cores!r} cores and {memory!r} bytes can run nothing: give at least one of each"
            )
        self.folder = Path(folder)
        self.cores = cores
        self.memory = memory

    @contextlib.asynccontextmanager
    async def hold(self, cores: int = 1, memory: int = 0) -> AsyncIterator[Grant]:
        """Wait for `cores` and `memory` bytes, and keep them to the end of the block.

        A request above the total is cut to the total, below one core raised to one.

        Raises:
            StorageError: The folder cannot be written, or its filesystem has no locks.
        """
        cores = min(max(cores, 1), self.cores)
        memory = min(max(memory, 0), self.memory)
        descriptors: list[int] = []
        try:
            gate = await poll(lambda: try_flock(self.folder / "gate"))
            try:
                await self._collect(descriptors, "core", cores, self.cores)
                await self._collect(
                    descriptors, "memory", -(-memory * MEMORY_SLOTS // self.memory), MEMORY_SLOTS
                )
            finally:
                release_flock(gate)
            yield Grant(cores, memory, tuple(descriptors))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    async def _collect(self, descriptors: list[int], kind: str, wanted: int, total: int) -> None:
        """Add `wanted` locks of the files kind0 to kind<total - 1>, keeping each from when it comes free."""
        missing = set(range(total))
        enough = len(descriptors) + wanted

        def attempt() -> bool | None:
            for number in sorted(missing):
                if len(descriptors) == enough:
                    break
                if (descriptor := try_flock(self.folder / f"{kind}{number}")) is not None:
                    descriptors.append(descriptor)
                    missing.discard(number)
            return True if len(descriptors) == enough else None

        await poll(attempt)
