"""The lock of a run key: one holder on the machine, whatever happens to it."""

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
from stargazer.tasks.execution.locks import key_lock

COUNT_UP = """
import asyncio, sys
from pathlib import Path
from stargazer.tasks.execution.locks import key_lock

async def main(folder, counter, times):
    for _ in range(times):
        async with key_lock(folder, "key"):
            inside = counter.with_suffix(".inside")
            inside.touch(exist_ok=False)  # fails if somebody else is inside
            value = int(counter.read_text())
            await asyncio.sleep(0)
            counter.write_text(str(value + 1))
            inside.unlink()

asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
"""

HOLD = """
import asyncio, sys
from pathlib import Path
from stargazer.tasks.execution.locks import key_lock

async def main():
    async with key_lock(Path(sys.argv[1]), "key"):
        print("held", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "held\n"
    return process


async def take(folder: Path, key: str = "key") -> None:
    async with key_lock(folder, key):
        pass


def test_eight_processes_are_never_inside_together(tmp_path):
    counter = tmp_path / "counter"
    counter.write_text("0")
    workers = [
        subprocess.Popen([sys.executable, "-c", COUNT_UP, tmp_path / "locks", counter, "25"])
        for _ in range(8)
    ]
    assert [worker.wait(60) for worker in workers] == [0] * 8
    assert counter.read_text() == "200"
    assert list((tmp_path / "locks").iterdir()) == []


def test_event_loops_in_threads_are_never_inside_together(tmp_path):
    inside, seen = [], []

    async def work() -> None:
        for _ in range(10):
            async with key_lock(tmp_path, "key"):
                inside.append(1)
                await asyncio.sleep(0)
                seen.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=asyncio.run, args=(work(),)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert seen == [1] * 60
    assert list(tmp_path.iterdir()) == []


def test_a_killed_holder_frees_the_key_and_the_next_one_removes_its_file(tmp_path):
    process = holder(tmp_path)
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(take(tmp_path), 0.2))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    asyncio.run(asyncio.wait_for(take(tmp_path), 30))
    assert list(tmp_path.iterdir()) == []


def test_a_cancelled_waiter_leaves_nothing_behind(tmp_path):
    async def main() -> int:
        before = len(os.listdir("/dev/fd"))
        async with key_lock(tmp_path, "key"):
            waiters = [asyncio.create_task(take(tmp_path)) for _ in range(20)]
            await asyncio.sleep(0.05)
            for waiter in waiters:
                waiter.cancel()
            await asyncio.wait(waiters)
            assert all(waiter.cancelled() for waiter in waiters)
        await take(tmp_path)
        return len(os.listdir("/dev/fd")) - before

    assert asyncio.run(main()) <= 0  # what else is open in this process may be closed meanwhile
    assert list(tmp_path.iterdir()) == []


def test_an_error_inside_frees_the_key(tmp_path):
    async def fail() -> None:
        async with key_lock(tmp_path, "key"):
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        asyncio.run(fail())
    asyncio.run(asyncio.wait_for(take(tmp_path), 30))


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_child_of_the_holder_does_not_keep_the_key(tmp_path):
    async def main() -> None:
        async with key_lock(tmp_path, "key"):
            if (child := os.fork()) == 0:  # copies every descriptor
                signal.pause()
            executed = subprocess.Popen(["sleep", "600"], close_fds=False)
        try:
            await asyncio.wait_for(take(tmp_path), 30)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            executed.kill()
            executed.wait()

    asyncio.run(main())


def test_a_removed_folder_is_made_again(tmp_path):
    async def main() -> None:
        async with key_lock(tmp_path / "locks", "key"):
            next((tmp_path / "locks").iterdir()).unlink()
            (tmp_path / "locks").rmdir()
        await take(tmp_path / "locks")

    asyncio.run(main())


@pytest.mark.parametrize(
    "key", ["", ".", "..", "a/b", "../escape", "NUL\0", "é\udcff", "x" * 5000, "-rf", "a b\n"]
)
def test_any_text_is_a_key_and_stays_in_the_folder(tmp_path, key):
    folder = tmp_path / "locks"

    async def main() -> list[str]:
        async with key_lock(folder, key), key_lock(folder, key + "2"):  # another key is another lock
            return [path.name for path in folder.iterdir()]

    assert len(asyncio.run(main())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["locks"]
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_is_a_designed_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot lock .*file.*local disk"):
        asyncio.run(take(tmp_path / "file"))
