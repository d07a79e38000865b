"""Pictures of cells: PNG whose bytes depend on the cells alone, which show what they are of, or say what is missing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flyte
import pytest
from stargazer.assets import AnnData, InvalidAssetError
from stargazer.tasks import (
    plot_highly_variable_genes,
    plot_knee,
    plot_markers,
    plot_pca_variance_ratio,
    plot_qc,
    plot_umap,
)
from stargazer.tasks.scrna import drawings, parts

from .clustered_cells import STABILITY, write_clustered
from .conftest import Bench

np = pytest.importorskip("numpy")
pytest.importorskip("scanpy", reason="NOT TESTED: pip install 'stargazer-tasks[scrna]'")

pytestmark = [pytest.mark.usefixtures("compiled"), pytest.mark.timeout(900)]

RED, BLUE, ORANGE = (196, 68, 47), (31, 119, 180), (255, 127, 14)
"""Of thresholds; of the first and the second category."""

Change = Callable[[Any], None]


@pytest.fixture(scope="module")
def source(made_once: Callable[..., Path]) -> Path:
    """Clustered cells."""
    return made_once("clustered-cells", write_clustered) / "cells.h5ad"


@pytest.fixture
def changed(source: Path, tmp_path: Path) -> Callable[[Change], str]:
    """Writes the cells with a change; gives their path."""

    def write(change: Change) -> str:
        import anndata

        cells = anndata.read_h5ad(source)
        path = tmp_path / "changed.h5ad"
        (change(cells) or cells).write_h5ad(path)
        return str(path)

    return write


@pytest.fixture
def draw(source: Path, tmp_path: Path) -> Callable[..., bytes]:
    """Draws cells, the clustered ones by default, in this process; gives the PNG."""

    def png(drawing: Callable[..., None], path: str = "", **arguments: Any) -> bytes:
        target = tmp_path / "plot.png"
        drawing(path or str(source), str(target), **arguments)
        return target.read_bytes()

    return png


def share(png: bytes, colour: tuple[int, int, int]) -> float:
    """Of the pixels that are not white, those that are nearly of a colour."""
    import io

    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).reshape(-1, 3).astype(int)
    drawn = pixels[(pixels < 250).any(1)]
    return float((np.abs(drawn - colour).max(1) < 12).mean())


TASKS: tuple[tuple[Any, dict[str, Any], str, Any], ...] = (
    (plot_qc, {}, "violin", (drawings.violins, {"groupby": "sample"})),
    (plot_knee, {}, "knee", (drawings.knee, {"groupby": "sample"})),
    (plot_highly_variable_genes, {"n_names": 3}, "highly_variable_genes", (drawings.variable_genes, {"n_names": 3})),
    (plot_pca_variance_ratio, {}, "pca_variance_ratio", (drawings.variance_ratio, {})),
    (plot_umap, {"color": "leiden"}, "umap_leiden", (drawings.umap, {"color": "leiden"})),
    (plot_umap, {"color": "Gene7"}, "umap_Gene7", (drawings.umap, {"color": "Gene7"})),
    (plot_markers, {"n_genes": 2}, "dotplot", (drawings.dots, {"n_genes": 2})),
)  # fmt: skip


@pytest.mark.timeout(600)
def test_each_task_gives_the_same_picture_here_in_a_child_and_by_flyte(
    bench: Bench, source: Path, draw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "axes.facecolor", "red")  # of the user
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 22)
    cells = bench.add(source, AnnData(sample="s", stage="rank_genes_groups"))

    for task, arguments, kind, (drawing, given) in TASKS:
        plot = bench.run(task, cells, **arguments)

        async def by_flyte(task: Any = task, arguments: Any = arguments) -> Any:
            return (
                await flyte.with_runcontext(mode="local").run.aio(task, cells=cells, **arguments)
            ).outputs()

        assert (plot.kind, plot.sample, plot.anndata_cid) == (kind, "s", cells.cid)
        png = bench.path(plot).read_bytes()
        assert png[:8] == b"\x89PNG\r\n\x1a\n"
        assert {b"tEXt", b"tIME"} & set(re.findall(b"t[A-Z]{2}[A-Za-z]", png)) == set()  # no date, no version
        assert draw(drawing, **given) == png
        assert plot.cid in str(bench.run(by_flyte))


def test_thresholds_are_drawn_where_the_filtered_cells_have_them(
    source: Path, draw: Any, changed: Any
) -> None:
    def before(cells: Any) -> None:
        del cells.uns["stargazer"]

    path = changed(before)

    assert share(draw(drawings.violins, path, groupby="sample"), RED) == 0
    assert share(draw(drawings.violins, path, groupby="sample", filtered=str(source)), RED) > 0


def test_deviations_are_drawn_in_the_scale_of_the_metric() -> None:
    limits = {"min_genes": 20, "nmads log1p_total_counts": [3.0, 6.0], "nmads pct_counts_mt": [None, 12.5]}

    assert drawings._limits(limits, "n_genes_by_counts") == [20]
    assert drawings._limits(limits, "total_counts") == pytest.approx([np.expm1(3), np.expm1(6)])
    assert drawings._limits(limits, "pct_counts_mt") == [12.5]


def test_no_sample_hides_another_on_a_umap(draw: Any, changed: Any) -> None:
    def same_place(cells: Any) -> None:
        cells.obsm["X_umap"][75:] = cells.obsm["X_umap"][:75]  # cells of sample b on those of a

    png = draw(drawings.umap, changed(same_place), color="sample")

    assert 0.5 < share(png, BLUE) / share(png, ORANGE) < 2


def test_a_cluster_that_differs_between_seeds_has_a_question_mark(draw: Any, changed: Any) -> None:
    def agreed(cells: Any) -> None:
        stability = json.loads(json.dumps(STABILITY))
        stability["resolutions"][0]["jaccard"]["2"] = 0.76
        cells.uns["stargazer"]["stability"] = json.dumps(stability)

    def without(cells: Any) -> None:
        del cells.uns["stargazer"]

    for drawing, given in ((drawings.umap, {"color": "leiden"}), (drawings.dots, {"n_genes": 2})):
        marked, plain = draw(drawing, **given), draw(drawing, changed(agreed), **given)
        assert marked != plain
        assert draw(drawing, changed(without), **given) == plain
    assert draw(drawings.umap, color="leiden_0.5") != draw(drawings.umap, changed(agreed), color="leiden_0.5")


def test_a_category_keeps_its_colour_or_has_the_one_that_the_cells_have_for_it(
    draw: Any, changed: Any
) -> None:
    def coloured(cells: Any) -> None:
        cells.uns["sample_colors"] = ["#c4442f", "#00ff00"]

    png = draw(drawings.umap, changed(coloured), color="sample")

    assert share(png, (0, 255, 0)) > 0.1
    assert share(png, BLUE) < 0.01


@pytest.mark.parametrize("clusters", [2, 150])
def test_any_number_of_clusters_is_drawn(draw: Any, changed: Any, clusters: int) -> None:
    def many(cells: Any) -> None:
        import pandas as pd

        cells.obs["leiden"] = pd.Categorical([str(number % clusters) for number in range(cells.n_obs)])

    assert draw(drawings.umap, changed(many), color="leiden")


def test_odd_values_are_drawn(draw: Any, changed: Any) -> None:
    def odd(cells: Any) -> Any:
        one = cells[:1].copy()
        one.obs["sample"] = "$x_{1}$ naïve_Ωμέγα"
        one.obs["pct_counts_mt"] = np.nan  # a cell without counts
        return one

    path = changed(odd)

    assert draw(drawings.violins, path, groupby="sample")
    assert draw(drawings.knee, path, groupby="sample")
    assert draw(drawings.umap, path, color="predicted_doublet")
    assert draw(drawings.umap, path, color="pct_counts_mt")


def test_names_that_begin_with_an_underscore_are_in_legends_too(draw: Any, changed: Any) -> None:
    def drawn_at_the_right(png: bytes) -> int:
        import io

        from PIL import Image

        pixels = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
        return int((pixels[:, int(0.88 * pixels.shape[1]) :] < 200).sum())

    def named(*names: str) -> str:
        def rename(cells: Any) -> None:
            cells.obs["sample"] = cells.obs["sample"].cat.rename_categories(names)

        return str(changed(rename))

    for drawing, arguments in ((drawings.knee, {"groupby": "sample"}), (drawings.umap, {"color": "sample"})):
        usual = drawn_at_the_right(draw(drawing, named("xa", "xb"), **arguments))
        assert drawn_at_the_right(draw(drawing, named("_a", "_b"), **arguments)) > usual / 2 > 10


def test_cells_without_samples_are_of_one(draw: Any, changed: Any) -> None:
    def alone(cells: Any) -> None:
        del cells.obs["sample"]
        cells.uns["stargazer"]["filter_cells"] = json.dumps({"": {"thresholds": {"min_genes": 20}}})

    assert share(draw(drawings.violins, changed(alone), groupby="sample"), RED) > 0


@pytest.mark.parametrize(
    ("drawing", "given", "lacking", "said"),
    [
        (drawings.umap, {"color": "GENE7"}, "", "no column of obs or gene 'GENE7'; near it: Gene7"),
        (drawings.umap, {"color": "leidn"}, "", "near it: leiden"),
        (drawings.umap, {"color": "leiden"}, "obsm X_umap", "run umap first"),
        (drawings.umap, {"color": "barcode"}, "", "'barcode' has 150 different values"),
        (drawings.violins, {"groupby": "donor"}, "", "no column of obs 'donor'; there is sample"),
        (drawings.violins, {"groupby": "sample"}, "metrics", "run calculate_qc_metrics first"),
        (drawings.knee, {"groupby": "sample"}, "metrics", "run calculate_qc_metrics first"),
        (drawings.variable_genes, {"n_names": 3}, "var highly_variable", "run highly_variable_genes first"),
        (drawings.variance_ratio, {}, "uns pca", "run pca first"),
        (drawings.dots, {"n_genes": 2}, "uns rank_genes_groups", "run rank_genes_groups first"),
        (drawings.dots, {"n_genes": 2}, "obs leiden", "run rank_genes_groups first"),
        (drawings.dots, {"n_genes": 2}, "markers", "no gene is higher in a cluster of leiden"),
    ],
)
def test_what_is_missing_is_said(
    draw: Any, changed: Any, drawing: Any, given: Any, lacking: str, said: str
) -> None:
    def without(cells: Any) -> None:
        cells.obs["barcode"] = list(cells.obs_names)
        if lacking == "metrics":
            cells.obs = cells.obs[["sample", "leiden"]]
        elif lacking == "markers":
            for name in cells.uns["rank_genes_groups"]["logfoldchanges"].dtype.names:
                cells.uns["rank_genes_groups"]["logfoldchanges"][name] = -1
        elif lacking:
            part, name = lacking.split()
            del getattr(cells, part)[name]

    with pytest.raises(InvalidAssetError, match=said.replace("(", r"\(")):
        draw(drawing, changed(without), **given)


def test_a_task_says_what_is_missing_too(bench: Bench, source: Path) -> None:
    cells = bench.add(source, AnnData())

    with pytest.raises(InvalidAssetError, match="no column of obs or gene 'Gene700'; near it: Gene7"):
        bench.run(plot_umap, cells, "Gene700")


@pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
def test_expression_is_what_the_matrix_has(changed: Any, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    import anndata

    def stored(cells: Any) -> None:
        cells.X = {"csr": cells.X, "csc": cells.X.tocsc(), "dense": cells.X.toarray()}[kind]

    monkeypatch.setattr(parts, "CHUNK", 40)  # in several pieces
    path = changed(stored)

    found = parts.expression(path, ["Gene9", "MT-1", "Gene59"])

    cells = anndata.read_h5ad(path)[:, ["Gene9", "MT-1", "Gene59"]]
    assert np.array_equal(found, cells.X if kind == "dense" else cells.X.toarray())


def test_markers_are_those_that_scanpy_ranks_first(source: Path) -> None:
    import anndata
    import scanpy as sc

    cells = anndata.read_h5ad(source)

    found = parts.first_markers(cells.uns["rank_genes_groups"], 4)

    assert list(found) == ["0", "1", "2"]
    for cluster, markers in found.items():
        rows = sc.get.rank_genes_groups_df(cells, cluster)
        rows = rows[rows["logfoldchanges"] > 0].head(4)
        assert [marker["gene"] for marker in markers] == list(rows["names"])
        assert [marker["score"] for marker in markers] == pytest.approx(list(rows["scores"]))
        assert [marker["pval_adj"] for marker in markers] == pytest.approx(list(rows["pvals_adj"]))
