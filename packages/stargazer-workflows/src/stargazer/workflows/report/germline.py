"""Writes the report of a germline run: one HTML file that loads nothing, whose bytes depend on its content alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stargazer.workflows.report import methods, overview, page, truth
from stargazer.workflows.report.numbers import count
from stargazer.workflows.report.reads import coverage, duplicates, reads
from stargazer.workflows.report.variants import variants

__all__ = ["write_germline_report"]

NAMED = 4
"""Samples up to which the title names each."""


def write_germline_report(
    target: str, summary: str, steps: Sequence[Mapping[str, Any]], comparison: str | None = None
) -> None:
    """Write the HTML report of a germline run.

    The file loads nothing from elsewhere and holds no date. All text that it is given is escaped. With one version of
    matplotlib, the same content gives the same bytes.

    Args:
        summary: JSON of `summarise_germline`, which holds every figure of the page.
        steps: of its lineage (`lineage_steps`).
        comparison: JSON of the demo's `write_comparison`, where there is a truth to compare with.
    """
    found = json.loads(Path(summary).read_text(encoding="utf-8"))
    compared = json.loads(Path(comparison).read_text(encoding="utf-8")) if comparison else None
    names = list(found["samples"])
    title = f"Germline short variants: {', '.join(names) if len(names) <= NAMED else f'{len(names)} samples'}"
    parts = [
        "<header>",
        page.heading(title),
        page.text(_lead(found), "lead"),
        overview.verdict(found),
        overview.headlines(found),
        "</header>",
        overview.unusual(found),
        methods.notes(found),
        *([truth.truth(compared["comparison"]), truth.inheritance(compared["inheritance"]),
           truth.errors(compared["comparison"])] if compared else []),
        reads(found),
        coverage(found),
        duplicates(found),
        variants(found),
        methods.picard(found),
        methods.settings(_settings(found, steps)),
        methods.tools(steps),
        methods.cited(steps),
        methods.steps(steps),
        methods.commands(steps),
    ]  # fmt: skip
    Path(target).write_text(page.document(title, parts), encoding="utf-8")


def _lead(summary: Mapping[str, Any]) -> str:
    run = summary["run"]
    where = f"in the intervals {run['intervals']}" if run["intervals"] else "in the whole reference"
    return f"SNVs and indels against {summary['reference']['build']}, called by {run['caller']} {where}."


def _settings(summary: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """How the run was set, in words."""
    run, reference, ploidy = summary["run"], summary["reference"], summary["ploidy"]
    versions = {tool["name"]: tool["version"] for step in steps for tool in step["tools"]}
    known = run["known_sites"]

    def with_version(name: str) -> str:
        return f"{name} {versions[name]}" if name in versions else name

    return [
        ("samples", ", ".join(summary["samples"])),
        (
            "reference",
            f"{reference['build']}: {count(reference['bases'])} bases, contigs: {count(reference['contigs'])}",
        ),
        ("contigs", ", ".join(run["contigs"]) or "all"),
        ("reads aligned by", with_version(run["aligner"]) if run["aligner"] else "they came aligned"),
        ("called by", with_version(run["caller"])),
        ("called in", f"intervals {run['intervals']}" if run["intervals"] else "the whole reference"),
        ("copies of a contig", f"{ploidy['default']}; {', '.join(ploidy['given'])}".rstrip("; ")),
        ("sex", ", ".join(ploidy["sex"]) or "not given"),
        ("base qualities", f"recalibrated with {', '.join(known)}" if known else "as they were read"),
        *(
            [("depth in one place", f"at most {count(summary['max_depth'])} reads of a sample")]
            if run["caller"] == "bcftools"
            else []
        ),
        *((f"filter {name}", expression) for name, expression in run["filters"].items()),
    ]
