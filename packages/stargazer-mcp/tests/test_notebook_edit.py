"""A researcher's way in the browser: a task is typed into a cell, tried on real data, seen, and promoted."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fastmcp import Client
from stargazer.assets import Variants
from stargazer.assets.provenance import Execution
from stargazer.mcp.server import make_server
from stargazer.storage import Addition, LocalStorageClient

from .notebook_browser import open_page, run_all, serve, settled

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parents[3]
TEMPLATE = ROOT / "notebooks" / "scratch" / "experiment.py"
if not TEMPLATE.exists():
    pytest.skip("the notebooks are in no distribution", allow_module_level=True)
VCF = "na12878_chr20/test_nist.b37_chr20_100kbp_at_10mb.vcf.gz"

TASK = '''@htslib_env.task
async def count_indels(variants: Variants, shortest: int = 1) -> Table:
    """Numbers of insertions and deletions by length (`bcftools view` and `query`).

    Args:
        variants: the calls to count.
        shortest: bases that one has to add or remove to be counted.

    Returns:
        Columns length and records.
    """
    indels = await (
        bcftools("view", "--no-version", "-v", "indels", variants.path) | bcftools("query", "-f", "%REF %ALT\\n")
    ).text()
    calls = [line.split() for line in indels.splitlines()]
    lengths = Counter(len(alt) - len(ref) for ref, alts in calls for alt in alts.split(","))
    table = workspace() / "indels.csv"
    rows = [f"{length},{number}\\n" for length, number in sorted(lengths.items()) if abs(length) >= shortest]
    table.write_text("length,records\\n" + "".join(rows))
    return Table(path=expect(table, by="bcftools query"), kind="indels", sample=variants.only_sample)'''
CALL = """indels = await (await count_indels(choice.value)).fetch()
mo.md(f"rows: **{len(indels.path.read_text().splitlines()) - 1}**, file {indels.cid}")"""
SCRIPT = """
import asyncio, sys
from stargazer.assets import Variants
from stargazer.tasks import count_indels
from stargazer.tasks.execution import refreshing

async def main():
    with refreshing("count_indels"):
        return await count_indels((await Variants.all())[0])

print(sys.modules[count_indels.func.__module__].__file__, asyncio.run(main()).cid)
"""


class Desk:
    """A store with real calls, and a copy of the template."""

    def __init__(self, root: Path, vcf: Path):
        self.home, self.notebook = root / "home", root / "notebooks" / "experiment.py"
        self.notebook.parent.mkdir()
        shutil.copy(TEMPLATE, self.notebook)
        self.store = LocalStorageClient(self.home / "local").store
        self.store.add([Addition(vcf, Variants(samples=["INTEGRATION"], build="GRCh37"))])

    @property
    def environment(self) -> dict[str, str]:
        return {"STARGAZER_HOME": str(self.home), "STARGAZER_LOCAL": str(self.home / "local")}

    def type_and_run(self) -> str:
        """Type the task and its call into new cells, see the result; its CID as the page shows it."""
        with serve(self.notebook, "edit", home=self.home) as served, open_page(served.url) as opened:
            page = opened.page
            run_all(page)
            for text in (TASK, CALL):
                page.get_by_role("button", name="Python", exact=True).click()
                page.wait_for_function("document.activeElement.classList.contains('cm-content')")
                page.keyboard.insert_text(text)
                page.keyboard.press("Control+Enter")
                settled(page)
                self.save(page, text.splitlines()[-1].strip())
            shown = page.locator(".output-area", has_text="rows: ").last
            shown.wait_for()
            seen = shown.inner_text()
            opened.assert_well()
        assert "rows: 13," in seen, seen
        return seen.rpartition(" ")[2].strip()

    def save(self, page: Page, line: str) -> None:
        """Save the notebook, and wait until its file has a line: a cell has its name from there."""
        page.keyboard.press("Control+s")
        deadline = time.monotonic() + 60
        while line not in self.notebook.read_text():
            assert time.monotonic() < deadline
            page.wait_for_timeout(100)


@pytest.fixture
def desk(test_data: Path) -> Iterator[Desk]:
    """Not below /tmp: what lies there marimo does not save before it was given a name."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="stargazer-desk-") as folder:
        yield Desk(Path(folder), test_data / VCF)


@pytest.mark.browser
def test_a_task_that_is_typed_into_a_cell_runs_on_real_data(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    cid = desk.type_and_run()
    (record,) = desk.store.query({"asset": "table", "kind": "indels"})
    assert record.cid == cid
    made = desk.store.document(record.keyvalues["provenance_cid"])
    assert isinstance(made, Execution)
    assert (made.task, made.notebook) == ("htslib.count_indels", "experiment.py")
    assert made.code_digest

    for name, value in desk.environment.items():
        monkeypatch.setenv(name, value)

    async def ask() -> str:
        async with Client(make_server()) as client:
            return str((await client.call_tool("why", {"cid": cid})).structured_content)

    assert "cell count_indels of experiment.py" in asyncio.run(ask())


@pytest.mark.long
@pytest.mark.browser
@pytest.mark.timeout(900)
def test_what_was_typed_is_promoted_and_does_the_same(desk: Desk, tmp_path: Path) -> None:
    cid = desk.type_and_run()
    checkout = tmp_path / "checkout"
    shutil.copytree(
        ROOT, checkout, ignore=shutil.ignore_patterns(".git", "__pycache__", ".*_cache", "__marimo__")
    )

    def at_checkout(*words: str, fails: bool = False) -> str:
        sources = map(str, sorted(checkout.glob("packages/*/src")))
        done = subprocess.run(
            [sys.executable, *words], cwd=checkout, capture_output=True, text=True, stdin=subprocess.DEVNULL,
            env={**os.environ, **desk.environment, "PYTHONPATH": os.pathsep.join(sources)},
        )  # fmt: skip
        assert (done.returncode != 0) == fails, f"{words}: {done.stdout}\n{done.stderr}"
        return done.stdout

    place = f"{desk.notebook}::count_indels"
    at_checkout("-m", "stargazer.mcp.cli", "promote-task", place, "--to", "tasks/indels.py", "--yes")
    module = checkout / "packages/stargazer-tasks/src/stargazer/tasks/indels.py"
    (test,) = checkout.glob("packages/stargazer-tasks/tests/unit/test_count_indels.py")

    # the same call of the package gives the same file, computed anew
    assert at_checkout("-c", SCRIPT).split() == [str(module), cid]

    # its own test passes, and fails for a function that is broken
    at_checkout("-m", "pytest", "-q", "-n", "0", str(test))
    text = module.read_text()
    module.write_text(text.replace("len(alt) - len(ref)", "len(ref) - len(alt)"))
    assert module.read_text() != text
    assert "1 failed" in at_checkout("-m", "pytest", "-q", "-n", "0", str(test), fails=True)
    module.write_text(text)

    # the checks of the package
    at_checkout("-m", "ruff", "check", "packages/stargazer-tasks")
    at_checkout("-m", "ruff", "format", "--check", "packages/stargazer-tasks")
    at_checkout("-m", "mypy")
    at_checkout(str(Path(sys.executable).with_name("lint-imports")), "--no-cache")
