"""Tasks beside each other: in one loop, in threads, in processes; killed and cancelled ones."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from stargazer.assets.catalogue import QcReport
from stargazer.assets.provenance import Execution
from stargazer.storage import Settings, Store, files, get_client
from stargazer.tasks.execution import AssetEnvironment, Event, WorkflowEnvironment, observe, workspace
from stargazer.tasks.execution._workspace import open_workspace, sweep
from stargazer.tasks.execution.slots import Slots
from stargazer.tasks.tools import ResolvedTool, Tool
from stargazer.tasks.tools.sources import launched

# The tasks take the paths of files as text, in which they tell the test what they do.
pytestmark = pytest.mark.planted_secret


@frozen
class Shell:
    """The shell, which every machine has."""

    kind: str = "path"

    def find(self, name: str) -> ResolvedTool:
        return ResolvedTool(name=name, version="1", source="PATH", argv=launched("/bin/sh"))

    def describe(self) -> str:
        return "/bin/sh"


shell = Tool("shell", (Shell(),))
env = AssetEnvironment(name="beside", tools=[shell])
flow = WorkflowEnvironment(name="beside_flow", depends_on=[env])


@env.task
async def slow(text: str, seconds: float, log: str) -> QcReport:
    """Writes a line per start to a file of the test, sleeps in a tool, writes a result."""
    with open(log, "a") as lines:
        lines.write(f"{text}\n")
    await shell("-c", f"sleep {seconds}; printf %s '{text}' > out")
    return QcReport(path=workspace() / "out", kind=text)


@env.task
async def sleeper(pid_file: str) -> QcReport:
    """A tool with a child of its own that both sleep for long; the file tells their process ids."""
    (workspace() / "half").write_text("half a result")
    await shell("-c", f"sleep 600 & echo $$ $! > {pid_file}.part; mv {pid_file}.part {pid_file}; wait")
    return QcReport(path=workspace() / "half", kind="half")


@env.task
async def lonely_sleeper(pid_file: str) -> QcReport:
    """As sleeper, in one process."""
    (workspace() / "half").write_text("half a result")
    await shell("-c", f"echo $$ > {pid_file}.part; mv {pid_file}.part {pid_file}; exec sleep 600")
    return QcReport(path=workspace() / "half", kind="half")


@env.task
async def upper(given: QcReport) -> QcReport:
    path = workspace() / "out"
    path.write_text(given.path.read_text().upper())
    return QcReport(path=path, kind="upper")


@flow.task
async def chain(text: str, log: str) -> QcReport:
    made: QcReport = await upper(await slow(text, 0.0, log))
    return made


@flow.task
async def nested(texts: list[str], log: str) -> list[QcReport]:
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(chain(text, log)) for text in texts]
    return [one.result() for one in running]


def store() -> Store:
    return get_client().store


def starts(log: Path) -> int:
    return len(log.read_text().splitlines())


def nothing_left() -> bool:
    """No workspace, no temporary file, no record."""
    there = [*store().objects.work.iterdir(), *(store().root / "tmp").glob("*")]
    return not there and not store().query({})


def slots_free() -> bool:
    async def take_all() -> bool:
        settings = Settings.load()
        (folder,) = (settings.home / "slots").iterdir()
        pool = Slots(folder, cores=settings.cores, memory=settings.memory)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5), pool.hold(cores=settings.cores, memory=settings.memory):
                return True
        return False

    return asyncio.run(take_all())


def wait_for(condition: Callable[[], Any], seconds: float = 30) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
    return found


def pids(path: Path) -> list[int]:
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return sys.platform != "linux"


# the same call at once


def test_the_same_call_twice_in_one_loop_is_computed_once(tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def both() -> list[QcReport]:
        return await asyncio.gather(*(slow("same", 0.2, str(log)) for _ in range(5)))

    made = asyncio.run(both())
    assert starts(log) == 1
    assert all(one == made[0] for one in made)


def test_the_same_call_in_threads_with_loops_of_their_own_is_computed_once(tmp_path: Path) -> None:
    log, made = tmp_path / "log", []
    threads = [
        threading.Thread(target=lambda: made.append(asyncio.run(slow("same", 0.2, str(log)))))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert starts(log) == 1
    assert len({one.cid for one in made}) == 1
    assert len(made) == 3


SCRIPT = """
import asyncio, importlib.util, sys
spec = importlib.util.spec_from_file_location("beside_tasks", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules["beside_tasks"] = module
spec.loader.exec_module(module)
print(asyncio.run(eval(sys.argv[2], vars(module))))
"""


@contextlib.contextmanager
def elsewhere(call: str) -> Iterator[subprocess.Popen[str]]:
    """A process that awaits a call of this module's tasks."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, __file__, call],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout
        process.stdout.close()


def test_the_same_call_in_two_processes_is_computed_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    call = f"slow('same', 1.0, {str(log)!r})"
    with elsewhere(call) as one, elsewhere(call) as other:
        said = [process.communicate(timeout=60)[0] for process in (one, other)]
    assert starts(log) == 1, said
    assert all("QcReport(cid=" in text for text in said), said


def test_parallel_tasks_never_share_a_file(tmp_path: Path) -> None:
    async def all_at_once() -> list[QcReport]:
        return await asyncio.gather(*(slow(f"text {n}", 0.05, str(tmp_path / "log")) for n in range(8)))

    made = asyncio.run(all_at_once())
    assert [one.path.read_text() for one in made if one.path] == [f"text {n}" for n in range(8)]


# slots


def test_many_workflows_share_one_slot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STARGAZER_CORES", "1")
    log = tmp_path / "log"

    async def fifty() -> list[list[QcReport]]:
        groups = [[f"{group} {n}" for n in range(5)] for group in range(10)]
        return await asyncio.gather(*(nested(texts, str(log)) for texts in groups))

    made = asyncio.run(asyncio.wait_for(fifty(), 240))
    assert starts(log) == 50
    assert len({one.cid for group in made for one in group}) == 50
    assert list(store().objects.work.iterdir()) == []


# the end of others


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends the tools of a killed process")
def test_a_killed_holder_leaves_nothing_that_stays(tmp_path: Path) -> None:
    log, pid_file = tmp_path / "log", tmp_path / "pids"
    with elsewhere(f"lonely_sleeper({str(pid_file)!r})") as process:
        tools = wait_for(lambda: pids(pid_file))
        (left,) = [path for path in store().objects.work.iterdir() if path.is_dir()]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        wait_for(lambda: not any(map(alive, tools)))
    assert (left / "half").exists()
    assert store().query({}) == []
    asyncio.run(slow("next", 0.0, str(log)))  # takes slots, sweeps
    assert list(store().objects.work.iterdir()) == []
    assert slots_free()
    with elsewhere(f"lonely_sleeper({str(tmp_path / 'again')!r})"):  # its lock is free too
        wait_for(lambda: pids(tmp_path / "again"))


@pytest.mark.parametrize("how", ["cancel", "timeout", "sibling"])
def test_a_cancelled_task_ends_its_tools_and_registers_nothing(how: str, tmp_path: Path) -> None:
    pid_file = tmp_path / "pids"

    async def until_started() -> None:
        while not pids(pid_file):
            await asyncio.sleep(0.01)

    async def limited() -> None:
        async with asyncio.timeout(None) as limit:
            started = asyncio.create_task(until_started())
            started.add_done_callback(lambda _: limit.reschedule(0))
            await sleeper(str(pid_file))

    async def failing() -> None:
        await until_started()
        raise ZeroDivisionError

    async def beside_a_failure() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(sleeper(str(pid_file)))
            group.create_task(failing())

    async def run() -> None:
        if how == "cancel":
            running = asyncio.create_task(sleeper(str(pid_file)))
            await until_started()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        elif how == "timeout":
            with pytest.raises(TimeoutError):
                await limited()
        else:
            with pytest.raises(ExceptionGroup) as caught:
                await beside_a_failure()
            assert caught.value.subgroup(ZeroDivisionError)
        assert not any(map(alive, pids(pid_file)))
        assert nothing_left()

    asyncio.run(run())
    assert slots_free()
    assert asyncio.run(chain("later", str(tmp_path / "log"))).path.read_text() == "LATER"


def test_waiting_for_another_can_be_cancelled_and_the_other_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "log"

    async def run() -> QcReport:
        first = asyncio.create_task(slow("same", 1.5, str(log)))
        while not log.exists():  # either could be first to have the lock
            await asyncio.sleep(0.01)
        second = asyncio.create_task(slow("same", 1.5, str(log)))
        await asyncio.sleep(0.2)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        return await first

    assert asyncio.run(run()).kind == "same"
    assert starts(log) == 1


def test_cancelled_while_it_registers_it_is_registered_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, hashing, released, hash_file = (
        tmp_path / "log",
        threading.Event(),
        threading.Event(),
        files.hash_file,
    )

    def held(*what: Any) -> str:
        hashing.set()
        released.wait(60)
        return hash_file(*what)

    monkeypatch.setattr(files, "hash_file", held)

    async def run() -> None:
        running = asyncio.create_task(slow("same", 0.0, str(log)))
        while not hashing.is_set():
            await asyncio.sleep(0.001)
        for _ in range(3):
            running.cancel()
            await asyncio.sleep(0.005)
        assert not running.done()
        released.set()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert list(store().objects.work.iterdir()) == []

    asyncio.run(run())
    asyncio.run(slow("same", 0.0, str(log)))
    assert starts(log) == 1


def test_ctrl_c_leaves_no_process_and_no_half_result(tmp_path: Path) -> None:
    pid_file = tmp_path / "pids"
    with elsewhere(f"sleeper({str(pid_file)!r})") as process:
        tools = wait_for(lambda: pids(pid_file))
        os.kill(process.pid, signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode != 0
        assert not any(map(alive, tools))
    assert nothing_left()


# workspaces of several processes


def test_a_sweep_never_takes_a_workspace_in_use(tmp_path: Path) -> None:
    stop, errors = threading.Event(), []

    def sweeping() -> None:
        while not stop.is_set():
            sweep(tmp_path)

    def working() -> None:
        try:
            for number in range(60):
                with open_workspace(tmp_path, "task") as folder:
                    (folder / "file").write_text(str(number))
                    time.sleep(0.001)
                    assert (folder / "file").read_text() == str(number)
        except BaseException as error:
            errors.append(error)

    sweepers = [threading.Thread(target=sweeping) for _ in range(2)]
    workers = [threading.Thread(target=working) for _ in range(3)]
    for thread in [*sweepers, *workers]:
        thread.start()
    for thread in workers:
        thread.join()
    stop.set()
    for thread in sweepers:
        thread.join()
    assert errors == []
    assert list(tmp_path.iterdir()) == []


def test_it_is_told_what_memory_a_running_call_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = []
    with observe(events.append):
        asyncio.run(slow("at once", 0.0, f"{tmp_path}/log"))
        monkeypatch.setattr("stargazer.tasks.execution.call.PAUSE", 0.1)
        asyncio.run(slow("later", 1.0, f"{tmp_path}/log"))
    at_once, later = events[:3], events[3:]
    assert [event.kind for event in at_once] == ["waiting", "started", "finished"]
    assert [event.kind for event in later] == [
        "waiting",
        "started",
        "progress",
        "finished",
    ]  # it did not grow
    assert 0 < later[2].memory <= later[3].memory < 1 << 30
    assert 0.1 <= later[2].seconds < later[3].seconds
    assert sorted(events, key=lambda event: event.at) == events
    (made,) = store().query({"kind": "later"})
    execution = store().document(made.keyvalues["provenance_cid"])
    assert isinstance(execution, Execution)
    assert execution.cores == later[1].cores > 0
