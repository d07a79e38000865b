"""Tasks from coordinates to clusters: neighbours, UMAP, Leiden clusters, and how far they depend on the seed."""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from stargazer.assets import AnnData, InvalidAssetError
from stargazer.tasks.environments import scrna_env
from stargazer.tasks.execution import workspace
from stargazer.tasks.scrna.cells import HARMONY, annotated, at_least, load, require, save
from stargazer.tasks.scrna.memory import check_memory
from stargazer.tasks.scrna.nearest import FaissTransformer
from stargazer.tasks.scrna.notes import note_down
from stargazer.tasks.tools import compute

if TYPE_CHECKING:
    import anndata
    import numpy as np

__all__ = ["leiden", "neighbors", "umap"]

FEW, MOST_EXACT = 20_000, 200_000
"""Cells up to which scikit-learn finds the neighbours, in two seconds, and up to which all are found, in half a minute:
the time grows with the square of them."""

Metric = Literal["euclidean", "manhattan", "chebyshev", "cosine", "correlation"]

STABLE = 0.95
"""Mean adjusted Rand index between seeds from which clusters count as stable."""


@scrna_env.task
async def neighbors(
    cells: AnnData,
    n_neighbors: int = 15,
    n_pcs: int | None = None,
    metric: Metric = "euclidean",
    random_state: int = 0,
) -> AnnData:
    """The graph of nearest neighbours (scanpy.pp.neighbors), by the components that Harmony moved where there are any.

    Neighbours are exact up to 200,000 cells, where scanpy's are approximate: of up to 20,000 cells, and by another
    metric than euclidean, with transformer="sklearn", else by faiss. Beyond, faiss finds at least 99 % of them, the
    same ones on any number of cores; or pynndescent, as in scanpy, by another metric.

    Args:
        cells: with principal components.
        n_neighbors, metric, random_state: as of scanpy.
        n_pcs: components to use; all by default.

    Raises:
        InvalidAssetError: there are no principal components, or too few cells.
    """
    target = workspace() / "cells.h5ad"
    fields = await compute(_neighbors, source=cells.path, target=target, n_neighbors=n_neighbors, n_pcs=n_pcs,
                           metric=metric, random_state=random_state)  # fmt: skip
    return annotated(cells, target, fields, stage="neighbors")


def _neighbors(
    source: str, target: str, n_neighbors: int, n_pcs: int | None, metric: str, random_state: int
) -> dict[str, Any]:
    import scanpy as sc

    at_least(2, n_neighbors=n_neighbors)
    if n_pcs is not None:
        at_least(1, n_pcs=n_pcs)
    check_memory("neighbors", source)
    cells = load(source)
    require(cells, "obsm", ["X_pca"], "run pca first")
    if cells.n_obs < 3:
        raise InvalidAssetError(f"{cells.n_obs} cells have no graph of neighbours: filter less")
    wanted = min(n_neighbors, cells.n_obs - 1)
    transformer = _transformer(wanted, cells.n_obs, metric, random_state)
    representation = HARMONY if HARMONY in cells.obsm else "X_pca"
    sc.pp.neighbors(
        cells,
        wanted,
        n_pcs=min(n_pcs, cells.obsm[representation].shape[1]) if n_pcs is not None else None,
        use_rep=representation,
        transformer=transformer,
        metric=metric,
        random_state=random_state,
    )
    by_faiss = isinstance(transformer, FaissTransformer)
    note = {"transformer": "faiss" if by_faiss else transformer, "exact": cells.n_obs <= MOST_EXACT}
    if by_faiss and not note["exact"]:
        note["recall"] = round(transformer.recall, 4)
    note_down(cells, "neighbors", note)
    return save(cells, target)


def _transformer(n_neighbors: int, cells: int, metric: str, random_state: int) -> Any:
    """What finds neighbours among so many cells, as scanpy takes it."""
    exact = cells <= MOST_EXACT
    if metric == "euclidean" and cells > FEW:
        return FaissTransformer(n_neighbors, exact=exact, random_state=random_state)
    return "sklearn" if exact else "pynndescent"


@scrna_env.task
async def umap(cells: AnnData, min_dist: float = 0.5, spread: float = 1.0, random_state: int = 0) -> AnnData:
    """Two coordinates for each cell, to look at (scanpy.tl.umap; McInnes 2018, arXiv:1802.03426).

    Args:
        cells: with neighbours.
        min_dist, spread, random_state: as of scanpy.

    Raises:
        InvalidAssetError: there is no graph of neighbours.
    """
    target = workspace() / "cells.h5ad"
    fields = await compute(_umap, source=cells.path, target=target, min_dist=min_dist, spread=spread,
                           random_state=random_state)  # fmt: skip
    return annotated(cells, target, fields, stage="umap")


def _umap(source: str, target: str, **options: Any) -> dict[str, Any]:
    import scanpy as sc

    check_memory("umap", source)
    cells = load(source)
    _require_graph(cells)
    sc.tl.umap(cells, init_pos="spectral" if cells.n_obs > 4 else "random", **options)
    return save(cells, target)


