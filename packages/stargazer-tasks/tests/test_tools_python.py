"""Python functions in a child process: arguments, results, errors, and the rules of the session."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
from operator import attrgetter
from pathlib import Path

import pytest
from stargazer.assets import FormatError, ToolError
from stargazer.tasks.tools import Session, call, use_session

MODULE = """
import os, sys
from stargazer.assets.errors import FormatError

class OddError(FormatError):
    def __init__(self, path, line):
        super().__init__(f"{path}, line {line}")

def echo(**arguments):
    print("echoing")
    return arguments

def read(path):
    return open(path).read()

def fails(text):
    raise FormatError(text)

def fails_oddly():
    raise OddError("x", 3)

def crashes():
    return {}["missing key"]

def dies():
    os.kill(os.getpid(), 9)

def leaves():
    sys.exit(7)

def about():
    return {
        "pid": os.getpid(),
        "threads": os.environ["NUMBA_NUM_THREADS"],
        "parent": os.environ.get("STARGAZER_PARENT"),
        "hash": hash("x"),
        "cwd": os.getcwd(),
    }

def unspeakable():
    return {1, 2}

class Group:
    @staticmethod
    def one(number):
        return number + 1
"""


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (modules := tmp_path / "a lab's modules").mkdir()
    (modules / "lab_functions.py").write_text(MODULE)
    monkeypatch.syspath_prepend(modules)
    monkeypatch.delitem(sys.modules, "lab_functions", raising=False)
    (folder := tmp_path / "work").mkdir()
    with use_session(Session(folder=folder, log=tmp_path / "log", threads=2)) as session:
        yield session


def lab(name: str):
    return attrgetter(name)(importlib.import_module("lab_functions"))


def run(function: str, **arguments):
    return asyncio.run(call(lab(function), **arguments))


def test_arguments_and_result_are_json(session: Session):
    arguments = {"number": 0.1, "text": "a\nb 日本 '\"", "items": [1, None, True, {"x": []}]}

    assert run("echo", **arguments) == arguments


def test_a_path_arrives_relative_to_the_workspace(session: Session):
    (session.folder / "a b\n日本").write_text("here")

    assert run("read", path=session.folder / "a b\n日本") == "here"


def test_a_path_out_of_the_workspace_is_refused(session: Session):
    with pytest.raises(ToolError, match=r"outside of the task's workspace"):
        run("read", path=Path("/etc/passwd"))


def test_large_arguments_and_results_pass(session: Session):
    assert len(run("echo", text="x" * 3_000_000)["text"]) == 3_000_000


def test_a_function_of_a_class_can_be_called(session: Session):
    assert run("Group.one", number=1) == 2


def test_the_call_is_recorded_and_logged(session: Session):
    run("echo", b=1, a=session.folder / "x")

    assert session.commands == [["python", "lab_functions:echo", '{"a": "x", "b": 1}']]
    assert "[1 python lab_functions:echo] echoing" in session.log.read_text().splitlines()


def test_an_error_of_ours_arrives_with_its_class_and_text(session: Session):
    with pytest.raises(FormatError, match=r"^not FASTQ: 日本$"):
        run("fails", text="not FASTQ: 日本")


def test_an_error_whose_class_cannot_be_rebuilt_keeps_its_text(session: Session):
    with pytest.raises(Exception, match=r"^x, line 3$") as error:
        run("fails_oddly")

    assert isinstance(error.value, FormatError)


def test_any_other_exception_is_an_error_of_the_tool(session: Session):
    with pytest.raises(ToolError, match=r"python lab_functions:crashes failed .*: KeyError: 'missing key'"):
        run("crashes")


def test_a_killed_child_is_named(session: Session):
    with pytest.raises(ToolError, match=r"python lab_functions:dies was killed by SIGKILL"):
        run("dies")


def test_a_function_that_exits_is_an_error(session: Session):
    with pytest.raises(ToolError, match=r"exit status 7"):
        run("leaves")


def test_a_function_that_no_child_can_import_is_refused(session: Session):
    with pytest.raises(ValueError, match=r"define it at the top level of a module"):
        asyncio.run(call(lambda: None))


def test_what_is_not_json_is_refused(session: Session):
    with pytest.raises(TypeError, match=r"must be JSON values or paths"):
        run("echo", value={1, 2})
    with pytest.raises(ToolError, match=r"not JSON serializable"):
        run("unspeakable")


def test_the_child_is_another_process_under_the_rules_of_the_session(session: Session):
    first, second = run("about"), run("about")

    assert first["pid"] not in (os.getpid(), second["pid"])
    assert (first["threads"], first["parent"]) == ("2", None)
    assert first["hash"] == second["hash"]
    assert os.path.samefile(first["cwd"], session.folder)
    assert session.peak_memory > 0


def test_cancellation_ends_the_child(session: Session):
    (session.folder / "f").unlink(missing_ok=True)
    os.mkfifo(session.folder / "f")

    async def main() -> None:
        async with asyncio.timeout(0.5):
            await call(lab("read"), path=session.folder / "f")

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert "SIGTERM" in session.log.read_text()


def test_calls_run_side_by_side(session: Session):
    async def main() -> list[int]:
        return await asyncio.gather(*(call(lab("Group.one"), number=number) for number in range(4)))

    assert asyncio.run(main()) == [1, 2, 3, 4]
    assert [json.loads(command[2])["number"] for command in session.commands] == [0, 1, 2, 3]
