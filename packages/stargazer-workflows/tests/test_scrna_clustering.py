"""From counts to clusters: known types are found again, real files of each kind go through, what is wrong is said."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flyte
import pytest
from stargazer.assets import (
    AmbiguousAssetError,
    AnnData,
    Asset,
    AssetNotFoundError,
    IntegrityError,
    InvalidAssetError,
    StargazerError,
    StorageError,
    Table,
    TenxH5,
    TenxMtx,
)
from stargazer.storage import Addition, get_client, packed
from stargazer.tasks.execution import named_outputs
from stargazer.tasks.tools.python import arithmetic
from stargazer.workflows import scrna, scrna_clustering
from stargazer.workflows.demo.cells import simulate_cells
from stargazer.workflows.demo.clusters import write_cluster_comparison
from stargazer.workflows.demo.names import CELL_SAMPLES, CELL_TYPES, DAMAGED, DOUBLET
from stargazer.workflows.demo.run import prepare
from stargazer.workflows.demo.workflow import demo_scrna
from stargazer.workflows.inputs import matrix_of

pytestmark = [
    pytest.mark.usefixtures("compiled"),
    pytest.mark.timeout(600),
]  # most is for what numba compiles first

SMALL = "scrna/10x_v3_small/filtered_feature_bc_matrix"
QUICK = {"resolutions": [0.5], "seeds": 2, "n_comps": 20}
FITTING = {**QUICK, "min_genes": 20, "genes": []}
"""For 1,107 cells with a median of 19 genes."""
ONE = CELL_SAMPLES[0]
APART = {**QUICK, "samples": CELL_SAMPLES, "integrate": "none", "genes": ["GENE1"]}
"""A quick run of the demo's cells."""
AFTER_UMAP = ("leiden", "rank_genes_groups", "write_csv", "plot_highly_variable_genes", "plot_pca_variance_ratio",
              "plot_umap", "plot_markers", "summarise_cells", "scrna_report")  # fmt: skip


def add(lab: Any, path: Path, asset: Asset) -> Any:
    """Register a file, or a folder; return its asset."""
    store = lab.client.store
    with packed([Addition(path, asset)], store) as files:
        return Asset.from_record(store.add(files)[0])


def rows(lab: Any, table: Table) -> list[dict[str, str]]:
    with open(lab.path(table), newline="") as file:
        return list(csv.DictReader(file))


def document(lab: Any, asset: Asset) -> Any:
    return json.loads(lab.path(asset).read_text())


@pytest.fixture(scope="module")
def simulated(made_once: Callable[..., Path]) -> Path:
    """The cells of the demo, as files."""
    return made_once("demo-cells", lambda folder: simulate_cells(str(folder / "scrna"))) / "scrna"


@pytest.fixture(scope="module")
def demo(
    simulated: Path, compiled_code: Path, made_once: Callable[..., Path], new_lab: Any, tmp_path_factory: Any
) -> Any:
    """The demo's results, computed once, in a laboratory that the tests of a worker share."""

    def make(folder: Path) -> None:
        lab = new_lab(folder / "store")
        for sample in CELL_SAMPLES:
            add(lab, simulated / sample, TenxMtx(sample=sample))
        add(lab, simulated / "truth.csv", Table(kind=CELL_TYPES))
        lab.run(demo_scrna)
        (folder / "computed.json").write_text(json.dumps(lab.computed()))

    made = made_once("demo-clusters", make)
    store = tmp_path_factory.mktemp("demo-clusters") / "store"
    shutil.copytree(made / "store", store)
    lab = new_lab(store)
    lab.computed_first = json.loads((made / "computed.json").read_text())
    lab.found = lab.run(demo_scrna)
    return lab


def apart(lab: Any, **arguments: Any) -> Any:
    """The demo's cells without integration."""
    return lab.run(scrna_clustering, **{**APART, "samples": list(CELL_SAMPLES), **arguments})


# the demo's cells


