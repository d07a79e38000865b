"""Processes end with what started them: cancellation, timeouts, kill -9; and commands run side by side."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from stargazer.assets import ToolError
from stargazer.tasks import samtools
from stargazer.tasks.tools import ResolvedTool, Session, Tool, use_session

python = Tool("py", ())
WAITS = "import os, time; open(str(os.getpid()) + '.pid', 'w').close(); time.sleep(600)"
IGNORES_SIGTERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + WAITS
HAS_CHILD = "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', sys.argv[1]]);" + WAITS
LEAVES_CHILD = (
    "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdout=-3, stderr=-3)"
)


def make_session(folder: Path) -> Session:
    folder.mkdir(exist_ok=True)
    tools = {"py": ResolvedTool("py", "3", "PATH", (sys.executable,)), "samtools": samtools.resolve({})}
    return Session(folder=folder, log=folder.with_name(f"{folder.name}.log"), tools=tools)


@pytest.fixture
def session(tmp_path: Path):
    with use_session(make_session(tmp_path / "work")) as session:
        yield session


def alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie that its own, killed parent left to init."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not Path("/proc/self").exists()


def eventually(condition) -> bool:
    for _ in range(2000):
        if condition():
            return True
        time.sleep(0.01)
    return False


def started(folder: Path) -> list[int]:
    return [int(path.stem) for path in folder.glob("*.pid")]


async def all_started(folder: Path, count: int) -> list[int]:
    while len(pids := started(folder)) < count:
        await asyncio.sleep(0.01)
    return pids


@pytest.mark.parametrize(
    ("commands", "count"),
    [
        ([(WAITS,)], 1),
        ([(WAITS,), (WAITS,), (WAITS,)], 3),
        ([(HAS_CHILD, WAITS)], 2),
        ([(IGNORES_SIGTERM,)], 1),
        ([(HAS_CHILD, IGNORES_SIGTERM)], 2),
    ],
    ids=["one", "pipeline", "grandchild", "ignores SIGTERM", "grandchild ignores SIGTERM"],
)
def test_cancellation_leaves_no_process(session: Session, commands: list[tuple[str, ...]], count: int):
    async def main() -> list[int]:
        first, *others = (python("-c", *command) for command in commands)
        command = first
        for other in others:
            command = command | other

        async def wait() -> None:
            await command

        task = asyncio.create_task(wait())
        pids = await all_started(session.folder, count)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return pids

    pids = asyncio.run(main())

    assert len(pids) == count
    assert eventually(lambda: not any(map(alive, pids)))


def test_a_second_cancellation_does_not_leave_a_process(session: Session):
    async def main() -> list[int]:
        async def wait() -> None:
            await python("-c", IGNORES_SIGTERM)

        task = asyncio.create_task(wait())
        pids = await all_started(session.folder, 1)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.05)
        assert not task.done()
        with pytest.raises(asyncio.CancelledError):
            await task
        return pids

    pids = asyncio.run(main())

    assert eventually(lambda: not any(map(alive, pids)))


def test_a_timeout_leaves_no_process(session: Session):
    async def main() -> None:
        async with asyncio.timeout(0.5):
            await (python("-c", WAITS) | python("-c", WAITS))

    with pytest.raises(TimeoutError):
        asyncio.run(main())

    assert eventually(lambda: not any(map(alive, started(session.folder))))


def test_a_failing_stage_leaves_no_process(session: Session):
    fails = "import glob, sys, time\nwhile not glob.glob('*.pid'): time.sleep(.01)\nsys.exit(1)"

    async def main() -> None:
        await (python("-c", HAS_CHILD, WAITS) | python("-c", fails))

    with pytest.raises(ToolError):
        asyncio.run(main())

    assert started(session.folder)
    assert eventually(lambda: not any(map(alive, started(session.folder))))


def test_what_a_tool_leaves_in_the_background_is_ended(session: Session):
    async def main() -> None:
        await python("-c", LEAVES_CHILD.replace("sys.argv[1]], ", "sys.argv[1]], stdin=-3, "), WAITS)

    asyncio.run(main())

    assert eventually(lambda: not any(map(alive, started(session.folder))))


def test_samtools_that_waits_for_its_input_is_cancelled(session: Session):
    os.mkfifo(session.folder / "never")

    async def main() -> None:
        async with asyncio.timeout(0.5):
            await samtools("view", Path("never"))

    with pytest.raises(TimeoutError):
        asyncio.run(main())


OWNER = """
import asyncio, sys
from pathlib import Path
from stargazer.tasks.tools import Session, use_session
from stargazer.tasks.tools import OnPath, Tool
from stargazer.tasks import samtools

