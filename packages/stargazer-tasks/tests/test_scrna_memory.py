"""The memory of a step is estimated from the structure of its file, and a step that cannot fit is not begun."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import ConfigurationError
from stargazer.tasks.scrna.memory import LIBRARIES, NEEDS, Sizes, check_memory, estimate, sizes_of

from .cells_made import N_CELLS, N_GENES, cells_of, some_counts, write_folder, write_h5

pytest.importorskip("anndata", reason="NOT TESTED: pip install 'stargazer-tasks[scrna]'")

VALUES = int((some_counts() > 0).sum())


def written(path: Path, cells: Any) -> Path:
    cells.write_h5ad(path)
    return path


def test_sizes_are_read_off_the_structure_of_each_kind_of_file(tmp_path: Path) -> None:
    layered = cells_of(sample=["a"] * 8 + ["b"] * 4)
    layered.layers["counts"] = layered.X.copy()
    layered.obs["sample"] = layered.obs["sample"].astype("category")
    dense = cells_of()
    dense.X = dense.X.toarray()

    plain = sizes_of(written(tmp_path / "plain.h5ad", cells_of()))
    more = sizes_of(written(tmp_path / "layered.h5ad", layered))
    by_row = sizes_of(written(tmp_path / "dense.h5ad", dense))

    assert plain[:3] == (N_CELLS, N_GENES, VALUES)
    assert more.loaded > plain.loaded + 8 * VALUES
    assert (plain.largest, more.largest) == (N_CELLS, 8)
    assert by_row[:3] == (N_CELLS, N_GENES, N_CELLS * N_GENES // 10)
    for path in (write_h5(tmp_path / "x.h5"), write_folder(tmp_path / "m")):
        assert sizes_of(path) == (N_CELLS, N_GENES, VALUES, 0, N_CELLS)


def test_whatever_a_step_leaves_in_a_file_is_counted(tmp_path: Path) -> None:
    import numpy as np
    from scipy import sparse

    cells = cells_of(cell_type=["T", "B"] * 6, score=1.5)
    cells.uns = {"log1p": {"base": None}, "names": np.array(["a", "b"]), "note": "text"}
    cells.obsm["X_pca"] = np.zeros((N_CELLS, 50))
    cells.obsp["distances"] = sparse.csr_matrix(np.eye(N_CELLS))

    found, plain = (
        sizes_of(written(tmp_path / f"{number}.h5ad", each))
        for number, each in enumerate((cells, cells_of()))
    )

    assert found.loaded > plain.loaded + 8 * 50 * N_CELLS


@pytest.mark.parametrize("step", NEEDS)
def test_more_cells_take_more_memory(step: str) -> None:
    few, many = Sizes(1_000, 20_000, 10**6, 10**7, 1_000), Sizes(10**6, 20_000, 10**9, 10**10, 10**6)

    assert LIBRARIES < estimate(step, [few]) < 1.7e9
    assert estimate(step, [many]) > 2.4e9
    assert estimate(step, [few, few]) > estimate(step, [few])


def test_a_step_that_cannot_fit_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = str(written(tmp_path / "x.h5ad", cells_of()))

    check_memory("pca", path, available=2 * 10**9)
    with pytest.raises(ConfigurationError) as caught:
        check_memory("pca", path, path, available=10**8)

    first, *advice = str(caught.value).splitlines()
    assert first == (
        f"pca of 24 cells by 9 genes ({2 * VALUES} values) takes about 0.8 GB of memory, and 0.1 GB are "
        "available. Instead:"
    )
    assert [line.split(" ")[3:6] for line in advice] == [
        ["fewer", "cells", "at"],
        ["a", "machine", "with"],
        ["a", "cluster:", "`stargazer"],
    ]


def test_what_is_available_is_what_the_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(written(tmp_path / "x.h5ad", cells_of()))

    check_memory("umap", path)
    monkeypatch.setenv("STARGAZER_MEMORY", "50M")
    with pytest.raises(ConfigurationError, match=r"umap of 12 cells .* and 52.4 MB are available"):
        check_memory("umap", path)


def test_files_that_cannot_be_read_are_left_to_the_step(tmp_path: Path) -> None:
    (tmp_path / "x.h5ad").write_text("nothing")
    (tmp_path / "empty").mkdir()

    for name in ("x.h5ad", "empty", "none.h5ad"):
        check_memory("calculate_qc_metrics", str(tmp_path / name), available=1)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says the peak")
def test_the_estimate_covers_what_reading_takes(tmp_path: Path, mouse_brain: Path) -> None:
    script = (
        "import sys; from stargazer.tasks.scrna.matrices import _read_h5ad; "
        "_read_h5ad(sys.argv[1], sys.argv[2], 'cid', {'sample': 's'}, 'auto', None); "
        "print(*[line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')])"
    )
    command = [sys.executable, "-c", script, mouse_brain, tmp_path / "out.h5ad"]
    taken = 1024 * int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert taken < estimate("reading", [sizes_of(mouse_brain)])
