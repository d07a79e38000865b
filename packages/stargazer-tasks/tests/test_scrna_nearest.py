"""Neighbours by faiss are the exact ones, or nearly all of them, and the same for any number of threads."""

from __future__ import annotations

from typing import Any

import pytest
from stargazer.tasks.scrna import clusters, nearest
from stargazer.tasks.scrna.nearest import FaissTransformer
from stargazer.tasks.scrna.notes import noted

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


@pytest.mark.parametrize("exact", [True, False])
def test_neighbours_are_those_of_scikit_learn(points: Any, exact: bool) -> None:
    from sklearn.neighbors import KNeighborsTransformer

    theirs = KNeighborsTransformer(n_neighbors=14, algorithm="brute").fit_transform(points)
    ours = FaissTransformer(15, exact=exact).fit_transform(points)

    pairs = zip(neighbours_of(ours)[20:], neighbours_of(theirs)[20:], strict=True)
    shared = np.mean([len({*one} & {*other}) / 15 for one, other in pairs])
    assert shared > 0.99
    if exact:
        assert np.allclose(
            ours.data.reshape(4000, -1)[:, 1:], np.sort(theirs.data.reshape(4000, -1))[:, 1:], atol=1e-6
        )
    assert (neighbours_of(ours)[:, 0] == np.arange(4000)).all()
    at = neighbours_of(ours)[100]
    assert np.allclose(
        ours[100].toarray().ravel()[at], np.linalg.norm(points[at] - points[100], axis=1), rtol=1e-6
    )


def test_more_lists_are_searched_where_cells_are_of_no_types(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(1).normal(size=(20_000, 50)).astype(np.float32)
    few = FaissTransformer(15, exact=False)
    monkeypatch.setattr(nearest, "RECALL", 0.0)
    few.fit_transform(points)
    monkeypatch.undo()
    enough = FaissTransformer(15, exact=False)
    enough.fit_transform(points)

    assert few.recall < 0.95
    assert enough.recall >= 0.99


def test_lists_of_too_few_cells_leave_no_cell_without_neighbours() -> None:
    points = np.zeros((3000, 3), np.float32)
    points[:40] = np.random.default_rng(1).normal(0, 100, (40, 3))

    found = FaissTransformer(15, exact=False).fit_transform(points)

    assert found.indices.min() >= 0
    assert all(len({*row}) == 15 for row in neighbours_of(found))


@pytest.mark.parametrize("exact", [True, False])
def test_threads_change_nothing(points: Any, exact: bool) -> None:
    made = []
    before = faiss.omp_get_max_threads()
    try:
        for threads in (1, 2):
            faiss.omp_set_num_threads(threads)
            made.append(FaissTransformer(15, exact=exact).fit_transform(points[20:]))
    finally:
        faiss.omp_set_num_threads(before)

    assert np.array_equal(made[0].indices, made[1].indices)
    assert np.array_equal(made[0].data, made[1].data)


def test_which_neighbours_are_looked_for_follows_the_number_of_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "FEW", 2000)
    monkeypatch.setattr(clusters, "MOST_EXACT", 3999)

    assert clusters._transformer(15, 2000, "euclidean", 0) == "sklearn"
    assert clusters._transformer(15, 3999, "euclidean", 7).get_params() == {
        "n_neighbors": 15,
        "exact": True,
        "random_state": 7,
    }
    assert not clusters._transformer(15, 4000, "euclidean", 0).exact
    assert clusters._transformer(15, 3999, "cosine", 0) == "sklearn"
    assert clusters._transformer(15, 4000, "cosine", 0) == "pynndescent"


@pytest.mark.long
def test_the_graph_is_nearly_the_same_however_neighbours_are_found(
    points: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import anndata

    cells = anndata.AnnData(np.zeros((4000, 1), np.float32), obsm={"X_pca": points})
    cells.write_h5ad(tmp_path / "cells.h5ad")
    options = {"source": str(tmp_path / "cells.h5ad"), "n_neighbors": 15, "n_pcs": None, "random_state": 0}

    def graph() -> Any:
        target = tmp_path / "graph.h5ad"
        clusters._neighbors(target=str(target), metric="euclidean", **options)
        return anndata.read_h5ad(target)

    slow = graph()
    monkeypatch.setattr(clusters, "FEW", 3999)
    exact = graph()
    monkeypatch.setattr(clusters, "MOST_EXACT", 3999)
    nearly = graph()

    assert noted(slow, "neighbors") == {"exact": True, "transformer": "sklearn"}
    assert noted(exact, "neighbors") == {"exact": True, "transformer": "faiss"}
    assert noted(nearly, "neighbors") == {"exact": False, "transformer": "faiss", "recall": 1.0}
    edges = [graph.obsp["connectivities"].astype(bool) for graph in (slow, exact, nearly)]
    for found, least in zip(edges[1:], (0.998, 0.98), strict=True):
        assert edges[0].multiply(found).nnz / edges[0].nnz > least
