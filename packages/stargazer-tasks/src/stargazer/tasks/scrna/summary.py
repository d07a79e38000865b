"""The summary of a clustering run: one JSON document of its cells, genes, clusters and markers, read from its h5ad.

Besides scanpy's own names in obs, var and uns it reads what our steps noted in `uns["stargazer"]` (notes.py). What is
absent is left out of the summary, and said in its notes where one would look for it:

- `filter_cells`: `{SAMPLE: {"cells_before", "cells_after", "genes_before", "genes_after", "removed": {FILTER: cells},
  "thresholds": {FILTER: value}}}`, where FILTER is a parameter, as `max_pct_mt`, or `nmads METRIC`, whose threshold is
  a pair; SAMPLE is empty if the cells have no column `sample`;
- `scrublet`: `{SAMPLE: {"threshold", "doublets", "cells", "expected_doublet_rate",
  "use_approx_neighbors"}}`;
- `stability`: `{"resolutions": [{"resolution", "clusters", "seeds", "ari_min", "ari_mean", "ari_to_next",
  "jaccard": {CLUSTER: value}}], "recommended", "chosen"}`, of which numbers can be null;
- `pca`: `{"svd_solver"}`; `neighbors`: `{"exact", "transformer"}`, and `"recall"` where faiss approximates them;
- `harmony`: `{"batch_key"}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stargazer.assets import AnnData, QcReport
from stargazer.tasks.environments import scrna_env
from stargazer.tasks.execution import workspace
from stargazer.tasks.scrna.cells import HARMONY, SAMPLE
from stargazer.tasks.scrna.clusters import STABLE
from stargazer.tasks.scrna.notes import noted
from stargazer.tasks.scrna.parts import annotation, first_markers
from stargazer.tasks.scrna.remarks import remarks
from stargazer.tasks.scrna.unusual import differing_clusters, stability_of, unusual_cells
from stargazer.tasks.tools import compute, expect

if TYPE_CHECKING:
    import anndata

__all__ = ["summarise_cells", "write_summary"]

MEDIANS = (
    "n_genes_by_counts",
    "total_counts",
    "pct_counts_mt",
    "pct_counts_ribo",
    "pct_counts_hb",
    "doublet_score",
)

CLUSTERS = "leiden"


@scrna_env.task
async def summarise_cells(cells: AnnData, settings: dict[str, Any], n_markers: int = 10) -> QcReport:
    """One JSON document of a clustering run: cells, filters, doublets, genes, clusters, how stable they are, markers.

    Args:
        cells: what the run ends in, with `leiden` in obs and marker genes ranked.
        settings: of the run, by the names that scanpy has for them; they are taken as they are.
        n_markers: so many marker genes of each cluster.
    """
    target = workspace() / "summary.json"
    await compute(
        write_summary,
        target=target,
        source=cells.path,
        settings=settings,
        n_markers=n_markers,
        name=cells.sample,
    )
    return QcReport(path=expect(target, by="summarise_cells"), kind="summary", sample=cells.sample)


def write_summary(
    target: str, source: str, settings: dict[str, Any], n_markers: int = 10, name: str | None = None
) -> None:
    """Write the summary of a clustering run as JSON (summarise_cells).

    Args:
        source: the h5ad.
        name: of the sample, if the cells have no column `sample`.
    """
    cells = annotation(source)
    samples = _samples(cells, name)
    stability = noted(cells, "stability")
    summary: dict[str, Any] = {
        "notes": [],
        "unusual": [],
        "run": settings,
        "cells": cells.n_obs,
        "genes": cells.n_vars,
        "samples": {sample: _sample(cells, samples, sample) for sample in samples.cat.categories},
        "mitochondrial_genes": int(cells.var["mt"].sum()) if "mt" in cells.var else None,
        "highly_variable_genes": _variable(cells),
        "pca": _pca(cells),
        "integration": _integration(cells),
        "neighbors": _neighbors(cells),
        "resolutions": _resolutions(cells, stability),
        "recommended": stability.get("recommended"),
        "chosen": stability.get("chosen"),
        "clusters": _clusters(cells, samples, stability, n_markers),
    }
    summary["unusual"] = unusual_cells(summary)
    summary["notes"] = remarks(summary)
    Path(target).write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _samples(cells: anndata.AnnData, name: str | None) -> Any:
    import pandas as pd

    if SAMPLE in cells.obs:
        return cells.obs[SAMPLE].astype(str).astype("category")
    return pd.Series([name or "all cells"] * cells.n_obs, index=cells.obs_names, dtype="category")


def _sample(cells: anndata.AnnData, samples: Any, sample: str) -> dict[str, Any]:
    """What there is of a sample, before and after."""
    own = cells.obs[samples == sample]
    name = sample if SAMPLE in cells.obs else ""
    filtered = noted(cells, "filter_cells").get(name, {})
    scrublet = noted(cells, "scrublet").get(name)
    if scrublet:
        share = scrublet["doublets"] / scrublet["cells"] if scrublet.get("cells") else None
        left = own["predicted_doublet"].astype(bool).sum() if "predicted_doublet" in own else 0
        scrublet = {**scrublet, "share": _rounded(share), "left": int(left)}
    return {
        "cells_before": filtered.get("cells_before"),
        "cells_after": filtered.get("cells_after"),
        "cells": len(own),
        "genes_before": filtered.get("genes_before"),
        "genes_after": filtered.get("genes_after"),
        "removed": filtered.get("removed", {}),
        "thresholds": filtered.get("thresholds", {}),
        "doublets": scrublet,
        "medians": {
            metric: _rounded(own[metric].median())
            for metric in MEDIANS
            if metric in own and len(own) and not _without_genes(cells, metric)
        },
    }


def _without_genes(cells: anndata.AnnData, metric: str) -> bool:
    """Whether a metric is the share of genes of which there are none, so that it says nothing."""
    kind = metric.removeprefix("pct_counts_")
    return kind != metric and kind in cells.var and not cells.var[kind].any()


def _variable(cells: anndata.AnnData) -> dict[str, Any] | None:
    """The highly variable genes: how many, by which method, and the first of them."""
    if "highly_variable" not in cells.var:
        return None
    chosen = cells.var[cells.var["highly_variable"].astype(bool)]
    spread = next((name for name in ("dispersions_norm", "variances_norm") if name in chosen), None)
    first = chosen.sort_values(spread, ascending=False, kind="stable") if spread else chosen
    return {
        "genes": len(chosen),
        "of": cells.n_vars,
        "flavor": cells.uns.get("hvg", {}).get("flavor"),
        "by_sample": "highly_variable_nbatches" in cells.var,
        "first": list(map(str, first.index[:20])) if spread else [],
    }


def _pca(cells: anndata.AnnData) -> dict[str, Any] | None:
    """Principal components: how many there are, how many are used, and which share of variance these have."""
    import numpy as np

    ratios = cells.uns.get("pca", {}).get("variance_ratio")
    if ratios is None:
        return None
    used = _used(cells, len(ratios))
    return {
        "components": len(ratios),
        "used": used,
        "variance_of_used": _rounded(float(np.sum(np.asarray(ratios, float)[:used]))),
        "svd_solver": noted(cells, "pca").get("svd_solver"),
    }


def _used(cells: anndata.AnnData, components: int) -> int:
    """The principal components that neighbours are looked for in: scanpy notes n_pcs where it is given."""
    used = cells.uns.get("neighbors", {}).get("params", {}).get("n_pcs")
    return components if used is None else min(int(used), components)


def _integration(cells: anndata.AnnData) -> dict[str, Any] | None:
    """How samples were brought together; None if they were not."""
    used = cells.uns.get("neighbors", {}).get("params", {}).get("use_rep")
    return {"method": "harmony", **noted(cells, "harmony")} if used == HARMONY else None


def _neighbors(cells: anndata.AnnData) -> dict[str, Any] | None:
    """How neighbours were looked for."""
    params = cells.uns.get("neighbors", {}).get("params")
    if params is None:
        return None
    own = noted(cells, "neighbors")
    return {
        "n_neighbors": int(params["n_neighbors"]),
        "metric": str(params.get("metric", "euclidean")),
        "use_rep": params.get("use_rep"),
        "transformer": own.get("transformer"),
        "exact": own.get("exact"),
        "recall": own.get("recall"),
    }


def _resolutions(cells: anndata.AnnData, stability: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The stability table, each resolution with the clusters that differ between seeds and whether as a whole."""
    found = []
    for item in stability.get("resolutions", ()):
        key = f"{CLUSTERS}_{item['resolution']}"
        mean = item.get("ari_mean")
        found.append(
            {
                **item,
                "differing": sorted(differing_clusters(stability, key), key=_by_number),
                "differs": mean is not None and mean < STABLE,
            }
        )
    return found


