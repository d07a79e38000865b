"""The summary of a clustering run: every figure is that of the cells and of what the steps noted; what is unusual."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flyte
import pytest
from stargazer.assets import AnnData
from stargazer.tasks import summarise_cells
from stargazer.tasks.scrna.summary import write_summary
from stargazer.tasks.scrna.unusual import stability_of, unusual_cells

from .clustered_cells import CELLS, GENES, MITOCHONDRIAL, STABILITY, write_clustered
from .conftest import Bench

np = pytest.importorskip("numpy")
pytest.importorskip("scanpy", reason="NOT TESTED: pip install 'stargazer-tasks[scrna]'")

pytestmark = [pytest.mark.usefixtures("compiled"), pytest.mark.timeout(900)]

SETTINGS = {"n_pcs": 6}


@pytest.fixture(scope="module")
def source(made_once: Callable[..., Path]) -> Path:
    """Clustered cells."""
    return made_once("clustered-cells", write_clustered) / "cells.h5ad"


@pytest.fixture
def summarise(source: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The summary of the clustered cells, or of what a change makes of them."""

    def summary(change: Callable[[Any], Any] | None = None, settings: Any = None, **given: Any) -> Any:
        import anndata

        path = source
        if change:
            cells = anndata.read_h5ad(source)
            path = tmp_path / "changed.h5ad"
            (change(cells) or cells).write_h5ad(path)
        write_summary(
            str(tmp_path / "summary.json"), str(path), SETTINGS if settings is None else settings, **given
        )
        return json.loads((tmp_path / "summary.json").read_text())

    return summary


def test_samples_have_what_was_before_and_after(summarise: Any, source: Path) -> None:
    import anndata

    cells = anndata.read_h5ad(source)
    found = summarise()

    assert (found["cells"], found["genes"], found["mitochondrial_genes"]) == (CELLS, GENES, MITOCHONDRIAL)
    assert list(found["samples"]) == ["a", "b"]
    a = found["samples"]["a"]
    assert (a["cells_before"], a["cells_after"], a["cells"]) == (100, 80, 75)
    assert (a["genes_before"], a["genes_after"]) == (70, GENES)
    assert a["removed"] == {"min_genes": 3, "nmads log1p_total_counts": 17}
    assert a["thresholds"]["nmads log1p_total_counts"] == [3.0, 6.0]
    assert a["doublets"] == {"threshold": 0.25, "doublets": 5, "cells": 80, "expected_doublet_rate": 0.05,
                             "use_approx_neighbors": False, "share": 0.0625, "left": 0}  # fmt: skip
    own = cells.obs[cells.obs["sample"] == "a"]
    assert a["medians"] == {
        metric: pytest.approx(own[metric].median(), rel=1e-5)
        for metric in ("n_genes_by_counts", "total_counts", "pct_counts_mt")
    }


def test_what_clusters_are_made_from(summarise: Any, source: Path) -> None:
    import anndata

    cells = anndata.read_h5ad(source)
    found = summarise()

    chosen = cells.var[cells.var["highly_variable"]]
    assert found["highly_variable_genes"]["genes"] == 30
    assert found["highly_variable_genes"]["first"][0] == chosen["dispersions_norm"].idxmax()
    ratio = cells.uns["pca"]["variance_ratio"]
    assert found["pca"] == {"components": 10, "used": 6, "svd_solver": "covariance_eigh",
                            "variance_of_used": pytest.approx(ratio[:6].sum(), rel=1e-5)}  # fmt: skip
    assert found["neighbors"] == {"n_neighbors": 15, "metric": "euclidean", "use_rep": "X_pca",
                                  "transformer": "sklearn", "exact": True, "recall": None}  # fmt: skip
    assert found["integration"] is None
    assert found["run"] == SETTINGS

    def integrated(cells: Any) -> None:
        cells.uns["neighbors"]["params"]["use_rep"] = "X_pca_harmony"
        cells.uns["stargazer"]["harmony"] = json.dumps({"batch_key": "sample"})

    assert summarise(integrated)["integration"] == {"method": "harmony", "batch_key": "sample"}


