"""Every step from counts to marker genes gives what scanpy gives by hand with the same settings, value for value."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flyte
import pytest
from stargazer.assets import AnnData, InvalidAssetError
from stargazer.tasks import (
    calculate_qc_metrics,
    filter_cells,
    harmony_integrate,
    highly_variable_genes,
    leiden,
    neighbors,
    normalize_total,
    pca,
    rank_genes_groups,
    scrublet,
    umap,
    write_csv,
)
from stargazer.tasks.execution import named_outputs
from stargazer.tasks.tools.python import arithmetic

from .cells_by_hand import RESOLUTIONS
from .conftest import Bench

np = pytest.importorskip("numpy")
pytest.importorskip("scanpy", reason="NOT TESTED: pip install 'stargazer-tasks[scrna]'")

pytestmark = [pytest.mark.usefixtures("compiled"), pytest.mark.timeout(900)]


def simulated(cells: int = 240, seed: int = 1) -> Any:
    """Counts of cells of three types in two samples; the last cell of each sample is damaged."""
    import anndata
    import pandas as pd
    from scipy import sparse

    rng = np.random.default_rng(seed)
    names = [
        f"{kind}{n}"
        for kind, count in (("MT-", 8), ("RPS", 12), ("HBA", 2), ("G", 498))
        for n in range(count)
    ]
    profiles = rng.gamma(0.6, 1.0, len(names)) * np.ones((3, 1))
    for kind in range(3):
        profiles[kind, 30 + 20 * kind : 50 + 20 * kind] *= 8
    kinds, samples = rng.integers(0, 3, cells), np.arange(cells) % 2
    batch = np.exp(rng.normal(0, 0.4, (2, len(names))))
    means = profiles[kinds] * batch[samples] * rng.lognormal(0, 0.2, (cells, 1))
    means[-2:] *= 0.2
    means[-2:, :8] *= 200
    counts = rng.poisson(means * 3).astype(np.float32)
    obs = pd.DataFrame({"sample": pd.Categorical([f"s{n}" for n in samples]), "all": pd.Categorical(["one"] * cells)},
                       [f"cell{n}" for n in range(cells)])  # fmt: skip
    return anndata.AnnData(sparse.csr_matrix(counts), obs, pd.DataFrame(index=names))


class Both(Bench):
    """Awaits each task, and has Flyte run it as well: that gives the same files, from memory."""

    def run(self, task: Any, /, *args: Any, **kwargs: Any) -> Any:
        result = super().run(task, *args, **kwargs)

        async def by_flyte() -> Any:
            done = await flyte.with_runcontext(mode="local").run.aio(task, *args, **kwargs)
            return named_outputs(task, done.outputs())

        again = super().run(by_flyte)
        assert _cids(again) == _cids(result)
        return result


def _cids(result: Any) -> list[str | None]:
    return [asset.cid for asset in (result if isinstance(result, tuple) else [result])]


@pytest.fixture(scope="module")
def lab(compiled_code: Path, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """A store of its own."""
    return Both(tmp_path_factory.mktemp("cells") / "store")


@pytest.fixture(scope="module")
def stages(lab: Both, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The assets of each step by its name, and under `counts` what they begin with."""
    path = tmp_path_factory.mktemp("raw") / "raw.h5ad"
    simulated().write_h5ad(path)
    cells: Any = lab.add(path, AnnData(stage="counts"))
    made = {"counts": cells}

    def step(task: Any, *args: Any, **options: Any) -> None:
        nonlocal cells
        made[task.name.rpartition(".")[2]] = result = lab.run(task, cells, *args, **options)
        cells = result.cells if isinstance(result, tuple) else result

    step(calculate_qc_metrics)
    step(filter_cells, min_genes=50, max_pct_mt=40.0, nmads=6.0)
    step(scrublet, n_prin_comps=10)
    step(normalize_total)
    step(highly_variable_genes, n_top_genes=150, batch_key="sample")
    step(pca, n_comps=20)
    step(harmony_integrate)
    step(neighbors)
    step(umap)
    step(leiden, RESOLUTIONS, 1.0, seeds=3)
    step(rank_genes_groups)
    made["write_csv"] = lab.run(write_csv, cells)
    return made


