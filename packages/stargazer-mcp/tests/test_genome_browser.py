"""The genome browser as people see it: drawn, moved from Python, its region told back, nothing asked of the outside.

`pytest --pictures FOLDER` writes docs/pictures/genome-browser.png anew.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .notebook_browser import Opened, drawn, open_page, serve, settled

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytest.importorskip("anywidget", reason="NOT TESTED: pip install 'stargazer-mcp[notebook]'")
pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

TP53 = "chr17:7658421-7697490"
"""The one contig of the real data, which is called like a region."""
SECONDS = 2.0  # in which a region is to be seen; said, and decides nothing
SITES = 160
"""Pixels from the top of the browser to its first track."""
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
    fasta, fai, bam, bai, vcf, name = sys.argv[1:]
    reference = await add(fasta, build="test")
    await add(fai, asset="reference_index", reference_cid=reference.cid)
    alignment = await add(bam)
    await add(bai, asset="alignment_index", alignment_cid=alignment.cid)
    await add(vcf, asset="known_sites", name=name)
asyncio.run(main())
"""


def store(home: Path, *files: Path, name: str = "sites") -> None:
    """Register a reference, its index, a BAM, its index and a VCF."""
    env = {**os.environ, "STARGAZER_HOME": str(home), "STARGAZER_LOCAL": str(home / "local")}
    done = subprocess.run(
        [sys.executable, "-c", ADD, *map(str, files), name], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def tp53(home: Path, data: Path, folder: Path, *, name: str = "sites", value: str = "") -> None:
    """A store with the real reads of TP53, and known sites of it with a name, and perhaps a value for each."""
    import pysam

    fasta, bam = folder / "tp53.fa", folder / "tp53.bam"
    fasta.write_bytes((data / "tp53/GRCh38_TP53.fa").read_bytes())
    pysam.faidx(str(fasta))
    bam.write_bytes((data / "tp53/NA12829_TP53_markdup.bam").read_bytes())
    pysam.index(str(bam))
    sites = folder / "sites.vcf"
    lines = (data / "tp53/Mills_and_1000G_gold_standard.indels.TP53.hg38.vcf").read_text().splitlines()
    note = f";NOTE={value}" if value else ""
    sites.write_text("".join(f"{line}{'' if line.startswith('#') else note}\n" for line in lines))
    store(home, fasta, folder / "tp53.fa.fai", bam, folder / "tp53.bam.bai", sites, name=name)


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


@pytest.mark.long
def test_a_region_of_a_large_bam_is_seen_soon(tmp_path: Path) -> None:
    home, size = tmp_path / "home", simulated(tmp_path, tmp_path / "home")
    took = []
    with serve(notebook(tmp_path, "big:1-200"), "run", home=home) as served, open_page(served.url) as opened:
        page = opened.page
        shown(page, "big:1-200")
        settled(page)
        for number in range(1, 6):
            locus = f"big:{300_000 * number}-{300_000 * number + 1_000}"
            page.get_by_label("Go to").fill(locus)
            begun = time.monotonic()
            page.get_by_label("Go to").press("Enter")
            shown(page, locus)
            took.append(time.monotonic() - begun)
            told(page, locus)
            assert len(painted(page)) >= 3
        opened.assert_well()
    seconds = ", ".join(f"{each:.2f}" for each in took)
    print(
        f"a region of a BAM of {size / 1e6:.0f} MB is shown {statistics.median(took):.2f} s after it is asked for "
        f"(median of {seconds}; wanted: within {SECONDS:g} s)"
    )


@pytest.mark.long
def test_what_goes_wrong_is_said_on_the_page(test_data: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    tp53(home, test_data, tmp_path)
    first = f"{TP53}:4500-4700"
    with serve(notebook(tmp_path, first), "run", home=home) as served, open_page(served.url) as opened:
        page = opened.page
        shown(page, first)
        go(page, "TP53")
        page.get_by_text("there is no region 'TP53' here").wait_for()
        page.locator(".igv-search-input").fill("<img src=https://example.org/a.png>")
        page.locator(".igv-search-input").press("Enter")
        page.get_by_text("The reference has no locus <img src").wait_for()
        opened.assert_well()

        bam = max((home / "local/objects").rglob("baf*"), key=lambda path: path.stat().st_size)
        bam.unlink()
        go(page, f"{TP53}:30000-30200")
        page.get_by_text("'alignment.bam' is not here any more").wait_for()
        assert opened.outside == []


@pytest.mark.long
def test_names_and_values_of_files_are_text(test_data: Path, tmp_path: Path) -> None:
    home, evil, value = tmp_path / "home", "<img src=https://example.org/a.png>", "<b>bold</b>"
    tp53(home, test_data, tmp_path, name=evil, value=value)
    first = f"{TP53}:4568-4607"
    with serve(notebook(tmp_path, first), "run", home=home) as served, open_page(served.url) as opened:
        page = opened.page
        browser = shown(page, first)
        browser.get_by_text(evil).first.wait_for()  # the label of the sites
        box = browser.bounding_box()
        assert box is not None
        page.mouse.click(
            box["x"] + 50 + 974 * 21.5 / 40, box["y"] + SITES
        )  # as far from the left as the site
        browser.get_by_text("NOTE").wait_for(timeout=10_000)
        browser.get_by_text(value).wait_for(timeout=10_000)
        opened.assert_well()


def simulated(folder: Path, home: Path) -> int:
    """A store with reads over two megabases, and the size of their BAM in bytes."""
    import pysam

    draw = random.Random(17)
    length, reads = 2_000_000, 350_000
    bases = "".join(draw.choices("ACGT", k=length))
    fasta, bam, vcf = folder / "big.fa", folder / "big.bam", folder / "big.vcf"
    fasta.write_text(f">big\n{bases}\n")
    pysam.faidx(str(fasta))
    header = {
        "HD": {"VN": "1.6", "SO": "coordinate"},
        "SQ": [{"SN": "big", "LN": length}],
        "RG": [{"ID": "1", "SM": "one"}],
    }
    with pysam.AlignmentFile(str(bam), "wb", header=header) as out:
        for number, start in enumerate(sorted(draw.randrange(length - 150) for _ in range(reads))):
            read = pysam.AlignedSegment(out.header)
            read.query_name, read.query_sequence = f"read:{number}", bases[start : start + 150]
            read.query_qualities = pysam.qualitystring_to_array("".join(draw.choices("#+5:?DIJ", k=150)))
            read.reference_id, read.reference_start, read.cigarstring = 0, start, "150M"
            read.mapping_quality = 60
            read.set_tag("RG", "1")
            out.write(read)
    pysam.index(str(bam))
    rows = "".join(
        f"big\t{at}\t.\t{bases[at - 1]}\t{'A' if bases[at - 1] != 'A' else 'C'}\t50\tPASS\t.\n"
        for at in range(100, length, 100)
    )
    vcf.write_text(
        "##fileformat=VCFv4.2\n##contig=<ID=big,length=2000000>\n"
        f"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n{rows}"
    )
    store(home, fasta, folder / "big.fa.fai", bam, folder / "big.bam.bai", vcf)
    return bam.stat().st_size


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