def test_known_types_are_found_again_and_damaged_cells_and_doublets_are_gone(
    demo: Any, simulated: Path
) -> None:
    comparison, summary = document(demo, demo.found.comparison), document(demo, demo.found.summary)
    types = {f"{row['sample']}_{row['barcode']}": row["type"]
             for row in csv.DictReader((simulated / "truth.csv").read_text().splitlines())}  # fmt: skip
    left = [types[row["cell"]] for row in rows(demo, demo.found.table)]

    assert comparison["ari"][f"leiden_{summary['recommended']:g}"] >= 0.9
    assert summary["recommended"] == summary["chosen"]
    assert {name for cells in comparison["types"].values() for name in cells} == set("01234")
    assert Counter(types.values())[DOUBLET] > 50
    assert Counter(types.values())[DAMAGED] > 50
    assert Counter(left)[DOUBLET] + Counter(left)[DAMAGED] == 0
    assert sum(Counter(left).values()) >= 0.95 * sum(name in "ABCDE" for name in types.values())
    assert demo.found.cells.n_obs == len(left)
    assert summary["integration"]["method"] == "harmony"


def test_markers_are_those_that_the_types_were_given(demo: Any) -> None:
    types = {
        cluster: name
        for name, cells in document(demo, demo.found.comparison)["types"].items()
        for cluster in cells
    }
    given = {name: {f"GENE{30 * at + n}" for n in range(1, 31)} for at, name in enumerate("ABCDE")}
    first: dict[str, list[str]] = {}
    for row in rows(demo, demo.found.markers):
        first.setdefault(row["group"], []).append(row["names"])

    assert {cluster: len(given[types[cluster]] & set(genes[:20])) for cluster, genes in first.items()} == (
        dict.fromkeys(first, 20)
    )


def test_plots_and_report_are_there(demo: Any) -> None:
    kinds = [plot.kind for plot in demo.found.plots]
    page = demo.path(demo.found.report).read_text()

    assert kinds[:6] == [
        "violin",
        "knee",
        "highly_variable_genes",
        "pca_variance_ratio",
        "umap_leiden",
        "umap_sample",
    ]
    assert kinds[-1] == "dotplot"
    assert len(kinds) == len(set(kinds)) == 11  # with the first marker of each of four clusters
    assert all(demo.path(plot).read_bytes().startswith(b"\x89PNG") for plot in demo.found.plots)
    assert page.count("data:image/png") == 11
    assert all(sample in page for sample in CELL_SAMPLES)


def test_each_step_is_computed_once_and_nothing_the_second_time(demo: Any) -> None:
    assert demo.computed_first["read_10x_mtx"] == 2
    assert demo.computed_first["plot_umap"] == 6
    assert {name for name, count in demo.computed_first.items() if count > 1} == {"read_10x_mtx", "plot_umap"}

    again = demo.run(demo_scrna)

    assert not demo.computed()
    assert again == demo.found
    assert demo.leftovers() == []


def test_without_integration_samples_stay_apart_and_a_late_parameter_changes_late_steps_alone(
    demo: Any, simulated: Path, tmp_path: Path
) -> None:
    found = apart(demo)
    assert not {"calculate_qc_metrics", "scrublet", "normalize_total", "harmony_integrate"} & set(
        demo.computed()
    )
    target = tmp_path / "comparison.json"
    write_cluster_comparison(str(target), str(demo.path(found.table)), str(simulated / "truth.csv"))
    chosen = json.loads(target.read_text())["ari"]["leiden"]
    assert chosen < 0.9 <= document(demo, demo.found.comparison)["ari"]["leiden"]

    advice = "the cells have no column of obs or gene 'gene1200'; near it: GENE200, GENE120, GENE100"
    with pytest.raises(InvalidAssetError, match=advice):
        apart(demo, genes=["gene1200"])
    assert not demo.computed()
    assert demo.leftovers() == []

    other = apart(demo, min_dist=0.3)

    assert demo.computed() == Counter(["umap", *AFTER_UMAP, *["plot_umap"] * 2])
    assert other.markers.cid == found.markers.cid
    assert other.cells.cid != found.cells.cid


