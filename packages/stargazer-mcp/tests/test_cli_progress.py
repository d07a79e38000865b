"""What a person sees while tasks run: a live tree on a terminal, lines elsewhere."""

from __future__ import annotations

import contextlib
import datetime
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console
from stargazer.mcp.cli.console import note
from stargazer.mcp.cli.progress import byte_progress, is_live, tasks_shown, working
from stargazer.mcp.cli.task_tree import TaskTree
from stargazer.tasks.execution import Event

from .command import COMMAND, simulate, stargazer

HOSTILE = "\x1b[31mred\x07 \u202eleft 文字文字文字\nnext"
BEGAN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


class Told:
    """Gives events to a tree, each so many seconds after the beginning."""

    def __init__(self, title: str = "w") -> None:
        self.now = 0.0
        self.tree = TaskTree(title, lambda: BEGAN.timestamp() + self.now)

    def __call__(self, kind: Any, task: str, call: int, label: str = "", **details: Any) -> None:
        at = (BEGAN + datetime.timedelta(seconds=self.now)).isoformat()
        self.tree(Event(kind=kind, task=task, call=call, label=label, at=at, **details))

    def drawn(self, width: int = 100, height: int = 40) -> list[str]:
        """The lines that a terminal of this size shows."""
        console = Console(
            file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None
        )
        console.print(self.tree)
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue().splitlines()


@pytest.fixture
def told() -> Told:
    return Told()


def words(line: str, start: int = 0) -> str:
    """The words of a line, without what parts its columns."""
    return " ".join(line.split()[start:])


def test_before_anything_happens_it_says_so(told: Told) -> None:
    told.now = 3
    assert told.drawn() == ["w  0:03  starting ..."]


def test_what_runs_has_its_time_and_memory_and_what_waits_its_reason(told: Told) -> None:
    told("waiting", "align", 1, "NA1 L1")
    told("waiting", "align", 2, "NA2 L1", note="gatk is downloaded first: 3 of 135 MB\nmore")
    told("waiting", "align", 3, "NA3 L1")
    told.now = 10
    told("started", "align", 1, "NA1 L1")
    told.now = 12
    told("progress", "align", 1, "NA1 L1", seconds=2.0, memory=4_100_000_000)
    told.now = 75
    head, task, running, waiting = told.drawn()
    assert head == "w  1:05  1 running, 2 waiting"
    assert words(task, 1) == "align 1:05 4.1 GB 1 running, 2 waiting"
    assert words(running) == "NA1 L1 1:05 4.1 GB"
    assert words(waiting) == "1 waiting gatk is downloaded first: 3 of 135 MB"


def test_a_finished_task_is_one_line(told: Told) -> None:
    told("memo hit", "align", 1)
    for call, seconds in ((2, 3.0), (3, 125.0)):
        told.now = 0
        told("started", "align", call)
        told.now = seconds
        told("finished", "align", call, seconds=seconds, memory=int(seconds) * 1_000_000)
    told("memo hit", "sort", 4)
    told.now = 1000
    assert told.drawn()[1:] == [
        "ok      align     2:05  125 MB  2 done, 1 remembered, longest 2:05",
        "ok      sort                    1 remembered",
    ]


def test_times_are_those_of_the_events_also_if_they_are_told_later_and_the_clock_went_backwards(
    told: Told,
) -> None:
    told.now = 1000
    told("started", "align", 1)
    told("finished", "align", 1, seconds=60.0)
    told("started", "sort", 2)
    told("progress", "sort", 2, seconds=50.0, memory=1)
    told.now = 0
    assert words(told.drawn()[1]) == "ok align 1:00 1 done"
    assert words(told.drawn()[3]) == "call 2 0:50 1 B"


def test_one_that_fails_among_many_is_named_with_its_reason(told: Told) -> None:
    for call in range(1, 51):
        told("waiting", "align", call, f"NA{call}")
    told("started", "align", 7, "NA7")
    told(
        "failed",
        "align",
        7,
        "NA7",
        seconds=4.0,
        note="bwa failed with exit status 1: no space\n  command: bwa",
    )
    for call in range(1, 51):
        if call != 7:
            told("failed", "align", call, f"NA{call}", note="CancelledError")
    told.tree.over = True
    assert [words(line) for line in told.drawn()[1:]] == [
        "failed align 4.0 s 1 failed, 49 stopped",
        "NA7 4.0 s bwa failed with exit status 1: no space",
    ]


