"""Every notebook from top to bottom, as a script and in a browser, on the demo's data, and where something is missing.

`pytest -m long --pictures FOLDER` writes a picture of each there, as docs/pictures has them.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .command import COMMAND
from .notebook_browser import Opened, drawn, open_page, serve, settled, started

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

FOLDER = (Path(__file__) / "../../../../notebooks").resolve()
if not FOLDER.exists():
    pytest.skip("the notebooks are in no distribution", allow_module_level=True)

NOTEBOOKS = {path.stem: path for path in [*sorted(FOLDER.glob("*.py")), FOLDER / "scratch/experiment.py"]}
EACH = pytest.mark.parametrize("name", NOTEBOOKS)
LARGEST, COLOURS = 150_000, 128  # of a picture: bytes, and colours that charts and text need
SECONDS = 120.0
pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]  # whichever test comes first waits for the demos


def use_assets_and_storage(page: Page) -> Locator:
    before = page.locator("code", has_text="bafkrei").first.inner_text()
    page.get_by_label("Sequence").fill("ACGTTGCAACGGATTACAGG")
    page.get_by_label("Sequence").press("Enter")
    page.locator("code", has_text="bafkrei").filter(has_not_text=before).first.wait_for()
    page.get_by_role("radio").last.click()
    return page.get_by_label("Type").first


def use_tasks(page: Page) -> Locator:
    page.get_by_role("slider").first.press("ArrowRight")
    page.get_by_text("QUAL>=40").first.wait_for()
    return page.get_by_role("heading", name="Write one")


def use_workflows_and_runs(page: Page) -> Locator:
    page.get_by_role("button", name="Run prepare_reference").click()
    page.get_by_text(re.compile(r"prepare_reference \S+: succeeded")).last.wait_for()
    return page.get_by_role("heading", name="Run it, and watch")


def use_execution(page: Page) -> Locator:
    page.get_by_text("Six calls, with 1 of").wait_for()
    page.get_by_role("slider").first.press("ArrowRight")
    page.get_by_text("Six calls, with 2 of").wait_for()
    return page.get_by_role("heading", name="Slots")


def use_germline(page: Page) -> Locator:
    fit = page.get_by_text(re.compile(r"^([\d,]+) of \1 calls fit"))
    fit.wait_for()
    page.get_by_label("Only calls that pass").click()
    fit.wait_for(state="detached")
    return page.get_by_role("heading", name="Plots")


def use_scrna(page: Page) -> Locator:
    from playwright.sync_api import Error

    cells = page.locator("canvas").first
    before = picture = cells.screenshot()
    page.get_by_label("or a gene").fill("GENE3")
    page.get_by_label("or a gene").press("Enter")
    deadline = time.monotonic() + SECONDS
    while picture == before:
        with contextlib.suppress(Error):  # the chart is being replaced
            picture = cells.screenshot()
        assert time.monotonic() < deadline, "the cells are not coloured by the gene"
        page.wait_for_timeout(200)
    return page.get_by_role("heading", name="Cells", exact=True)


def use_assets(page: Page) -> Locator:
    page.get_by_label("Type", exact=True).select_option("variants")
    page.get_by_role("cell", name="variants.vcf.gz", exact=True).first.click()
    page.get_by_role("heading", name="How it came to be").wait_for()
    return page.get_by_role("heading", name="Files", exact=True)


def use_results(page: Page) -> Locator:
    types = page.get_by_label("Type", exact=True)
    types.select_option(value=types.locator("option", has_text="variants (").get_attribute("value"))
    page.get_by_role("heading", name=re.compile("^variants variants")).wait_for()
    return page.get_by_role("heading", name="How it came to be")


def use_experiment(page: Page) -> Locator:
    page.get_by_role("button", name="How it came to be").click()
    page.get_by_text("cell count_records of experiment.py").last.wait_for()  # the first is never shown
    return page.get_by_role("heading", name="The task")


USES: dict[str, tuple[Callable[[Page], Locator], int]] = {
    "assets_and_storage": (use_assets_and_storage, 1),
    "tasks": (use_tasks, 1),
    "workflows_and_runs": (use_workflows_and_runs, 1),
    "execution": (use_execution, 1),
    "germline": (use_germline, 6),
    "scrna": (use_scrna, 6),
    "assets": (use_assets, 0),
    "results": (use_results, 1),
    "experiment": (use_experiment, 1),
}
"""What makes use of a notebook's main widget and tells where its picture begins, and how many plots it has at least."""