@scrna_env.task
async def leiden(
    cells: AnnData,
    resolutions: list[float],
    resolution: float | None = None,
    n_iterations: int = 2,
    seeds: int = 5,
    random_state: int = 0,
) -> AnnData:
    """Clusters of the graph at several resolutions, and how stable they are (scanpy.tl.leiden, flavor="igraph").

    Traag 2019, doi:10.1038/s41598-019-41695-z. Cells get a column `leiden_<resolution>` for each resolution, and
    `leiden` for the chosen one. Each clustering is repeated with other seeds. Noted are the adjusted Rand
    index between all pairs of seeds (1: the same clusters), and of each cluster the mean of its best Jaccard indices in
    the other seeds.

    Args:
        cells: with neighbours.
        resolutions: higher ones give more clusters.
        resolution: the chosen one; by default the highest that gives stable clusters, at least two of them.
        n_iterations: as of scanpy, whose default is going to be 2 as well; -1: until nothing changes.
        seeds: clusterings of each resolution, the first with random_state, each further one with the next number.
        random_state: of the clusters that are reported.

    Raises:
        InvalidAssetError: there is no graph of neighbours; no resolution, or one that is not among them; no seed.
    """
    target = workspace() / "cells.h5ad"
    fields = await compute(_leiden, source=cells.path, target=target, resolutions=resolutions,
                           resolution=resolution, n_iterations=n_iterations, seeds=seeds,
                           random_state=random_state)  # fmt: skip
    return annotated(cells, target, fields, stage="leiden")


def _leiden(
    source: str,
    target: str,
    resolutions: Sequence[float],
    resolution: float | None,
    n_iterations: int,
    seeds: int,
    random_state: int,
) -> dict[str, Any]:
    import scanpy as sc

    wanted = sorted({_as_named(each) for each in resolutions})
    if not wanted or not all(0 < each < math.inf for each in wanted):
        raise InvalidAssetError(f"resolutions={list(resolutions)}: give at least one number above zero")
    if resolution is not None and _as_named(resolution) not in wanted:
        raise InvalidAssetError(f"resolution={resolution:g} is not among resolutions={list(resolutions)}")
    at_least(1, seeds=seeds)
    check_memory("leiden", source)
    cells = load(source)
    _require_graph(cells)
    again = functools.partial(_membership, _graph(cells) if seeds > 1 else None, n_iterations)
    found: list[dict[str, Any]] = []
    previous = None
    for each in wanted:
        sc.tl.leiden(cells, each, random_state=random_state, key_added=f"leiden_{each:g}", flavor="igraph",
                     directed=False, n_iterations=n_iterations)  # fmt: skip
        labels = [cells.obs[f"leiden_{each:g}"]]
        labels += [again(each, seed) for seed in range(random_state + 1, random_state + seeds)]
        if previous is not None:
            found[-1]["ari_to_next"] = _rand(previous, labels[0])
        previous = labels[0]
        between = [_rand(one, other) for one, other in itertools.combinations(labels, 2)]
        found.append(
            {
                "resolution": each,
                "clusters": labels[0].nunique(),
                "seeds": seeds,
                "ari_min": min(between, default=None),
                "ari_mean": round(sum(between) / len(between), 4) if between else None,
                "ari_to_next": None,
                "jaccard": _jaccard(labels[0], labels[1:]),
            }
        )
    recommended = _recommended(found)
    chosen = recommended if resolution is None else _as_named(resolution)
    cells.obs["leiden"] = cells.obs[f"leiden_{chosen:g}"].copy()
    note_down(cells, "stability", {"resolutions": found, "recommended": recommended, "chosen": chosen})
    return save(cells, target)


def _as_named(resolution: float) -> float:
    """A resolution with the six digits that its column is called by: 0.1 + 0.2 is 0.3."""
    return float(f"{resolution:g}")


def _graph(cells: anndata.AnnData) -> Any:
    """The graph of neighbours for igraph, each edge once: scanpy's has each twice, which takes twice the time."""
    import igraph
    import numpy as np
    from scipy import sparse

    half = sparse.triu(cells.obsp["connectivities"], format="coo")
    edges = np.stack([half.row, half.col], axis=1)
    return igraph.Graph(cells.n_obs, edges, edge_attrs={"weight": half.data})


def _membership(graph: Any, n_iterations: int, resolution: float, seed: int) -> Any:
    """The cluster of each cell by Leiden with another seed."""
    import igraph

    igraph.set_random_number_generator(random.Random(seed))
    try:
        return graph.community_leiden(
            "modularity", weights="weight", resolution=resolution, n_iterations=n_iterations
        ).membership
    finally:
        igraph.set_random_number_generator(random)


def _require_graph(cells: anndata.AnnData) -> None:
    if "neighbors" not in cells.uns:
        raise InvalidAssetError("the cells have no graph of neighbours: run neighbors first")


def _rand(one: Any, other: Any) -> float:
    """The adjusted Rand index of two clusterings (Hubert and Arabie 1985)."""
    from sklearn.metrics import adjusted_rand_score

    return round(float(adjusted_rand_score(one, other)), 4)


def _jaccard(labels: Any, others: Sequence[Any]) -> dict[str, float]:
    """Of each cluster the mean of its best Jaccard indices in other clusterings (Hennig 2007)."""
    import numpy as np
    import pandas as pd

    best: list[np.ndarray[Any, Any]] = []
    for other in others:
        both = pd.crosstab(labels, other).to_numpy()
        union = both.sum(1, keepdims=True) + both.sum(0, keepdims=True) - both
        best.append((both / union).max(1))
    names = list(labels.cat.categories)
    return (
        {name: round(float(value), 4) for name, value in zip(names, np.mean(best, 0), strict=True)}
        if best
        else {}
    )


def _recommended(found: Sequence[dict[str, Any]]) -> float:
    """The highest resolution with at least two clusters that all seeds agree on; else the one they agree on most."""
    several = [row for row in found if row["clusters"] > 1] or list(found)
    stable = [row for row in several if (row["ari_mean"] or 0.0) >= STABLE]
    best = stable[-1] if stable else max(several, key=lambda row: row["ari_mean"] or 0.0)
    return float(best["resolution"])
