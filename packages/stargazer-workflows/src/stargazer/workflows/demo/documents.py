"""What the demo's tasks compute in a child process, from files to files: comparison, coverage profile, report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stargazer.workflows.demo.compare import compare_to_truth, mendelian_violations
from stargazer.workflows.demo.report import Provenance, Step, write_report
from stargazer.workflows.demo.statistics import call_statistics, coverage

__all__ = ["write_comparison", "write_coverage", "write_demo_report"]


def write_comparison(
    target: str, calls: str, truth: str, confident: str, reference: str, father: str, mother: str, child: str
) -> None:
    """Write as JSON how calls compare with the truth and with inheritance, and what they look like."""
    content = {
        "comparison": compare_to_truth(calls, truth, confident, reference),
        "inheritance": mendelian_violations(calls, father, mother, child, confident),
        "calls": call_statistics(calls),
    }
    Path(target).write_text(json.dumps(content, sort_keys=True) + "\n")


def write_coverage(target: str, alignment: str) -> None:
    """Write as JSON the depth of an alignment along its contigs (`statistics.coverage`)."""
    Path(target).write_text(json.dumps(coverage(alignment)) + "\n")


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
