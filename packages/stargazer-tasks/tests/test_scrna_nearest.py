"""Neighbours by faiss are nearly all of the exact ones, and the same for any number of threads."""

from __future__ import annotations

from typing import Any

import pytest
from stargazer.tasks.scrna import clusters
from stargazer.tasks.scrna.nearest import InvertedLists

np = pytest.importorskip("numpy")
faiss = pytest.importorskip("faiss", reason="NOT TESTED: pip install 'stargazer-tasks[scrna]'")


@pytest.fixture(scope="module")
def points() -> Any:
    """Of 4,000 cells of eight types, 20 of which are equal."""
    rng = np.random.default_rng(3)
    made = rng.normal(0, 2, (8, 20))[rng.integers(0, 8, 4000)] + rng.normal(0, 1, (4000, 20))
    made[:20] = made[0]
    return made.astype(np.float32)


def neighbours_of(distances: Any) -> Any:
    return distances.indices.reshape(distances.shape[0], -1)


def test_nearly_all_neighbours_are_the_exact_ones(points: Any) -> None:
    from sklearn.neighbors import KNeighborsTransformer

    exact = neighbours_of(KNeighborsTransformer(n_neighbors=14, algorithm="brute").fit_transform(points))
    found = InvertedLists(15).fit_transform(points)

    shared = [len({*ours} & {*theirs}) / 15 for ours, theirs in zip(neighbours_of(found), exact, strict=True)]
    assert np.mean(shared[20:]) > 0.99
    assert (neighbours_of(found)[:, 0] == np.arange(4000)).all()
    row = found[100].toarray().ravel()
    at = neighbours_of(found)[100]
    assert np.allclose(row[at], np.linalg.norm(points[at] - points[100], axis=1), atol=1e-3)


def test_threads_change_nothing(points: Any) -> None:
    made = []
    before = faiss.omp_get_max_threads()
    try:
        for threads in (1, 2):
            faiss.omp_set_num_threads(threads)
            made.append(InvertedLists(15).fit_transform(points))
    finally:
        faiss.omp_set_num_threads(before)

    assert np.array_equal(made[0].indices, made[1].indices)
    assert np.array_equal(made[0].data, made[1].data)


def test_which_neighbours_are_looked_for_follows_the_number_of_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "MOST_EXACT", 3999)

    assert clusters._transformer(15, 3999, "euclidean", 0) == ("sklearn", "sklearn")
    assert clusters._transformer(15, 4000, "euclidean", 7)[1].get_params() == {
        "n_neighbors": 15,
        "random_state": 7,
    }
    assert clusters._transformer(15, 4000, "cosine", 0) == ("pynndescent", "pynndescent")


@pytest.mark.long
def test_it_is_used_for_more_cells_than_exact_ones_are_found_of(
    points: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import anndata

    cells = anndata.AnnData(np.zeros((4000, 1), np.float32), obsm={"X_pca": points})
    cells.write_h5ad(tmp_path / "cells.h5ad")
    options = {"source": str(tmp_path / "cells.h5ad"), "n_neighbors": 15, "n_pcs": None, "random_state": 0}

    def graph(metric: str) -> Any:
        target = tmp_path / f"{metric}.h5ad"
        clusters._neighbors(target=str(target), metric=metric, **options)
        return anndata.read_h5ad(target)

    exact = graph("euclidean")
    monkeypatch.setattr(clusters, "MOST_EXACT", 3999)
    nearly = graph("euclidean")

    assert '"faiss"' in nearly.uns["stargazer"]["neighbors"]
    assert '"sklearn"' in exact.uns["stargazer"]["neighbors"]
    edges = [graph.obsp["connectivities"].astype(bool) for graph in (exact, nearly)]
    assert edges[0].multiply(edges[1]).nnz / edges[0].nnz > 0.98