def test_the_demo_registers_these_cells(
    demo: Any, simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARGAZER_HOME", str(tmp_path))
    (tmp_path / "demo").mkdir()
    shutil.copytree(simulated, tmp_path / "demo" / "scrna")
    prepare("scrna")

    named = {(record.cid, record.keyvalues["asset"]) for record in get_client().store.query({})}
    assert {(cid, key) for cid, key in named if key != "provenance"} == {
        (record.cid, key)
        for record in demo.client.store.query({})
        if (key := record.keyvalues["asset"]) in ("tenx_mtx", "table")
        and (key == "tenx_mtx" or record.keyvalues["kind"] == CELL_TYPES)
    }


# real files


@pytest.fixture(scope="module")
def of_folder(
    test_data: Path, compiled_code: Path, new_lab: Any, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """Clusters of the small folder of Cell Ranger, awaited."""
    lab = new_lab(tmp_path_factory.mktemp("folder") / "store")
    lab.matrix = add(lab, test_data / SMALL, TenxMtx(sample="small"))
    lab.found = lab.run(scrna_clustering, samples=["small"], **FITTING)
    return lab


def test_an_h5_by_flyte_and_a_folder_awaited_have_the_same_clusters(
    of_folder: Any, test_data: Path, lab: Any
) -> None:
    add(lab, (test_data / SMALL).with_suffix(".h5"), TenxH5(sample="small"))

    async def by_flyte() -> Any:
        run = flyte.with_runcontext(mode="local").run
        return named_outputs(
            scrna_clustering, (await run.aio(scrna_clustering, samples=["small"], **FITTING)).outputs()
        )

    found = lab.run(by_flyte)

    expected = of_folder.found
    assert lab.computed()["read_10x_h5"] == 1
    assert (found.table.cid, found.markers.cid) == (expected.table.cid, expected.markers.cid)
    assert [plot.cid for plot in found.plots] == [plot.cid for plot in expected.plots]
    assert [plot.kind for plot in found.plots if plot.kind.startswith("umap")] == ["umap_leiden"]
    assert expected.cells.n_obs == len(rows(lab, found.table)) > 500
    assert document(lab, found.summary)["integration"] is None
    assert lab.leftovers() == []


def test_the_same_by_flyte_from_memory(of_folder: Any) -> None:
    async def by_flyte() -> Any:
        run = flyte.with_runcontext(mode="local").run
        return named_outputs(
            scrna_clustering, (await run.aio(scrna_clustering, samples=["small"], **FITTING)).outputs()
        )

    assert of_folder.run(by_flyte) == of_folder.found
    assert not of_folder.computed()


def test_a_strangers_h5ad_has_the_clusters_that_its_genes_tell(test_data: Path, lab: Any) -> None:
    add(lab, test_data / "scrna/celltypist_sample.h5ad", AnnData(sample="blood"))

    found = lab.run(
        scrna_clustering,
        samples=["blood"],
        counts="X",
        n_top_genes=500,
        doublets="none",
        genes=["CD3D"],
        **QUICK,
    )

    best: dict[str, set[str]] = {}
    for row in rows(lab, found.markers):
        if len(genes := best.setdefault(row["group"], set())) < 25:
            genes.add(row["names"])
    known = {"B cells": "MS4A1", "monocytes": "CD14", "NK cells": "GNLY"}
    assert [sum(gene in genes for genes in best.values()) for gene in known.values()] == [1, 1, 1]
    assert [plot.kind for plot in found.plots if plot.kind.startswith("umap")] == ["umap_leiden", "umap_CD3D"]
    assert "scrublet" not in lab.computed()


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_ten_thousand_cells_are_those_of_a_plain_script(
    mouse_brain: Path, compiled_code: Path, lab: Any, tmp_path: Path
) -> None:
    import anndata
    import numpy as np

    script = Path(__file__).with_name("brain_by_hand.py")
    caches = {"NUMBA_CACHE_DIR": str(compiled_code / "by-hand")}
    command = [sys.executable, script, mouse_brain, tmp_path, "20"]
    subprocess.run(command, check=True, env={**os.environ, **arithmetic(), **caches})
    add(lab, mouse_brain, AnnData(sample="brain"))

    found = lab.run(scrna_clustering, samples=["brain"], min_genes=20)

    ours, theirs = anndata.read_h5ad(lab.path(found.cells)), anndata.read_h5ad(tmp_path / "cells.h5ad")
    assert theirs.n_obs > 9_000
    assert [*ours.obs_names] == [*theirs.obs_names]
    assert [*ours.var_names] == [*theirs.var_names]
    assert document(lab, found.summary)["samples"]["brain"]["cells_before"] == 10_000
    for name in ("leiden_0.3", "leiden_0.5", "leiden_1"):
        assert [*ours.obs[name]] == [*theirs.obs[name]], name
    for name in ("X_pca", "X_umap"):
        assert np.array_equal(ours.obsm[name], theirs.obsm[name]), name
    chosen = document(lab, found.summary)["chosen"]
    assert lab.path(found.markers).read_text() == (tmp_path / f"markers_{chosen:g}.csv").read_text()
    assert [row["cell"] for row in rows(lab, found.table)] == [*theirs.obs_names]


# wrong input


@pytest.mark.parametrize(
    ("arguments", "kind", "error"),
    [
        ({"samples": []}, InvalidAssetError, "give at least one sample: samples=pbmc"),
        ({"samples": [ONE, ONE]}, InvalidAssetError, f"samples names one twice: {ONE}, {ONE}"),
        (
            {"samples": [ONE, "other"]},
            AssetNotFoundError,
            "no counts of sample 'other'; add them: `stargazer add filtered_feature_bc_matrix.h5 sample=other`",
        ),
        (
            {"samples": [ONE], "integrate": "harmony"},
            InvalidAssetError,
            "integrate=harmony moves several samples together: leave it out for one",
        ),
        ({"samples": [ONE], "genome": "mm10"}, InvalidAssetError, "genome='mm10'"),
        (
            {"samples": CELL_SAMPLES, "min_genes": 5_000},
            InvalidAssetError,
            f"no cell is left after filtering; of 900 cells of {ONE} min_genes removes 900",
        ),
        (
            {"samples": [ONE], "expected_doublet_rate": 5.0},
            InvalidAssetError,
            "give a share of the cells, as 0.05",
        ),
        ({"samples": [ONE], "target_sum": 0.0}, InvalidAssetError, "give a number of molecules, as 10000"),
        ({"samples": [ONE], "random_state": -1}, InvalidAssetError, "give a number from 0 to 4294967295"),
        ({"samples": [ONE], "seeds": 0}, InvalidAssetError, "seeds=0: give numbers above zero"),
        (
            {**APART, "resolution": 0.7},
            InvalidAssetError,
            "resolution=0.7 is not among resolutions=0.5: add it there",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(
    demo: Any, arguments: dict[str, Any], kind: type[StargazerError], error: str
) -> None:
    with pytest.raises(kind) as raised:
        demo.run(scrna_clustering, **{**arguments, "samples": list(arguments["samples"])})

    assert error in str(raised.value)
    assert demo.leftovers() == []


def test_two_matrices_of_one_sample_are_too_many(of_folder: Any, test_data: Path, lab: Any) -> None:
    first = add(lab, test_data / SMALL, TenxMtx(sample="small"))
    second = add(lab, (test_data / SMALL).with_suffix(".h5"), TenxH5(sample="small"))

    advice = "exactly one is needed; retract the others with `stargazer rm CID`"
    with pytest.raises(AmbiguousAssetError, match=advice) as error:
        lab.run(scrna_clustering, samples=["small"])

    assert all(matrix.cid in str(error.value) for matrix in (first, second))
    assert not lab.computed()


def test_batches_are_moved_together_where_each_sample_has_one_and_they_differ() -> None:
    def key(*batches: str | None) -> str | None:
        return scrna._batch_key([TenxMtx(sample=str(n), batch=batch) for n, batch in enumerate(batches)])

    assert [key("a", "b"), key("a", "b", "b"), key("a", "a"), key("a", None), key(None, None), key("a")] == [
        "batch", "batch", "sample", "sample", "sample", None
    ]  # fmt: skip


def test_counts_that_were_registered_again_with_a_batch_are_of_it(test_data: Path, lab: Any) -> None:
    h5 = (test_data / SMALL).with_suffix(".h5")
    add(lab, h5, TenxH5(sample="small"))
    add(lab, h5, TenxH5(sample="small", batch="b1", condition="treated"))
    assert lab.run(matrix_of, "small").batch == "b1"

    add(lab, h5, TenxH5(sample="small", batch="b2"))
    with pytest.raises(
        AmbiguousAssetError, match=r"2 files of counts of sample 'small'(?s:.*)batch 'b1'; id"
    ):
        lab.run(matrix_of, "small")


def test_a_file_that_became_unreadable_is_named(test_data: Path, lab: Any) -> None:
    matrix = add(lab, (test_data / SMALL).with_suffix(".h5"), TenxH5(sample="small"))
    stored = lab.path(matrix)
    stored.chmod(0o644)
    stored.write_bytes(stored.read_bytes()[:50_000])

    damaged = f"The bytes of {matrix.cid} in the store .* are damaged: (.|\n)*`stargazer fsck`"
    with pytest.raises(IntegrityError, match=damaged):
        lab.run(scrna_clustering, samples=["small"])
    assert lab.leftovers() == []

    stored.unlink()
    with pytest.raises(StorageError, match=f"{matrix.cid} are not in the store .*: add the file again"):
        lab.run(scrna_clustering, samples=["small"])
    assert lab.leftovers() == []
    assert not lab.computed()
