"""Steps on cells at the edge of what they work on: no value is wrong in silence, and errors say what to change."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import InvalidAssetError
from stargazer.tasks.scrna import clusters, markers, preprocess, quality
from stargazer.tasks.scrna.notes import noted

np = pytest.importorskip("numpy")
pytest.importorskip("scanpy", reason="NOT TESTED: pip install 'stargazer-tasks[scrna]'")

N_CELLS, N_GENES = 80, 120
NO_LIMITS = dict.fromkeys(["min_genes", "max_genes", "min_counts", "max_counts", "max_pct_mt"])
HVG = {"flavor": "seurat", "n_top_genes": 60, "min_disp": 0.5, "min_mean": 0.0125, "max_mean": 3.0}
SCRUBLET = {"expected_doublet_rate": 0.05, "sim_doublet_ratio": 2.0, "n_prin_comps": 10,
            "use_approx_neighbors": False, "random_state": 0, "threshold": 0.05}  # fmt: skip
NEIGHBORS = {"n_neighbors": 15, "n_pcs": None, "metric": "euclidean", "random_state": 0}
LEIDEN = {"resolution": None, "n_iterations": 2, "seeds": 1, "random_state": 0}
RANKS = {"method": "t-test", "corr_method": "benjamini-hochberg", "tie_correct": False}


def counted() -> Any:
    """Counts of cells of two types in two samples."""
    import anndata
    import pandas as pd
    from scipy import sparse

    rng = np.random.default_rng(3)
    means = rng.gamma(1.0, 1.5, N_GENES) * np.ones((N_CELLS, 1))
    means[::2, 10:30] *= 6
    obs = pd.DataFrame({"sample": pd.Categorical(["a"] * 40 + ["b"] * 40)}, [f"c{n}" for n in range(N_CELLS)])
    names = [f"MT-{n}" for n in range(5)] + [f"G{n}" for n in range(5, N_GENES)]
    return anndata.AnnData(
        sparse.csr_matrix(rng.poisson(means).astype(np.float32)), obs, pd.DataFrame(index=names)
    )


def changed(change: Any) -> Any:
    """The counts after a change of their values."""
    cells = counted()
    values = cells.X.toarray()
    change(values)
    cells.X = type(cells.X)(values)
    return cells


def changed_to(values: Any, cells: Any) -> Any:
    """Cells with these values, by rows and without zeros."""
    from scipy import sparse

    cells.X = sparse.csr_matrix(values.toarray() if sparse.issparse(values) else values)
    return cells


@pytest.fixture
def step(tmp_path: Path) -> Any:
    """Calls what a task calls in its child process; gives the cells that it wrote."""
    import anndata

    def run(function: Any, cells: Any, **options: Any) -> Any:
        source, target = tmp_path / "source.h5ad", tmp_path / "target.h5ad"
        cells.write_h5ad(source)
        function(str(source), str(target), **options)
        return anndata.read_h5ad(target)

    return run


@pytest.fixture
def components(step: Any) -> Any:
    """Takes counts to principal components."""

    def run(cells: Any, **options: Any) -> Any:
        normalised = step(preprocess._normalize_total, cells, target_sum=None)
        chosen = step(preprocess._highly_variable_genes, normalised, **{"batch_key": None, **HVG, **options})
        return step(preprocess._pca, chosen, n_comps=10, svd_solver="covariance_eigh", random_state=0)

    return run


@pytest.fixture
def graph(components: Any) -> Any:
    """Cells with a graph of neighbours, as scanpy keeps one: its own takes long to compile."""
    from sklearn.neighbors import kneighbors_graph

    cells = components(counted())
    near = kneighbors_graph(cells.obsm["X_pca"], 10)
    cells.obsp["connectivities"] = near.maximum(near.T)
    cells.uns["neighbors"] = {"connectivities_key": "connectivities", "params": {"method": "umap"}}
    return cells


@pytest.mark.parametrize("form", ["csc_matrix", "csr_matrix", "toarray"])
def test_metrics_are_the_same_however_counts_are_stored(step: Any, form: str) -> None:
    from scipy import sparse

    cells = counted()
    if form == "toarray":
        cells.X = cells.X.toarray()
    else:
        cells.X = getattr(sparse, form)(cells.X)
        cells.X.data[:5] = 0  # stored, but no counts

    found, plain = (
        step(quality._calculate_qc_metrics, each) for each in (cells, changed_to(cells.X, counted()))
    )

    assert found.obs.equals(plain.obs)
    assert found.var.equals(plain.var)


def test_cells_of_no_sample_are_refused(step: Any) -> None:
    cells = counted()
    cells.obs["sample"] = [None, *["a"] * (N_CELLS - 1)]
    measured = step(quality._calculate_qc_metrics, cells)

    with pytest.raises(InvalidAssetError, match="1 of 80 cells are of no sample"):
        step(quality._filter_cells, measured, limits=NO_LIMITS, nmads=None, min_cells=1)


def test_no_cell_deviates_from_what_most_cells_are(step: Any) -> None:
    """Nuclei: most have no mitochondrial molecule, so that their deviations say nothing of those that have one."""

    def nuclei(values: Any) -> None:
        values[:, :5] = 0
        values[:15, 0] = 1

    measured = step(quality._calculate_qc_metrics, changed(nuclei))

    cells = step(quality._filter_cells, measured, limits=NO_LIMITS, nmads=5.0, min_cells=1)

    found = noted(cells, "filter_cells")["a"]
    assert found["removed"]["nmads pct_counts_mt"] == 0
    assert found["thresholds"]["nmads pct_counts_mt"] == [None, None]
    assert None not in found["thresholds"]["nmads log1p_total_counts"]


def test_a_sample_that_loses_all_its_cells_is_named(step: Any) -> None:
    def poor(values: Any) -> None:
        values[40:, 50:] = 0

    measured = step(quality._calculate_qc_metrics, changed(poor))

    with pytest.raises(InvalidAssetError) as caught:
        step(quality._filter_cells, measured, limits=NO_LIMITS | {"min_genes": 60}, nmads=None, min_cells=1)

    assert str(caught.value) == (
        "no cell of 'b' is left after filtering; of 40 cells of b min_genes removes 40: widen these thresholds, or "
        "leave out 'b'"
    )


def test_cells_that_scrublet_leaves_out_are_no_doublets(step: Any) -> None:
    import scanpy as sc

    def tiny(values: Any) -> None:
        values[0] = 0
        values[0, 7:9] = 4

    cells = step(quality._scrublet, changed(tiny), remove=False, **SCRUBLET)

    alone = changed(tiny)[:40].copy()
    sc.pp.scrublet(alone, verbose=False, **SCRUBLET)
    assert np.isnan(cells.obs["doublet_score"].iloc[0])
    assert not cells.obs["predicted_doublet"].iloc[0]
    assert (
        cells.obs["predicted_doublet"].iloc[1:40].sum() == alone.obs["predicted_doublet"].iloc[1:].sum() > 0
    )


@pytest.mark.parametrize("donors", [[1, 2], ["x", "y"]])
def test_batches_of_any_kind_are_those_of_their_names(components: Any, donors: list[Any]) -> None:
    cells = counted()
    cells.obs["donor"] = donors * 40
    by_name = counted()
    by_name.obs["donor"] = ["one", "two"] * 40

    chosen = components(cells, batch_key="donor").var["highly_variable_nbatches"]

    assert list(chosen) == list(components(by_name, batch_key="donor").var["highly_variable_nbatches"])


def test_cells_of_no_batch_are_refused(step: Any, components: Any) -> None:
    cells = counted()
    cells.obs["donor"] = [None, None, *["x", "y"] * 39]

    with pytest.raises(InvalidAssetError, match="'donor' names no batch for 2 of 80 cells"):
        components(cells, batch_key="donor")
    with pytest.raises(InvalidAssetError, match="'donor' names no batch for 2 of 80 cells"):
        step(preprocess._harmony_integrate, components(cells), key="donor", random_state=0)


def test_new_components_end_what_harmony_moved_of_the_old(step: Any, components: Any) -> None:
    moved = step(preprocess._harmony_integrate, components(counted()), key="sample", random_state=0)

    again = step(preprocess._pca, moved, n_comps=5, svd_solver="covariance_eigh", random_state=0)

    assert "X_pca_harmony" in moved.obsm
    assert list(again.obsm) == ["X_pca"]


def test_a_resolution_is_what_its_column_is_called_by(step: Any, graph: Any) -> None:
    cells = step(clusters._leiden, graph, resolutions=[0.1 + 0.2, 0.3, 1e-3], **LEIDEN | {"resolution": 0.3})

    found = noted(cells, "stability")
    assert [row["resolution"] for row in found["resolutions"]] == [0.001, 0.3]
    assert found["chosen"] == 0.3
    assert {"leiden_0.001", "leiden_0.3", "leiden"} <= set(cells.obs)


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (preprocess._pca, {"n_comps": 0, "svd_solver": "arpack", "random_state": 0}),
        (clusters._neighbors, NEIGHBORS | {"n_pcs": -3}),
        (clusters._neighbors, NEIGHBORS | {"n_neighbors": 1}),
        (clusters._leiden, LEIDEN | {"resolutions": [float("nan"), 0.5]}),
        (clusters._leiden, LEIDEN | {"resolutions": [float("inf")]}),
        (preprocess._highly_variable_genes, {"batch_key": None, **HVG, "n_top_genes": 0}),
    ],
)
def test_numbers_that_scanpy_would_take_for_others_are_refused(
    step: Any, graph: Any, function: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidAssetError, match="give at least"):
        step(function, graph, **options)


def ranked(step: Any, graph: Any, labels: Any, tmp_path: Path) -> list[str]:
    """The groups of the table of markers of some labels."""
    cells = graph.copy()
    cells.obs["type"] = labels
    table = tmp_path / "markers.csv"
    step(markers._rank_genes_groups, cells, table=str(table), groupby="type", **RANKS)
    with open(table, newline="") as file:
        return list(dict.fromkeys(row["group"] for row in csv.DictReader(file)))


def test_clusters_keep_their_order_where_one_has_a_single_cell(step: Any, graph: Any, tmp_path: Path) -> None:
    import pandas as pd

    names = [str(number) for number in range(12)]
    labels = pd.Categorical(["11"] + [names[number % 11] for number in range(N_CELLS - 1)], names)

    assert ranked(step, graph, labels, tmp_path) == names[:11]


def test_clusters_may_be_numbers_or_missing(step: Any, graph: Any, tmp_path: Path) -> None:
    import pandas as pd

    labels = [None, 7, *[number % 3 for number in range(N_CELLS - 2)]]

    assert ranked(step, graph, pd.Categorical(labels), tmp_path) == ["0", "1", "2"]
    assert ranked(step, graph, pd.array(labels, "Int64"), tmp_path) == ["0", "1", "2"]


def test_a_cluster_without_a_cell_is_none(step: Any, graph: Any, tmp_path: Path) -> None:
    import pandas as pd

    with pytest.raises(InvalidAssetError, match="has 1 cluster only"):
        ranked(step, graph, pd.Categorical(["x"] * N_CELLS, ["x", "y"]), tmp_path)


def test_a_table_of_cells_has_each_name_once(graph: Any, tmp_path: Path) -> None:
    graph.obs["cell"], graph.obs["umap_1"] = "mine", 1.0
    graph.obsm["X_umap"] = np.zeros((N_CELLS, 2))
    graph.write_h5ad(tmp_path / "cells.h5ad")

    markers._write_csv(str(tmp_path / "cells.h5ad"), str(tmp_path / "cells.csv"))

    head = (tmp_path / "cells.csv").read_text().splitlines()[0]
    assert head == "cell,sample,original_cell,original_umap_1,umap_1,umap_2"
