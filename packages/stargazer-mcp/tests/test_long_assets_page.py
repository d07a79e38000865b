"""The assets page as people use it: from files that are uploaded to the lineage of what a workflow made of them."""

from __future__ import annotations

import re
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from stargazer.assets import record_id
from stargazer.storage import Store, amend, open_store, retract

from .command import mounted
from .notebook_browser import drawn, open_page, serve, settled, started

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

FOLDER = (Path(__file__) / "../../../../notebooks").resolve()
if not FOLDER.exists():
    pytest.skip("the notebooks are in no distribution", allow_module_level=True)

ASSETS, GERMLINE = FOLDER / "assets.py", FOLDER / "germline.py"
MANY, TURNS = 100_000, 5
HTML = "<img src=https://example.org/x.png onerror=alert(1)> **bold**"
pytestmark = [pytest.mark.long, pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def tp53(test_data: Path) -> Path:
    return test_data / "tp53"


@pytest.fixture
def store(home: Path) -> Store:
    return open_store(home / "local")


def add(store: Store, folder: Path, name: str, build: str) -> Any:
    from stargazer.assets import Reference
    from stargazer.storage import Addition

    path = folder / name
    path.write_text(f">{name}\nACGTACGT\n")
    return store.add([Addition(path=path, asset=Reference(build=build), name=name)])[0]


def row(page: Page, name: str) -> Locator:
    return page.locator(".stargazer-assets tbody tr").filter(has_text=name)


def choose(page: Page, name: str) -> None:
    """Choose a file in the table, and wait until the page shows it."""
    settled(page)
    row(page, name).first.click()
    page.get_by_role("heading", name="What to do with it").wait_for()
    settled(page)


def says(page: Page, text: str) -> None:
    """Wait until the page says that something happened."""
    page.locator("p", has_text=text).first.wait_for()


def test_from_upload_to_lineage(home: Path, store: Store, tp53: Path) -> None:
    files = ["GRCh38_TP53.fa", "NA12829_TP53_R1.fq.gz", "NA12829_TP53_R2.fq.gz"]
    with serve(ASSETS, "run", home=home) as served, open_page(served.url) as opened:
        page = opened.page
        settled(page)
        says(page, "The store has no files yet")
        page.get_by_role("button", name="Add files").click()
        page.locator("input[type=file]").set_input_files([tp53 / name for name in files])
        page.get_by_text("goes with NA12829_TP53_R1.fq.gz").wait_for()
        page.get_by_label(f"build of {files[0]}").fill("GRCh37")
        for name in files[1:]:
            page.get_by_label(f"sample of {name}").fill("NA12829")
        page.get_by_role("button", name="Add 3 files").click()
        page.locator(".stargazer-assets .count", has_text="1 to 3 of 3 files").wait_for()
        assert row(page, "NA12829_TP53_R1.fq.gz").count() == 1

        choose(page, files[0])  # what was typed wrong is amended
        page.get_by_role("button", name="Amend what is said of it").click()
        page.get_by_label("build", exact=True).fill("GRCh38")
        page.get_by_role("button", name="Amend", exact=True).click()
        says(page, f"Amended '{files[0]}'")
        settled(page)
        opened.assert_well()
    assert len(store.query({"build": "GRCh38"})) == 1

    with serve(GERMLINE, "run", home=home) as served, open_page(served.url) as opened:
        settled(opened.page)
        opened.page.get_by_role("button", name="Call variants").click()
        opened.page.get_by_text(re.compile(r"Run \S+ succeeded")).first.wait_for()
        settled(opened.page, 300)
        opened.assert_well()

    with serve(ASSETS, "run", home=home) as served, open_page(served.url) as opened:
        page = opened.page
        settled(page)
        page.get_by_label("Type", exact=True).select_option("variants")
        page.get_by_label("Filters").fill("filtered=true")
        page.locator(".stargazer-assets .count", has_text="1 to 1 of 1 file").wait_for()
        choose(page, "variants.vcf.gz")
        page.get_by_role("heading", name="How it came to be").wait_for()
        drawn(page, 1)
        lineage = page.locator(".stargazer-lineage")
        for step in ("align_with_bwa_mem3", "call_variants", "filter_variants"):
            lineage.get_by_text(step).first.wait_for(state="attached")  # a title of the picture

        page.get_by_role("button", name="Evict ...").click()
        says(page, "computes it again when it is needed")
        page.get_by_role("button", name="Yes, evict it").click()
        says(page, "its record stays")

        page.get_by_role("button", name="Delete ...").click()
        says(page, "Take back the registration of 'variants.vcf.gz' (variants)?")
        page.get_by_role("button", name="Yes, delete it").click()
        says(page, "Took back the registration of 'variants.vcf.gz'")
        page.get_by_text("No file fits these filters.").wait_for()
        says(page, "Choose a file in the table")
        settled(page)
        opened.assert_well()
    assert store.query({"asset": "variants", "filtered": "true"}) == []


def test_what_others_say_is_text_and_what_they_do_is_said(home: Path, store: Store, tmp_path: Path) -> None:
    first, second = add(store, tmp_path, "first.fa", HTML), add(store, tmp_path, "second.fa", "b")
    with serve(ASSETS, "run", home=home) as served, open_page(served.url) as opened:
        page, other = opened.page, opened.page.context.new_page()
        other.goto(served.url, wait_until="domcontentloaded")
        for each in (page, other):
            settled(each)
        choose(page, "first.fa")
        page.locator("span", has_text=HTML.replace("://", ":\u2060//")).first.wait_for()
        assert page.locator("img[src*='example.org']").count() == 0

        choose(other, "second.fa")  # two people, and the command
        retract(store, second)
        other.get_by_role("button", name="Delete ...").click()
        says(
            other, "'second.fa' is not in the store as it was shown: somebody amended or deleted it meanwhile"
        )
        other.get_by_role("button", name="Close").click()
        other.get_by_role("button", name="Look again").click()
        other.locator(".stargazer-assets .count", has_text="1 to 1 of 1 file").wait_for()

        amend(store, first, {"build": "c"})
        page.get_by_role("button", name="Amend what is said of it").click()
        page.get_by_label("build", exact=True).fill("d")
        page.get_by_role("button", name="Amend", exact=True).click()
        says(page, "somebody amended or deleted it meanwhile")
        settled(page)
        opened.assert_well()


def test_pages_of_100_000_records(home: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    def record(number: int) -> dict[str, Any]:
        cid, pairs = f"bafkreih{number:051d}", {"asset": "r1", "sample": f"s{number}"}
        return {"id": record_id(cid, pairs), "cid": cid, "name": f"{number}.fq", "size": number, "keyvalues": pairs,
                "created_at": f"2026-11-23T12:00:00.{number:06d}+00:00"}  # fmt: skip

    store.open_index()
    store.index.table("records").insert_multiple(map(record, range(MANY)))
    with serve(ASSETS, "run", home=home) as served, open_page(served.url) as opened:
        page = opened.page
        settled(page)
        page.locator(".stargazer-assets .count", has_text=f"1 to 15 of {MANY:,} files").wait_for()
        seconds = []
        for turn in range(1, TURNS + 1):
            began = time.perf_counter()
            page.get_by_role("button", name="Next page").click()
            page.locator(".count", has_text=f"{15 * turn + 1} to {15 * turn + 15} of").wait_for()
            seconds.append(time.perf_counter() - began)
        page.get_by_role("button", name="Last page").click()
        page.locator(".count", has_text=f"of {MANY:,} files").filter(has_text=f"to {MANY:,}").wait_for()
        row(page, "0.fq").first.wait_for()
        opened.assert_well()
    with capsys.disabled():
        print(
            f"\na page of {MANY:,} records: {statistics.median(seconds):.3f} s (median of {TURNS}; wanted: 0.3)"
        )


def test_a_read_only_store_is_looked_at_and_says_why_nothing_changes(
    home: Path, store: Store, tmp_path: Path
) -> None:
    add(store, tmp_path, "first.fa", "b")
    prefix = mounted('mount --bind "$1" "$1" && mount -o remount,ro,bind "$1"', home / "local")
    command = [
        *prefix,
        sys.executable,
        "-m",
        "marimo",
        "run",
        "--headless",
        "--no-token",
        "--no-sandbox",
        str(ASSETS),
    ]
    with started(command, tmp_path, home=home) as served, open_page(served.url) as opened:
        page = opened.page
        settled(page)
        choose(page, "first.fa")
        page.get_by_text("private: only on this machine").wait_for()
        page.get_by_role("button", name="Delete ...").click()
        page.get_by_role("button", name="Yes, delete it").click()
        says(page, "cannot be written: the filesystem is read-only")
        settled(page)
        assert row(page, "first.fa").count() == 1
        opened.assert_well()
