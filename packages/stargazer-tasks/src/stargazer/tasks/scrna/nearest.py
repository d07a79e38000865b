"""Nearest neighbours of many cells, by faiss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from scipy import sparse

__all__ = ["FaissTransformer"]

LISTS, VISITED = 4.0, 64
"""Lists that cells are parted into, in square roots of their number; and those that are searched for each cell first:
99.9 % of the neighbours among 15 are found where cells are of distinct types, 66 % where they are hardly so."""

RECALL, ASKED = 0.99, 1_000
"""The share of neighbours that have to be found, and of how many cells it is measured."""

SPARE = 5
"""Neighbours that are found beyond those asked for: faiss rounds, so distances are calculated anew."""

BLOCK = 10_000
"""Cells whose distances are calculated at once."""


class FaissTransformer:
    """Finds the nearest neighbours by Euclidean distance: what scanpy.pp.neighbors takes as `transformer`.

    Either all of them, by trying each pair of cells; or nearly all, in lists of cells that lie together (Johnson 2019,
    doi:10.1109/TBDATA.2019.2921572): as many lists are searched as find 99 % of a sample's neighbours. They are the
    same for any number of threads.

    Args:
        n_neighbors: of each cell, itself included.
        exact: whether all are to be found.
        random_state: of the lists, and of the sample.

    Attributes:
        recall: the share of the sample's neighbours that were found.
    """

    def __init__(self, n_neighbors: int, *, exact: bool, random_state: int = 0) -> None:
        self.n_neighbors, self.exact, self.random_state = n_neighbors, exact, random_state
        self.recall = 1.0

    def get_params(self) -> dict[str, Any]:
        """The parameters, as scikit-learn's transformers give them."""
        return {"n_neighbors": self.n_neighbors, "exact": self.exact, "random_state": self.random_state}

    def fit_transform(self, points: NDArray[np.floating[Any]]) -> sparse.csr_matrix:
        """The distance of each point to its neighbours, itself first, then from near to far."""
        import faiss
        import numpy as np
        from scipy import sparse

        points = np.ascontiguousarray(points, np.float32)
        count, size = points.shape
        wanted = min(self.n_neighbors + SPARE, count)
        flat = faiss.IndexFlatL2(size)
        flat.add(points)
        found = (flat if self.exact else self._lists(points, flat)).search(points, wanted)[1]
        if (found < 0).any():  # lists of too few cells
            found = flat.search(points, wanted)[1]
        neighbours, distances = _nearest(points, found, self.n_neighbors)
        ends = np.arange(0, neighbours.size + 1, self.n_neighbors)
        return sparse.csr_matrix((distances.ravel(), neighbours.ravel(), ends), (count, count))

    def _lists(self, points: NDArray[np.float32], flat: Any) -> Any:
        """The lists of cells, of which so many are searched that enough neighbours are found."""
        import faiss
        import numpy as np

        count, size = points.shape
        lists = max(1, int(LISTS * count**0.5))
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(size), size, lists)
        index.cp.seed = self.random_state + 1
        index.train(points)
        index.add(points)
        chosen = np.random.default_rng(self.random_state).choice(count, min(ASKED, count), replace=False)
        true = flat.search(points[chosen], self.n_neighbors)[1]
        index.nprobe = VISITED
        while True:
            found = index.search(points[chosen], self.n_neighbors)[1]
            self.recall = float((found[:, :, None] == true[:, None, :]).any(1).mean())
            if self.recall >= RECALL or index.nprobe >= lists:
                return index
            index.nprobe *= 2


def _nearest(
    points: NDArray[np.float32], found: NDArray[np.int64], wanted: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Of the points found near each point the nearest, itself first, and their distances."""
    import numpy as np

    neighbours = np.empty((len(points), wanted), np.int64)
    distances = np.empty((len(points), wanted), np.float32)
    for start in range(0, len(points), BLOCK):
        own = np.arange(start, min(start + BLOCK, len(points)))
        near = found[own]
        absent = ~(near == own[:, None]).any(1)
        near[absent, -1] = own[absent]  # of many equal points: the farthest makes room
        apart = np.linalg.norm(points[near].astype(np.float64) - points[own, None], axis=2)
        apart[near == own[:, None]] = -1
        order = np.lexsort((near, apart), axis=1)[:, :wanted]
        neighbours[own] = np.take_along_axis(near, order, 1)
        distances[own] = np.maximum(np.take_along_axis(apart, order, 1), 0)
    return neighbours, distances
