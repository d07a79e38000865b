"""Writes the report of a single-cell run: one HTML file that loads nothing, whose bytes depend on its content alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stargazer.workflows.report import methods, overview, page
from stargazer.workflows.report.cells import cells, doublets, filters, genes
from stargazer.workflows.report.clusters import clusters, doubt, markers, stability
from stargazer.workflows.report.figures import Form
from stargazer.workflows.report.numbers import count, decimal, percent, points, whole
from stargazer.workflows.report.pictures import Pictures

__all__ = ["write_scrna_report"]

NAMED = 4
"""Samples up to which the title names each."""

FIGURES: Mapping[str, tuple[str, Form]] = {
    "cells": ("cells", count),
    "kept": ("cells kept of those read", percent),
    "medians.n_genes_by_counts": ("genes of a cell, median", whole),
    "medians.pct_counts_mt": ("mitochondrial counts, median", points),
    "doublets.share": ("doublets", percent),
    "ari_mean": ("adjusted Rand index between seeds", decimal),
    "cells_of_cluster": ("cells", count),
    "largest_share_of_a_sample": ("share of one sample", percent),
    "jaccard": ("Jaccard index over seeds", decimal),
}
"""What people call a figure of `unusual`, and how it is written."""


def write_scrna_report(
    target: str, summary: str, plots: Sequence[Mapping[str, str]], steps: Sequence[Mapping[str, Any]]
) -> None:
    """Write the HTML report of a single-cell run.

    The file loads nothing from elsewhere: pictures are within it. It holds no date, and all text that it is given is
    escaped.

    Args:
        summary: JSON of `summarise_cells`, which holds every figure of the page.
        plots: of each its `kind`, and the `path` of its PNG.
        steps: of its lineage (`lineage_steps`).
    """
    found = json.loads(Path(summary).read_text(encoding="utf-8"))
    pictures = Pictures(plots)
    names = list(found["samples"])
    title = f"Single cells: {', '.join(names) if len(names) <= NAMED else f'{len(names)} samples'}"
    parts = [
        "<header>",
        page.heading(title),
        page.text(_lead(found), "lead"),
        overview.verdict(found, "most samples of single cells", "the clusters"),
        doubt(found),
        _headlines(found),
        "</header>",
        overview.unusual(found, FIGURES),
        methods.notes(found),
        cells(found, pictures),
        filters(found),
        doublets(found),
        genes(found, pictures),
        clusters(found, pictures),
        stability(found),
        markers(found, pictures),
        page.section("Other plots", page.plots(*pictures.rest())),
        methods.settings(_settings(found)),
        methods.tools(steps),
        methods.cited(steps),
        methods.steps(steps),
        methods.commands(steps),
    ]
    Path(target).write_text(page.document(title, parts), encoding="utf-8")


def _lead(summary: Mapping[str, Any]) -> str:
    number, found = len(summary["samples"]), summary["clusters"]
    of = f" of {number} samples" if number > 1 else ""
    together = (
        f", brought together by {summary['integration']['method'].capitalize()}"
        if summary["integration"]
        else ""
    )
    if not found["key"]:
        return f"{count(summary['cells'])} cells{of}{together}."
    at = f" at resolution {found['resolution']}" if found.get("resolution") is not None else ""
    return (
        f"{count(summary['cells'])} cells{of}{together}, in {len(found['by_name'])} clusters by Leiden{at}."
    )


def _headlines(summary: Mapping[str, Any]) -> str:
    """The figures that are looked at first; of several samples the one in the middle, and their range."""
    samples, found = list(summary["samples"].values()), summary["clusters"]
    before = sum(sample["cells_before"] or 0 for sample in samples)
    searched = [sample["doublets"] for sample in samples if sample["doublets"]]
    chosen = summary["highly_variable_genes"]

    def medians(metric: str) -> list[float]:
        return [sample["medians"][metric] for sample in samples if metric in sample["medians"]]

    shown = [(count(summary["cells"]), f"cells, of {count(before)} read" if before else "cells")]
    if found["key"]:
        differing = sum(cluster["differs"] for cluster in found["by_name"].values())
        differ = f"{differing} of them {'differs' if differing == 1 else 'differ'} between seeds"
        shown.append((count(len(found["by_name"])), f"clusters; {differ}" if differing else "clusters"))
        if found.get("ari_mean") is not None:
            shown.append((decimal(found["ari_mean"]), "adjusted Rand index between seeds, mean"))
    for label, metric, form in (
        ("genes of a cell, median", "n_genes_by_counts", whole),
        ("counts of a cell, median", "total_counts", whole),
        ("mitochondrial counts, median", "pct_counts_mt", points),
    ):
        if values := medians(metric):
            shown.append(overview.typical(label, values, form))
    if searched:
        looked = sum(scrublet["cells"] for scrublet in searched)
        found_ = sum(scrublet["doublets"] for scrublet in searched)
        shown.append((count(found_), f"doublets, {percent(found_ / looked if looked else None)}"))
    if chosen:
        shown.append((count(chosen["genes"]), f"highly variable genes of {count(chosen['of'])}"))
    return page.tiles(shown)


def _settings(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The settings of the run, by the names that scanpy has for them."""
    return [
        ("samples", ", ".join(summary["samples"])),
        *((name, _plain(value)) for name, value in summary["run"].items()),
    ]


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_plain(each)}" for name, each in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return str(value)
