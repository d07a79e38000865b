"""`stargazer notebook`: which notebooks there are, and copies of them that leave alone what somebody edited."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from stargazer.assets import StorageError
from stargazer.mcp import gallery
from stargazer.mcp.cli import main
from stargazer.mcp.gallery import COPIED, copy_gallery, find_notebook, notebooks

from .command import COMMAND, mounted, serving, stargazer

ROOT = (Path(__file__) / "../../../..").resolve()
SOURCE = ROOT / "notebooks"
pytestmark = pytest.mark.skipif(not SOURCE.exists(), reason="the notebooks are in no distribution")

BLOCKED = "import sys; sys.modules['marimo'] = None; from stargazer.mcp.cli import main; sys.exit(main())"
"""The command where marimo is not installed."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of copies that is not there yet."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mine"


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gallery that a test may change."""
    copy = tmp_path / "gallery"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__*"))
    monkeypatch.setenv("STARGAZER_NOTEBOOKS", str(copy))
    return copy


@pytest.fixture
def site(source: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same gallery on a web server."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(source.parent))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            asked.append(self.path)

    asked: list[str] = []
    with serving(Handler) as url:
        monkeypatch.setenv("STARGAZER_NOTEBOOKS", f"{url}/gallery/")
        yield url


def contents(folder: Path) -> dict[str, bytes]:
    """What is in a folder of copies, but for what is written down of it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != COPIED
    }


def files() -> list[str]:
    return [each.file for each in notebooks()]


def as_in(source: Path) -> dict[str, bytes]:
    return {file: (source / file).read_bytes() for file in files()}


def test_what_is_written_down_of_the_gallery_is_true() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / ".ci/gallery.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert files()


def test_all_of_the_gallery_is_copied_once(folder: Path) -> None:
    assert copy_gallery(folder).made == files()
    assert contents(folder) == as_in(SOURCE)

    again = copy_gallery(folder)
    assert (again.made, again.updated, again.edited) == ([], [], [])


def test_what_somebody_edited_stays_and_the_rest_is_brought_up_to_date(folder: Path, source: Path) -> None:
    copy_gallery(folder)
    edited, *others = files()
    (folder / edited).write_text("# mine")
    (folder / "own.py").write_text("# my own")
    assert copy_gallery(folder).edited == []  # there is no newer one

    for file in files():
        (source / file).write_text(f"# newer: {file}")
    copies = copy_gallery(folder)

    assert (copies.made, copies.updated, copies.edited) == ([], others, [edited])
    assert contents(folder) == {**as_in(source), edited: b"# mine", "own.py": b"# my own"}

    (folder / edited).rename(folder / "mine.py")
    assert copy_gallery(folder).made == [edited]


def test_a_file_that_nobody_copied_is_somebodys(folder: Path, source: Path) -> None:
    (file, *_) = files()
    (folder / file).parent.mkdir(parents=True)
    (folder / file).write_text("# mine")
    assert copy_gallery(folder).edited == [file]
    assert (folder / file).read_text() == "# mine"

    (folder / COPIED).write_text("{")  # damaged: all might be edited
    for each in files():
        (source / each).write_text("# newer")
    assert copy_gallery(folder).updated == []


def test_a_gallery_that_is_downloaded_is_verified(folder: Path, source: Path, site: str) -> None:
    first, last = notebooks()[0], notebooks()[-1]
    right = (source / last.file).read_bytes()
    (source / last.file).write_bytes(right + b"\nimport os  # somebody else's\n")
    with pytest.raises(StorageError, match="sha256") as refused:
        copy_gallery(folder)
    assert last.file in str(refused.value)
    assert not folder.exists()

    (source / last.file).write_bytes(right)
    copy_gallery(folder)
    assert contents(folder) == as_in(SOURCE)
    assert hashlib.sha256((folder / first.file).read_bytes()).hexdigest() == first.sha256


