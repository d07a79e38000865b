"""Trivial tasks: milliseconds each, in sequence, at once and remembered: python benchmarks/many.py [how many]."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import tempfile
import time

from stargazer.storage import get_client
from stargazer.tasks import AssetEnvironment

SEQUENCE, AT_ONCE, REMEMBERED, MEMORY = 8.0, 8.0, 4.0, 1.0  # limits: milliseconds a task, and kB kept of each
FULL = 10_000
"""Tasks of which the first half fills SQLite's cache of pages, 8 MB: only then is what grows kept for each task."""

env = AssetEnvironment(name="many")


@env.task
async def add_one(number: int) -> int:
    """The task that costs nothing itself."""
    return number + 1


async def in_sequence(numbers: range) -> None:
    for number in numbers:
        await add_one(number)


async def at_once(numbers: range) -> None:
    await asyncio.gather(*(add_one(number) for number in numbers))


def peak() -> int:
    """The most memory that this process had so far: kB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(STARGAZER_HOME=folder, STARGAZER_MODE="local")
        get_client()
        asyncio.run(in_sequence(range(-100, 0)))
        for title, run, numbers, limit in (
            ("in sequence", in_sequence, range(count), SEQUENCE),
            ("at once", at_once, range(count, 2 * count), AT_ONCE),
            ("remembered, in sequence", in_sequence, range(count), REMEMBERED),
            ("remembered, at once", at_once, range(count, 2 * count), REMEMBERED),
        ):
            before, began, cpu = peak(), time.perf_counter(), time.process_time()
            first = count // 2 if run is in_sequence else 0  # all at once are all at once
            asyncio.run(run(numbers[:first]))
            half = peak()
            asyncio.run(run(numbers[first:]))
            later = (peak() - half) / (count - first)
            each = (time.perf_counter() - began) * 1000 / count
            kept = (peak() - before) / count
            used = (time.process_time() - cpu) * 1000 / count
            print(
                f"{count:,} trivial tasks {title}: {each:.2f} ms each (limit {limit}), CPU {used:.2f} ms, "
                f"{kept:.2f} kB more memory each" + (f", of the second half {later:.2f} kB" if first else "")
            )
            failed |= each > limit or (run is in_sequence and count >= FULL and later > MEMORY)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