@pytest.fixture(scope="module")
def hand(compiled_code: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what scanpy alone makes of the same cells, with the arithmetic of our child processes."""
    folder = tmp_path_factory.mktemp("hand")
    simulated().write_h5ad(folder / "raw.h5ad")
    script = Path(__file__).with_name("cells_by_hand.py")
    command = [sys.executable, str(script), str(folder / "raw.h5ad"), str(folder)]
    subprocess.run(
        command,
        check=True,
        env={**os.environ, **arithmetic(), "NUMBA_CACHE_DIR": str(compiled_code / "by-hand")},
    )
    return folder


@pytest.fixture(scope="module")
def by_hand(hand: Path) -> Any:
    """The cells that scanpy alone makes."""
    import anndata

    return anndata.read_h5ad(hand / "cells.h5ad")


@pytest.fixture(scope="module")
def final(lab: Both, stages: dict[str, Any]) -> Any:
    """What is in the file after the last step."""
    import anndata

    return anndata.read_h5ad(lab.path(stages["rank_genes_groups"].cells))


def test_cells_genes_and_their_columns_are_those_of_scanpy(final: Any, by_hand: Any) -> None:
    import pandas as pd

    assert 200 < final.n_obs < 240
    for ours, theirs in ((final.obs, by_hand.obs), (final.var, by_hand.var)):
        columns = [name for name in theirs if name in ours]
        assert len(columns) > 8
        pd.testing.assert_frame_equal(
            ours[columns], theirs[columns], check_exact=True, check_categorical=False
        )


def test_every_column_of_scanpy_is_there(final: Any, by_hand: Any) -> None:
    assert set(by_hand.obs) - {"n_genes"} <= set(final.obs)  # which Scrublet's own filter leaves behind
    assert set(by_hand.var) <= set(final.var)


@pytest.mark.parametrize("name", ["X_pca", "X_pca_harmony", "X_umap"])
def test_coordinates_are_those_of_scanpy(final: Any, by_hand: Any, name: str) -> None:
    assert np.array_equal(final.obsm[name], by_hand.obsm[name])


@pytest.mark.parametrize("name", ["connectivities", "distances"])
def test_the_graph_is_that_of_scanpy(final: Any, by_hand: Any, name: str) -> None:
    assert (final.obsp[name] != by_hand.obsp[name]).nnz == 0


def test_values_are_those_of_scanpy_and_counts_are_kept_before(final: Any, by_hand: Any) -> None:
    assert (final.X != by_hand.X).nnz == 0
    assert (final.layers["counts"] != by_hand.layers["counts"]).nnz == 0


def test_the_table_of_markers_is_that_of_scanpy(lab: Both, stages: dict[str, Any], hand: Path) -> None:
    assert lab.path(stages["rank_genes_groups"].markers).read_text() == (hand / "markers.csv").read_text()


def test_the_table_of_cells_has_a_row_each(lab: Both, stages: dict[str, Any], final: Any) -> None:
    import pandas as pd

    rows = pd.read_csv(lab.path(stages["write_csv"]), index_col="cell")

    assert list(rows.index) == list(final.obs_names)
    assert np.allclose(rows[["umap_1", "umap_2"]], final.obsm["X_umap"])
    assert (rows["leiden"].astype(str) == final.obs["leiden"]).all()


def test_an_asset_says_what_is_in_it(stages: dict[str, Any], final: Any) -> None:
    last = stages["rank_genes_groups"].cells

    assert (last.n_obs, last.n_vars, last.layers, last.stage) == (
        *final.shape,
        ["counts"],
        "rank_genes_groups",
    )
    assert stages["calculate_qc_metrics"].layers == []


def test_steps_note_what_they_did(final: Any) -> None:
    notes = {name: json.loads(text) for name, text in final.uns["stargazer"].items()}

    assert notes["filter_cells"]["s0"]["cells_before"] == 120
    assert notes["filter_cells"]["s0"]["removed"]["max_pct_mt"] == 1
    assert sum(sample["cells_after"] for sample in notes["filter_cells"].values()) == final.n_obs
    assert {sample: found["cells"] for sample, found in notes["scrublet"].items()} == {
        sample: found["cells_after"] for sample, found in notes["filter_cells"].items()
    }
    stability = notes["stability"]
    assert [row["resolution"] for row in stability["resolutions"]] == RESOLUTIONS
    assert stability["resolutions"][0]["clusters"] == 3
    assert stability["resolutions"][0]["ari_min"] == 1.0
    assert stability["resolutions"][0]["jaccard"] == {"0": 1.0, "1": 1.0, "2": 1.0}
    assert stability["chosen"] == 1.0


def test_without_samples_of_their_own_cells_are_one(
    lab: Both, stages: dict[str, Any], tmp_path: Path
) -> None:
    cells = simulated()
    del cells.obs["sample"]
    cells.write_h5ad(tmp_path / "one.h5ad")

    measured = lab.run(calculate_qc_metrics, lab.add(tmp_path / "one.h5ad", AnnData(stage="counts")))
    kept = lab.run(filter_cells, measured, max_pct_mt=40.0)

    assert kept.n_obs == 238


def test_doublets_are_removed_on_request(lab: Both, stages: dict[str, Any]) -> None:
    import anndata

    marked = anndata.read_h5ad(lab.path(stages["scrublet"]))
    threshold = float(marked.obs["doublet_score"].quantile(0.9))

    rest = lab.run(scrublet, stages["filter_cells"], n_prin_comps=10, threshold=threshold, remove=True)

    assert rest.n_obs == (marked.obs["doublet_score"] <= threshold).sum() < marked.n_obs


REFUSED = {
    "no metrics": (filter_cells, "counts", {}, "run calculate_qc_metrics first"),
    "nothing left": (filter_cells, "calculate_qc_metrics", {"min_genes": 10_000},
                     "no cell is left after filtering; of 120 cells of s0 min_genes removes 120"),
    "no gene left": (filter_cells, "calculate_qc_metrics", {"min_cells": 500}, "lower min_cells"),
    "too few for doublets": (scrublet, "filter_cells", {"n_prin_comps": 200}, "lower n_prin_comps=200"),
    "normalised twice": (normalize_total, "normalize_total", {}, "normalised already"),
    "not normalised": (highly_variable_genes, "scrublet", {}, "run normalize_total first"),
    "no batch": (highly_variable_genes, "normalize_total", {"batch_key": "donor"},
                 "no 'donor' in obs; they have 'sample', 'all'"),
    "no gene differs": (highly_variable_genes, "normalize_total", {"min_disp": 1e6}, "give n_top_genes="),
    "no genes chosen": (pca, "normalize_total", {}, "run highly_variable_genes first"),
    "no components": (harmony_integrate, "highly_variable_genes", {}, "run pca first"),
    "no such batch": (harmony_integrate, "pca", {"key": "donor"}, "no 'donor' in obs"),
    "one batch": (harmony_integrate, "pca", {"key": "all"}, "1 batch only"),
    "no components for a graph": (neighbors, "highly_variable_genes", {}, "run pca first"),
    "no graph": (umap, "pca", {}, "run neighbors first"),
    "no graph for clusters": (leiden, "pca", {"resolutions": [1.0]}, "run neighbors first"),
    "no resolution": (leiden, "umap", {"resolutions": []}, "at least one number above zero"),
    "another resolution": (leiden, "umap", {"resolutions": [1.0], "resolution": 2.0}, "not among resolutions"),
    "no seed": (leiden, "umap", {"resolutions": [1.0], "seeds": 0}, "give at least 1"),
    "no clusters": (rank_genes_groups, "umap", {}, "no 'leiden' in obs"),
    "one cluster": (rank_genes_groups, "leiden", {"groupby": "all"}, "1 cluster only"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_step_cannot_work_on_is_refused(lab: Both, stages: dict[str, Any], case: str) -> None:
    task, stage, options, says = REFUSED[case]

    with pytest.raises(InvalidAssetError) as caught:
        Bench.run(lab, task, stages[stage], **options)

    assert says in str(caught.value)


def awkward() -> Iterator[tuple[str, Any]]:
    """Cells that hardly are: by name."""
    whole = simulated()
    yield "one cell", whole[:1].copy()
    yield "one gene", whole[:, 100:101].copy()
    yield "two cells", whole[:2].copy()
    empty = whole[:20].copy()
    empty.X = empty.X * 0
    yield "all zero", empty
    partly = whole.copy()
    partly.X = partly.X.multiply((np.arange(240) > 9)[:, None]).tocsr()
    yield "ten empty cells", partly


@pytest.fixture
def to_markers(lab: Both, tmp_path: Path) -> Any:
    """Takes cells from counts to marker genes."""

    async def whole(asset: Any) -> Any:
        kept = await filter_cells(await calculate_qc_metrics(asset), min_cells=1)
        chosen = await highly_variable_genes(await normalize_total(kept))
        clustered = await leiden(await neighbors(await pca(chosen)), [1.0])
        return (await rank_genes_groups(clustered)).cells

    def run(cells: Any) -> Any:
        cells.write_h5ad(tmp_path / "few.h5ad")
        return Bench.run(lab, whole, lab.add(tmp_path / "few.h5ad", AnnData(stage="counts")))

    return run


@pytest.mark.parametrize("name", ["one cell", "one gene", "two cells", "all zero"])
def test_too_few_cells_or_genes_end_in_a_word_of_ours(to_markers: Any, name: str) -> None:
    with pytest.raises(InvalidAssetError):
        to_markers(dict(awkward())[name])


def test_cells_without_a_molecule_are_left_out(to_markers: Any) -> None:
    assert to_markers(dict(awkward())["ten empty cells"]).n_obs == 230


def test_two_samples_at_the_same_time_do_not_disturb_each_other(lab: Both, tmp_path: Path) -> None:
    assets = []
    for seed in (7, 8):
        path = tmp_path / f"{seed}.h5ad"
        simulated(120, seed).write_h5ad(path)
        assets.append(lab.add(path, AnnData(stage="counts", sample=str(seed))))

    async def chain(asset: Any) -> Any:
        kept = await filter_cells(await calculate_qc_metrics(asset))
        return await pca(await highly_variable_genes(await normalize_total(kept)), n_comps=5)

    async def both() -> list[Any]:
        return list(await asyncio.gather(*map(chain, assets)))

    together = Bench.run(lab, both)
    alone = Bench(tmp_path / "other")
    for asset, found in zip(assets, together, strict=True):
        copy = alone.add(tmp_path / f"{asset.sample}.h5ad", AnnData(stage="counts", sample=asset.sample))
        assert alone.run(chain, copy).cid == found.cid


def test_what_the_child_keeps_in_memory_is_what_the_file_holds(tmp_path: Path) -> None:
    """The next step reads the cells that were written last from memory: as if it had read the file."""
    from stargazer.tasks.scrna import cells as module
    from stargazer.tasks.scrna import preprocess, quality

    def chain(folder: Path, *, forget: bool) -> list[bytes]:
        folder.mkdir()
        simulated().write_h5ad(folder / "0.h5ad")
        steps: list[tuple[Any, dict[str, Any]]] = [
            (quality._calculate_qc_metrics, {}),
            (quality._filter_cells, {"limits": {"max_pct_mt": 40.0}, "nmads": None, "min_cells": 3}),
            (preprocess._normalize_total, {"target_sum": None}),
            (preprocess._highly_variable_genes, {"batch_key": "sample", "n_top_genes": 100}),
            (preprocess._pca, {"n_comps": 10, "svd_solver": "covariance_eigh", "random_state": 0}),
        ]
        for number, (step, options) in enumerate(steps):
            step(source=str(folder / f"{number}.h5ad"), target=str(folder / f"{number + 1}.h5ad"), **options)
            if forget:
                module._kept.clear()
        return [(folder / f"{number + 1}.h5ad").read_bytes() for number in range(len(steps))]

    kept, read = chain(tmp_path / "kept", forget=False), chain(tmp_path / "read", forget=True)

    assert [one == other for one, other in zip(kept, read, strict=True)] == [True] * 5


def test_other_files_are_not_taken_for_the_last_one(tmp_path: Path) -> None:
    from stargazer.tasks.scrna.cells import load, save

    save(simulated(40), str(tmp_path / "a.h5ad"))
    simulated(60).write_h5ad(tmp_path / "b.h5ad")

    assert load(str(tmp_path / "b.h5ad")).n_obs == 60
    assert load(str(tmp_path / "a.h5ad")).n_obs == 40
