"""The report of a germline run as one self-contained HTML file whose bytes depend on its content alone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, TypedDict

from stargazer.workflows.demo import page, plots

__all__ = ["Provenance", "ReportContent", "Step", "write_demo_report", "write_report"]

NOTHING = "\N{EN DASH}"
CALL_KINDS = {"missed": "missed", "false": "false call", "genotype": "wrong genotype"}


class Step(TypedDict, total=False):
    """What a run did, in order: one task, or all executions of one task."""

    name: str
    """Required."""
    seconds: float | None
    """Wall time; None if unknown."""
    cached: bool
    """Whether the result was there already."""
    detail: str


class Provenance(TypedDict, total=False):
    """Where one output comes from: everything but `name` may be left out."""

    name: str
    cid: str
    task: str
    inputs: list[str]
    """Names or CIDs."""
    commands: list[str]
    tools: dict[str, str]
    """Versions."""


class ReportContent(TypedDict, total=False):
    """What a report shows. A part that is left out, or None, is not shown; only `title` is required."""

    title: str
    subtitle: str
    facts: list[tuple[str, str]]
    """Rows of (what, value) about the run: genome, seed, filter, reads."""
    comparison: dict[str, Any]
    """From `compare.compare_to_truth`."""
    inheritance: dict[str, Any]
    """From `compare.mendelian_violations`."""
    calls: dict[str, Any]
    """From `statistics.call_statistics`."""
    coverage: dict[str, dict[str, Any]]
    """From `statistics.coverage`, by sample; a plot needs only `window` and `contigs`."""
    steps: list[Step]
    files: list[tuple[str, str]]
    """Rows of (what, path or CID)."""
    provenance: list[Provenance]


def write_report(path: str, content: ReportContent) -> dict[str, Any]:
    """Write the report.

    The file loads nothing from elsewhere, holds no date, and appears complete or not at all. All text of
    `content` is escaped. With one version of matplotlib, the same content gives the same bytes.

    Args:
        path: of the HTML file; it is replaced if it exists.
        content: see `ReportContent`.

    Returns:
        `{"path": str, "size": bytes}`.

    Raises:
        ToolError: if there is something to plot and matplotlib is not installed.
    """
    title = content["title"]
    parts = [
        f"<header>\n<h1>{escape(title)}</h1>",
        f"<p class=lead>{escape(content['subtitle'])}</p>" if content.get("subtitle") else "",
        _headlines(content),
        "</header>",
        _truth(content.get("comparison")),
        _inheritance(content.get("inheritance")),
        _errors(content.get("comparison")),
        _coverage(content.get("coverage")),
        _calls(content.get("calls")),
        page.section("Run", *_rows(("", ""), content.get("facts"))),
        _steps(content.get("steps")),
        page.section("Files", *_rows(("file", "where"), content.get("files"))),
        _provenance(content.get("provenance")),
    ]
    document = (
        "<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
        '<meta name=viewport content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{page.STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n<footer>Written by Stargazer. This file loads nothing else.</footer>\n</body>\n</html>\n"
    )
    target = Path(path)
    beside = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        beside.write_text(document, encoding="utf-8")
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
    return {"path": path, "size": len(document.encode())}


def write_demo_report(
    target: str, comparison: str, coverage: Mapping[str, str], steps: Sequence[Mapping[str, Any]]
) -> None:
    """Write the HTML report of the demo.

    Args:
        comparison: JSON of `write_comparison`.
        coverage: sample -> JSON of `write_coverage`.
        steps: of the calls' lineage (`workflow.lineage_steps`).
    """
    shown: list[Step] = []
    sources: list[Provenance] = []
    for step in steps:
        shown.append({"name": step["task"], "detail": ", ".join(step["on"]), "seconds": step["seconds"]})
        for output in step["outputs"]:
            sources.append(
                {
                    "name": f"{output['name']} ({step['task']}: {', '.join(step['on'])})",
                    "cid": output["cid"],
                    "task": step["task"],
                    "commands": [" ".join(command) for command in step["commands"]],
                    "tools": dict(tool.rsplit(" ", 1) for tool in step["tools"]),
                }
            )
    compared = json.loads(Path(comparison).read_text())
    write_report(
        target,
        {
            "title": "Stargazer demo: the variants of a simulated family",
            "subtitle": "Reads of father, mother and child, two lanes each, from a genome whose variants are known.",
            "facts": [
                (
                    "False calls at high quality",
                    "expected: the family's genome has a copy of a sequence that the reference "
                    "lacks, as real genomes do, and its reads align to the one that is there",
                ),
                ("Coverage", "without duplicates"),
                ("Filter", "QUAL below 30 is marked LowQual"),
            ],
            "comparison": compared["comparison"],
            "inheritance": compared["inheritance"],
            "calls": compared["calls"],
            "coverage": {sample: json.loads(Path(path).read_text()) for sample, path in coverage.items()},
            "steps": shown,
            "provenance": sources,
        },
    )


def _shown(value: float | None, form: str) -> str:
    return NOTHING if value is None else form.format(value)


_count = partial(_shown, form="{:,}")
_share = partial(_shown, form="{:.4f}")
_depth = partial(_shown, form="{:.1f}x")
_seconds = partial(_shown, form="{:.1f} s")
_quality = partial(_shown, form="{:.0f}")


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.2f} %"


def _rows(heads: tuple[str, str], rows: Sequence[Sequence[str]] | None) -> list[str]:
    return [page.table(heads, [(str(what), str(value)) for what, value in rows])] if rows else []


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _headlines(content: ReportContent) -> str:
    shown: list[tuple[str, str]] = []
    calls, comparison = content.get("calls"), content.get("comparison")
    inheritance, coverage = content.get("inheritance"), content.get("coverage")
    if calls:
        shown.append((_count(calls["snv"] + calls["indel"] + calls["other"]), "variants that pass"))
    if comparison:
        shown.append((_share(comparison["total"]["snv"]["f1"]), "F1 of SNVs"))
        shown.append((_share(comparison["total"]["indel"]["f1"]), "F1 of indels"))
    if inheritance:
        shown.append(
            (
                _count(inheritance["violations"]),
                f"Mendelian violations in {_count(inheritance['sites'])} sites",
            )
        )
    if coverage:
        shown.append((_depth(_mean([sample.get("mean") for sample in coverage.values()])), "mean coverage"))
        shown.append(
            (_percent(_mean([sample.get("duplicates") for sample in coverage.values()])), "duplicates")
        )
    return page.tiles(shown) if shown else ""


def _truth(comparison: Mapping[str, Any] | None) -> str:
    if not comparison:
        return ""
    heads = (
        "sample",
        "type",
        "in truth",
        "called",
        "TP",
        "FP",
        "FN",
        "precision",
        "recall",
        "F1",
        "genotypes right",
    )
    rows = []
    for sample, scores in [*comparison["samples"].items(), ("all", comparison["total"])]:
        for kind, score in scores.items():
            counts = [_count(score[key]) for key in ("truth", "calls", "tp", "fp", "fn")]
            shares = [_share(score[key]) for key in ("precision", "recall", "f1", "genotype_concordance")]
            rows.append((sample, "SNV" if kind == "snv" else kind, *counts, *shares))
    return page.section(
        "Comparison with the truth",
        page.table(heads, rows, range(2, 11)),
        page.figure(
            plots.truth_plot(comparison["samples"]),
            "Alleles in confident regions: found, called falsely, missed.",
        ),
    )


def _inheritance(inheritance: Mapping[str, Any] | None) -> str:
    if not inheritance:
        return ""
    text = (
        f"{_count(inheritance['violations'])} of {_count(inheritance['sites'])} sites have a genotype of the "
        f"child that its parents cannot have passed on ({_percent(inheritance['rate'])})."
    )
    heads = ("place", "ref", "alt", "father", "mother", "child", "QUAL")
    rows = [
        (
            f"{site['contig']}:{site['position']:,}",
            site["ref"],
            site["alt"],
            site["father"],
            site["mother"],
            site["child"],
            _quality(site["quality"]),
        )
        for site in inheritance["listed"]
    ]
    return page.section(
        "Inheritance", f"<p>{escape(text)}</p>", page.table(heads, rows, (6,)) if rows else ""
    )


def _errors(comparison: Mapping[str, Any] | None) -> str:
    if not comparison or not comparison["errors"]:
        return ""
    heads = ("place", "ref", "alt", "type", "sample", "what", "truth", "call", "QUAL", "reads with alt")
    rows = []
    for error in comparison["errors"]:
        deep = error["alt_depth"] is not None and error["depth"] is not None
        rows.append(
            (
                f"{error['contig']}:{error['position']:,}",
                error["ref"],
                error["alt"],
                "SNV" if error["type"] == "snv" else error["type"],
                error["sample"],
                CALL_KINDS.get(error["kind"], error["kind"]),
                error["truth"] or NOTHING,
                error["call"] or NOTHING,
                _quality(error["quality"]),
                f"{error['alt_depth']} of {error['depth']}" if deep else NOTHING,
            )
        )
    more = comparison["errors_total"] - len(rows)
    note = f"<p class=note>and {more:,} more</p>" if more > 0 else ""
    return page.section("Missed and false calls", page.table(heads, rows, (8, 9)), note)


def _coverage(coverage: Mapping[str, Mapping[str, Any]] | None) -> str:
    if not coverage:
        return ""
    heads = ("sample", "reads", "mapped", "duplicates", "mean coverage", "≥ 1 deep", "≥ 10", "≥ 20")
    rows = [
        (
            sample,
            _count(values.get("reads")),
            _percent(values.get("mapped")),
            _percent(values.get("duplicates")),
            _depth(values.get("mean")),
            *(_percent(values.get("at_least", {}).get(least)) for least in ("1", "10", "20")),
        )
        for sample, values in coverage.items()
    ]
    caption = (
        f"Mean depth in windows of {next(iter(coverage.values()))['window']:,} bases, duplicates left out."
    )
    return page.section(
        "Coverage", page.table(heads, rows, range(1, 8)), page.figure(plots.coverage_plot(coverage), caption)
    )


def _calls(calls: Mapping[str, Any] | None) -> str:
    if not calls:
        return ""
    ti_tv = _shown(calls["ti_tv"], "{:.2f}")
    text = (
        f"{calls['records']:,} records, {calls['filtered']:,} of them filtered out; "
        f"{calls['snv']:,} SNVs (Ti/Tv {ti_tv}) and {calls['indel']:,} indels pass."
    )
    quality = page.figure(plots.quality_plot(calls["quality"]), "Quality of the records that pass.")
    balance = page.figure(
        plots.allele_balance_plot(calls["samples"]),
        "Allele balance: heterozygous sites should lie around one half.",
    )
    return page.section(
        "Variants", f"<p>{escape(text)}</p>", f"<div class=plots>\n{quality}\n{balance}\n</div>"
    )


def _steps(steps: Sequence[Step] | None) -> str:
    if not steps:
        return ""
    rows = [
        (
            step["name"],
            step.get("detail", ""),
            "from storage" if step.get("cached") else _seconds(step.get("seconds")),
        )
        for step in steps
    ]
    return page.section("Steps", page.table(("step", "", "time"), rows, (2,)))


def _provenance(provenance: Sequence[Provenance] | None) -> str:
    shown = []
    for entry in provenance or ():
        rows = [("task", entry.get("task", "")), ("made from", "\n".join(entry.get("inputs", ())))]
        rows.append(
            ("tools", ", ".join(f"{name} {version}" for name, version in entry.get("tools", {}).items()))
        )
        body = "".join(
            f"<tr><th>{escape(what)}</th><td><code class=block>{escape(value)}</code></td></tr>\n"
            for what, value in [*rows, ("commands", "\n".join(entry.get("commands", ())))]
            if value
        )
        cid = f"<code>{escape(entry['cid'])}</code>" if entry.get("cid") else ""
        head = f"<summary>{escape(entry['name'])}{cid}</summary>"
        shown.append(f"<details>{head}\n<div class=wide><table>\n{body}</table></div>\n</details>")
    return page.section("Provenance", *shown)
