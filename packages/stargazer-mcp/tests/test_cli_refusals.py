"""Whatever a file system refuses, at whichever call: path and remedy are said, and nothing in the store is lost."""

from __future__ import annotations

import builtins
import contextlib
import errno
import fcntl
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from stargazer.mcp.cli import main
from stargazer.storage.client import _clients

VERBS = (
    ["add", "x.fa", "build=X"],
    ["query"],
    ["get", "build=T", "--to", "out"],
    ["run", "prepare_reference", "--help"],
    ["bundle", "show", "t"],
    ["bundle", "fetch", "t"],
    ["bundle", "make", "made", "build=T", "--to", "made"],
    ["fsck"],
    ["fsck", "--full"],
    ["gc"],
    ["evict", "build=T", "--force", "--dry-run"],
    ["config"],
    ["doctor"],
    ["verify", "build=T"],
    ["why", "T.fa"],
)
ERRORS = [
    getattr(errno, name)
    for name in (
        "EACCES", "EPERM", "ENOSPC", "EDQUOT", "EROFS", "EIO", "ENAMETOOLONG", "ELOOP", "ENOTDIR", "EISDIR", "EMFILE",
        "ENFILE", "ESTALE", "EBUSY", "EFBIG", "ENODEV", "ENXIO", "ENOENT", "EEXIST", "ENOTEMPTY", "EXDEV", "EINVAL",
        "ENOSYS", "EOPNOTSUPP", "ETXTBSY", "EMLINK", "ENOLCK", "ENOMEM", "ENOTCONN", "ETIMEDOUT",
    )
]  # fmt: skip
CALLS = [
    *((os, name) for name in (
        "open", "stat", "lstat", "fstat", "replace", "rename", "link", "symlink", "readlink", "unlink", "mkdir",
        "rmdir", "scandir", "listdir", "fsync", "chmod", "utime", "statvfs", "access",
    )),
    (builtins, "open"), (io, "open"), (fcntl, "flock"), (shutil, "copyfile"),
]  # fmt: skip
OURS = (
    "stargazer",
    "pathlib.py",
    "shutil.py",
    "glob.py",
    "tempfile.py",
    "os.py",
    "posixpath.py",
    "genericpath.py",
)
"""Modules whose calls are counted: the machinery of imports is not what fails here."""
PYTHON = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[1]))


