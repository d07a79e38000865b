"""The machine's pool of cores and memory: nobody exceeds it, nobody starves, nothing leaks."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from stargazer.assets import StorageError
from stargazer.tasks.execution import slots
from stargazer.tasks.execution.locks import try_flock
from stargazer.tasks.execution.slots import Slots

GIB = 1 << 30

HOLD = """
import asyncio, subprocess, sys
from pathlib import Path
from stargazer.tasks.execution.slots import Slots

async def main(folder, orphan):
    async with Slots(Path(folder), cores=2, memory=1 << 30).hold(2, 1 << 30) as grant:
        tool = subprocess.Popen(["sleep", "600"], pass_fds=grant.fds if orphan == "orphan" else ())
        print(tool.pid, flush=True)
        await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""

CONTEND = """
import asyncio, sys
from pathlib import Path
from stargazer.tasks.execution.slots import Slots

async def one(pool, log):
    async with pool.hold(1, 1 << 29) as grant:
        log.write("+1\\n"); log.flush()
        await asyncio.sleep(0)
        log.write("-1\\n"); log.flush()

async def main(folder, log, cores):
    pool = Slots(Path(folder), cores=cores, memory=1 << 30)
    with open(log, "a") as file:
        async with asyncio.TaskGroup() as group:
            for _ in range(25):
                group.create_task(one(pool, file))

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


async def take(pool: Slots, cores: int = 1, memory: int = 0) -> int:
    async with pool.hold(cores, memory) as grant:
        return grant.cores


def free(pool: Slots) -> bool:
    """Whether the whole pool can be had within half a second."""
    try:
        asyncio.run(asyncio.wait_for(take(pool, pool.cores, pool.memory), 0.5))
    except TimeoutError:
        return False
    return True


def highest(log: Path) -> int:
    level = top = 0
    for line in log.read_text().split():
        level += int(line)
        top = max(top, level)
    assert level == 0
    return top


@pytest.mark.parametrize("cores", [1, 2])
def test_a_hundred_holders_in_four_processes_never_exceed_the_pool(tmp_path, cores):
    log = tmp_path / "log"
    workers = [
        subprocess.Popen([sys.executable, "-c", CONTEND, tmp_path / "slots", log, str(cores)])
        for _ in range(4)
    ]
    assert [worker.wait(60) for worker in workers] == [0] * 4
    assert len(log.read_text().split()) == 200
    assert highest(log) <= cores


def test_a_hundred_holders_of_one_slot_in_one_loop_take_turns(tmp_path):
    pool = Slots(tmp_path, cores=1, memory=GIB)
    inside: list[int] = []

    async def one(number: int) -> int:
        async with pool.hold() as grant:
            inside.append(number)
            await asyncio.sleep(0)
            assert inside.pop() == number
            assert inside == []
            return grant.cores

    async def main() -> list[int]:
        return await asyncio.gather(*map(one, range(100)))

    before = descriptors()
    assert asyncio.run(main()) == [1] * 100
    assert descriptors() <= before


def test_those_who_wait_in_one_loop_do_not_look_at_the_slots(tmp_path, monkeypatch):
    looks = 0

    def counted(path: Path) -> int | None:
        nonlocal looks
        looks += 1
        return try_flock(path)

    monkeypatch.setattr(slots, "try_flock", counted)
    pool = Slots(tmp_path, cores=1, memory=GIB)
    waiting = asyncio.Event()

    async def one(number: int) -> None:
        async with pool.hold():
            if number == 0:
                waiting.set()
                await asyncio.sleep(0.5)

    async def main() -> int:
        holders = [asyncio.create_task(one(0))]
        await waiting.wait()
        holders += [asyncio.create_task(one(number)) for number in range(1, 500)]
        await asyncio.gather(*holders)
        return looks

    assert asyncio.run(main()) < 2_500  # where all poll, 500 tasks look up to 10,000 times


def test_threads_with_their_own_event_loops_share_the_pool(tmp_path):
    pool = Slots(tmp_path, cores=2, memory=GIB)
    inside, seen = [], []

    async def work() -> None:
        for _ in range(5):
            async with pool.hold(1):
                inside.append(1)
                await asyncio.sleep(0.001)
                seen.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=asyncio.run, args=(work(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(seen) == 40
    assert max(seen) <= 2


def test_memory_limits_as_cores_do(tmp_path):
    pool = Slots(tmp_path, cores=8, memory=64 * GIB)

    async def main() -> None:
        async with pool.hold(1, 40 * GIB), pool.hold(1, 24 * GIB):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(take(pool, 1, 1), 0.2)
            await take(pool, 6, 0)  # cores are left
        await take(pool, 1, 64 * GIB)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("cores", "memory", "granted"),
    [(99, 1 << 50, (2, 10_001)), (0, -1, (1, 0)), (1, 1, (1, 1)), (2, 10_001, (2, 10_001))],
)
def test_a_request_is_cut_to_the_total_and_raised_to_one_core(tmp_path, cores, memory, granted):
    pool = Slots(tmp_path, cores=2, memory=10_001)

    async def main() -> tuple[int, int]:
        async with pool.hold(cores, memory) as grant:
            return grant.cores, grant.memory

    assert asyncio.run(asyncio.wait_for(main(), 30)) == granted
    assert free(pool)


def test_a_big_request_is_not_overtaken_for_ever_by_small_ones(tmp_path):
    pool = Slots(tmp_path, cores=4, memory=GIB)
    done = asyncio.Event()

    async def small() -> None:
        while not done.is_set():
            async with pool.hold(1):
                await asyncio.sleep(0.002)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(small())
            await asyncio.sleep(0.05)
            await asyncio.wait_for(take(pool, 4), 30)
            done.set()

    asyncio.run(main())


@pytest.mark.parametrize("moment", [0.0, 0.01, 0.1])
def test_cancelled_waiters_leave_no_descriptor_and_no_slot(tmp_path, moment):
    pool = Slots(tmp_path, cores=2, memory=GIB)

    async def main() -> None:
        async with pool.hold(1, GIB // 2):
            waiters = [asyncio.create_task(take(pool, 2, GIB)) for _ in range(20)]
            await asyncio.sleep(moment)
            for waiter in waiters:
                waiter.cancel()
            await asyncio.gather(*waiters, return_exceptions=True)

    before = descriptors()
    asyncio.run(main())
    assert descriptors() <= before
    assert free(pool)


def test_a_cancelled_holder_gives_its_slots_back(tmp_path):
    pool = Slots(tmp_path, cores=1, memory=GIB)

    async def main() -> None:
        async def hold() -> None:
            async with pool.hold():
                await asyncio.sleep(600)

        holder = asyncio.create_task(hold())
        await asyncio.sleep(0.05)
        holder.cancel()
        await asyncio.wait([holder])

    asyncio.run(main())
    assert free(pool)


@pytest.mark.parametrize("orphan", ["orphan", "plain"])
def test_a_killed_holder_frees_its_slots_unless_a_tool_still_has_them(tmp_path, orphan):
    pool = Slots(tmp_path, cores=2, memory=GIB)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path, orphan], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    with holder.stdout:
        tool = int(holder.stdout.readline())
    try:
        assert not free(pool)
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        assert free(pool) is (orphan == "plain")
    finally:
        os.kill(tool, signal.SIGKILL)
    asyncio.run(asyncio.wait_for(take(pool, 2, GIB), 30))


def test_a_killed_waiter_at_the_gate_frees_the_gate(tmp_path):
    pool = Slots(tmp_path, cores=2, memory=GIB)

    async def main() -> None:
        async with pool.hold(1):
            waiter = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path, "plain"])
            while True:  # until it has the gate, and waits there for the second core
                try:
                    await asyncio.wait_for(take(pool, 1), 0.2)
                except TimeoutError:
                    break
            waiter.kill()
            waiter.wait()
            await asyncio.wait_for(take(pool, 1), 30)

    asyncio.run(main())


def test_a_folder_that_cannot_be_is_a_designed_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="local disk"):
        asyncio.run(take(Slots(tmp_path / "file", cores=1, memory=GIB)))
