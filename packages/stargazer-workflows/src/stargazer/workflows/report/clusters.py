"""The sections of a single-cell report on clusters: what they are, how far they can be believed, and their markers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stargazer.workflows.report import page
from stargazer.workflows.report.numbers import NOTHING, count, decimal, percent
from stargazer.workflows.report.pictures import Pictures

__all__ = ["clusters", "markers", "stability"]

Summary = Mapping[str, Any]

DIFFERS = "differs between seeds"
SAMPLES = 8
"""Samples up to which each has a column."""

SURE, LIKELY = 0.85, 0.75
"""The mean best Jaccard index from which on a cluster is stable, or mostly so (Hennig 2007)."""

NAMED = 10
"""Marker genes of a cluster in the table of all."""


def clusters(summary: Summary, pictures: Pictures) -> str:
    """The clusters of the chosen resolution with their sizes, each with whether other seeds find it too."""
    found = summary["clusters"]
    if not found["key"]:
        return page.section("Clusters", page.text("The cells were not clustered."), *_others(pictures))
    names = list(summary["samples"])
    columns = names if 1 < len(names) <= SAMPLES else []
    rows = []
    for name, cluster in found["by_name"].items():
        sizes = [
            f"{count(cluster['samples'][sample])} ({percent(cluster['share_of_samples'][sample])})"
            for sample in columns
        ]
        rows.append(
            (
                marked(name, cluster),
                count(cluster["cells"]),
                percent(cluster["share"]),
                *sizes,
                decimal(cluster["jaccard"]),
                _words(cluster),
            )
        )
    last = 3 + len(columns)
    heads = ("cluster", "cells", "share", *columns, "Jaccard index", "with other seeds")
    by_sample = (
        "Behind the cells of a sample: its share, all samples weighted alike. "
        if columns
        else f"The summary has the cells of each of the {len(names)} samples. "
        if len(names) > SAMPLES
        else ""
    )
    return page.section(
        f"Clusters{_at(found)}",
        doubt(summary),
        page.plots(*pictures.umaps(found["key"], "sample")),
        page.table(heads, rows, range(1, last + 1)),
        page.text(
            f"{by_sample}Jaccard index: of the cells that a cluster has here or its likest has with another seed, the "
            f"share that both have; the mean over seeds. From {SURE} on a cluster is stable, below {LIKELY} it is not "
            f"(Hennig 2007, doi:10.1016/j.csda.2006.11.025), and has a question mark wherever it is named.",
            "note",
        ),
        page.part("UMAP in other colours", *_others(pictures)),
    )


def doubt(summary: Summary) -> str:
    """What has to be read before clusters are believed: nothing where seeds agree."""
    found = summary["clusters"]
    if not found["key"]:
        return ""
    if found.get("ari_mean") is None:
        return page.verdict(
            "It is not known how stable these clusters are.",
            "Other seeds and resolutions were not tried: take them for one way to divide the cells.",
            good=False,
        )
    differing = [name for name, cluster in found["by_name"].items() if cluster["differs"]]
    if not differing and not found["differs"]:
        return ""
    which = (
        f"{'Cluster' if len(differing) == 1 else 'Clusters'} {', '.join(f'{name}?' for name in differing)} of "
        f"{len(found['by_name'])} {'has' if len(differing) == 1 else 'have'} other cells with other seeds. "
        if differing
        else "Each cluster is found again, but not with quite the same cells. "
    )
    others = [each for each in summary["resolutions"] if each["resolution"] == summary["recommended"]]
    stable = [each for each in others if not each["differs"] and not each["differing"]]
    better = (
        f" Resolution {summary['recommended']} is stable."
        if stable
        else " No resolution of this run is stable."
        if all(each["differs"] for each in summary["resolutions"])
        else ""
    )
    alike = f"{'Clusters' if found['differs'] else 'Some clusters'} of this resolution differ between seeds."
    return page.verdict(
        alike,
        f"{which}The adjusted Rand index between {found['seeds']} seeds is {decimal(found['ari_mean'])} in the mean, "
        f"{decimal(found['ari_min'])} at least (1: the same). This is one way to divide the cells, no fact.{better}",
        good=False,
    )


def stability(summary: Summary) -> str:
    """Each resolution with how alike its clusters are over seeds, and how alike the next resolution's are."""
    rows = []
    for found in summary["resolutions"]:
        mean = decimal(found["ari_mean"])
        differing = [f"{name}?" for name in found["differing"]]
        is_ = [word for word in ("recommended", "chosen") if summary[word] == found["resolution"] is not None]
        rows.append(
            (
                str(found["resolution"]),
                count(found["clusters"]),
                page.Unusual(mean) if found["differs"] else mean,
                decimal(found["ari_min"]),
                decimal(found["ari_to_next"]),
                ", ".join(differing) or "none",
                page.Unusual(DIFFERS) if found["differs"] else "much the same with other seeds",
                ", ".join(is_),
            )
        )
    heads = ("resolution", "clusters", "ARI between seeds", "least", "ARI to the next", "clusters that differ",
             "as a whole", "")  # fmt: skip
    seeds = {found["seeds"] for found in summary["resolutions"]}
    return page.section(
        "Stability",
        page.table(heads, rows, range(1, 5)),
        page.text(
            f"Leiden was run with {' or '.join(map(str, sorted(seeds)))} seeds at each resolution. ARI: adjusted Rand "
            "index, 1 where two clusterings are the same, 0 where they are alike by chance; the mean over pairs of "
            "seeds, the least of them, and that between a resolution and the next one. Clusters that come and go with "
            "the seed are no types of cells.",
            "note",
        )
        if rows
        else "",
    )


