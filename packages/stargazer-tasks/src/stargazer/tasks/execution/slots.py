"""The pool of cores and memory that all processes of a machine share: a file for each slot, held by flock.

- The kernel drops a lock with its last descriptor: nothing to clean up after kill -9. Pass `grant.fds` on to a
  tool (`pass_fds`) and an orphaned tool keeps its slots until it ends; else they do not survive exec.
- Only who holds the gate collects slots, and keeps it until it has all of them. So nobody else holds a part
  (no deadlock), and while a big request waits nobody takes what comes free (no starvation).
- Of one process only the first in line asks for the gate and for slots, and is woken when another gives some back: the
  rest wait for their turn, which costs nothing.
- The memory is 64 slots of equal size; a request is rounded up to whole slots.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from weakref import WeakKeyDictionary

import attrs
from stargazer.tasks.execution.locks import poll, release_flock, try_flock

__all__ = ["Grant", "Slots"]

MEMORY_SLOTS = 64


@attrs.frozen
class Grant:
    """What a holder may use: cores, memory in bytes, and the descriptors that keep it reserved."""

    cores: int
    memory: int
    fds: tuple[int, ...]


@attrs.frozen
class _Line:
    """Who waits in one event loop: whose turn it is, and whether slots came free since it looked."""

    turn: asyncio.Lock = attrs.field(factory=asyncio.Lock)
    freed: asyncio.Event = attrs.field(factory=asyncio.Event)


_lines: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Path, _Line]] = WeakKeyDictionary()


@attrs.frozen
class Slots:
    """The pool of one machine.

        pool = Slots(home / "slots" / machine_id, cores=8, memory=16 << 30)
        async with pool.hold(cores=2, memory=3 << 30) as grant:
            ...  # grant.cores threads, subprocess with pass_fds=grant.fds

    Every process must name the same folder and the same totals, both above 0. The folder belongs to one machine: locks
    over NFS would span several. A holder must not ask for slots again: it could wait for itself.

    Attributes:
        folder: On a local disk, made when first needed.
        cores, memory: Of the pool; memory in bytes.
    """

    folder: Path
    cores: int
    memory: int

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
        line = self._line()
        try:
            async with line.turn:
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
            line.freed.set()

    def _line(self) -> _Line:
        """The line of this event loop before the pool."""
        lines = _lines.setdefault(asyncio.get_running_loop(), {})
        return lines.setdefault(self.folder, _Line())

    async def _collect(self, descriptors: list[int], kind: str, wanted: int, total: int) -> None:
        """Add `wanted` locks of the files kind0 to kind<total - 1>, keeping each from when it comes free."""
        missing = [self.folder / f"{kind}{number}" for number in range(total)]
        enough = len(descriptors) + wanted

        def attempt() -> bool | None:
            for path in missing.copy():
                if len(descriptors) == enough:
                    break
                if (descriptor := try_flock(path)) is not None:
                    descriptors.append(descriptor)
                    missing.remove(path)
            return len(descriptors) == enough or None

        await poll(attempt, self._line().freed)
