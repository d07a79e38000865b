"""The genome browser as people see it: reads and calls drawn, moved from Python, its region told back, nothing asked outside.

`pytest --pictures FOLDER` writes docs/pictures/genome-browser.png anew.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .notebook_browser import Opened, drawn, open_page, serve

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytest.importorskip("anywidget", reason="NOT TESTED: pip install 'stargazer-mcp[notebook]'")
pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

TP53 = "chr17:7658421-7697490"
"""The one contig of the real data, which is called like a region."""
SECONDS = 2.0  # in which a region is to be seen; said, and decides nothing
NOTEBOOK = """
import marimo

app = marimo.App(width="medium")

@app.cell
def _():
    import marimo as mo
    from stargazer.assets import KnownSites, Reference, Alignment
    from stargazer.workflows import notebook as nb
    return Alignment, KnownSites, Reference, mo, nb

@app.cell
async def _(Alignment, KnownSites, Reference, nb):
    files = [await kind.one() for kind in (Reference, KnownSites, Alignment)]
    browser = await nb.genome_browser(*files, locus="FIRST")
    browser
    return (browser,)

@app.cell
def _(mo):
    place = mo.ui.text(label="Go to")
    place
    return (place,)

@app.cell
def _(browser, mo, nb, place):
    with nb.explained():
        browser.locus = place.value
    return

@app.cell
def _(browser, mo):
    mo.plain_text(f"Python sees {browser.region}")
    return
"""
ADD = """
import asyncio, sys
from stargazer.storage import add
from stargazer.assets import Alignment, AlignmentIndex, KnownSites, Reference, ReferenceIndex
async def main():
    fasta, fai, bam, bai, vcf = sys.argv[1:]
    reference = await add(fasta, build="test")
    await add(fai, asset="reference_index", reference_cid=reference.cid)
    alignment = await add(bam)
    await add(bai, asset="alignment_index", alignment_cid=alignment.cid)
    await add(vcf, asset="known_sites", name="sites")
asyncio.run(main())
"""


def store(home: Path, *files: Path) -> None:
    """Register a reference, its index, a BAM, its index and a VCF."""
    env = {**os.environ, "STARGAZER_HOME": str(home), "STARGAZER_LOCAL": str(home / "local")}
    done = subprocess.run(
        [sys.executable, "-c", ADD, *map(str, files)], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def tp53(home: Path, data: Path, folder: Path) -> None:
    """A store with the real reads of TP53, and known sites of it."""
    import pysam

    fasta, bam = folder / "tp53.fa", folder / "tp53.bam"
    fasta.write_bytes((data / "tp53/GRCh38_TP53.fa").read_bytes())
    pysam.faidx(str(fasta))
    bam.write_bytes((data / "tp53/NA12829_TP53_markdup.bam").read_bytes())
    pysam.index(str(bam))
    sites = data / "tp53/Mills_and_1000G_gold_standard.indels.TP53.hg38.vcf"
    store(home, fasta, folder / "tp53.fa.fai", bam, folder / "tp53.bam.bai", sites)


def notebook(folder: Path, first: str) -> Path:
    path = folder / "browser.py"
    path.write_text(NOTEBOOK.replace("FIRST", first))
    return path


def go(page: Page, locus: str) -> None:
    """Ask for a locus where Python reads it."""
    page.get_by_label("Go to").fill(locus)
    page.get_by_label("Go to").press("Enter")


def shown(page: Page, locus: str) -> Locator:
    """The browser, once everything of a locus is drawn."""
    found = page.locator(f".stargazer-genome-browser[data-shown='{locus}']")
    found.wait_for()
    return found


def told(page: Page, region: str) -> None:
    """Wait until Python knows a region."""
    page.get_by_text(f"Python sees {region}").wait_for()


def test_it_draws_moves_and_tells(test_data: Path, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    home = tmp_path / "home"
    tp53(home, test_data, tmp_path)
    first, second = f"{TP53}:4500-4700", f"{TP53}:20000-20120"
    with serve(notebook(tmp_path, first), "run", home=home) as served, open_page(served.url) as opened:
        page = opened.page
        before = shown(page, first).screenshot()
        drawn(page)
        coloured = painted(page)
        assert len(coloured) >= 3, "ruler or bases, sites and reads"
        assert max(coloured) >= 4, "bases have a colour each"
        told(page, first)

        go(page, second)
        assert shown(page, second).screenshot() != before
        told(page, second)

        page.locator(".igv-search-input").fill(f"{TP53}:4,550-4,650")  # as somebody who looks around
        page.locator(".igv-search-input").press("Enter")
        told(page, f"{TP53}:4550-4650")
        keep_picture(opened, pytestconfig)
        opened.assert_well()


def painted(page: Page) -> list[int]:
    """How many colours each canvas of the browser has on which something is drawn."""
    host = page.locator(".stargazer-genome-browser")
    counts: list[int] = host.evaluate("""host => {
      const canvases = [];
      const look = root => {
        for (const element of root.querySelectorAll("*")) {
          if (element.shadowRoot) look(element.shadowRoot);
          if (element.localName === "canvas" && element.width && element.height) canvases.push(element);
        }
      };
      look(host.shadowRoot ?? host);
      return canvases.map(canvas => new Set(new Uint32Array(
        canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size);
    }""")
    return [count for count in counts if count > 1]


def keep_picture(opened: Opened, config: pytest.Config) -> None:
    if folder := config.getoption("--pictures"):
        opened.page.screenshot(path=Path(folder) / "genome-browser.png")