EMPTY = {
    "assets_and_storage": "Yours is empty",
    "tasks": "Write one",  # it brings a store of its own
    "workflows_and_runs": "stargazer (add|demo)",
    "execution": "Your store has no genome",
    "germline": "The store has no reads",
    "scrna": "The store has no counts",
    "assets": "The store has no files yet",
    "results": "Your store is empty",
    "experiment": "Your store has no variants",
}
"""What each notebook says on an empty store."""


@pytest.fixture(scope="session")
def demonstrated(made_once: Callable[..., Path], compiled_code: Path) -> Path:
    """A home in which both demos were run."""

    def make(folder: Path) -> None:
        home = folder / "home"
        home.mkdir()
        (home / "caches").symlink_to(compiled_code)
        env = {**os.environ, "STARGAZER_HOME": str(home), "STARGAZER_LOCAL": str(home / "local")}
        for words in (["demo"], ["demo", "scrna"]):
            command = [sys.executable, "-m", "stargazer.mcp.cli", *words, "--outdir", folder / "out"]
            subprocess.run(command, env=env, check=True, capture_output=True)

    return made_once("demonstrated", make) / "home"


@pytest.fixture
def home(demonstrated: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return Path(shutil.copytree(demonstrated, tmp_path / "home", symlinks=True))


@pytest.fixture
def pictures(pytestconfig: pytest.Config) -> Path | None:
    """Where pictures are written, if they are asked for."""
    folder = pytestconfig.getoption("--pictures")
    return Path(folder) if folder else None


def as_a_script(notebook: Path, home: Path, folder: Path, *before: object, **more: str) -> str:
    """What a notebook says that runs as a script, in this folder, to its end."""
    folder.mkdir(exist_ok=True)
    env = {**os.environ, "STARGAZER_HOME": str(home), "STARGAZER_LOCAL": str(home / "local"), **more}
    done = subprocess.run(
        [*map(str, before), sys.executable, str(notebook)],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in folder.iterdir()] == [], "a notebook writes into no folder but the store's"
    return done.stdout + done.stderr


def test_each_notebook_is_used() -> None:
    assert USES.keys() == NOTEBOOKS.keys()


@EACH
def test_as_a_script(name: str, home: Path, tmp_path: Path) -> None:
    as_a_script(NOTEBOOKS[name], home, tmp_path / "here")


@EACH
def test_as_a_script_without_anything(name: str, tmp_path: Path) -> None:
    as_a_script(NOTEBOOKS[name], tmp_path / "home", tmp_path / "here")


@pytest.mark.browser
@EACH
def test_in_run_mode(name: str, home: Path, pictures: Path | None) -> None:
    use, plots = USES[name]
    unset = {"STARGAZER_MODE": ""}  # as most people have it
    with serve(NOTEBOOKS[name], "run", home=home, env=unset) as served, open_page(served.url) as opened:
        settled(opened.page, SECONDS)
        drawn(opened.page, plots)
        top = use(opened.page)
        settled(opened.page, SECONDS)
        drawn(opened.page, plots)
        opened.assert_well()
        if pictures:
            top.first.evaluate("element => element.scrollIntoView({ block: 'start' })")
            keep_picture(opened, pictures / f"{name}.png")


@pytest.mark.browser
@EACH
def test_in_run_mode_without_anything(name: str, tmp_path: Path) -> None:
    with serve(NOTEBOOKS[name], "run", home=tmp_path / "home") as served, open_page(served.url) as opened:
        settled(opened.page, SECONDS)
        opened.assert_well()
        opened.page.get_by_role("heading", level=1).wait_for()
        opened.page.get_by_text(re.compile(EMPTY[name])).first.wait_for()


def draw_rectangle(page: Page, chart: Locator) -> None:
    """Choose the middle of a chart, as people do with the mouse."""
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.8 * box["height"], steps=8)
    page.mouse.up()


