"""Edits of a promotion are written all or none, and taken back: also by a later process, after a kill at any point."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import StorageError
from stargazer.mcp.promotion.cells import PromotionError
from stargazer.mcp.promotion.checkout import Checkout
from stargazer.mcp.promotion.edits import difference, recover, undo, write
from stargazer.mcp.promotion.trial import trial

OLD = {"kept.py": b"old\n", "deep/changed.toml": b"x = 1\r\n"}
NEW = {"deep/changed.toml": b"x = 2\n", "made/further/new.py": b"\x00\xff", "kept.py": b"new\n"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    for name, data in OLD.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    (root / "kept.py").chmod(0o755)
    return root


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def content(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def written(root: Path, home: Path) -> None:
    edits = {root / name: data for name, data in NEW.items()}
    seen = {path: path.read_bytes() if path.exists() else None for path in edits}
    write(edits, seen, root, home, "lab.task")


def test_edits_are_written_and_taken_back(root: Path, home: Path) -> None:
    written(root, home)
    assert content(root) == OLD | NEW
    assert (root / "kept.py").stat().st_mode & 0o777 == 0o755
    assert recover(home) is None
    task, files = undo(root, home)
    assert (task, len(files)) == ("lab.task", 3)
    assert content(root) == OLD
    assert not (root / "made").exists()
    with pytest.raises(PromotionError, match="nothing was promoted into"):
        undo(root, home)


def test_the_last_of_several_is_taken_back_first(root: Path, home: Path) -> None:
    written(root, home)
    first = content(root)
    path = root / "kept.py"
    write({path: b"newer\n"}, {path: b"new\n"}, root, home, "lab.other")
    assert undo(root, home)[0] == "lab.other"
    assert content(root) == first
    undo(root, home)
    assert content(root) == OLD


def test_what_was_changed_since_is_not_taken_back(root: Path, home: Path) -> None:
    written(root, home)
    (root / "kept.py").write_text("mine\n")
    (root / "made/further/new.py").unlink()
    before = content(root)
    with pytest.raises(
        PromotionError, match=r"kept\.py, made/further/new\.py changed since lab\.task was promoted"
    ):
        undo(root, home)
    assert content(root) == before


def test_what_changed_after_it_was_read_is_not_overwritten(root: Path, home: Path) -> None:
    path = root / "kept.py"
    with pytest.raises(PromotionError, match="was changed meanwhile; nothing was written"):
        write({path: b"new\n"}, {path: b"older\n"}, root, home, "lab.task")
    assert content(root) == OLD


def test_of_another_checkout_nothing_is_taken_back(root: Path, home: Path, tmp_path: Path) -> None:
    written(root, home)
    with pytest.raises(PromotionError, match="nothing was promoted into"):
        undo(tmp_path / "other", home)
    assert content(root) == OLD | NEW


def test_where_one_file_cannot_be_written_none_is(root: Path, home: Path) -> None:
    edits = {root / "kept.py": b"new\n", root / "deep/changed.toml/in_a_file.py": b"x\n"}
    with pytest.raises(PromotionError, match=r"cannot be written .*; nothing was changed"):
        write(edits, dict.fromkeys(edits) | {root / "kept.py": b"old\n"}, root, home, "lab.task")
    assert content(root) == OLD
    assert recover(home) is None


def test_without_a_place_for_the_journal_nothing_is_written(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="the journal of promotions cannot be kept in"):
        written(root, tmp_path / "file")
    assert content(root) == OLD


def killed_at(number: int, work: Callable[[], object]) -> int:
    """The status of a process that does some work, and is killed before the call of this number that changes a file."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    calls = itertools.count(1)

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **more: Any) -> Any:
            if next(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*words, **more)

        return call

    for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (Path, "mkdir"), (Path, "rmdir")):
        setattr(owner, name, counted(getattr(owner, name)))
    try:
        work()
    finally:
        os._exit(0)


@pytest.mark.parametrize("what", ["write", "undo"])
def test_a_kill_at_any_point_leaves_all_or_nothing(what: str, root: Path, home: Path) -> None:
    whole, points = OLD | NEW, 0
    for number in itertools.count(1):
        before = OLD
        if what == "undo":
            written(root, home)
            before = whole
        status = killed_at(number, lambda: written(root, home) if what == "write" else undo(root, home))
        interrupted = recover(home)  # by the next process
        now = content(root)
        if status == 0:
            assert now == (whole if what == "write" else OLD)
            break
        assert status == signal.SIGKILL
        assert now == (OLD if interrupted else now)
        assert now in (OLD, whole)
        assert now == before or interrupted or what == "write"
        if now == whole:
            undo(root, home)
        points += 1
    assert points > 10
    assert list(root.rglob(".*")) == []


def test_two_processes_do_not_write_at_once(root: Path, home: Path) -> None:
    code = f"""
import fcntl, pathlib, sys
folder = pathlib.Path({str(home)!r}, "promotions"); folder.mkdir(parents=True)
file = open(folder / "lock", "w"); fcntl.flock(file, fcntl.LOCK_EX); print("held", flush=True); sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(StorageError, match="another promote-task is writing"):
            written(root, home)
        other.communicate("")
    assert content(root) == OLD


def test_the_difference_is_what_git_applies(root: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    edits = {root / name: data for name, data in NEW.items() if name != "made/further/new.py"}
    edits |= {root / "made/one.py": b"no line end"}
    patch = difference(edits, root)
    subprocess.run(["git", "apply", "-"], input=patch.encode(), cwd=root, check=True)
    assert {
        root / name: data for name, data in content(root).items() if not name.startswith(".git/")
    } == edits
    binary = difference({root / "made/further/new.py": NEW["made/further/new.py"]}, root)
    assert binary == "Binary file b/made/further/new.py: 2 bytes\n"


def test_a_promotion_whose_branch_is_left_does_not_stand_before_the_one_before_it(
    root: Path, home: Path
) -> None:
    written(root, home)
    path = root / "kept.py"
    write({path: b"newer\n"}, {path: b"new\n"}, root, home, "lab.other")
    path.write_bytes(b"new\n")  # git switch
    with pytest.raises(PromotionError, match=r"the last promotion, lab.other, are as they were before it"):
        undo(root, home)
    assert undo(root, home)[0] == "lab.task"
    assert content(root) == OLD


def test_a_temporary_folder_without_room_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text("a page")

    def full(source: str, place: str, **_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), place)

    monkeypatch.setattr(shutil, "copy2", full)
    monkeypatch.setattr(shutil.copytree, "__defaults__", (False, None, full, False, False))
    with (
        pytest.raises(PromotionError, match=r"No space left on device.*set TMPDIR"),
        trial(Checkout(tmp_path), {}),
    ):
        pass
