"""Python functions in a child process that stays: one for all loops and threads, and no call depends on another."""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import FormatError, ToolError
from stargazer.tasks.tools import Session, call, compute, use_session
from stargazer.tasks.tools import child as child_module
from stargazer.tasks.tools.python import arithmetic

MODULE = """
import contextvars, decimal, os, random, signal, subprocess, sys, tempfile
from stargazer.assets.errors import FormatError

def echo(**arguments):
    print("echoing")
    print("and complaining", file=sys.stderr)
    return arguments

def pid():
    return os.getpid()

def read(path):
    return open(path).read()

def note(text):
    with open("notes", "a") as notes:
        notes.write(text)
    return os.getpid()

def fails(text):
    raise FormatError(text)

def crashes():
    return {}["missing key"]

def dies():
    os.kill(os.getpid(), 9)

def leaves():
    sys.exit(7)

def leaves_quietly():
    os._exit(0)

def unspeakable():
    return {1, 2}

def waits(path):
    with open("started.pid", "w") as file:
        file.write(str(os.getpid()))
    os.rename("started.pid", "started")
    return open(path).read()

def ignores(path):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return waits(path)

def starts_another(path):
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with open("other", "w") as file:
        file.write(str(other.pid))
    return waits(path)

def fills(size):
    return len(b"x" * size)

def holds(path):
    state = os.stat(path)
    return any(os.path.samestat(os.fstat(int(fd)), state) for fd in os.listdir("/dev/fd") if is_open(int(fd)))

def is_open(fd):
    try:
        return bool(os.fstat(fd))
    except OSError:
        return False

def environment():
    return dict(os.environ)

def state():
    import numpy
    os.umask(mask := os.umask(0))
    return {
        "random": [random.random(), float(numpy.random.random())],
        "cwd": os.getcwd(),
        "environment": dict(os.environ),
        "temporary": tempfile.gettempdir(),
        "mask": mask,
        "path": sys.path,
        "digits": decimal.getcontext().prec,
        "stdout": sys.stdout is sys.__stdout__,
    }

def spoils():
    import numpy
    random.seed(5), numpy.random.seed(5)
    os.environ["OF_ANOTHER"] = os.environ["HOME"] = "x"
    del os.environ["PATH"]
    os.makedirs("below"), os.chdir("below"), os.umask(0)
    tempfile.tempdir = "/"
    sys.path.insert(0, "/")
    decimal.getcontext().prec = 3
    os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
    sys.stdout = open("out", "w")

def closes():
    print("the last word")
    sys.stdout.close()

def grey():
    import matplotlib
    found, matplotlib.rcParams["image.cmap"] = matplotlib.rcParams["image.cmap"], "grey"
    return found

def prints(lines):
    for number in range(lines):
        print("line", number)

VERSION = "one"

def version():
    return VERSION
"""


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (modules := tmp_path / "a lab's modules").mkdir()
    (modules / "lab_work.py").write_text(MODULE)
    monkeypatch.syspath_prepend(modules)
    monkeypatch.delitem(sys.modules, "lab_work", raising=False)
    with use_session(make_session(tmp_path / "work")) as session:
        os.mkfifo(session.folder / "never")
        yield session


def make_session(folder: Path, **of_session: Any) -> Session:
    folder.mkdir()
    return Session(folder=folder, log=folder.with_name(f"{folder.name}.log"), **{"threads": 2, **of_session})


def lab(name: str) -> Callable[..., Any]:
    return attrgetter(name)(importlib.import_module("lab_work"))


def run(function: str, **arguments: Any) -> Any:
    return asyncio.run(compute(lab(function), **arguments))


