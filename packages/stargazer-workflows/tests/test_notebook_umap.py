"""Cells of an h5ad for a notebook: groups, points, a part of the UMAP, markers, and quality before and after."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import attrs
import pytest
from stargazer.assets import FormatError, InvalidAssetError
from stargazer.workflows.notebook import (
    Cells,
    cluster_counts,
    draw_umap,
    markers_of,
    open_cells,
    qc_histograms,
)

np = pytest.importorskip("numpy")
anndata = pytest.importorskip("anndata", reason="NOT TESTED: pip install 'stargazer-tasks[scrna]'")


def write_cells(path: Path, count: int = 6, *, umap: bool = True, clusters: bool = True) -> Path:
    """Cells of two clusters; of gene CD3E each has as many as its number."""
    import pandas as pd

    names = [f"cell{number}" for number in range(count)]
    obs = pd.DataFrame({"total_counts": np.arange(count) * 100.0, "pct_counts_mt": 0.0}, index=names)
    if clusters:
        obs["leiden"] = pd.Categorical(["0" if number < count // 2 else "1" for number in range(count)])
        obs["sample"] = pd.Categorical(["a", "b"] * (count // 2))
        obs["barcode"] = names
        obs["good"] = True
    counts = np.stack([np.arange(count), np.zeros(count)], axis=1).astype("float32")
    cells = anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=["CD3E", "MS4A1"]))
    if umap:
        cells.obsm["X_umap"] = np.stack([np.arange(count), -np.arange(count)], axis=1).astype("float32")
    cells.write_h5ad(path)
    return path


@pytest.fixture
def cells(tmp_path: Path) -> Cells:
    return open_cells(write_cells(tmp_path / "cells.h5ad"))


def test_cells_are_told_apart_by_columns_of_text_and_coloured_by_figures(cells: Cells) -> None:
    assert cells.groups[:2] == ["leiden", "sample"]
    assert "good" in cells.groups
    assert cells.figures == ["total_counts", "pct_counts_mt"]
    assert cells.values("leiden") == ["0", "0", "0", "1", "1", "1"]
    assert cells.values("total_counts")[2] == 200.0


def test_a_gene_is_read_by_its_name_and_one_that_is_not_there_gets_names_like_it(cells: Cells) -> None:
    assert cells.values("CD3E") == cells.values("cd3e") == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]

    with pytest.raises(InvalidAssetError, match="no gene 'cd3d'; near it: CD3E"):
        cells.values("cd3d")


def test_letters_of_a_gene_are_small_or_large_only_where_one_gene_is_meant(cells: Cells) -> None:
    both = attrs.evolve(cells, genes=["CD3E", "Cd3e"])

    assert both.values("CD3E") == cells.values("CD3E")
    with pytest.raises(InvalidAssetError, match="no gene 'cd3e'"):
        both.values("cd3e")


def test_more_cells_than_a_chart_takes_are_drawn_at_random_and_always_the_same(cells: Cells) -> None:
    points = cells.points("CD3E", most=3)

    assert len(points) == 3
    assert points == cells.points("CD3E", most=3)
    assert len(cells.points("leiden")) == 6
    assert cells.points("leiden")[1] == {"cell": "cell1", "umap_1": 1.0, "umap_2": -1.0, "value": "0"}


def test_a_part_of_the_umap_has_its_cells_by_cluster(cells: Cells) -> None:
    inside = cells.within({"umap_1": (1.5, 9), "umap_2": (-3, -9)})

    assert inside == [False, False, False, True, True, True]
    assert cluster_counts(cells.values("leiden"), cells.within({"umap_1": [1.5, 9]})) == [
        {"cluster": "1", "cells": 3, "% of selection": 75.0, "% of cluster": 100.0},
        {"cluster": "0", "cells": 1, "% of selection": 25.0, "% of cluster": 33.33},
    ]
    assert cluster_counts(["0", "0"], [False, False]) == []


@pytest.mark.parametrize("name", ["leiden", "CD3E"])
def test_all_cells_are_drawn_as_a_picture(cells: Cells, name: str, tmp_path: Path) -> None:
    figure = draw_umap(cells, name)
    figure.savefig(tmp_path / "umap.png")

    assert figure.axes[0].get_title() == "6 cells"
    assert sum(len(points.get_offsets()) for points in figure.axes[0].collections) == 6


def test_cells_without_umap_or_clusters_are_opened_and_lack_them(tmp_path: Path) -> None:
    bare = open_cells(write_cells(tmp_path / "bare.h5ad", umap=False, clusters=False))

    assert bare.umap is None
    assert bare.groups == []
    assert bare.points("CD3E") == []
    assert bare.within({"umap_1": (0, 1)}) == [True] * 6
    with pytest.raises(InvalidAssetError, match="no UMAP"):
        draw_umap(bare, "CD3E")


def test_what_is_no_h5ad_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.h5ad").write_text("no cells")

    with pytest.raises(FormatError, match=r"text\.h5ad cannot be read as h5ad"):
        open_cells(tmp_path / "text.h5ad")


def test_quality_is_counted_before_the_filters_and_in_the_end(cells: Cells) -> None:
    rows = qc_histograms(cells.table, ["cell1", "cell3", "cell5"], bins=5)

    assert {row["figure"] for row in rows} == {"counts of a cell"}, "there are no mitochondrial counts"
    assert sum(row["cells"] for row in rows if row["stage"] == "kept") == 3
    assert {row["sample"] for row in rows if row["stage"] == "kept"} == {"b"}
    assert sum(row["cells"] for row in rows) == 6


def test_marker_genes_are_those_that_a_cluster_has_more_of(tmp_path: Path) -> None:
    table = tmp_path / "markers.csv"
    table.write_text(
        "group,names,scores,logfoldchanges,pvals,pvals_adj\n"
        "0,CD3E,9.5,2.123456,0,0\n0,ACTB,1.5,-2,0.1,0.5\n0,IL7R,1,1,0.1,0.5\n1,MS4A1,8,nan,0,0\n1,CD79A,7,3,0,1e-9\n"
    )

    def genes(**options: Any) -> list[str]:
        return [row["gene"] for row in markers_of(table, **options)]

    assert genes() == ["CD3E", "IL7R", "CD79A"]
    assert genes(most=1) == ["CD3E", "CD79A"]
    assert genes(clusters=["1"]) == ["CD79A"]
    assert markers_of(table)[0] == {
        "cluster": "0", "gene": "CD3E", "score": 9.5, "log2 fold change": 2.123, "adjusted p": 0.0,
    }  # fmt: skip
    assert not any(math.isnan(row["score"]) for row in markers_of(table))
