"""The HTML report of single cells: self-contained, escaped, reproducible; clusters that differ are always doubted."""

from __future__ import annotations

import asyncio
import json
import re
import struct
import zlib
from base64 import b64encode
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import flyte
import pytest
from stargazer.assets import Asset, Plot, QcReport, use_client
from stargazer.storage import Addition, LocalStorageClient
from stargazer.workflows.report import scrna_report
from stargazer.workflows.report.citations import citations
from stargazer.workflows.report.scrna import write_scrna_report

HOSTILE = "<script>alert('x')</script> & \"quoted\" $x_$ naïve Ωμέγα"


def png(width: int = 300) -> bytes:
    """A white picture, so many pixels wide."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, 1, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" + b"\xff" * width)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def sample(**figures: Any) -> dict[str, Any]:
    """What a summary has of a sample."""
    return {
        "cells_before": 1000, "cells_after": 950, "cells": 912, "genes_before": 2000, "genes_after": 1800,
        "removed": {"min_genes": 13, "max_pct_mt": 29, "nmads log1p_total_counts": 8, "odd": 1},
        "thresholds": {"min_genes": 200, "max_pct_mt": 12.5, "nmads log1p_total_counts": [5.0, 9.0], "odd": None},
        "doublets": {"threshold": 0.2468, "doublets": 38, "cells": 950, "expected_doublet_rate": 0.06, "share": 0.04,
                     "left": 0},
        "medians": {"n_genes_by_counts": 1234.0, "total_counts": 4321.0, "pct_counts_mt": 3.21},
        **figures,
    }  # fmt: skip


def cluster(*names: str, **figures: Any) -> dict[str, Any]:
    """What a summary has of a cluster of samples of these names."""
    marker = {"gene": "CD3E", "score": 12.34, "logfoldchange": 2.5, "pval_adj": 1.5e-9}
    return {
        "cells": 400, "share": 0.4, "samples": dict.fromkeys(names, 400), "share_of_samples": dict.fromkeys(names, 1.0),
        "jaccard": 0.97, "differs": False, "markers": [marker], **figures,
    }  # fmt: skip


def summary(*names: str, **changed: Any) -> dict[str, Any]:
    """A summary of samples of these names, the second of whose clusters differs between seeds."""
    names = names or ("pbmc",)
    rows = [
        {"resolution": 0.5, "clusters": 2, "seeds": 5, "ari_min": 0.71, "ari_mean": 0.82, "ari_to_next": 0.66,
         "jaccard": {"0": 0.97, "1": 0.55}, "differing": ["1"], "differs": True},
        {"resolution": 1.0, "clusters": 3, "seeds": 5, "ari_min": 0.98, "ari_mean": 0.99, "ari_to_next": None,
         "jaccard": {}, "differing": [], "differs": False},
    ]  # fmt: skip
    return {
        "notes": ["Neighbours are exact."],
        "unusual": [],
        "run": {"seeds": 5, "resolutions": [0.5, 1.0], "n_pcs": None, "doublets": True},
        "cells": 912,
        "genes": 1800,
        "samples": {name: sample() for name in names},
        "mitochondrial_genes": 13,
        "highly_variable_genes": {"genes": 700, "of": 1800, "flavor": "seurat", "by_sample": True, "first": ["S100A8"]},
        "pca": {"components": 50, "used": 30, "variance_of_used": 0.42, "svd_solver": "covariance_eigh"},
        "integration": {"method": "harmony", "batch_key": "sample"},
        "neighbors": {"n_neighbors": 15, "metric": "euclidean", "use_rep": "X_pca_harmony", "transformer": "sklearn",
                      "exact": True},
        "resolutions": rows,
        "recommended": 1.0,
        "chosen": 0.5,
        "clusters": {
            "key": "leiden", "resolution": 0.5, "flavor": "igraph", "seeds": 5, "ari_min": 0.71, "ari_mean": 0.82,
            "differs": True, "markers_by": "t-test",
            "by_name": {"0": cluster(*names), "1": cluster(*names, jaccard=0.55, differs=True)},
        },
        **changed,
    }  # fmt: skip


STABLE = {
    **summary()["clusters"],
    "ari_min": 0.97,
    "ari_mean": 0.99,
    "differs": False,
    "by_name": {"0": cluster("pbmc"), "1": cluster("pbmc", jaccard=0.8)},
}

BARE = {
    **dict.fromkeys(("highly_variable_genes", "pca", "integration", "neighbors", "recommended", "chosen")),
    "resolutions": [],
    "clusters": {"key": None, "flavor": None, "differs": False, "by_name": {}},
    "samples": {
        "pbmc": sample(
            cells_before=None, cells_after=None, removed={}, thresholds={}, doublets=None, medians={}
        )
    },
}


def step(name: str = "scrna.leiden", on: str = "pbmc") -> dict[str, Any]:
    return {
        "task": name,
        "distribution": "stargazer-tasks 0.1.0",
        "tools": [{"name": "scanpy", "version": "1.11.5", "source": "Python package"}],
        "count": 1,
        "seconds": 1.5,
        "longest": 1.5,
        "peak_memory": 1_234_000_000,
        "cores": 2,
        "spans": [{"start": 1.767e9, "seconds": 1.5, "calls": 1, "on": [on]}],
        "nodes": [{"node": 0, "layer": 1, "calls": 1, "on": [on], "after": [], "imported": []}],
        "executions": [{"on": [on], "seconds": 1.5, "commands": [["python", "clusters:_leiden", '{"seeds": 5}']],
                        "outputs": [{"cid": f"bafk-{on}", "name": "cells.h5ad"}]}],
    }  # fmt: skip


class Strict(HTMLParser):
    """Notes every tag, the text, what is marked, and any tag that is closed out of turn."""

    VOID = frozenset({"meta", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.sources: list[str] = []
        self.marked: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if "src" in found:
            self.sources.append(found["src"])
        if "u" in found.get("class", "").split():
            self.marked.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag != "li":
            assert self.open.pop() == tag
        elif self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data + " "
        if self.marked and not self.marked[-1]:
            self.marked[-1] = data


def parsed(html: str) -> Strict:
    parser = Strict()
    parser.feed(html)
    assert parser.open == []
    return parser


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes a report of a summary with plots of these kinds; gives its HTML."""

    def written(
        content: dict[str, Any], kinds: Sequence[str] = (), steps: Sequence[dict[str, Any]] = ()
    ) -> str:
        (tmp_path / "summary.json").write_text(json.dumps(content))
        plots = []
        for number, kind in enumerate(kinds):
            path = tmp_path / f"{number}.png"
            path.write_bytes(png(300 + number))
            plots.append({"kind": kind, "path": str(path)})
        page = tmp_path / "report.html"
        write_scrna_report(str(page), str(tmp_path / "summary.json"), plots, steps or [step()])
        return page.read_text(encoding="utf-8")

    return written