def is_alive(pid: int) -> bool:
    """Whether a process exists, and is not one that has ended and that nobody has asked about."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not Path("/proc/self").exists()


def eventually(condition: Callable[[], bool]) -> bool:
    for _ in range(6000):
        if condition():
            return True
        time.sleep(0.01)
    return False


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def test_the_same_child_makes_all_calls(session: Session):
    first = run("pid")

    assert first != os.getpid()
    assert [run("pid"), run("pid")] == [first, first]


def test_arguments_and_results_are_those_of_call(session: Session):
    arguments = {
        "number": 0.1,
        "text": "a\nb 日本 '\"\udcff",
        "items": [1, None, True, {"x": []}],
        "large": "x" * 3_000_000,
    }
    (session.folder / "a b\n日本").write_text("here")

    assert run("echo", **arguments) == arguments
    assert run("read", path=session.folder / "a b\n日本") == "here"
    with pytest.raises(ToolError, match=r"outside of the task's workspace"):
        run("read", path=Path("/etc/passwd"))
    with pytest.raises(ValueError, match=r"define it at the top level of a module"):
        asyncio.run(compute(lambda: None))


def test_log_and_record_are_those_of_call(session: Session):
    def told() -> tuple[list[list[str]], str]:
        commands, session.commands = session.commands, []
        log = re.sub(r"in \d+\.\d s", "in N s", session.log.read_text())
        session.log.unlink()
        return commands, log

    asyncio.run(call(lab("echo"), b=1, a=session.folder / "x"))
    expected = told()
    run("echo", b=1, a=session.folder / "x")

    assert told() == expected
    assert expected[0] == [["python", "lab_work:echo", '{"a": "x", "b": 1}']]
    assert "[1 python lab_work:echo] and complaining" in expected[1].splitlines()


def test_all_that_is_printed_is_in_the_log_before_the_call_is_over(session: Session):
    for _ in range(5):
        run("prints", lines=5000)
        *printed, end = session.log.read_text().splitlines()
        session.log.unlink()
        assert len(printed) == 5001
        assert "done in" in end


@pytest.mark.parametrize("function", ["crashes", "dies", "leaves", "unspeakable"])
def test_an_error_reads_as_that_of_call(session: Session, function: str):
    with pytest.raises(ToolError) as expected:
        asyncio.run(call(lab(function)))
    session.commands.clear()
    with pytest.raises(ToolError) as found:
        run(function)

    assert str(found.value) == str(expected.value)
    assert run("pid") != os.getpid()


def test_an_error_of_ours_arrives_with_its_class_and_text(session: Session):
    with pytest.raises(FormatError, match=r"^not FASTQ: 日本$"):
        run("fails", text="not FASTQ: 日本")


def test_a_child_that_ends_without_an_answer_is_an_error(session: Session):
    with pytest.raises(ToolError, match=r"python lab_work:leaves_quietly failed with exit status 0"):
        run("leaves_quietly")


def test_a_child_that_cannot_start_is_an_error_and_the_next_one_starts(
    session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    with monkeypatch.context() as changed:
        changed.setattr(sys, "executable", str(tmp_path / "no such python"))
        with pytest.raises(ToolError, match=r"python lab_work:pid could not be started: .*No such file"):
            run("pid")
    with monkeypatch.context() as changed:
        changed.setattr(child_module, "ENGINES", tmp_path)
        with pytest.raises(ToolError, match=r"python lab_work:pid failed with exit status 2: .*compute\.py"):
            run("pid")

    assert run("pid") != os.getpid()
    assert session.log.read_text().count("done in") == 1


def test_an_exception_keeps_the_child(session: Session):
    first = run("pid")
    with pytest.raises(ToolError, match=r"KeyError"):
        run("crashes")
    with pytest.raises(FormatError):
        run("fails", text="x")

    assert run("pid") == first


def test_no_call_depends_on_those_before(session: Session):
    first, child = run("state"), run("pid")
    run("spoils")

    assert run("state") == first
    assert run("pid") == child
    assert os.path.samefile(first["cwd"], session.folder)
    assert first["temporary"] == first["environment"]["HOME"] == str(session.folder)
    run("echo")
    assert "echoing" in session.log.read_text()  # stdout is what it was


def test_each_call_is_in_the_folder_of_its_session(session: Session, tmp_path: Path):
    first, child = run("state"), run("pid")
    with use_session(make_session(tmp_path / "another")) as another:
        second = run("state")
        assert run("pid") == child

    assert first["cwd"] == os.path.realpath(session.folder)
    assert second["cwd"] == os.path.realpath(another.folder)
    assert second["temporary"] == second["environment"]["TMPDIR"] == str(another.folder)
    assert "echoing" not in another.log.read_text()


def test_settings_of_plots_are_restored(session: Session):
    pytest.importorskip("matplotlib")

    assert [run("grey"), run("grey")] == ["viridis", "viridis"]


def test_a_function_that_closes_stdout_silences_no_other(session: Session):
    run("closes")
    run("echo")

    assert "the last word" in session.log.read_text()
    assert "echoing" in session.log.read_text()


def test_changed_code_is_run(session: Session, tmp_path: Path):
    assert run("version") == "one"
    (path,) = tmp_path.glob("*/lab_work.py")
    path.write_text(path.read_text().replace('VERSION = "one"', 'VERSION = "another"'))

    assert run("version") == "another"
    assert "failed" not in session.log.read_text()


def test_the_child_gets_what_call_gives_and_two_folders_for_caches(
    session: Session, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PINATA_JWT", "very-secret")
    expected = asyncio.run(call(lab("environment")))
    found = run("environment")
    caches = Path(os.environ["STARGAZER_HOME"]) / "caches" / str(os.getuid())

    assert Path(found.pop("NUMBA_CACHE_DIR")).parent == Path(found.pop("MPLCONFIGDIR")).parent == caches
    assert found == {**expected, **arithmetic()}
    assert caches.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("hindrance", ["a file", "a folder of all"])
def test_caches_that_others_could_write_are_not_used(session: Session, hindrance: str):
    caches = Path(os.environ["STARGAZER_HOME"]) / "caches"
    caches.parent.mkdir(exist_ok=True)
    if hindrance == "a file":
        caches.write_text("")
    else:
        (caches / str(os.getuid())).mkdir(parents=True)
        (caches / str(os.getuid())).chmod(0o777)

    folder = Path(run("environment")["NUMBA_CACHE_DIR"]).parent

    assert caches not in folder.parents
    assert folder.stat().st_mode & 0o777 == 0o700
    with pytest.raises(ToolError):
        run("dies")
    assert not folder.exists()


def test_another_number_of_threads_is_for_another_child(session: Session, tmp_path: Path):
    first, threads = run("pid"), run("environment")["OMP_NUM_THREADS"]
    with use_session(make_session(tmp_path / "another", threads=1, memory=1 << 30)):
        second, other_threads = run("pid"), run("environment")["OMP_NUM_THREADS"]
    with use_session(make_session(tmp_path / "a third", threads=1, memory=2 << 30)):
        third, memory = run("pid"), run("environment")["STARGAZER_TASK_MEMORY"]

    assert (threads, other_threads, memory) == ("2", "1", str(2 << 30))
    assert first != second
    assert second == third
    assert not is_alive(first)


def test_the_child_holds_no_slot(session: Session, tmp_path: Path):
    slot = tmp_path / "slot"
    with open(slot, "w") as file:
        session.pass_fds = (file.fileno(),)
        held = [asyncio.run(call(lab("holds"), path="../slot")), run("holds", path="../slot")]

    assert held == [True, False]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets a peak")
def test_the_peak_of_memory_is_that_of_the_call(session: Session, tmp_path: Path):
    peaks = []
    for number, size in enumerate([0, 300 << 20, 0]):
        with use_session(make_session(tmp_path / str(number))) as one:
            run("fills", size=size)
            peaks.append(one.peak_memory)

    assert 0 < peaks[0] < 150 << 20
    assert peaks[1] > 300 << 20
    assert 0 < peaks[2] < 150 << 20


def test_calls_are_made_in_the_order_in_which_they_are_asked_for(session: Session):
    async def main() -> None:
        first = asyncio.create_task(compute(lab("waits"), path=session.folder / "never"))
        await until((session.folder / "started").exists)
        others = [asyncio.create_task(compute(lab("note"), text=str(number))) for number in range(5)]
        await until(lambda: len(session.commands) == 6)
        others[1].cancel()
        others[3].cancel()
        await asyncio.wait([others[1], others[3]])  # while the first one is still at work
        assert not first.done()
        (session.folder / "never").write_text("at last")
        assert await first == "at last"
        assert len({await others[number] for number in (0, 2, 4)}) == 1

    asyncio.run(main())

    assert (session.folder / "notes").read_text() == "024"
    assert len({line.split("]")[0] for line in session.log.read_text().splitlines()}) == 4


@pytest.mark.parametrize("function", ["waits", "ignores", "starts_another"])
def test_a_cancelled_call_ends_the_child_first(
    session: Session, monkeypatch: pytest.MonkeyPatch, function: str
):
    monkeypatch.setattr(child_module, "GRACE", 0.2)

    async def main() -> int:
        task = asyncio.create_task(compute(lab(function), path=session.folder / "never"))
        await until((session.folder / "started").exists)
        child = int((session.folder / "started").read_text())
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not is_alive(child)
        return child

    child = asyncio.run(main())

    assert run("pid") != child
    assert f"was killed by {'SIGKILL' if function == 'ignores' else 'SIGTERM'}" in session.log.read_text()
    if function == "starts_another":
        other = int((session.folder / "other").read_text())
        assert eventually(lambda: not is_alive(other))


def test_a_timeout_ends_the_child(session: Session):
    first = run("pid")

    async def main() -> None:
        async with asyncio.timeout(0.2):
            await compute(lab("read"), path=session.folder / "never")

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert not is_alive(first)
    assert run("pid") != first


def test_a_child_that_is_killed_at_work_is_replaced(session: Session):
    async def main() -> int:
        task = asyncio.create_task(compute(lab("waits"), path=session.folder / "never"))
        await until((session.folder / "started").exists)
        child = int((session.folder / "started").read_text())
        os.kill(child, signal.SIGKILL)
        with pytest.raises(ToolError, match=r"python lab_work:waits was killed by SIGKILL"):
            await task
        return child

    child = asyncio.run(main())

    assert run("pid") != child


def test_a_child_that_is_killed_when_idle_is_replaced_unnoticed(session: Session):
    first = run("pid")
    os.kill(first, signal.SIGKILL)

    assert run("pid") != first
    assert "killed" not in session.log.read_text()


def test_a_child_that_is_killed_before_it_begins_is_replaced_unnoticed(session: Session):
    first = run("pid")
    os.kill(first, signal.SIGSTOP)  # it will not look at what it is asked for

    async def main() -> int:
        task = asyncio.create_task(compute(lab("pid")))
        await until(lambda: "[2 python" in session.log.read_text())
        os.kill(first, signal.SIGKILL)
        return await task

    assert asyncio.run(main()) != first
    assert "killed" not in session.log.read_text()


def test_an_idle_child_ends(session: Session, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(child_module, "IDLE", 0.05)
    first = run("pid")

    assert eventually(lambda: not is_alive(first))
    assert run("pid") != first
    assert "failed" not in session.log.read_text()


def test_loops_of_several_threads_share_the_child(session: Session, tmp_path: Path):
    found: dict[int, list[int]] = {}
    start = threading.Barrier(3)

    async def several(one: Session) -> list[int]:
        with use_session(one):
            return await asyncio.gather(*(compute(lab("note"), text=str(number)) for number in range(5)))

    def work(number: int) -> None:
        start.wait()
        found[number] = asyncio.run(several(make_session(tmp_path / str(number))))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({pid for pids in found.values() for pid in pids}) == 1
    assert [(tmp_path / str(number) / "notes").read_text() for number in range(3)] == ["01234"] * 3
    assert [run("pid")] == found[0][:1]  # it does not end with the thread that asked first


OWNER = """
import asyncio, os, sys, time
from pathlib import Path
import lab_work
from stargazer.tasks.tools import Session, compute, use_session