def markers(summary: Summary, pictures: Pictures) -> str:
    """The first marker genes of each cluster, and their figures, folded."""
    found = summary["clusters"]
    rows, folded = [], []
    for name, cluster in found["by_name"].items():
        shown = ", ".join(marker["gene"] for marker in cluster["markers"][:NAMED])
        rows.append((marked(name, cluster), shown or "no gene is higher here than elsewhere"))
        figures = [
            (marker["gene"], decimal(marker["logfoldchange"]), decimal(marker["score"]), _power(marker["pval_adj"]))
            for marker in cluster["markers"]
        ]  # fmt: skip
        heads = ("gene", "log2 fold change", "score", "adjusted p-value")
        note = DIFFERS if cluster["differs"] else ""
        if figures:
            table = page.table(heads, figures, (1, 2, 3), "small")
            folded.append(page.folded(f"Cluster {marked(name, cluster)}", note, table))
    if not any(cluster["markers"] for cluster in found["by_name"].values()):
        return page.section("Marker genes", *pictures.of("dotplot"))
    by = f" by {found['markers_by']}" if found["markers_by"] else ""
    return page.section(
        "Marker genes",
        page.text(f"Each cluster against all other cells{by}; genes that are higher in it, the first ones first. "
                  "P-values rank genes and are no tests: the same cells made the clusters.", "note"),
        *pictures.of("dotplot"),
        page.table(("cluster", "marker genes"), rows),
        page.part("Figures by cluster", *folded),
    )  # fmt: skip


def marked(name: str, cluster: Mapping[str, Any]) -> str:
    """The name of a cluster, with a question mark if it differs between seeds."""
    return f"{name}?" if cluster["differs"] else name


def _words(cluster: Mapping[str, Any]) -> str:
    jaccard = cluster["jaccard"]
    if jaccard is None:
        return "not looked at"
    if cluster["differs"]:
        return page.Unusual(DIFFERS)
    return "the same" if jaccard >= SURE else "mostly the same"


def _at(found: Mapping[str, Any]) -> str:
    resolution = found.get("resolution")
    return "" if resolution is None else f" at resolution {resolution}"


def _others(pictures: Pictures) -> list[str]:
    drawn = pictures.other_umaps()
    return [page.plots(*drawn)] if drawn else []


def _power(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1e}" if value else "< 1e-300"
