"""The README: its examples run, and its table is the catalogue."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import REGISTRY, Asset, LinkKind, catalogue, use_client

from .memory_client import MemoryClient

README = Path(__file__).parents[1] / "README.md"


def table_row(cls: type[Asset]) -> str:
    links = ", ".join(
        f"{name} ({'companion' if link.kind is LinkKind.COMPANION else 'derived from'})"
        for name, link in cls.links().items()
    )
    fields = ", ".join(name for name in cls.fields() if name not in cls.links())
    return f"| {cls.asset_key} | `{cls.__name__}` | {fields} | {links} |"


def test_the_table_is_the_catalogue() -> None:
    rows = re.findall(r"^\| (?!asset \|).*\|$", README.read_text(), re.MULTILINE)
    assert rows == [table_row(getattr(catalogue, name)) for name in catalogue.__all__]


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for key in ("coverage", "coverage_index"):
        monkeypatch.setitem(REGISTRY, key, Asset)
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "__main__"}
    with use_client(MemoryClient(tmp_path / "store")):
        for block in blocks:
            code = compile(block, str(README), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            result = eval(code, names)
            if inspect.iscoroutine(result):
                asyncio.run(result)
    assert len(blocks) == 5
    assert REGISTRY["coverage_index"] is names["CoverageIndex"]
