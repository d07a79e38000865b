"""Commands and pipelines: arguments, streams, the log, the record for provenance, errors."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from stargazer.assets import ToolError
from stargazer.tasks.tools import Command, ResolvedTool, Session, Tool, expect, use_session

python = Tool("py", ())
ODD_NAMES = ["a b.txt", 'it\'s "quoted".txt', "new\nline.txt", "zürich-日本.txt", "-o", "$HOME;`id`.txt", "*"]


@pytest.fixture
def session(tmp_path: Path):
    (folder := tmp_path / "work space").mkdir()
    tools = {"py": ResolvedTool("py", "3", "PATH", (sys.executable,))}
    with use_session(Session(folder=folder, log=tmp_path / "log", tools=tools, threads=3)) as session:
        yield session


def run(command: Command):
    async def main():
        return await command

    return asyncio.run(main())


def text(command: Command) -> str:
    return asyncio.run(command.text())


def script(source: str, *args: object, **redirections: Path) -> Command:
    return python("-c", source, *args, **redirections)  # type: ignore[arg-type]


SAY_ARGUMENTS = "import sys, json; print(json.dumps(sys.argv[1:]))"
COPY = "import sys, shutil; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"


def test_text_is_what_the_command_prints(session: Session):
    assert text(script("print('grüezi')")) == "grüezi\n"


def test_arguments_reach_the_tool_as_they_are(session: Session):
    arguments = ["a b", "", "$HOME", "'\"\n", "日本", 7, 0.1, "-x", "*"]

    assert json.loads(text(script(SAY_ARGUMENTS, *arguments))) == [str(argument) for argument in arguments]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_path_of_the_workspace_is_relative_and_never_an_option(session: Session, name: str):
    path = session.folder / name
    path.write_text("here")
    expected = f"./{name}" if name.startswith("-") else name

    said = text(script("import sys; print(sys.argv[1], open(sys.argv[1]).read(), sep='|', end='')", path))

    assert said == f"{expected}|here"
    assert session.commands[-1][-1] == expected


@pytest.mark.parametrize("path", [Path("/etc/passwd"), Path("../other"), Path("a/../../b")])
def test_a_path_out_of_the_workspace_is_refused(session: Session, path: Path):
    with pytest.raises(ToolError, match=r"outside of the task's workspace"):
        run(script("", path))


def test_the_workspace_inside_a_text_is_refused(session: Session):
    with pytest.raises(ToolError, match=r"as an argument of its own"):
        run(script("", f"--output={session.folder / 'x'}"))


@pytest.mark.parametrize("value", [None, True, b"x", ["x"]])
def test_what_is_no_argument_is_refused_at_once(value: object):
    with pytest.raises(TypeError, match=r"is not an argument"):
        python(value)  # type: ignore[arg-type]


def test_a_nul_character_is_refused_at_once():
    with pytest.raises(ValueError, match=r"NUL"):
        python("a\0b")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_streams_are_redirected_from_and_to_files(session: Session, name: str):
    (session.folder / name).write_bytes(b"\x00\xff")

    run(script(COPY, stdin=session.folder / name, stdout=session.folder / "out"))

    assert (session.folder / "out").read_bytes() == b"\x00\xff"


def test_a_missing_file_for_stdin_is_an_error(session: Session):
    with pytest.raises(ToolError, match=r"cannot open 'missing' as its stdin: No such file"):
        run(script(COPY, stdin=Path("missing")))


def test_without_redirection_stdin_is_empty(session: Session):
    assert text(script("import sys; print(repr(sys.stdin.read()))")) == "''\n"


def test_a_pipeline_joins_stdout_and_stdin(session: Session):
    double = script("import sys; [print(int(line) * 2) for line in sys.stdin]")

    assert text(script("print(1); print(2)") | double | double) == "4\n8\n"


def test_pipelines_join_with_pipelines(session: Session):
    copy = script(COPY)

    assert text((script("print(1)") | copy) | (copy | copy)) == "1\n"


def test_a_pipeline_moves_more_than_a_pipe_holds(session: Session):
    size = 8 << 20

    run(
        script(f"import sys; sys.stdout.buffer.write(bytes({size}))")
        | script(COPY, stdout=session.folder / "out")
    )

    assert (session.folder / "out").stat().st_size == size


def test_only_the_ends_of_a_pipeline_can_be_files(session: Session):
    with pytest.raises(ValueError, match=r"only the last command"):
        script(COPY, stdout=Path("x")) | script(COPY)
    with pytest.raises(ValueError, match=r"only the first command"):
        script(COPY) | script(COPY, stdin=Path("x"))


def test_the_log_holds_command_lines_and_all_output(session: Session):
    run(script("import sys; print('to stdout'); print('to stderr\\rwith progress', file=sys.stderr)", "a b"))

    log = session.log.read_text().splitlines()
    assert log[0].startswith("[1 py] $ py -c 'import sys")
    assert log[0].endswith("'a b'")
    assert sorted(log[1:-1]) == ["[1 py] to stderr", "[1 py] to stdout", "[1 py] with progress"]
    assert log[-1].startswith("[1 py] done in ")


def test_the_log_says_which_stage_speaks(session: Session):
    run(
        script("import sys; print('first', file=sys.stderr)")
        | script("import sys; print('second', file=sys.stderr)")
    )

    assert {"[1 py] first", "[2 py] second"} <= set(session.log.read_text().splitlines())


def test_output_without_a_newline_reaches_log_and_tail(session: Session):
    said = run(script("import sys; sys.stderr.buffer.write(b'\\xff' + b'x' * 200_000)"))

    assert said == "x" * len(said)
    assert session.log.read_text(errors="replace").count("x") >= 200_000


def test_commands_are_recorded_by_tool_without_local_paths(session: Session):
    run(script("pass", session.folder / "x.bam") | script("pass", 4))

    assert session.commands == [["py", "-c", "pass", "x.bam"], ["py", "-c", "pass", "4"]]


def test_a_failing_tool_is_an_error_that_puts_the_useful_line_first(session: Session):
    noise = "".join(f"print('step {n}', file=sys.stderr);" for n in range(9))

    with pytest.raises(ToolError) as error:
        run(
            script(
                f"import sys; {noise} print('[E::open] no such file: x', file=sys.stderr); sys.exit(3)", "a b"
            )
        )

    lines = str(error.value).splitlines()
    assert lines[0] == "py failed with exit status 3: [E::open] no such file: x"
    assert lines[1].startswith("  command: py -c ")
    assert str(session.log) in lines[-1]


def test_a_tool_can_say_which_line_is_useful(session: Session):
    picky = Tool("py", (), useful_line=lambda said: f"picked from {len(said.splitlines())}")

    with pytest.raises(ToolError, match=r"exit status 1: picked from 2"):
        run(picky("-c", "import sys; sys.exit('a\\nb')"))


def test_a_tool_killed_by_a_signal_is_named(session: Session):
    with pytest.raises(ToolError, match=r"py was killed by SIGKILL"):
        run(script("import os; os.kill(os.getpid(), 9)"))


def test_a_failing_stage_in_the_middle_fails_the_pipeline_and_ends_the_others(session: Session):
    endless = script("while True: print('x' * 1000)")
    waits = script("import sys, time; sys.stdin.read(); time.sleep(600)")

    with pytest.raises(ToolError, match=r"py failed with exit status 5: middle"):
        run(endless | script("import os, sys; os.write(2, b'middle'); sys.exit(5)") | waits)


def test_a_killed_first_stage_is_blamed_rather_than_who_complains_about_its_output(session: Session):
    complains = script("import sys; sys.stdin.read() or sys.exit('truncated input')")

    with pytest.raises(ToolError, match=r"killed by SIGKILL"):
        run(script("import os; os.kill(os.getpid(), 9)") | complains)


def test_a_failing_first_stage_fails_the_pipeline_although_the_last_succeeds(session: Session):
    with pytest.raises(ToolError, match=r"exit status 4"):
        run(script("import sys; sys.exit(4)") | script(COPY))


def test_who_stops_reading_is_blamed_rather_than_who_writes(session: Session):
    writes = script("import sys\nwhile True: sys.stdout.write('x' * 1000)")

    with pytest.raises(ToolError, match=r"exit status 6: I give up"):
        run(writes | script("import os; os.write(2, b'I give up'); os._exit(6)"))


def test_a_reader_that_ends_early_without_an_error_fails_the_pipeline(session: Session):
    writes = script("import signal; signal.signal(13, signal.SIG_DFL)\nwhile True: print('x' * 1000)")

    with pytest.raises(ToolError, match=r"SIGPIPE \(what reads its output ended early\)"):
        run(writes | script("input()"))


def test_a_program_that_cannot_start_is_an_error_and_ends_the_others(session: Session):
    session.tools = {**session.tools, "gone": ResolvedTool("gone", "1", "PATH", ("/no/such/program",))}

    with pytest.raises(ToolError, match=r"gone could not be started: .*No such file"):
        run(script("import time; time.sleep(600)") | Tool("gone", ())())


def test_an_undeclared_tool_is_an_error(session: Session):
    with pytest.raises(ToolError, match=r"samtools is not declared by this task \(declared: py\)"):
        run(Tool("samtools", ())("sort"))


def test_a_command_outside_of_a_task_is_an_error():
    with pytest.raises(ToolError, match=r"inside a task"):
        run(script("pass"))


def test_the_environment_is_small_and_holds_no_secret(session: Session, monkeypatch: pytest.MonkeyPatch):
    for name in (
        "PINATA_JWT",
        "GITHUB_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "STARGAZER_HOME",
        "LANG",
        "PYTHONPATH",
    ):
        monkeypatch.setenv(name, "secret")
    session.environment = {"NUMBA_CACHE_DIR": "/cache"}

    environment = json.loads(text(script("import os, json; print(json.dumps(dict(os.environ)))")))

    folder = str(session.folder)
    assert "secret" not in environment.values()
    assert environment["PATH"] == os.environ["PATH"]
    assert (environment["HOME"], environment["TMPDIR"]) == (folder, folder)
    assert (environment["TZ"], environment["LC_ALL"]) == ("UTC", "C")
    assert (environment["OMP_NUM_THREADS"], environment["NUMBA_NUM_THREADS"]) == ("3", "3")
    assert environment["NUMBA_CACHE_DIR"] == "/cache"


def test_descriptors_of_the_session_are_inherited_and_no_others(session: Session):
    read_end, write_end = os.pipe()
    session.pass_fds = (write_end,)

    seen = text(script("import os; print([fd for fd in range(3, 4096) if os.path.exists(f'/dev/fd/{fd}')])"))

    os.close(read_end)
    os.close(write_end)
    assert json.loads(seen) in ([write_end], sorted([3, write_end]))  # 3: /dev/fd itself while it is listed


def test_peak_memory_is_that_of_the_largest_process(session: Session):
    hold = "import time; held = bytearray({} << 20); time.sleep(0.3)"

    run(script(hold.format(120)) | script(hold.format(10)))

    assert 120 << 20 < session.peak_memory < 200 << 20


def test_peak_memory_is_not_that_of_our_own_process(session: Session):
    ours = bytearray(400 << 20)

    run(script("import time; time.sleep(0.2)"))

    assert ours
    assert 1 << 20 < session.peak_memory < 200 << 20


def test_expect_gives_back_an_output_that_is_there(session: Session):
    (session.folder / "x.bam").write_bytes(b"x")

    assert expect("x.bam", by="samtools sort") == session.folder / "x.bam"


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.touch(), lambda path: path.mkdir()])
def test_an_output_that_is_missing_or_empty_is_an_error(session: Session, make):
    make(session.folder / "x.bam")

    with pytest.raises(ToolError, match=r"samtools sort wrote nothing: .*'x.bam'"):
        expect(session.folder / "x.bam", by="samtools sort")