def test_it_loads_nothing_and_has_no_date_but_that_of_its_steps(write: Any) -> None:
    html = write(summary(), ["violin"])

    assert write(summary(), ["violin"]) == html
    page = parsed(html)
    assert not {*page.seen} & {"script", "link", "iframe", "image", "metadata"}
    assert page.sources == [f"data:image/png;base64,{b64encode(png(300)).decode()}"]
    assert not re.search(r"@import|url\((?!#)", html)
    assert set(re.findall(r"https?://[^/\"]*", html)) == {"https://doi.org"}
    assert set(re.findall(r"\b20\d\d-\d\d-\d\d", html)) == {"2025-12-29"}


def test_whatever_the_content_says_is_text(write: Any) -> None:
    content = summary(HOSTILE, notes=[HOSTILE], run={HOSTILE: {HOSTILE: [HOSTILE]}})
    content["highly_variable_genes"]["first"] = [HOSTILE]
    content["integration"]["batch_key"] = HOSTILE
    content["samples"][HOSTILE]["removed"] = {HOSTILE: 1}
    hostile = cluster(HOSTILE, differs=True, markers=[{**cluster()["markers"][0], "gene": HOSTILE}])
    content["clusters"]["by_name"] = {HOSTILE: hostile}
    content["resolutions"][0]["differing"] = [HOSTILE]
    content["unusual"] = [{"sample": "", "cluster": HOSTILE, "figure": "jaccard", "value": 0.5,
                           "usual": {"bound": "at least", "value": 0.75}, "means": HOSTILE}]  # fmt: skip

    page = parsed(html := write(content, [f"umap_{HOSTILE}", HOSTILE], [step(HOSTILE, on=HOSTILE)]))

    assert "script" not in page.seen
    assert "&lt;script&gt;" in html
    assert page.text.count(HOSTILE) > 10