def test_only_stopped_is_not_failed(told: Told) -> None:
    told("started", "align", 1)
    told("failed", "align", 1, note="CancelledError")
    assert told.drawn()[1].split()[:2] == ["stopped", "align"]


@pytest.mark.parametrize("width", [1, 5, 20, 80])
@pytest.mark.parametrize("height", [1, 2, 5, 12, 24])
def test_it_fits_any_terminal_whatever_things_are_called(told: Told, width: int, height: int) -> None:
    for call in range(60):
        task = f"{call % 25}{HOSTILE * 3}"
        told("started", task, call, HOSTILE * 5)
        if call % 25 < 18:
            told("finished", task, call, HOSTILE, seconds=call)
        elif call == 59:
            told("failed", task, call, HOSTILE, note=HOSTILE)
    lines = told.drawn(width, height)
    assert len(lines) <= max(2, height - 1)
    assert max(map(cell_len, lines)) <= width
    assert all(line.isprintable() for line in lines)


def test_where_the_terminal_is_low_the_oldest_finished_become_one_line(told: Told) -> None:
    for task in range(20):
        told("started", f"task{task}", task)
        told("finished", f"task{task}", task, seconds=task, memory=task * 1_000_000)
    for call in range(20, 40):
        told("started", "now", call, f"piece {call}")
    low = told.drawn(height=12)
    assert words(low[1]) == "ok 20 tasks before 19.0 MB 20 done, longest 0:19"
    assert low[2].split()[1:3] == ["now", "0:00"]
    assert low[-1].strip() == "and 13 more"
    some = told.drawn(height=30)
    assert some[1].split()[1:4] == ["14", "tasks", "before"]
    assert [line.split()[1] for line in some[2:8]] == [f"task{task}" for task in range(14, 20)]
    told.tree.over = True
    assert len(told.drawn(height=12)) == 1 + 20 + 1 + 20


def test_a_kind_of_event_that_is_not_known_is_passed_over(told: Told) -> None:
    told("resumed", "align", 1)
    assert len(told.drawn()) == 1


def test_lines_say_what_matters(capsys: pytest.CaptureFixture[str]) -> None:
    with tasks_shown("w") as show:
        for call in range(1, 4):
            show(Event(kind="waiting", task="align", call=call, label=f"NA{call}"))
            show(Event(kind="started", task="align", call=call, label=f"NA{call}"))
            show(Event(kind="progress", task="align", call=call, label=f"NA{call}", memory=1))
        show(Event(kind="finished", task="align", call=1, label="NA1", seconds=3.25, memory=2_000_000))
        show(Event(kind="finished", task="sort", call=4, seconds=3725.0))
        show(Event(kind="memo hit", task="sort", call=5, label=HOSTILE))
        show(Event(kind="waiting", task="call", call=6, note="gatk is downloaded first"))
        show(Event(kind="failed", task="align", call=2, label="NA2", note="no space\n  command: bwa"))
        for call in (3, 6):
            show(Event(kind="failed", task="align", call=call, note="CancelledError"))
    assert capsys.readouterr().err.splitlines() == [
        "align NA1: running",
        "align NA1: done in 3.2 s, 2.0 MB",
        "sort: done in 1 h 2 min",
        r"sort \x1b[31mred\x07 \u202eleft 文字文字文字\nnext: remembered",
        "call: gatk is downloaded first",
        "align NA2: failed: no space",
        "2 task calls stopped",
    ]


@contextlib.contextmanager
def terminal(height: int, width: int) -> Iterator[tuple[int, bytearray, Callable[[], str]]]:
    """A terminal of this size: where a program writes, what it wrote so far, and all of it, which ends it."""
    ours, theirs = pty.openpty()
    said = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):
            while chunk := os.read(ours, 65_536):
                said.extend(chunk)

    def written() -> str:
        with contextlib.suppress(OSError):
            os.close(theirs)
        reader.join(10)
        return said.decode()

    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield theirs, said, written
    finally:
        written()
        os.close(ours)


