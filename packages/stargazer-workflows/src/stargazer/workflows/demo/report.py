"""The report of the demo as one self-contained HTML file whose bytes depend on its content alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from stargazer.workflows.demo import page, plots

__all__ = ["write_demo_report"]

TITLE = "Stargazer demo: the variants of a simulated family"
LEAD = "Reads of father, mother and child, two lanes each, from a genome whose variants are known."
FACTS = (
    ("False calls at high quality", "expected: the family's genome has a copy of a sequence that the reference lacks, "
                                    "as real genomes do, and its reads align to the one that is there"),
    ("Coverage", "without duplicates"),
    ("Filter", "QUAL below 30 is marked LowQual"),
)  # fmt: skip
NOTHING = "\N{EN DASH}"
TYPES = {"snv": "SNV", "indel": "indel"}
CALL_KINDS = {"missed": "missed", "false": "false call", "genotype": "wrong genotype"}


def write_demo_report(
    target: str, comparison: str, coverage: Mapping[str, str], steps: Sequence[Mapping[str, Any]]
) -> None:
    """Write the HTML report of the demo.

    The file loads nothing from elsewhere and holds no date. All text that it is given is escaped. With one version of
    matplotlib, the same content gives the same bytes.

    Args:
        comparison: JSON of `write_comparison`.
        coverage: sample -> JSON of `write_coverage`.
        steps: of the calls' lineage (`workflow.lineage_steps`).
    """
    found = json.loads(Path(comparison).read_text())
    profiles = {sample: json.loads(Path(path).read_text()) for sample, path in coverage.items()}
    parts = [
        f"<header>\n<h1>{TITLE}</h1>",
        f"<p class=lead>{LEAD}</p>",
        _headlines(found, profiles),
        "</header>",
        _truth(found["comparison"]),
        _inheritance(found["inheritance"]),
        _errors(found["comparison"]),
        _coverage(profiles),
        _calls(found["calls"]),
        page.section("Run", page.table(("", ""), FACTS)),
        _steps(steps),
        page.section(
            "Provenance", *(_provenance(step, output) for step in steps for output in step["outputs"])
        ),
    ]
    document = (
        "<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
        '<meta name=viewport content="width=device-width, initial-scale=1">\n'
        f"<title>{TITLE}</title>\n<style>{page.STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n<footer>Written by Stargazer. This file loads nothing else.</footer>\n</body>\n</html>\n"
    )
    Path(target).write_text(document, encoding="utf-8")


def _shown(value: float | None, form: str) -> str:
    return NOTHING if value is None else form.format(value)


_count = partial(_shown, form="{:,}")
_share = partial(_shown, form="{:.4f}")
_depth = partial(_shown, form="{:.1f}x")
_quality = partial(_shown, form="{:.0f}")


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.2f} %"


def _mean(profiles: Mapping[str, Mapping[str, Any]], figure: str) -> float | None:
    known = [value for profile in profiles.values() if (value := profile[figure]) is not None]
    return sum(known) / len(known) if known else None


def _place(site: Mapping[str, Any]) -> tuple[str, str, str]:
    """Where a site is, and its alleles."""
    return f"{site['contig']}:{site['position']:,}", site["ref"], site["alt"]


def _headlines(found: Mapping[str, Any], profiles: Mapping[str, Mapping[str, Any]]) -> str:
    calls, scores, inheritance = found["calls"], found["comparison"]["total"], found["inheritance"]
    return page.tiles(
        [
            (_count(calls["snv"] + calls["indel"] + calls["other"]), "variants that pass"),
            (_share(scores["snv"]["f1"]), "F1 of SNVs"),
            (_share(scores["indel"]["f1"]), "F1 of indels"),
            (
                _count(inheritance["violations"]),
                f"Mendelian violations in {_count(inheritance['sites'])} sites",
            ),
            (_depth(_mean(profiles, "mean")), "mean coverage"),
            (_percent(_mean(profiles, "duplicates")), "duplicates"),
        ]
    )


def _truth(comparison: Mapping[str, Any]) -> str:
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
            rows.append((sample, TYPES[kind], *counts, *shares))
    plot = plots.truth_plot(comparison["samples"])
    return page.section(
        "Comparison with the truth",
        page.table(heads, rows, range(2, 11)),
        page.figure(plot, "Alleles in confident regions: found, called falsely, missed."),
    )


def _inheritance(inheritance: Mapping[str, Any]) -> str:
    text = (
        f"{_count(inheritance['violations'])} of {_count(inheritance['sites'])} sites have a genotype of the "
        f"child that its parents cannot have passed on ({_percent(inheritance['rate'])})."
    )
    heads = ("place", "ref", "alt", "father", "mother", "child", "QUAL")
    rows = [
        (*_place(site), site["father"], site["mother"], site["child"], _quality(site["quality"]))
        for site in inheritance["listed"]
    ]
    return page.section("Inheritance", f"<p>{text}</p>", page.table(heads, rows, (6,)) if rows else "")


def _errors(comparison: Mapping[str, Any]) -> str:
    if not comparison["errors"]:
        return ""
    heads = ("place", "ref", "alt", "type", "sample", "what", "truth", "call", "QUAL", "reads with alt")
    rows = [
        (
            *_place(error),
            TYPES[error["type"]],
            error["sample"],
            CALL_KINDS[error["kind"]],
            error["truth"] or NOTHING,
            error["call"] or NOTHING,
            _quality(error["quality"]),
            NOTHING
            if None in (error["alt_depth"], error["depth"])
            else f"{error['alt_depth']} of {error['depth']}",
        )
        for error in comparison["errors"]
    ]
    more = comparison["errors_total"] - len(rows)
    note = f"<p class=note>and {more:,} more</p>" if more > 0 else ""
    return page.section("Missed and false calls", page.table(heads, rows, (8, 9)), note)


def _coverage(profiles: Mapping[str, Mapping[str, Any]]) -> str:
    heads = ("sample", "reads", "mapped", "duplicates", "mean coverage", "≥ 1 deep", "≥ 10", "≥ 20")
    rows = [
        (
            sample,
            _count(profile["reads"]),
            _percent(profile["mapped"]),
            _percent(profile["duplicates"]),
            _depth(profile["mean"]),
            *(_percent(profile["at_least"][least]) for least in ("1", "10", "20")),
        )
        for sample, profile in profiles.items()
    ]
    window = next(iter(profiles.values()))["window"]
    caption = f"Mean depth in windows of {window:,} bases, duplicates left out."
    plot = page.figure(plots.coverage_plot(profiles), caption)
    return page.section("Coverage", page.table(heads, rows, range(1, 8)), plot)


def _calls(calls: Mapping[str, Any]) -> str:
    text = (
        f"{calls['records']:,} records, {calls['filtered']:,} of them filtered out; "
        f"{calls['snv']:,} SNVs (Ti/Tv {_shown(calls['ti_tv'], '{:.2f}')}) and {calls['indel']:,} indels pass."
    )
    quality = page.figure(plots.quality_plot(calls["quality"]), "Quality of the records that pass.")
    balance = page.figure(
        plots.allele_balance_plot(calls["samples"]),
        "Allele balance: heterozygous sites should lie around one half.",
    )
    return page.section("Variants", f"<p>{text}</p>", f"<div class=plots>\n{quality}\n{balance}\n</div>")


def _steps(steps: Sequence[Mapping[str, Any]]) -> str:
    rows = [(step["task"], ", ".join(step["on"]), f"{step['seconds']:.1f} s") for step in steps]
    return page.section("Steps", page.table(("step", "", "time"), rows, (2,)))


def _provenance(step: Mapping[str, Any], output: Mapping[str, str]) -> str:
    """How one output of a step came to be."""
    tools = ", ".join(step["tools"])
    commands = "\n".join(" ".join(command) for command in step["commands"])
    body = "".join(
        f"<tr><th>{what}</th><td><code class=block>{escape(value)}</code></td></tr>\n"
        for what, value in (("task", step["task"]), ("tools", tools), ("commands", commands))
        if value
    )
    name = f"{output['name']} ({step['task']}: {', '.join(step['on'])})"
    head = f"<summary>{escape(name)}<code>{escape(output['cid'])}</code></summary>"
    return f"<details>{head}\n<div class=wide><table>\n{body}</table></div>\n</details>"