def test_clusters_have_sizes_markers_and_how_stable_they_are(summarise: Any) -> None:
    def uneven(cells: Any) -> Any:
        """Without two thirds of sample b: clusters look alike in both samples all the same."""
        return cells[:100].copy()

    found = summarise(uneven, n_markers=3)["clusters"]

    assert (found["key"], found["resolution"], found["seeds"]) == ("leiden", 0.5, 3)
    assert (found["ari_min"], found["ari_mean"], found["differs"]) == (0.8, 0.85, True)
    assert list(found["by_name"]) == ["0", "1", "2"]
    first = found["by_name"]["0"]
    assert (first["cells"], first["share"], first["samples"]) == (34, 0.34, {"a": 25, "b": 9})
    share = 25 / 75 / (25 / 75 + 9 / 25)
    assert first["share_of_samples"] == {
        "a": pytest.approx(share, rel=1e-4),
        "b": pytest.approx(1 - share, rel=1e-4),
    }
    assert [(cluster["jaccard"], cluster["differs"]) for cluster in found["by_name"].values()] == [
        (0.99, False), (0.8, False), (0.5, True)
    ]  # fmt: skip
    assert len(first["markers"]) == 3
    assert {marker["gene"] for marker in first["markers"]} <= {f"Gene{number}" for number in range(5, 15)}


def test_resolutions_say_which_clusters_differ(summarise: Any) -> None:
    found = summarise()

    assert (found["recommended"], found["chosen"]) == (1.0, 0.5)
    assert [(row["resolution"], row["clusters"], row["differing"], row["differs"], row["ari_to_next"])
            for row in found["resolutions"]] == [(0.5, 3, ["2"], True, 0.7), (1.0, 4, [], False, None)]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "resolution"),
    [("leiden", 0.5), ("leiden_0.5", 0.5), ("leiden_1", 1.0), ("leiden_1.0", 1.0), ("leiden_2", None),
     ("leiden_x", None), ("louvain_1", None), ("sample", None)],
)  # fmt: skip
def test_a_column_of_clusters_is_found_in_the_table(key: str, resolution: float | None) -> None:
    assert stability_of(STABILITY, key).get("resolution") == resolution


def test_cells_of_which_nothing_is_known_have_a_summary_too(summarise: Any) -> None:
    import anndata

    def bare(cells: Any) -> Any:
        return anndata.AnnData(cells.X)

    found = summarise(bare, settings={}, name="pbmc")

    assert list(found["samples"]) == ["pbmc"]
    assert found["samples"]["pbmc"]["cells"] == CELLS
    assert found["samples"]["pbmc"]["doublets"] is None
    assert found["clusters"]["by_name"] == {}
    assert {
        found[name] for name in ("pca", "neighbors", "highly_variable_genes", "integration", "chosen")
    } == {None}
    said = " ".join(found["notes"])
    for expected in ("not filtered", "Doublets were not looked for in pbmc", "do not take them for facts"):
        assert expected in said


def test_steps_on_cells_without_a_column_of_samples_are_found(summarise: Any) -> None:
    def alone(cells: Any) -> None:
        for step in ("filter_cells", "scrublet"):
            noted = json.loads(cells.uns["stargazer"][step])
            cells.uns["stargazer"][step] = json.dumps({"": noted["a"]})
        del cells.obs["sample"]

    (sample,) = summarise(alone, name="pbmc")["samples"].values()

    assert (sample["cells_before"], sample["doublets"]["doublets"]) == (100, 5)