@pytest.mark.browser
def test_what_is_chosen_among_calls_comes_back(home: Path) -> None:
    with serve(NOTEBOOKS["germline"], "run", home=home) as served, open_page(served.url) as opened:
        page = opened.page
        settled(page, SECONDS)
        fit = page.get_by_text(re.compile(r"^[\d,]+ of [\d,]+ calls fit"))
        page.get_by_role("checkbox", name="Select row").first.click()
        page.get_by_role("heading", name="Samples that have the chosen calls").wait_for()
        draw_rectangle(page, page.locator("marimo-vega canvas").first)
        page.get_by_text(re.compile(r"^[1-9][\d,]* genotypes in the rectangle")).wait_for()

        region = page.get_by_label("or a region")
        region.fill("nowhere:1-2")
        region.press("Enter")
        page.get_by_text("nowhere").last.wait_for()
        region.fill("demo1:1-2,000")
        region.press("Enter")
        fit.wait_for()
        settled(page, SECONDS)
        opened.assert_well()


@pytest.mark.browser
def test_cells_of_a_rectangle_come_back_by_cluster(home: Path) -> None:
    with serve(NOTEBOOKS["scrna"], "run", home=home) as served, open_page(served.url) as opened:
        page = opened.page
        settled(page, SECONDS)
        draw_rectangle(page, page.locator("marimo-vega canvas").first)
        page.get_by_role("heading", name=re.compile(r"^[1-9][\d,]* cells in the rectangle")).wait_for()
        page.get_by_text("The first marker genes of these clusters").wait_for()
        settled(page, SECONDS)
        opened.assert_well()


@pytest.mark.browser
def test_a_file_of_the_lineage_leads_on(home: Path) -> None:
    from playwright.sync_api import expect

    with serve(NOTEBOOKS["results"], "run", home=home) as served, open_page(served.url) as opened:
        page = opened.page
        use_results(page)
        settled(page, SECONDS)
        sources = page.locator("marimo-table").filter(has_text="The files it was made from")
        sources.get_by_role("checkbox").or_(sources.get_by_role("radio")).first.click()
        expect(page.get_by_label("Or a CID")).to_have_value(re.compile("^baf"), timeout=SECONDS * 1000)
        cid = page.get_by_label("Or a CID").input_value()
        page.locator("h2 + code", has_text=cid).wait_for()
        settled(page, SECONDS)
        opened.assert_well()


@pytest.mark.browser
def test_a_run_is_cancelled_and_resumed_by_its_buttons(tmp_path: Path) -> None:
    with (
        serve(NOTEBOOKS["germline"], "run", home=tmp_path / "home") as served,
        open_page(served.url) as opened,
    ):
        page = opened.page
        page.get_by_role("button", name="Simulate the demo's trio").click()
        page.get_by_role("button", name="Call variants").click()
        page.get_by_role("button", name="Cancel the run").click()
        page.get_by_text(re.compile("was cancelled")).first.wait_for()
        assert page.get_by_role("button", name="Cancel the run").count() == 0
        settled(page, SECONDS)
        page.get_by_role("button", name="Resume the run").click()
        page.get_by_text(re.compile(r"succeeded in .* remembered")).first.wait_for()
        page.get_by_text("In figures").first.wait_for()
        settled(page, SECONDS)
        assert page.get_by_role("button", name="Resume the run").count() == 0
        opened.assert_well()