def test_without_a_clone_the_gallery_is_that_of_the_release(
    folder: Path, source: Path, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gallery.PAGES.startswith("https://")
    assert gallery.PAGES.endswith("stargazer-mcp-v{version}/notebooks")
    monkeypatch.delenv("STARGAZER_NOTEBOOKS")
    monkeypatch.setattr(gallery, "__file__", str(folder / "a/b/c/d/e/f/gallery.py"))  # as in site-packages
    monkeypatch.setattr(gallery, "PAGES", f"{site}/v{{version}}")
    source.rename(source.with_name(f"v{gallery.metadata.version('stargazer-mcp')}"))

    assert copy_gallery(folder).made == files()


def test_offline_it_says_what_was_tried_and_needs_nothing_once_copied(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARGAZER_NOTEBOOKS", "http://127.0.0.1:9/notebooks")
    error = stargazer("notebook", "--folder", str(folder), status=1).stderr
    assert f"http://127.0.0.1:9/notebooks/{files()[0]}" in error
    assert "Set STARGAZER_NOTEBOOKS" in error
    assert not folder.exists()

    monkeypatch.delenv("STARGAZER_NOTEBOOKS")
    copy_gallery(folder)
    monkeypatch.setenv("STARGAZER_NOTEBOOKS", "http://127.0.0.1:9/notebooks")
    assert copy_gallery(folder).made == []


def test_stargazer_notebooks_is_where_the_gallery_comes_from(
    folder: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARGAZER_NOTEBOOKS", str(source))
    (source / files()[0]).write_text("# of the image")
    copy_gallery(folder)
    assert (folder / files()[0]).read_text() == "# of the image"

    (source / files()[0]).unlink()
    with pytest.raises(StorageError, match=Path(files()[0]).name):
        copy_gallery(folder)


def test_the_gallery_of_a_clone_is_opened_where_it_is() -> None:
    before = contents(SOURCE)
    assert copy_gallery(SOURCE).made == ()
    assert contents(SOURCE) == before
    assert not (SOURCE / COPIED).exists()


def test_a_folder_that_cannot_be_written_is_named(folder: Path) -> None:
    folder.write_text("a file")
    with pytest.raises(StorageError, match="is no folder"):
        copy_gallery(folder)
    with pytest.raises(StorageError, match=r"cannot be copied to .* Give another folder with --folder"):
        copy_gallery(folder / "below")
    assert folder.read_text() == "a file"


@pytest.mark.slow
def test_a_read_only_folder_is_opened_as_it_is_or_named(folder: Path) -> None:
    copy_gallery(folder)
    prefix = mounted('mount --bind "$1" "$1" && mount -o remount,ro,bind "$1"', folder)
    check = f"from stargazer.mcp.gallery import *; from pathlib import Path; print(copy_gallery(Path({str(folder)!r})))"
    done = subprocess.run([*prefix, sys.executable, "-c", check], capture_output=True, text=True)
    assert "made=[], updated=[], edited=[]" in done.stdout, done.stderr

    (folder / files()[0]).unlink()
    done = subprocess.run([*prefix, *COMMAND, "notebook", "--folder", folder], capture_output=True, text=True)
    assert done.returncode == 1
    assert "cannot be copied" in done.stderr
    assert "Read-only file system" in done.stderr


def test_a_full_disk_leaves_no_half_of_it(folder: Path, tmp_path: Path) -> None:
    tmp_path.joinpath("disk").mkdir()
    prefix = mounted('mount -t tmpfs -o size=8k tmpfs "$1"', tmp_path / "disk")
    target = tmp_path / "disk" / "mine"
    done = subprocess.run(
        [*prefix, "sh", "-c", '"$@"; echo $?; ls -A "$0"', tmp_path / "disk",
         *COMMAND, "notebook", "--folder", target],
        capture_output=True, text=True,
    )  # fmt: skip
    assert "No space left on device" in done.stderr
    assert done.stdout == "1\n"


def test_the_list_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARGAZER_NOTEBOOKS", "http://127.0.0.1:9/notebooks")
    assert [each["file"] for each in json.loads(stargazer("notebook", "--list", "--json").stdout)] == files()
    listed = stargazer("notebook", "--list").stdout
    assert all(each.name in listed and each.title in listed for each in notebooks())


def test_a_notebook_is_found_by_its_name_or_file() -> None:
    for each in notebooks():
        assert find_notebook(each.name) == find_notebook(each.file) == each
    error = stargazer("notebook", "germ", status=1).stderr
    assert f"it has {', '.join(each.name for each in notebooks())}" in error


@pytest.mark.parametrize(
    "words", [["--port", "x"], ["--json"], ["a", "b"], ["a=b"], ["--list", "results"], ["--port", "99999"]]
)
def test_words_that_make_no_sense(words: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["notebook", *words])


def test_without_the_extra_it_says_what_brings_it(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, "notebook", "--folder", folder], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "pip install 'stargazer-mcp[notebook]'" in done.stderr
    assert not folder.exists()
    assert os.listdir(folder.parent) == []


def test_a_port_that_is_taken_is_said_before_marimo_starts(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["notebook", "--folder", str(folder), "--no-browser", "--port", str(port)]) == 1

    told = capsys.readouterr().err
    assert f"cannot listen at 127.0.0.1, port {port}: Address already in use" in told
    assert "or leave it out" in told
    assert not folder.exists()
