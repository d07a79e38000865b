"""Says in sentences what a single-cell run did not do, or did otherwise than one might think, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["remarks"]


def remarks(summary: Mapping[str, Any]) -> list[str]:
    """What was not done, or was done otherwise than one might think, in sentences."""
    notes = []
    samples, pca, neighbors = summary["samples"], summary["pca"] or {}, summary["neighbors"] or {}
    if not any(found["cells_before"] for found in samples.values()):
        notes.append("Cells were not filtered by their metrics, or it is not noted in the file.")
    if summary["mitochondrial_genes"] == 0:
        notes.append("No gene is known as mitochondrial (mt in var), so cells were not judged by them: the names of "
                     "such genes begin with MT- or mt-.")  # fmt: skip
    without = [name for name, found in samples.items() if not found["doublets"]]
    if without:
        notes.append(f"Doublets were not looked for in {_and(without)}.")
    unknown = [
        name
        for name, found in samples.items()
        if found["doublets"] and found["doublets"]["threshold"] is None
    ]
    if unknown:
        notes.append(f"Doublets of {_and(unknown)} were not told from other cells: their scores have no two peaks. "
                     "Give a threshold.")  # fmt: skip
    left = [name for name, found in samples.items() if (found["doublets"] or {}).get("left")]
    if left:
        notes.append(f"Predicted doublets of {_and(left)} were not removed.")
    if len(samples) > 1 and not summary["integration"]:
        notes.append("Samples were not integrated: clusters may be of samples rather than of types of cells.")
    if not summary["resolutions"]:
        notes.append("How stable the clusters are over seeds and resolutions was not looked at: do not take them for "
                     "facts.")  # fmt: skip
    elif summary["chosen"] != summary["recommended"]:
        notes.append(f"The resolution {summary['chosen']} was asked for; by their stability {summary['recommended']} "
                     "would have been chosen.")  # fmt: skip
    if pca.get("svd_solver") == "covariance_eigh":
        notes.append("PCA is by svd_solver=covariance_eigh; that of scanpy's default gives other digits with another "
                     "number of threads.")  # fmt: skip
    if neighbors.get("exact"):
        notes.append("Neighbours are exact, where scanpy's default (pynndescent) approximates them: the same graph on "
                     "any number of cores, but not quite the one of scanpy's default.")  # fmt: skip
    elif neighbors.get("exact") is False:
        share = f", {neighbors['recall']:.1%} of them found" if neighbors.get("recall") else ""
        notes.append(f"Neighbours are approximate ({neighbors['transformer']}{share}): there are too many cells for "
                     "exact ones.")  # fmt: skip
    if any((found["doublets"] or {}).get("use_approx_neighbors") is False for found in samples.values()):
        notes.append("Scrublet looks for exact neighbours (use_approx_neighbors=False), where its default approximates "
                     "them: faster here, with nearly the same scores.")  # fmt: skip
    if summary["clusters"]["flavor"] == "igraph":
        notes.append("Leiden is that of igraph (flavor=igraph, undirected), as scanpy recommends it; its default is "
                     "still leidenalg.")  # fmt: skip
    if summary["clusters"].get("markers_by"):
        notes.append(
            "P-values of markers rank genes; they are no tests, since the same cells made the clusters."
        )
    notes.append(
        "RNA from the solution around cells was not removed, and clusters were not named as types of cells."
    )
    return notes


def _and(names: Sequence[str]) -> str:
    few = 6
    shown = ", ".join(names[:few])
    return f"{shown} and {len(names) - few} more" if len(names) > few else shown
