"""Notebooks to promote from, as marimo writes them, and a checkout to promote into."""

from __future__ import annotations

import os
import re
import shutil
import textwrap
from pathlib import Path

import pytest
from stargazer.assets import ConfigurationError
from stargazer.mcp.promotion.checkout import Checkout, find_checkout

pytest.importorskip("marimo", reason="NOT TESTED: pip install 'stargazer-mcp[notebook]'")
try:
    find_checkout()
except ConfigurationError:
    pytest.skip("tasks are promoted in a checkout", allow_module_level=True)

__all__ = ["COPIED", "TASK", "checkout_copy", "environment_of", "notebook"]

TASK = '''
@htslib_env.task
async def count_lines(variants: Variants) -> Table:
    """Count the lines of a VCF."""
    text = await bcftools("view", "-H", variants.path).text()
    table = workspace() / "lines.csv"
    table.write_text(f"lines\\n{len(text.splitlines())}\\n")
    return Table(path=expect(table, by="count_lines"), kind="lines", sample=variants.only_sample)
'''
"""A task that works on its own, with the imports of `SETUP`."""
SETUP = """
from pathlib import Path
from stargazer.assets import Table, Variants
from stargazer.tasks import AssetEnvironment, bcftools, expect, htslib_env, workspace
"""
COPIED = ("packages", ".ci", "docs", "pyproject.toml", "hatch.toml")


def notebook(*cells: str, setup: str = SETUP, name: str = "counting") -> str:
    """The text of a notebook whose first cell has a name; a cell that begins with `app.` stands as it is."""
    parts = ['import marimo\n\n__generated_with = "0.25.2"\napp = marimo.App()\n']
    parts.append("with app.setup:\n" + textwrap.indent(setup.strip(), "    ") + "\n")
    for number, cell in enumerate(cells):
        body = cell.strip("\n")
        if body.startswith(("@app.", "app.")):
            parts.append(body + "\n")
            continue
        head = "async def" if re.search(r"^\S.*\bawait |^await ", cell, re.MULTILINE) else "def"
        called = "_" if number else name
        parts.append(f"@app.cell\n{head} {called}():\n{textwrap.indent(body, '    ')}\n    return\n")
    return "\n\n".join([*parts, 'if __name__ == "__main__":\n    app.run()\n'])


def checkout_copy(folder: Path) -> Checkout:
    """A copy of the checkout that these tests run from."""
    own = find_checkout().root
    leave = shutil.ignore_patterns("__pycache__", ".*_cache", ".hypothesis")
    for name in COPIED:
        if (own / name).is_dir():
            shutil.copytree(own / name, folder / name, ignore=leave, symlinks=True)
        else:
            shutil.copy(own / name, folder / name)
    return Checkout(folder)


def environment_of(checkout: Checkout) -> dict[str, str]:
    """Variables with which Python finds a copy before what is installed."""
    sources = sorted(checkout.root.glob("packages/*/src"))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sources))}