def test_it_shows_every_figure(write: Any) -> None:
    page = parsed(write(summary("pbmc", "csf")))

    for expected in (
        "912 cells of 2 samples, brought together by Harmony, in 2 clusters by Leiden at resolution 0.5.",
        "1,000", "950", "91.20 %", "1,234", "4,321", "3.2 %",  # cells
        "fewer genes than", "200", "12.5", "29", "counts outside", "147.4 to 8,102", "odd",  # filters
        "38", "4.00 %", "6.00 %", "0.2468",  # doublets
        "700 of 1,800 (flavor seurat), chosen in each sample", "S100A8", "30 of 50", "42.00 %", "Harmony, over sample",
        "15 (exact, euclidean, in X_pca_harmony)",
        "400 (100.00 %)", "0.97", "0.66", "recommended", "chosen",
        "CD3E", "2.50", "12.34", "1.5e-09", "by t-test",
        "Neighbours are exact.", "0.5, 1.0", "scanpy 1.11.5", "bafk-pbmc", '{"seeds": 5}',
        "doi:10.1186/s13059-017-1382-0", "doi:10.1038/s41598-019-41695-z",
    ):  # fmt: skip
        assert expected in page.text, expected
    assert "None" not in page.text.split()
    assert "Nothing unusual." in page.text


def test_clusters_that_differ_between_seeds_never_look_like_facts(write: Any) -> None:
    page = parsed(write(summary()))

    first, rest = page.text.split("What was not done")
    for part in (first, rest):
        assert "Clusters of this resolution differ between seeds." in part
        assert "Cluster 1? of 2 has other cells with other seeds." in part
        assert "0.82 in the mean, 0.71 at least" in part
        assert "Resolution 1.0 is stable." in part
    assert "1 of them differs between seeds" in first
    assert page.marked == [
        "differs between seeds",
        "0.82",
        "differs between seeds",
    ]  # cluster 1, resolution 0.5
    assert "Cluster 1?" in rest[rest.index("Figures by cluster") :]
    assert re.search(r"1\?\s+400\s+40.00 %\s+0.55\s+differs between seeds", rest)
    assert re.search(r"\s1\?\s+CD3E", rest)


def test_clusters_that_all_seeds_find_are_not_doubted(write: Any) -> None:
    page = parsed(write(summary(clusters=STABLE, resolutions=summary()["resolutions"][1:], chosen=1.0)))

    assert "differs between seeds" not in page.text
    assert not page.marked
    assert re.search(r"0\s+400\s+40.00 %\s+0.97\s+the same", page.text)
    assert re.search(r"1\s+400\s+40.00 %\s+0.80\s+mostly the same", page.text)
    assert "1?" not in page.text


def test_a_filter_of_genes_that_are_not_there_is_not_shown(write: Any) -> None:
    idle = sample(removed={"nmads pct_counts_mt": 0}, thresholds={"nmads pct_counts_mt": [None, 0.0]})

    assert "mitochondrial counts (%) outside" in write(summary(samples={"pbmc": idle}))
    assert "mitochondrial counts (%) outside" not in write(
        summary(samples={"pbmc": idle}, mitochondrial_genes=0)
    )


def test_where_each_cluster_is_found_again_with_other_cells_it_is_said(write: Any) -> None:
    page = parsed(write(summary(clusters={**STABLE, "ari_mean": 0.89, "ari_min": 0.84, "differs": True})))

    assert "Clusters of this resolution differ between seeds." in page.text
    assert "Each cluster is found again, but not with quite the same cells." in page.text


def test_where_no_resolution_is_stable_none_is_praised(write: Any) -> None:
    page = parsed(write(summary(resolutions=summary()["resolutions"][:1], recommended=0.5)))

    assert "No resolution of this run is stable." in page.text
    assert "Resolution 0.5 is stable" not in page.text


def test_clusters_of_which_stability_is_not_known_are_doubted(write: Any) -> None:
    unknown = {**STABLE, "ari_mean": None, "ari_min": None, "by_name": {"0": cluster("pbmc", jaccard=None)}}
    page = parsed(write(summary(clusters=unknown, resolutions=[])))

    assert page.text.count("It is not known how stable these clusters are.") == 2
    assert "not looked at" in page.text


def test_each_plot_is_shown_once_at_its_place(write: Any) -> None:
    kinds = ["dotplot", "umap_CD3E", "umap_sample", "umap_leiden", "violin", "knee", "highly_variable_genes",
             "pca_variance_ratio", "novel"]  # fmt: skip
    page = parsed(html := write(summary(), kinds))

    images = [b64encode(png(300 + number)).decode() for number in range(len(kinds))]
    order = sorted(range(len(kinds)), key=lambda number: html.index(images[number]))
    assert [kinds[number] for number in order] == [
        "violin", "knee", "highly_variable_genes", "pca_variance_ratio", "umap_leiden", "umap_sample", "umap_CD3E",
        "dotplot", "novel",
    ]  # fmt: skip
    assert page.seen.count("img") == len(kinds)
    assert 'alt="UMAP of the cells, coloured by CD3E"' in html
    assert page.text.index("Other plots") < page.text.index("Novel.")