async def main():
    folder = Path(sys.argv[1])
    tool = {"samtools": samtools, "cat": Tool("cat", (OnPath("cat"),))}[sys.argv[2]]
    session = Session(folder=folder, log=folder / "log", tools={tool.name: tool.resolve({})})
    with use_session(session):
        await tool(*sys.argv[3:], Path("never"))

asyncio.run(main())
"""


def children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", [["samtools", "view"], ["cat"]], ids=["wheel", "PATH"])
def test_a_signal_to_us_ends_the_tool(tmp_path: Path, command: list[str], number: signal.Signals):
    os.mkfifo(tmp_path / "never")
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path), *command], stderr=subprocess.DEVNULL
    )
    assert eventually(
        lambda: "$ " in (tmp_path / "log").read_text() if (tmp_path / "log").exists() else False
    )
    assert eventually(lambda: len(children(owner.pid)) == 1)
    (child,) = children(owner.pid)
    assert eventually(lambda: b"never" in Path(f"/proc/{child}/cmdline").read_bytes())

    owner.send_signal(number)
    owner.wait()

    assert eventually(lambda: not alive(child))


COPY = "import sys, shutil; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"


async def pipeline(folder: Path, number: int) -> str:
    with use_session(make_session(folder)) as session:
        count = f"import sys; sys.stdout.write('{number}' * 1_000_000)"
        await (python("-c", count) | python("-c", COPY) | python("-c", COPY, stdout=Path("out")))
        assert len(session.commands) == 3
    return (folder / "out").read_text()


def test_pipelines_run_side_by_side_in_one_loop(tmp_path: Path):
    async def main() -> list[str]:
        return await asyncio.gather(*(pipeline(tmp_path / str(number), number) for number in range(4)))

    assert asyncio.run(main()) == [str(number) * 1_000_000 for number in range(4)]


def test_pipelines_run_side_by_side_in_loops_of_several_threads(tmp_path: Path):
    found: dict[int, str] = {}

    def work(number: int) -> None:
        found[number] = asyncio.run(pipeline(tmp_path / str(number), number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == {number: str(number) * 1_000_000 for number in range(3)}


def test_a_blocked_event_loop_stalls_no_tool(session: Session):
    async def main() -> bool:
        task = asyncio.ensure_future(python("-c", "open('ended', 'w'); print('x' * 1_000_000)").text())
        await asyncio.sleep(0)
        ended = eventually(lambda: (session.folder / "ended").exists())  # blocks the loop on purpose
        await task
        return ended

    assert asyncio.run(main())


def test_no_descriptor_and_no_thread_is_left(session: Session):
    async def main() -> None:
        for _ in range(5):
            await (python("-c", "print(1)") | python("-c", COPY))
            with pytest.raises(ToolError):
                await python("-c", "import sys; sys.exit(1)")

    asyncio.run(main())
    descriptors, threads = len(os.listdir("/dev/fd")), threading.active_count()
    asyncio.run(main())

    # fewer is fine: what other tests left may end meanwhile
    assert eventually(
        lambda: len(os.listdir("/dev/fd")) <= descriptors and threading.active_count() <= threads
    )
