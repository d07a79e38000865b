"""docs/architecture.md: every module is reachable from its tables, and every module that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "architecture.md"
LAYERS = ("assets", "storage", "tasks", "workflows", "mcp")
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not in the sdist")


def named(layer: str) -> list[str]:
    """The modules and folders in the table of a layer, as it writes them."""
    (table,) = re.findall(rf"^\| of `stargazer\.{layer}` .*\n((?:\|.*\n)+)", PAGE.read_text(), re.MULTILINE)
    return [name for row in table.splitlines()[1:] for name in re.findall(r"`([\w/]+)`", row)]


def modules(layer: str) -> list[str]:
    """The modules of a layer by their paths, front pages aside."""
    folder = ROOT / f"packages/stargazer-{layer}/src/stargazer/{layer}"
    paths = [path.relative_to(folder).with_suffix("") for path in folder.rglob("*.py")]
    return sorted(str(path) for path in paths if path.name != "__init__")


@pytest.mark.parametrize("layer", LAYERS)
def test_every_module_is_reachable(layer: str) -> None:
    names = named(layer)
    folders = tuple(name for name in names if name.endswith("/"))
    assert [
        name for name in modules(layer) if name not in names and not name.startswith(folders or "/")
    ] == []


@pytest.mark.parametrize("layer", LAYERS)
def test_every_module_that_is_named_is_there(layer: str) -> None:
    there = modules(layer)
    gone = [
        name
        for name in named(layer)
        if not any(module.startswith(name) if name.endswith("/") else module == name for module in there)
    ]
    assert [
        name
        for name in gone
        if not (ROOT / f"packages/stargazer-{layer}/src/stargazer/{layer}/{name}").is_dir()
    ] == []


def test_each_way_has_at_most_eight_steps() -> None:
    ways = re.findall(r"^### The way of .*\n\n((?:\|.*\n)+)", PAGE.read_text(), re.MULTILINE)
    assert len(ways) == 3
    assert all(len(way.splitlines()) <= 2 + 8 for way in ways)