@pytest.mark.browser
def test_how_soon_a_notebook_is_ready_to_read(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Says it, beside an empty notebook of marimo's that is opened in the same way; it decides nothing."""
    folder = tmp_path / "mine"
    shutil.copytree(NOTEBOOKS["results"].parent, folder, ignore=shutil.ignore_patterns("__*__"))
    (folder / "empty.py").write_text("import marimo\napp = marimo.App()\n\n@app.cell\ndef _():\n    return\n")
    command = [*COMMAND, "notebook", "--app", "--no-browser", "--folder", str(folder)]
    seconds: dict[str, list[float]] = {}
    for _ in range(5):
        with started(command, tmp_path, home=home) as served:
            for name in ("empty", "germline", "scrna", "results", "assets"):
                began = time.monotonic()
                with open_page(served.address().replace("/?", f"/notebooks/{name}/?")) as opened:
                    settled(opened.page, SECONDS)
                    seconds.setdefault(name, []).append(time.monotonic() - began)
    base = statistics.median(seconds.pop("empty"))
    with capsys.disabled():
        print(
            f"\n- ready to read: an empty notebook in {base:.1f} s; wanted: within {1.3 * base + 2:.1f} s -"
        )
        for name, taken in seconds.items():
            print(f"- {name}: {statistics.median(taken):.1f} s (median of {len(taken)}) -")


@pytest.mark.browser
def test_an_empty_store_is_said_once_in_the_editor(tmp_path: Path) -> None:
    at_once = "[runtime]\nauto_instantiate = true\n"
    notebook = Path(shutil.copy(NOTEBOOKS["germline"], tmp_path))
    with (
        serve(notebook, "edit", home=tmp_path / "home", config=at_once) as served,
        open_page(served.url) as opened,
    ):
        opened.page.locator("p", has_text="The store has no reads and no alignments").wait_for()
        settled(opened.page, SECONDS)
        stopped = opened.page.get_by_text("Ancestor stopped")
        assert stopped.count() > 5
        assert not any(box.is_visible() for box in stopped.all())
        opened.assert_well()


@pytest.mark.browser
def test_two_tabs_of_one_notebook(tmp_path: Path) -> None:
    with serve(NOTEBOOKS["tasks"], "run", home=tmp_path / "home") as served, open_page(served.url) as opened:
        first, second = opened.page, opened.page.context.new_page()
        second.goto(served.url, wait_until="domcontentloaded")
        for page in (first, second):
            settled(page, SECONDS)
            drawn(page)
        first.get_by_role("slider").first.press("ArrowRight")
        second.get_by_role("slider").first.press("ArrowLeft")
        for page, value in ((first, "40"), (second, "20")):  # each has a kernel of its own
            page.get_by_text(f"QUAL>={value}").first.wait_for()
        opened.assert_well()


WITHOUT_SCANPY = """
import importlib.metadata as metadata, sys
for name in ("scanpy", "anndata"):
    sys.modules[name] = None
version = metadata.version
def missing(name):
    if name.lower() in ("scanpy", "anndata"):
        raise metadata.PackageNotFoundError(name)
    return version(name)
metadata.version = missing
"""
"""What a Python runs at its start (sitecustomize.py) where the extra `scrna` is not installed."""


@pytest.mark.browser
def test_without_an_extra_the_cell_says_which_and_the_rest_works(home: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_SCANPY)
    env = {"PYTHONPATH": str(tmp_path)}
    with serve(NOTEBOOKS["scrna"], "run", home=home, env=env) as served, open_page(served.url) as opened:
        settled(opened.page, SECONDS)
        opened.page.get_by_text("pip install 'stargazer-mcp[scrna]'").first.wait_for()
        opened.assert_well()
    as_a_script(NOTEBOOKS["scrna"], home, tmp_path / "here", **env)


@pytest.mark.browser
def test_the_command_opens_a_copy_that_shows_its_results(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    command = [*COMMAND, "notebook", "tasks", "--folder", str(folder), "--no-browser"]
    with started(command, tmp_path, home=home) as served:
        with pytest.raises(urllib.error.HTTPError, match=r"40[13]"):
            urllib.request.urlopen(f"{served.url}/api/status", timeout=5)  # it asks for the token
        with open_page(served.address()) as opened:
            drawn(opened.page)
            settled(opened.page)
            opened.assert_well()
            opened.page.get_by_role("slider").first.press("ArrowRight")
            opened.page.get_by_text("QUAL>=40").first.wait_for()
    assert (folder / "tasks.py").read_bytes() == NOTEBOOKS["tasks"].read_bytes()


def keep_picture(opened: Opened, path: Path) -> None:
    """A picture of what is in view, with as many colours as it needs."""
    from PIL import Image

    picture = (
        Image.open(io.BytesIO(opened.page.screenshot()))
        .convert("RGB")
        .quantize(COLOURS, dither=Image.Dither.NONE)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, optimize=True)
    assert path.stat().st_size < LARGEST
