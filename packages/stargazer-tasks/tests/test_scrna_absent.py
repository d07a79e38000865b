"""Without the extra [scrna] all else works, and a task of single cells says which command adds what it needs."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from stargazer import tasks
from stargazer.assets import AnnData, ToolError
from stargazer.tasks import read_h5ad, scrna_env
from stargazer.tasks.execution import TASKS
from stargazer.tasks.tools import sources

from .conftest import Bench

SUPERBLOCK = b"\x89HDF\r\n\x1a\n" + struct.pack("<4B4QI", 2, 8, 8, 0, 0, 2**64 - 1, 48, 48, 0)
"""Of an HDF5 file that ends with it."""
LISTING = """
import sys
for name in sys.argv[1:]:
    sys.modules[name] = None  # an import of it fails
import stargazer.tasks
for name in stargazer.tasks.__all__:
    getattr(stargazer.tasks, name)
from stargazer.tasks.execution import TASKS
print(*sorted(name for name in TASKS if name.startswith("scrna.")))
"""


@pytest.fixture
def without_scanpy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Scanpy looks as if it were not installed."""
    version = metadata.version

    def asked(name: str) -> str:
        if name == "scanpy":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", asked)
    sources.installed_version.cache_clear()
    yield
    sources.installed_version.cache_clear()


def test_every_name_is_imported_and_every_task_listed_without_what_the_extra_brings() -> None:
    names = [tool.name for tool in scrna_env.tools if tool.name != "numpy"] + ["matplotlib"]
    done = subprocess.run([sys.executable, "-c", LISTING, *names], capture_output=True, text=True)

    for name in tasks.__all__:
        getattr(tasks, name)  # names are loaded when they are first used
    assert done.returncode == 0, done.stderr
    assert len(names) > 10
    assert done.stdout.split() == sorted(name for name in TASKS if name.startswith("scrna."))
    assert "scrna.read_h5ad" in done.stdout.split()


def test_a_task_says_which_command_adds_what_it_needs(
    without_scanpy: None, bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "cells.h5ad").write_bytes(SUPERBLOCK)
    cells = bench.add(tmp_path / "cells.h5ad", AnnData(sample="pbmc"), force=True)

    with pytest.raises(ToolError) as error:
        bench.run(read_h5ad, cells)

    told = "the Python package scanpy is not installed: pip install 'stargazer-mcp[scrna]'"
    assert str(error.value).startswith(told)
    assert bench.types() == ["anndata", "provenance"]  # of its import