def _clusters(
    cells: anndata.AnnData, samples: Any, stability: Mapping[str, Any], n_markers: int
) -> dict[str, Any]:
    """The clusters of the chosen resolution: sizes by sample, how stable they are, and their first markers."""
    import pandas as pd

    if CLUSTERS not in cells.obs:
        return {"key": None, "flavor": None, "differs": False, "by_name": {}}
    of_all = stability_of(stability, CLUSTERS)
    jaccard = of_all.get("jaccard") or {}
    differing = differing_clusters(stability, CLUSTERS)
    labels = cells.obs[CLUSTERS].astype(str)
    counts = pd.crosstab(labels, samples)
    shares = counts / counts.sum()  # of each sample, so that a large one does not count for more
    shares = shares.div(shares.sum(axis=1), axis=0)
    ranked = cells.uns.get("rank_genes_groups")
    mine = ranked is not None and ranked["params"].get("groupby") == CLUSTERS
    markers = first_markers(ranked, n_markers) if mine else {}
    names = sorted(counts.index, key=_by_number)
    mean = of_all.get("ari_mean")
    return {
        "key": CLUSTERS,
        "resolution": of_all.get("resolution", stability.get("chosen")),
        "flavor": "igraph" if stability else None,  # only our own step notes it
        "seeds": of_all.get("seeds"),
        "ari_min": of_all.get("ari_min"),
        "ari_mean": mean,
        "differs": mean is not None and mean < STABLE,
        "markers_by": ranked["params"].get("method") if mine else None,
        "by_name": {
            name: {
                "cells": int(counts.loc[name].sum()),
                "share": _rounded(counts.loc[name].sum() / cells.n_obs),
                "samples": {sample: int(counts.loc[name, sample]) for sample in counts.columns},
                "share_of_samples": {sample: _rounded(shares.loc[name, sample]) for sample in counts.columns},
                "jaccard": jaccard.get(name),
                "differs": name in differing,
                "markers": [_shown(marker) for marker in markers.get(name, ())],
            }
            for name in names
        },
    }


def _by_number(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdecimal() else (1 << 30, name)


def _rounded(value: Any) -> float | None:
    """A float of six digits; None of what is no number."""
    return None if value is None or value != value else float(f"{float(value):.6g}")


def _shown(marker: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value if isinstance(value, str) else _rounded(value) for key, value in marker.items()}
