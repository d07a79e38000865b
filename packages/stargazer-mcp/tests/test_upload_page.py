"""Files chosen or dropped on a page reach the store as what they are, and what is wrong is said beside them."""

from __future__ import annotations

import base64
import gzip
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from stargazer.storage import LocalStorageClient

from .notebook_browser import SECONDS, Opened, open_page, run_all, serve, settled

if TYPE_CHECKING:
    from playwright.sync_api import Page

NOTEBOOK = """
import marimo

app = marimo.App()

@app.cell
def _():
    from stargazer.workflows import notebook as nb
    added = nb.upload()
    added
    return (added, nb)

@app.cell
def _(added, nb):
    nb.plain(f"{len(added.value)} in Python: " + ", ".join(record.name for record in added.value))
    return
"""
FASTA = ">chr1\nACGTACGTAC\n"
DROP = """([zone, files]) => {
  const transfer = new DataTransfer();
  for (const [name, text] of files) {
    const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
    transfer.items.add(new File([bytes], name));
  }
  for (const name of ["dragover", "drop"])
    zone.dispatchEvent(new DragEvent(name, { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""
"""Drops files on an element, as a mouse does."""
SIZE, WAITED_FOR = 5_000_000_000, 200_000_000
MOST_GROWTH = 100_000_000
"""Bytes by which the memory of the server may grow: a small part of the file."""
READS = "@pair/{0}\nACGTACGTAC\n+\nIIIIIIIIII\n"

pytestmark = pytest.mark.browser


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def client(home: Path) -> LocalStorageClient:
    return LocalStorageClient(home / "local")


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    path = tmp_path / "upload.py"
    path.write_text(NOTEBOOK)
    return path


@pytest.fixture
def page(notebook: Path, home: Path) -> Iterator[Opened]:
    """The notebook as an app."""
    with serve(notebook, "run", home=home) as served, open_page(served.url) as opened:
        settled(opened.page)
        yield opened


def reads(folder: Path, sample: str) -> list[Path]:
    """A file of first reads and one of their mates."""
    paths = [folder / f"{sample}_L001_R{mate}.fq.gz" for mate in (1, 2)]
    for mate, path in enumerate(paths, 1):
        path.write_bytes(gzip.compress(READS.format(mate).encode()))
    return paths


def staged(home: Path) -> list[Path]:
    """What lies in the private folders of uploads."""
    return sorted(path for path in (home / "local" / "work").glob("upload-*/**/*") if path.is_file())


def choose(page: Page, *paths: Path) -> None:
    page.locator("input[type=file]").set_input_files(paths)


def drop(page: Page, **files: bytes) -> None:
    """Drop files by name on the zone."""
    given = [[name, base64.b64encode(data).decode()] for name, data in files.items()]
    page.locator(".zone").evaluate(f"(zone, files) => ({DROP})([zone, files])", given)


def wait_until(page: Page, happened: Callable[[], object], seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, page.locator(".sg-upload").inner_text()
        page.wait_for_timeout(100)


def test_mates_are_chosen_looked_at_and_added(
    page: Opened, tmp_path: Path, client: LocalStorageClient, home: Path
) -> None:
    page.page.locator("input[type=file]").set_input_files(reads(tmp_path, "anna"))
    page.page.get_by_text("goes with anna_L001_R1.fq.gz").wait_for()
    assert page.page.get_by_label("sample of anna_L001_R1.fq.gz").input_value() == "anna"
    for mate in (1, 2):
        page.page.get_by_label(f"sample of anna_L001_R{mate}.fq.gz").fill("berta")
    page.page.get_by_role("button", name="Add 2 files").click()
    page.page.get_by_text("2 in Python: anna_L001_R1.fq.gz, anna_L001_R2.fq.gz").wait_for()

    first, second = client.store.query({"sample": "berta", "lane": "L001"})
    assert (first.keyvalues["asset"], second.keyvalues["r1_cid"]) == ("r1", first.cid)
    assert staged(home) == []
    page.assert_well()


@pytest.mark.long
def test_files_are_dropped_and_what_is_wrong_is_said_beside_them(
    page: Opened, client: LocalStorageClient, home: Path
) -> None:
    odd = "-ü <img src=x onerror=alert(1)> .fa"
    drop(page.page, **{odd: FASTA.encode(), "empty.vcf": b"", "x.bam": b"nonsense"})
    page.page.get_by_text("'empty.vcf' is empty: choose the file that has the data").wait_for()
    page.page.get_by_label("sample of x.bam").fill("anna")
    page.page.get_by_label(f"build of {odd}").fill("tiny")
    page.page.get_by_role("button", name="Add 2 files").click()
    page.page.get_by_text(f"1 in Python: {odd}").wait_for()
    page.page.get_by_text("'x.bam' is neither BAM nor CRAM").wait_for()

    (record,) = client.store.query({"asset": "reference"})
    assert (record.name, record.keyvalues["build"]) == (odd, "tiny")
    assert page.page.get_by_label("sample of x.bam").input_value() == "anna"
    assert [path.name for path in staged(home)] == ["x.bam"]
    page.page.get_by_label("Remove x.bam").click()
    wait_until(page.page, lambda: not staged(home))
    drop(page.page, **{odd: FASTA.encode()})
    page.page.get_by_label(f"build of {odd}").fill("tiny")
    page.page.get_by_role("button", name="Add", exact=True).click()
    page.page.get_by_text(f"already registered: {odd}").wait_for()
    page.assert_well()


@pytest.mark.long
def test_a_table_is_kept_with_keys_of_ones_own(page: Opened, client: LocalStorageClient) -> None:
    drop(page.page, **{"genes of mine.xlsx": b"PK\x03\x04 a table"})
    kind = page.page.get_by_label("type of genes of mine.xlsx")
    assert kind.input_value() == "file"
    kind.select_option("reference")  # and back: what is proposed is of the type that is chosen
    page.page.get_by_label("build of genes of mine.xlsx").wait_for()
    kind.select_option("file")
    page.page.get_by_label("notes of genes of mine.xlsx").fill("by hand")
    own = page.page.get_by_label("keys of your own of genes of mine.xlsx")
    own.fill("project=brca name=x")
    page.page.get_by_role("button", name="Add", exact=True).click()
    page.page.get_by_text("name is said more than once").wait_for()
    own.fill("project=brca owner='Anna B'")
    page.page.get_by_role("button", name="Add", exact=True).click()
    page.page.get_by_text("1 in Python: genes of mine.xlsx").wait_for()

    (record,) = client.store.query({"asset": "file", "project": "brca"})
    assert record.keyvalues.items() >= {"owner": "Anna B", "notes": "by hand", "name": record.name}.items()
    page.assert_well()


@pytest.mark.long
def test_a_file_that_changes_while_it_is_read_is_said(page: Opened, tmp_path: Path, home: Path) -> None:
    path = tmp_path / "large.fa"
    with path.open("wb") as file:
        file.truncate(400_000_000)
    choose(page.page, path)
    wait_until(page.page, lambda: any(found.stat().st_size for found in staged(home)))
    path.write_bytes(b"changed")
    page.page.get_by_text("The browser cannot read large.fa").wait_for()
    wait_until(page.page, lambda: not staged(home))
    page.assert_well()


@pytest.mark.long
def test_an_upload_is_cancelled(page: Opened, tmp_path: Path, home: Path) -> None:
    path = tmp_path / "large.fa"
    with path.open("wb") as file:
        file.truncate(400_000_000)
    choose(page.page, path)
    wait_until(page.page, lambda: any(found.stat().st_size for found in staged(home)))
    page.page.get_by_label("Cancel large.fa").click()
    wait_until(page.page, lambda: not staged(home))
    page.page.get_by_text("large.fa").wait_for(state="detached")
    page.assert_well()


@pytest.mark.long
def test_two_pages_add_at_once_and_a_page_that_is_closed_leaves_nothing(
    notebook: Path, home: Path, tmp_path: Path, client: LocalStorageClient
) -> None:
    large = tmp_path / "large.fa"
    with large.open("wb") as file:
        file.truncate(4_000_000_000)
    with (
        serve(notebook, "run", home=home, options=["--session-ttl", "1"]) as served,
        open_page(served.url) as opened,
    ):
        one, other = opened.page, opened.page.context.new_page()
        other.goto(served.url, wait_until="domcontentloaded")
        settled(one)
        settled(other)
        choose(other, large)
        choose(one, *reads(tmp_path, "anna"))
        wait_until(
            other, lambda: any(path.name == "large.fa" and path.stat().st_size for path in staged(home))
        )
        one.get_by_role("button", name="Add 2 files").click()
        one.get_by_text("2 in Python").wait_for()
        assert other.get_by_text("0 in Python").is_visible()
        other.close()
        wait_until(one, lambda: not staged(home))
        assert {record.name for record in client.store.query({"sample": "anna"})} == {
            "anna_L001_R1.fq.gz",
            "anna_L001_R2.fq.gz",
        }
        opened.assert_well()


@pytest.mark.long
def test_the_editor_takes_a_path_and_an_app_does_not(
    notebook: Path, home: Path, tmp_path: Path, client: LocalStorageClient
) -> None:
    path = tmp_path / "my genome.fa"
    path.write_text(FASTA)
    with serve(notebook, "edit", home=home) as served, open_page(served.url) as opened:
        run_all(opened.page)
        opened.page.get_by_label("Path on this machine").fill(str(path))
        opened.page.get_by_role("button", name="Take it from there").click()
        opened.page.get_by_label("build of my genome.fa").fill("mine")
        opened.page.get_by_role("button", name="Add", exact=True).click()
        opened.page.get_by_text("1 in Python: my genome.fa").wait_for()
        opened.assert_well()
    assert [record.keyvalues["build"] for record in client.store.query({"asset": "reference"})] == ["mine"]
    with serve(notebook, "run", home=home) as served, open_page(served.url) as opened:
        opened.page.get_by_role("button", name="Choose files").wait_for()
        assert opened.page.get_by_label("Path on this machine").count() == 0


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_page_that_is_opened_again_says_what_did_not_arrive(
    notebook: Path, home: Path, tmp_path: Path
) -> None:
    large = tmp_path / "large.fa"
    with large.open("wb") as file:
        file.truncate(4_000_000_000)
    with serve(notebook, "edit", home=home) as served, open_page(served.url) as opened:
        run_all(opened.page)
        choose(opened.page, large)
        wait_until(opened.page, lambda: any(path.stat().st_size for path in staged(home)))
        opened.page.reload(wait_until="domcontentloaded")
        opened.page.get_by_text("closed before 'large.fa' had arrived").wait_for()
        assert staged(home) == []


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_file_of_5_gb_takes_no_memory(
    notebook: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It arrives piece by piece, as far as it is waited for."""
    psutil = pytest.importorskip("psutil", reason="no psutil: the memory of a large upload is not measured")
    if shutil.disk_usage(tmp_path).free < 2 * SIZE:
        pytest.skip("NOT MEASURED: the disk has no room for 5 GB and its copy")
    large = tmp_path / "large.fa"
    with large.open("wb") as file:
        file.truncate(SIZE)
    with serve(notebook, "run", home=home) as served, open_page(served.url) as opened:
        page = opened.page
        settled(page)
        server = psutil.Process(served.process.pid)

        def memory() -> int:
            processes = [server, *server.children(recursive=True)]
            return sum(process.memory_info().rss for process in processes)

        before, most, began, arrived = memory(), 0, time.monotonic(), 0
        choose(page, large)
        page.get_by_label("large.fa arrives").wait_for()
        while arrived < WAITED_FOR:
            most = max(most, memory())
            page.wait_for_timeout(500)
            arrived = sum(path.stat().st_size for path in staged(home))
        took = time.monotonic() - began
        with capsys.disabled():
            print(
                f"\n- {arrived / 1e6:.0f} MB of 5 GB in {took:.0f} s, {(most - before) / 1e6:.0f} MB of memory -"
            )
        assert most - before < MOST_GROWTH
        page.get_by_label("Cancel large.fa").click()
        page.get_by_label("large.fa arrives").wait_for(state="detached")
        assert staged(home) == []
        opened.assert_well()