def test_notes_say_what_differs_from_scanpy_and_what_was_not_done(summarise: Any) -> None:
    def said(change: Any = None) -> str:
        return " ".join(summarise(change)["notes"])

    def undone(cells: Any) -> None:
        cells.var["mt"] = False
        cells.obs.loc[cells.obs_names[:2], "predicted_doublet"] = True

    def otherwise(cells: Any) -> None:
        notes = cells.uns["stargazer"]
        notes["neighbors"] = json.dumps({"exact": False, "transformer": "pynndescent"})
        notes["scrublet"] = notes["scrublet"].replace("false", "true")
        notes["pca"] = json.dumps({"svd_solver": "arpack"})

    usual = said()
    for expected in ("covariance_eigh", "Neighbours are exact", "use_approx_neighbors=False", "flavor=igraph",
                     "Doublets of b were not told", "Samples were not integrated", "The resolution 0.5 was asked for",
                     "no tests", "was not removed"):  # fmt: skip
        assert expected in usual, expected
    for absent in ("mitochondrial", "Predicted doublets"):
        assert absent not in usual
    assert "Predicted doublets of a were not removed" in said(undone)
    assert "No gene is known as mitochondrial" in said(undone)
    other = said(otherwise)
    assert "approximate (pynndescent)" in other
    for absent in ("covariance_eigh", "exact,", "use_approx_neighbors"):
        assert absent not in other


def test_what_is_unusual_is_named_with_what_it_may_mean(summarise: Any) -> None:
    def odd(cells: Any) -> None:
        cells.obs.loc[cells.obs["sample"] == "a", "pct_counts_mt"] = 35.0
        cells.obs.loc[cells.obs["leiden"] == "1", "sample"] = "a"

    found = {
        (item["sample"], item.get("cluster", ""), item["figure"]): item for item in summarise(odd)["unusual"]
    }

    assert found["", "2", "jaccard"]["value"] == 0.5
    assert found["", "", "ari_mean"]["usual"] == {"bound": "at least", "value": 0.95}
    assert found["a", "", "medians.pct_counts_mt"]["value"] == 35.0
    assert found["", "1", "largest_share_of_a_sample"]["value"] == 1.0
    assert found["a", "", "cells"]["usual"] == {"bound": "at least", "value": 500}
    assert ("b", "", "medians.pct_counts_mt") not in found
    assert all(item["means"] for item in found.values())


def test_usual_cells_are_not_unusual() -> None:
    sample = {"cells": 3000, "cells_before": 3500, "doublets": {"share": 0.05},
              "medians": {"n_genes_by_counts": 1800.0, "pct_counts_mt": 4.0}}  # fmt: skip
    sample["doublets"] |= {"threshold": 0.2, "cells": 3300, "expected_doublet_rate": 0.05}
    cluster = {"cells": 100, "jaccard": 0.9, "share_of_samples": {"a": 0.5, "b": 0.5}}
    summary = {
        "samples": {"a": sample, "b": sample},
        "clusters": {"ari_mean": 0.97, "by_name": {"0": cluster}},
    }

    assert unusual_cells(summary) == []
    for share, usual in (
        (0.001, {"bound": "at least", "value": 0.005}),
        (0.3, {"bound": "at most", "value": 0.25}),
    ):
        sample["doublets"]["share"] = share
        found = unusual_cells({**summary, "samples": {"a": sample}})
        assert [(item["figure"], item["usual"]) for item in found] == [("doublets.share", usual)]


@pytest.mark.timeout(300)
def test_the_task_gives_the_same_document_awaited_and_by_flyte(
    bench: Bench, source: Path, tmp_path: Path, summarise: Any
) -> None:
    cells = bench.add(source, AnnData(sample="s"))

    async def by_flyte() -> Any:
        run = await flyte.with_runcontext(mode="local").run.aio(
            summarise_cells, cells=cells, settings=SETTINGS
        )
        return run.outputs()

    summary = bench.run(summarise_cells, cells, SETTINGS)

    assert (summary.kind, summary.sample) == ("summary", "s")
    assert json.loads(bench.path(summary).read_text()) == summarise()
    assert summary.cid in str(bench.run(by_flyte))