@pytest.mark.parametrize(
    ("variables", "live"),
    [({}, True), ({"NO_COLOR": "1"}, True), ({"CI": "false"}, True), ({"CI": "true"}, False),
     ({"TERM": "dumb"}, False), ({"TERM": ""}, False)],
)  # fmt: skip
def test_the_display_is_live_on_a_terminal_that_can_be_drawn_on(
    variables: dict[str, str], live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm", **variables}.items():
        monkeypatch.setenv(name, value)
    with terminal(24, 80) as (descriptor, _, _), open(os.dup(descriptor), "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        assert is_live() == live
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not is_live()


def variables() -> dict[str, str]:
    """The environment of a program in such a terminal."""
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "COLUMNS", "LINES")}
    return {**kept, "TERM": "xterm", "NO_COLOR": "1"}


def wait_for(text: bytes, said: bytearray) -> None:
    """Wait until it was written to a terminal."""
    end = time.monotonic() + 30
    while text not in said:
        assert time.monotonic() < end, said
        time.sleep(0.02)


RUNNING = """
from stargazer.mcp.cli.progress import tasks_shown
from stargazer.tasks.execution import Event

with tasks_shown("w") as show:
    for call in range(30):
        show(Event(kind="started", task="align", call=call, label=f"a long name of sample {call}"))
    input()
"""


def test_a_terminal_that_is_made_smaller_is_drawn_on_as_it_is() -> None:
    with terminal(24, 100) as (descriptor, said, written):
        shown = subprocess.Popen(
            [sys.executable, "-c", RUNNING], stdin=subprocess.PIPE, stderr=descriptor, env=variables()
        )
        wait_for(b"30 running", said)
        ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 6, 30, 0, 0))
        wait_for(b"and 28 more", said)
        shown.communicate(b"\n", timeout=20)
        text = written()
    frames = [
        frame.splitlines() for frame in re.split(r"\r?(?:\x1b\[2K|\x1b\[1A)+", text) if "running" in frame
    ]
    assert len(frames[0]) == 23
    assert len(frames[-2]) == 5
    assert max(len(re.sub(r"\x1b\[[?\d]*[a-z]", "", line)) for line in frames[-2]) == 30
    assert len(frames[-1][:-1]) == 1 + 1 + 30  # the last one stays, and may be scrolled
    assert shown.returncode == 0


def test_a_run_in_a_terminal_ends_with_each_task_on_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    simulate(tmp_path)
    stargazer("add", "tiny.fa", "build=tiny")
    words = [*COMMAND, "run", "prepare_reference", "build=tiny", "aligner=none"]
    with terminal(24, 100) as (descriptor, _, written):
        subprocess.run(
            words,
            stderr=descriptor,
            stdout=subprocess.DEVNULL,
            check=True,
            env=variables(),
        )
        said = written()
    last = said.rpartition("\x1b[2K")[2].splitlines()
    assert "prepare_reference  0:0" in last[0]
    assert "3 done" in last[0]
    assert [line.split()[0] for line in last[1:4]] == ["ok"] * 3
    assert "\x1b[32m" not in said
    assert said.rpartition("\x1b[?25")[2].startswith("h")  # the cursor is shown again


# what has no tasks


def test_silence_is_explained_and_notes_have_lines_of_their_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stargazer.mcp.cli.progress.is_live", lambda: True)
    monkeypatch.setattr("stargazer.mcp.cli.progress.LONG", 0.01)
    shown = ""
    with byte_progress("reading \x1b[31mx") as show:
        while " ... 0." not in shown:
            shown += capsys.readouterr().err
        note("a mate is missing")
        assert show is not None
        while "5.0 MB of 10.0 MB" not in shown:
            show(5_000_000, 10_000_000)
            shown += capsys.readouterr().err
    shown += capsys.readouterr().err
    assert "reading \\x1b[31mx ... 0." in shown
    assert "\x1b[Ka mate is missing\n" in shown
    assert shown.endswith("\r\x1b[K")
    assert [thread.name for thread in threading.enumerate() if thread.name == "stargazer-progress"] == []


def test_where_nothing_can_be_drawn_what_has_no_tasks_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stargazer.mcp.cli.progress.LONG", 0.0)
    with working("reading"), byte_progress("hashing") as show:
        time.sleep(0.05)
    assert show is None
    assert capsys.readouterr().err == ""
