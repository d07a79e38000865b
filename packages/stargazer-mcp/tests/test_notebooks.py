"""Every notebook of the gallery keeps the rules; one is used in a browser, the others are in test_long_notebooks.py."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client

from .command import stargazer
from .notebook_browser import drawn, open_page, serve, settled
from .talk import answer, with_client

FOLDER = (Path(__file__) / "../../../../notebooks").resolve()
if not FOLDER.exists():
    pytest.skip("the notebooks are in no distribution", allow_module_level=True)

EXPERIMENT = FOLDER / "scratch" / "experiment.py"
NOTEBOOKS = [*sorted(FOLDER.glob("*.py")), EXPERIMENT]
LAYERS = ("assets", "storage", "tasks", "workflows", "mcp")  # from the lowest to the highest
MARIMO = importlib.util.find_spec("marimo")
EACH = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def imports(notebook: Path) -> set[str]:
    """What a notebook imports, with dots: modules, and what is taken from them."""
    found = set()
    for node in ast.walk(ast.parse(notebook.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def header(notebook: Path) -> dict[str, object]:
    """Its metadata, as PEP 723 has them."""
    (block,) = re.findall(r"(?m)^# /// script\n((?:#.*\n)+?)# ///$", notebook.read_text())
    return tomllib.loads("".join(line[2:] or "\n" for line in block.splitlines(keepends=True)))


def requirements(notebook: Path) -> Iterator[tuple[str, str, str]]:
    """The distributions that it pins: name, extras, versions."""
    pins = header(notebook)["dependencies"]
    assert isinstance(pins, list)
    for pin in pins:
        match = re.fullmatch(r"([\w-]+)(?:\[([\w,]+)\])?(\S+)", pin)
        assert match, f"{pin}: expected a name and a range of versions"
        yield match[1], match[2] or "", match[3]


@pytest.mark.skipif(not MARIMO, reason="no marimo: hatch run test has it")
def test_marimo_finds_nothing_to_say_about_them() -> None:
    command = [sys.executable, "-m", "marimo", "check", "--strict", *map(str, NOTEBOOKS)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@EACH
def test_a_notebook_imports_no_other_one(notebook: Path) -> None:
    others = {path.stem for path in NOTEBOOKS} | {"notebooks", "scratch"}
    assert {name.partition(".")[0] for name in imports(notebook)} & others == set()


@EACH
def test_a_notebook_pins_only_what_it_uses_in_ranges_that_hold(notebook: Path) -> None:
    modules = {name.partition(".")[0] for name in imports(notebook)}
    layers = {name.split(".")[1] for name in imports(notebook) if name.startswith("stargazer.")}
    pinned = {name: (extras, versions) for name, extras, versions in requirements(notebook)}
    own = {name.removeprefix("stargazer-") for name in pinned if name.startswith("stargazer-")}

    assert header(notebook)["requires-python"] == ">=3.11"
    assert own <= layers
    assert max(layers, key=LAYERS.index) in own  # it brings those below
    assert pinned.keys() - {f"stargazer-{layer}" for layer in own} <= modules
    assert {"marimo", "stargazer-workflows"} & pinned.keys()
    for name, (extras, versions) in pinned.items():
        assert not versions.startswith("==") or versions.endswith(".*"), name
        if name.startswith("stargazer-"):
            here = ".".join(metadata.version(name).split(".")[:2])
            assert versions == f">={here},<0.{int(here.partition('.')[2]) + 1}", name
        if name == "stargazer-workflows" and "marimo" not in pinned:
            assert "notebook" in extras.split(",")


@EACH
def test_a_notebook_asks_where_it_runs_first(notebook: Path) -> None:
    code = notebook.read_text()
    assert code.count("flyte.init_from_config()") == (notebook.stem != "assets")  # which runs nothing
    assert "# " in code.partition("@app.cell")[2].partition("return")[0]  # the title


SERVER_IN_A_KERNEL = """
import asyncio, importlib.util, sys
from fastmcp import Client
from stargazer.mcp.server import make_server

spec = importlib.util.spec_from_file_location("__main__", sys.argv[1])
notebook = importlib.util.module_from_spec(spec)
spec.loader.exec_module(notebook)
_, defined = notebook.app.run()
assert "count_records" in defined

async def main():
    async with Client(make_server()) as client:
        for words in ("count_records", "flagstat"):
            found = await client.call_tool("list_tasks", {"search": words})
            print(words, found.structured_content["total"])

asyncio.run(main())
"""


@pytest.mark.skipif(not MARIMO, reason="no marimo: hatch run test has it")
def test_a_task_of_a_notebook_is_in_no_list_not_even_of_its_own_process() -> None:
    command = [sys.executable, "-c", SERVER_IN_A_KERNEL, str(EXPERIMENT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "count_records 0\nflagstat 1\n", done.stderr


@pytest.mark.browser
def test_a_notebook_is_used_in_run_mode() -> None:
    with serve(EXPERIMENT, "run") as served, open_page(served.url) as opened:
        settled(opened.page)
        opened.page.get_by_role("button", name="Add a small VCF").click()
        opened.page.get_by_text("How it came to be").wait_for()
        assert drawn(opened.page)
        opened.assert_well()

        counted = json.loads(stargazer("query", "asset=table", "kind=record_counts", "--json").stdout)
        assert len(counted) == 1
        assert "experiment.py" in stargazer("why", counted[0]["cid"]).stdout
        with ThreadPoolExecutor() as pool:  # Playwright has an event loop in this thread
            assert pool.submit(tasks_with, "count_records").result() == []


def tasks_with(words: str) -> list[str]:
    """What the server lists of tasks with these words, on the store of the kernel."""
    found: list[str] = []

    async def body(client: Client[Any]) -> None:
        found.extend(task["name"] for task in (await answer(client, "list_tasks", search=words))["tasks"])

    with_client(body)
    return found
