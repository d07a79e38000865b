"""Says what is unusual in single cells and their clusters, and which clusters differ between the seeds of Leiden."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stargazer.tasks.scrna.clusters import STABLE
from stargazer.tasks.unusual import Usual

__all__ = ["differing_clusters", "stability_of", "unusual_cells"]

LIKELY = 0.75
"""The mean best Jaccard index over seeds from which on a cluster is taken for one.

Hennig 2007, doi:10.1016/j.csda.2006.11.025: below it there may be a pattern, of which cells is doubtful."""

MANY_CELLS = 500
"""Cells of a sample from which on shares say something."""

FEW_CELLS = Usual("cells", MANY_CELLS, None, "a failed capture, or thresholds that remove too much")
KEPT = Usual("kept", 0.5, None, "thresholds that do not suit this sample, or a poor sample")
MITOCHONDRIAL = Usual(
    "medians.pct_counts_mt", None, 10, "dying cells, or a tissue that is rich in mitochondria"
)
GENES = Usual("medians.n_genes_by_counts", 500, None, "shallow sequencing, or empty droplets taken for cells")
DOUBLETS = Usual(
    "doublets.share",
    None,
    0.25,
    "more than droplets usually hold: look at doublet_score in the table of cells",
)
FEW_DOUBLETS = 0.1
"""Of the doublets that are expected: fewer are hardly found by chance."""

SEEDS = Usual(
    "ari_mean",
    STABLE,
    None,
    "clusters depend on the seed of Leiden: take a resolution that is more stable before you name them",
)
SMALL = Usual("cells_of_cluster", 10, None, "doublets or debris; markers of so few cells are weak")
ONE_SAMPLE = Usual(
    "largest_share_of_a_sample", None, 0.9, "a type of cell that one sample alone has, or a batch effect"
)
CLUSTER = Usual("jaccard", LIKELY, None, "it differs between seeds: other seeds give it other cells")


def stability_of(stability: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """What the stability table says of the clusters of a column of obs, `leiden` or `leiden_0.5`; else nothing.

    Args:
        stability: as it is noted (summary.py).
    """
    resolution = stability.get("chosen") if key == "leiden" else _number(key.removeprefix("leiden_"))
    rows = [found for found in stability.get("resolutions", ()) if found["resolution"] == resolution]
    return dict(rows[0]) if rows else {}


def differing_clusters(stability: Mapping[str, Any], key: str) -> frozenset[str]:
    """The clusters of a column of obs that differ between the seeds of Leiden; none where it is not known."""
    shares = stability_of(stability, key).get("jaccard") or {}
    return frozenset(name for name, share in shares.items() if share is not None and share < LIKELY)


def unusual_cells(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is unusual in the samples and clusters of a summary (summary.py).

    Returns:
        Of each its `sample`, empty if it is of all, and its `cluster`, if it is of one; the `figure` with its `value`;
        what is `usual`, a `bound` ("at least" or "at most") and a `value`; and what it may mean (`means`).
    """
    found: list[dict[str, Any]] = []
    samples, clusters = summary["samples"], summary["clusters"]
    for name, figures in samples.items():
        found += FEW_CELLS.judged(figures["cells"], sample=name)
        if figures["cells_before"]:
            found += KEPT.judged(round(figures["cells"] / figures["cells_before"], 4), sample=name)
        found += GENES.judged(figures["medians"].get("n_genes_by_counts"), sample=name)
        found += MITOCHONDRIAL.judged(figures["medians"].get("pct_counts_mt"), sample=name)
        found += _doublets(figures["doublets"] or {}, name)
    found += SEEDS.judged(clusters.get("ari_mean"), sample="")
    for name, cluster in clusters["by_name"].items():
        found += SMALL.judged(cluster["cells"], sample="", cluster=name)
        found += CLUSTER.judged(cluster["jaccard"], sample="", cluster=name)
        if len(samples) > 1:
            share = max(cluster["share_of_samples"].values(), default=None)
            found += ONE_SAMPLE.judged(share, sample="", cluster=name)
    return found


def _doublets(scrublet: Mapping[str, Any], sample: str) -> list[dict[str, Any]]:
    """What is unusual in the doublets of a sample: too many, or hardly any of those that are expected."""
    expected = scrublet.get("expected_doublet_rate")
    fewest = Usual("doublets.share", expected and round(FEW_DOUBLETS * expected, 4), None,
                   "a threshold that is too high: look at the doublet scores, and give one")  # fmt: skip
    enough = (scrublet.get("cells") or 0) >= MANY_CELLS and scrublet.get("threshold") is not None
    share = scrublet.get("share")
    return [*DOUBLETS.judged(share, sample=sample), *(fewest.judged(share, sample=sample) if enough else [])]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