def test_a_wide_picture_has_a_row_of_its_own(write: Any, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps(summary()))
    (tmp_path / "wide.png").write_bytes(png(1000))
    target = tmp_path / "report.html"

    write_scrna_report(str(target), str(tmp_path / "summary.json"),
                       [{"kind": "violin", "path": str(tmp_path / "wide.png")}], [])  # fmt: skip

    assert "<figure class=whole>" in target.read_text()
    assert 'width=640 alt="violin"' in target.read_text()
    assert "<figure class=whole>" not in write(summary(), ["violin"])


def test_what_is_unusual_is_said_first_and_marked(write: Any) -> None:
    items = [
        {"sample": "csf", "figure": "medians.pct_counts_mt", "value": 31.2, "means": "dying cells",
         "usual": {"bound": "at most", "value": 10}},
        {"sample": "", "cluster": "1", "figure": "largest_share_of_a_sample", "value": 0.99, "means": "a batch",
         "usual": {"bound": "at most", "value": 0.9}},
    ]  # fmt: skip
    page = parsed(write(summary("pbmc", "csf", unusual=items)))

    assert "2 unusual figures." in page.text
    assert re.search(r"csf\s+mitochondrial counts, median\s+31.2 %\s+at most 10.0 %\s+dying cells", page.text)
    assert re.search(r"cluster 1\s+share of one sample\s+99.00 %\s+at most 90.00 %\s+a batch", page.text)
    assert page.text.index("dying cells") < page.text.index("Cells ")


def test_cells_that_were_only_read_have_a_page_too(write: Any) -> None:
    page = parsed(write(summary(**BARE)))

    assert "The cells were not clustered." in page.text
    assert not {"nan", "None"} & set(page.text.split())
    for absent in ("Filters", "Doublets", "Stability", "Marker genes", "What clusters are made from"):
        assert absent not in page.text


def test_fifty_samples_and_a_hundred_clusters_are_readable(write: Any) -> None:
    names = [f"sample-{number:02}" for number in range(50)]
    clusters = {**STABLE, "by_name": {str(number): cluster(*names) for number in range(100)}}

    html = write(summary(*names, clusters=clusters))

    assert "Single cells: 50 samples" in html
    assert '<th class="n">sample-00<' not in html
    assert 'class="wide long"' in html
    assert len(html.encode()) < 1_000_000


def test_papers_are_those_of_what_was_used() -> None:
    def dois(tasks: set[str]) -> set[str]:
        return {paper.doi for paper in citations({"scanpy", "numba", "umap", "harmonypy"}, tasks)}

    scanpy = "10.1186/s13059-017-1382-0"
    assert dois({"pca"}) == {scanpy}
    assert dois({"scrublet", "harmony_integrate", "umap", "leiden"}) == {
        scanpy, "10.1016/j.cels.2018.11.005", "10.1038/s41592-019-0619-0", "10.21105/joss.00861",
        "10.1038/s41598-019-41695-z",
    }  # fmt: skip


def test_the_task_gives_the_same_page_awaited_and_by_flyte(tmp_path: Path) -> None:
    client = LocalStorageClient(tmp_path / "store")
    (tmp_path / "summary.json").write_text(json.dumps(summary()))
    (tmp_path / "plot.png").write_bytes(png())
    found, plot = (
        Asset.from_record(client.store.add([Addition(tmp_path / name, asset)])[0])
        for name, asset in (
            ("summary.json", QcReport(kind="summary", sample="pbmc")),
            ("plot.png", Plot(kind="umap_leiden")),
        )
    )

    async def main() -> tuple[Any, str]:
        page = await scrna_report(found, [plot], [step()])
        run = await flyte.with_runcontext(mode="local").run.aio(
            scrna_report, summary=found, plots=[plot], steps=[step()]
        )
        return page, str(run.outputs())

    with use_client(client):
        page, again = asyncio.run(main())

    html = client.store.read(page.cid).read_text()
    assert (page.kind, page.sample) == ("scrna_report", "pbmc")
    assert b64encode(png()).decode() in html
    assert page.cid in again
