"""The pictures of a single-cell report: each with what it shows, taken by kind, so that each is shown once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import attrs
from stargazer.workflows.report import page

__all__ = ["Pictures"]

UMAP = "umap_"

CAPTIONS = {
    "violin": "Genes, counts and mitochondrial share of cells by sample. The bar spans the middle half of the cells, "
    "the dot is the median; dashed lines are thresholds of the filters.",
    "knee": "Barcodes by rank: counts of each, the highest first.",
    "highly_variable_genes": "Genes by mean and spread; clusters are made from those in blue.",
    "pca_variance_ratio": "The variance that each principal component has.",
    "dotplot": "Marker genes by cluster: the size of a dot is the share of cells that express the gene, its colour the "
    "mean expression, scaled for each gene from its least to its highest cluster.",
}


@attrs.define
class Pictures:
    """Plots that were not shown yet: of each its `kind`, its `sample` if it is of one, and the `path` of its PNG."""

    left: Sequence[Mapping[str, str]]

    def of(self, *kinds: str) -> list[str]:
        """The figures of plots of these kinds, in the order of the kinds."""
        return self._taken([plot for kind in kinds for plot in self.left if plot["kind"] == kind])

    def umaps(self, *colours: str) -> list[str]:
        """UMAP in these colours, in this order."""
        return self.of(*(UMAP + colour for colour in colours))

    def other_umaps(self) -> list[str]:
        """UMAP in all colours that were not shown yet."""
        return self._taken([plot for plot in self.left if plot["kind"].startswith(UMAP)])

    def rest(self) -> list[str]:
        """All that was not shown yet."""
        return self._taken(list(self.left))

    def _taken(self, plots: Iterable[Mapping[str, str]]) -> list[str]:
        plots = list({id(plot): plot for plot in plots}.values())
        self.left = [plot for plot in self.left if not any(plot is taken for taken in plots)]
        return [_figure(plot) for plot in plots]


def _figure(plot: Mapping[str, str]) -> str:
    kind = plot["kind"]
    if kind.startswith(UMAP):
        shows = f"UMAP of the cells, coloured by {kind.removeprefix(UMAP)}"
        caption = f"UMAP, coloured by {kind.removeprefix(UMAP)}."
    else:
        shows = kind.replace("_", " ")
        caption = CAPTIONS.get(kind, f"{shows.capitalize()}.")
    return page.picture(Path(plot["path"]).read_bytes(), shows, caption)