folder, then = Path(sys.argv[1]), sys.argv[2]

def ask(function=lab_work.pid, **arguments):
    with use_session(Session(folder=folder, log=folder / "log")):
        return asyncio.run(compute(function, **arguments))

def tell(text):
    Path(folder, "told.new").write_text(str(text))
    os.rename(folder / "told.new", folder / "told")

if then == "works":
    ask(lab_work.waits, path=folder / "never")
elif then == "forks":
    first = ask()
    if os.fork() == 0:
        assert ask() not in (first, os.getpid())
        sys.exit()
    assert os.wait()[1] == 0
    assert ask() == first
    tell(first)
else:
    tell(ask())
    if then == "idles":
        time.sleep(600)
"""


def owner(session: Session, then: str) -> subprocess.Popen[bytes]:
    modules = Path(importlib.import_module("lab_work").__file__ or "").parent
    return subprocess.Popen(
        [sys.executable, "-c", OWNER, str(session.folder), then],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(modules), os.environ.get("PYTHONPATH", "")])},
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
@pytest.mark.parametrize("then", ["works", "idles"])
def test_a_parent_that_is_killed_leaves_no_child(session: Session, then: str):
    told = session.folder / {"works": "started", "idles": "told"}[then]
    parent = owner(session, then)
    assert eventually(told.exists)

    parent.kill()
    parent.wait()

    assert eventually(lambda: not is_alive(int(told.read_text())))


def test_a_parent_that_ends_leaves_no_child(session: Session):
    assert owner(session, "ends").wait() == 0
    assert eventually(lambda: not is_alive(int((session.folder / "told").read_text())))


def test_a_forked_process_has_a_child_of_its_own(session: Session):
    assert owner(session, "forks").wait() == 0
    assert eventually(lambda: not is_alive(int((session.folder / "told").read_text())))


def test_no_descriptor_and_no_thread_is_left(session: Session):
    def once() -> None:
        with pytest.raises(ToolError):
            run("dies")
        run("pid")

    once()
    descriptors, threads = len(os.listdir("/dev/fd")), threading.active_count()
    for _ in range(3):
        once()

    assert eventually(
        lambda: len(os.listdir("/dev/fd")) <= descriptors and threading.active_count() <= threads
    )
