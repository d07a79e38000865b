"""HDF5 files that have parts in other files: not registered, not read for claims."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stargazer.mcp.claims.cells import Cells
from stargazer.mcp.claims.verdicts import Unverifiable

from .command import Command

h5py = pytest.importorskip("h5py")


def external(file: Any, other: Path) -> None:
    """A column that is the bytes of any file."""
    file.create_dataset("obs/x", shape=(6,), dtype="u1", external=[(str(other), 0, 6)])


def virtual(file: Any, other: Path) -> None:
    """A column that is put together of one in another file."""
    layout = h5py.VirtualLayout(shape=(6,), dtype="i8")
    layout[:] = h5py.VirtualSource(str(other), "x", shape=(6,))
    file.create_virtual_dataset("obs/x", layout)


def linked(file: Any, other: Path) -> None:
    """A column that is a link to another file, behind a link within this one."""
    file["obs/x"] = h5py.SoftLink("/uns/there/x")
    file["uns/there"] = h5py.ExternalLink(str(other), "/")


@pytest.mark.parametrize("make", [external, virtual, linked])
def test_a_file_with_parts_elsewhere_is_no_file_of_its_cid(
    make: Callable[[Any, Path], None], tmp_path: Path, stargazer: Command
) -> None:
    secret = tmp_path / "secret"
    if make is external:
        secret.write_text("secret")
    else:
        with h5py.File(secret, "w") as file:
            file["x"] = [*range(6)]
    path = tmp_path / "cells.h5ad"
    with h5py.File(path, "w") as file:
        for table, rows in (("obs", 6), ("var", 1)):
            file[f"{table}/_index"] = [f"{n}" for n in range(rows)]
            file[table].attrs.update({"_index": "_index", "column-order": ["x"] * (table == "obs")})
        make(file, secret)
    status, _, err = stargazer("add", str(path))
    assert status == 1
    assert "lies in another file" in err
    pytest.importorskip("anndata", reason="NOT TESTED: pip install 'stargazer-mcp[scrna]'")
    with pytest.raises(Unverifiable, match="lies in another file"):
        Cells(path, "obs")
