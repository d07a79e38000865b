"""Files chosen or dropped on a page reach the store as what they are, and what is wrong is said beside them."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from stargazer.storage import LocalStorageClient

from .notebook_browser import Opened, open_page, serve, settled

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
