"""The summary of a clustering run: one JSON document of its cells, genes, clusters and markers, read from its h5ad.

Besides scanpy's own names in obs, var and uns it reads what our steps noted in `uns["stargazer"]`, JSON text by step.
What is absent is left out of the summary, and said in its notes where one would look for it:

- `filter_cells`: `{SAMPLE: {"cells_before", "cells_after", "genes_before", "genes_after", "removed": {"min_genes": n},
  "thresholds": {"min_genes": value}}}`, with the same names in `removed` and `thresholds`, as `max_pct_mt`;
- `scrublet`: `{SAMPLE: {"threshold", "doublets", "cells", "expected_doublet_rate"}}`;
- `stability`: `{"resolutions": [{"resolution", "clusters", "seeds", "ari_min", "ari_mean", "ari_to_next",
  "jaccard": {CLUSTER: value}}], "recommended", "chosen"}`, of which numbers can be null;
- `filter_genes`: `{"genes_before", "genes_after", "min_cells"}`;
- `pca`: `{"svd_solver"}`; `neighbors`: `{"exact": true, "transformer"}`; `harmony`: `{"batch_key"}`; `leiden`:
  `{"flavor"}`.

`svd_solver`, `transformer`, `use_approx_neighbors` and `batch_key` that a step did not note are looked for in the
settings of the run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stargazer.assets import AnnData, QcReport
from stargazer.tasks.environments import scrna_env
from stargazer.tasks.execution import workspace
from stargazer.tasks.scrna.parts import annotation, first_markers, noted
from stargazer.tasks.scrna.unusual import ALIKE, differing_clusters, stability_of, unusual_cells
from stargazer.tasks.tools import compute, expect

if TYPE_CHECKING:
    import anndata

__all__ = ["summarise_cells", "write_summary"]

MEDIANS = ("n_genes_by_counts", "total_counts", "pct_counts_mt", "pct_counts_ribo", "pct_counts_hb", "doublet_score")

SAMPLE, CLUSTERS = "sample", "leiden"
HARMONY = "X_pca_harmony"


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
        write_summary, target=target, source=cells.path, settings=settings, n_markers=n_markers, name=cells.sample
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
        "filter_genes": noted(cells, "filter_genes"),
        "samples": {sample: _sample(cells, samples, sample) for sample in samples.cat.categories},
        "highly_variable_genes": _variable(cells),
        "pca": _pca(cells, source, settings),
        "integration": _integration(cells, settings, len(samples.cat.categories)),
        "neighbors": _neighbors(cells, settings),
        "resolutions": _resolutions(cells, stability),
        "recommended": stability.get("recommended"),
        "chosen": stability.get("chosen"),
        "clusters": _clusters(cells, samples, stability, n_markers),
    }
    summary["unusual"] = unusual_cells(summary)
    summary["notes"] = _notes(summary, settings, noted(cells, "scrublet"))
    Path(target).write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _samples(cells: anndata.AnnData, name: str | None) -> Any:
    import pandas as pd

    if SAMPLE in cells.obs:
        return cells.obs[SAMPLE].astype(str).astype("category")
    return pd.Series([name or "all cells"] * cells.n_obs, index=cells.obs_names, dtype="category")


def _sample(cells: anndata.AnnData, samples: Any, sample: str) -> dict[str, Any]:
    """What there is of a sample, before and after."""
    own = cells.obs[samples == sample]
    filtered = noted(cells, "filter_cells").get(sample, {})
    scrublet = noted(cells, "scrublet").get(sample)
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
            metric: _rounded(own[metric].median()) for metric in MEDIANS if metric in own and len(own)
        },
    }


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


def _pca(cells: anndata.AnnData, source: str, settings: Mapping[str, Any]) -> dict[str, Any] | None:
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
        "svd_solver": noted(cells, "pca").get("svd_solver") or settings.get("svd_solver"),
    }


def _used(cells: anndata.AnnData, components: int) -> int:
    """The principal components that neighbours are looked for in: scanpy notes n_pcs where it is given."""
    used = cells.uns.get("neighbors", {}).get("params", {}).get("n_pcs")
    return components if used is None else min(int(used), components)


def _integration(cells: anndata.AnnData, settings: Mapping[str, Any], samples: int) -> dict[str, Any] | None:
    """How samples were brought together; None if they were not."""
    found = noted(cells, "harmony")
    used = cells.uns.get("neighbors", {}).get("params", {}).get("use_rep")
    if not found and used != HARMONY:
        return None
    return {
        "method": "harmony",
        "batch_key": found.get("batch_key") or settings.get("batch_key") or SAMPLE,
        "batches": samples,
        **{key: value for key, value in found.items() if key != "batch_key"},
    }


def _neighbors(cells: anndata.AnnData, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """How neighbours were looked for."""
    params = cells.uns.get("neighbors", {}).get("params")
    if params is None:
        return None
    own = noted(cells, "neighbors")
    return {
        "n_neighbors": int(params["n_neighbors"]),
        "metric": str(params.get("metric", "euclidean")),
        "use_rep": params.get("use_rep"),
        "transformer": own.get("transformer") or settings.get("transformer"),
        "exact": own.get("exact"),
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
                "differs": mean is not None and mean < ALIKE,
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
        "flavor": noted(cells, "leiden").get("flavor"),
        "seeds": of_all.get("seeds"),
        "ari_min": of_all.get("ari_min"),
        "ari_mean": mean,
        "differs": mean is not None and mean < ALIKE,
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


def _notes(summary: Mapping[str, Any], settings: Mapping[str, Any], scrublet: Mapping[str, Any]) -> list[str]:
    """What was not done, or was done otherwise than one might think, in sentences."""
    notes = []
    samples, pca, neighbors = summary["samples"], summary["pca"] or {}, summary["neighbors"] or {}
    if not any(found["cells_before"] for found in samples.values()):
        notes.append("Cells were not filtered by their metrics, or it is not noted in the file.")
    without = [name for name, found in samples.items() if not found["doublets"]]
    if without:
        notes.append(f"Doublets were not looked for in {_and(without)}.")
    left = [name for name, found in samples.items() if (found["doublets"] or {}).get("left")]
    if left:
        notes.append(f"Predicted doublets of {_and(left)} were not removed.")
    if len(samples) > 1 and not summary["integration"]:
        notes.append(
            "Samples were not integrated: clusters may be of samples rather than of types of cells."
        )
    if not summary["resolutions"]:
        notes.append("How stable the clusters are over seeds and resolutions was not looked at: do not take them for "
                     "facts.")  # fmt: skip
    elif summary["chosen"] != summary["recommended"] and summary["recommended"] is not None:
        notes.append(f"The resolution is {summary['chosen']}; the most stable one of this run with at least two "
                     f"clusters is {summary['recommended']}.")  # fmt: skip
    if pca.get("svd_solver") == "covariance_eigh":
        notes.append("PCA is by svd_solver=covariance_eigh; that of scanpy's default gives other digits with another "
                     "number of threads.")  # fmt: skip
    if neighbors.get("exact"):
        notes.append("Neighbours are exact, where scanpy's default (pynndescent) approximates them: the same graph on "
                     "every machine, but not quite the one of scanpy's default.")  # fmt: skip
    elif neighbors.get("exact") is False:
        notes.append(f"There are too many cells for exact neighbours: they are approximated by "
                     f"{neighbors['transformer'] or 'scanpy'}.")  # fmt: skip
    approximate = settings.get("use_approx_neighbors", _first(scrublet, "use_approx_neighbors"))
    if scrublet and approximate is False:
        notes.append("Scrublet looks for exact neighbours (use_approx_neighbors=False), where its default approximates "
                     "them: faster here, with nearly the same scores.")  # fmt: skip
    if summary["clusters"]["flavor"] == "igraph":
        notes.append("Leiden is that of igraph (flavor=igraph, undirected), as scanpy recommends it; its default is "
                     "still leidenalg.")  # fmt: skip
    if summary["clusters"].get("markers_by"):
        notes.append("P-values of markers rank genes; they are no tests, since the same cells made the clusters.")
    notes.append("RNA from the solution around cells was not removed, and clusters were not named as types of cells.")
    return notes


def _first(by_sample: Mapping[str, Any], key: str) -> Any:
    return next((found[key] for found in by_sample.values() if key in found), None)


def _and(names: Sequence[str]) -> str:
    few = 6
    shown = ", ".join(names[:few])
    return f"{shown} and {len(names) - few} more" if len(names) > few else shown


def _by_number(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdecimal() else (1 << 30, name)


def _rounded(value: Any) -> float | None:
    """A float of six digits; None of what is no number."""
    return None if value is None or value != value else float(f"{float(value):.6g}")


def _shown(marker: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value if isinstance(value, str) else _rounded(value) for key, value in marker.items()}