class Injection:
    """The nth call that touches a path of the user's fails."""

    def __init__(self, number: int, error: int) -> None:
        self.number, self.error, self.count = number, error, 0

    def __call__(self, real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._is_theirs(args):
            self.count += 1
            if self.count == self.number:
                names = args[:1] if args and isinstance(args[0], str | bytes | os.PathLike) else ()
                raise OSError(self.error, os.strerror(self.error), *map(os.fspath, names))
        return real(*args, **kwargs)

    def _is_theirs(self, args: tuple[Any, ...]) -> bool:
        file = sys._getframe(3).f_code.co_filename
        if not (file.endswith(OURS) or "/stargazer/" in file):
            return False
        named = bool(args) and isinstance(args[0], str | bytes | os.PathLike)
        return not named or not os.fsdecode(args[0]).startswith(PYTHON)


@contextlib.contextmanager
def injected(number: int, error: int) -> Iterator[Injection]:
    injection = Injection(number, error)

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: injection(real, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        for module, name in CALLS:
            patch.setattr(module, name, failing(getattr(module, name)))
        yield injection


def run(*words: str) -> tuple[int, str, str]:
    """A verb as in a process of its own: status, stdout, stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(list(words))
        except SystemExit as ended:
            status = int(ended.code or 0)
    for client in _clients.values():
        client.store.index.close()
    _clients.clear()
    return status, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def laboratory() -> Iterator[Path]:
    """A folder, in memory where that can be had, with a store as it is before each verb, and a reference to add."""
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder = Path(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setenv("STARGAZER_HOME", str(folder / "home"))
            patch.setenv("STARGAZER_LOCAL", str(folder / "store"))
            (folder / "T.fa").write_text(">c\n" + "ACGTTGCA" * 50 + "\n")
            (folder / "x.fa").write_text(">d\n" + "ACGTTGCAA" * 50 + "\n")
            assert run("add", "T.fa", "build=T")[0] == 0
            assert run("bundle", "make", "t", "build=T", "--to", "t")[0] == 0
            for words in VERBS:  # what they import is imported
                run(*words)
            shutil.rmtree(folder / "store")
            assert run("add", "T.fa", "build=T")[0] == 0
            (folder / "store").rename(folder / "kept")
            yield folder


def fails_well(folder: Path, words: list[str], number: int, error: int) -> int:
    """Run a verb of which one call fails; how many calls it made."""
    for name in ("store", "out", "made"):
        shutil.rmtree(folder / name, ignore_errors=True)
    shutil.copytree(folder / "kept", folder / "store", symlinks=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("STARGAZER_HOME", str(folder / "home"))
        patch.setenv("STARGAZER_LOCAL", str(folder / "store"))
        with injected(number, error) as injection:
            status, out, err = run(*words)

        told = f"{words}, call {number}, {errno.errorcode[error]}: {status} {out} {err}"
        assert status in (0, 1), told
        assert "unexpected" not in err, told
        assert "Traceback" not in err, told
        assert "newer Stargazer" not in err + out, told
        if status == 1:
            assert "error: " in err or words[0] in ("doctor", "fsck", "verify"), told
            assert len(err + out) > 30, told
        checked = run("fsck")
        assert checked[0] == 0, f"{told}\nfsck: {checked}"
        assert "sound" in run("fsck")[1], told
        assert '"T"' in run("query", "build=T", "--json")[1], told
    return injection.count


@settings(max_examples=45, deadline=None, derandomize=True)
@given(words=st.sampled_from(VERBS), place=st.floats(0, 1), error=st.sampled_from(ERRORS))
@example(words=VERBS[0], place=0.0, error=errno.ENAMETOOLONG)
@example(words=VERBS[7], place=0.6, error=errno.EMFILE)
def test_no_refusal_is_unexpected_and_nothing_is_lost(
    laboratory: Path, words: list[str], place: float, error: int
) -> None:
    number = 1 + int(place * CALLED.setdefault(tuple(words), fails_well(laboratory, words, 0, error)))
    fails_well(laboratory, words, number, error)


CALLED: dict[tuple[str, ...], int] = {}
"""How many calls of each verb there are."""


@pytest.mark.long
@pytest.mark.parametrize(
    "error", [errno.EIO, errno.EACCES, errno.ENOENT, errno.EMFILE, errno.ENOSPC], ids=errno.errorcode.get
)
@pytest.mark.parametrize("words", VERBS, ids=" ".join)
@pytest.mark.timeout(1200)
def test_no_call_of_a_verb_fails_badly(laboratory: Path, words: list[str], error: int) -> None:
    for number in range(1, fails_well(laboratory, words, 0, error) + 1):
        fails_well(laboratory, words, number, error)


LONG = "n" * 300


@pytest.mark.parametrize(
    "words",
    [
        ["add", LONG],
        ["add", f"folder/{LONG}.fa", "build=U"],
        ["get", "build=T", "--to", LONG],
        ["get", LONG],
        ["bundle", "fetch", f"./{LONG}"],
        ["bundle", "show", f"./{LONG}"],
        ["bundle", "make", "made", "build=T", "--to", LONG],
        ["verify", LONG],
        ["why", LONG],
        ["query", f"build={LONG}"],
        ["run", "prepare_reference", "build=T", "--outdir", LONG],
    ],
    ids=lambda words: " ".join(words)[:30],
)
def test_a_path_that_is_too_long_is_no_surprise(laboratory: Path, words: list[str]) -> None:
    fails_well(laboratory, words, 0, errno.EIO)


@pytest.mark.parametrize("variable", ["STARGAZER_LOCAL", "STARGAZER_HOME", "STARGAZER_INDEX"])
@pytest.mark.parametrize(
    "words", [["query"], ["add", "x.fa", "build=X"], ["fsck"], ["gc"], ["config"], ["doctor"]], ids=" ".join
)
@pytest.mark.parametrize("path", [LONG, "/".join(["d" * 200] * 3)], ids=["name", "path"])
def test_a_setting_that_is_too_long_a_path_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, words: list[str], path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.fa").write_text(">d\n" + "ACGTTGCAA" * 50 + "\n")
    if variable != "STARGAZER_INDEX":
        monkeypatch.delenv("STARGAZER_LOCAL", raising=False)
    monkeypatch.setenv(variable, str(tmp_path / path))

    status, _, err = run(*words)

    assert "unexpected" not in err
    if words[0] == "add":
        assert status == 1
        assert "too long" in err
        assert "STARGAZER_" in err
