"""The demo's workflow: germline discovery in a simulated trio, then comparison with the truth and a report."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from stargazer.assets import (
    Alignment,
    Asset,
    Intervals,
    QcReport,
    Reference,
    Variants,
    VariantsIndex,
    current_client,
)
from stargazer.assets.provenance import Execution
from stargazer.storage.lineage import executions_of
from stargazer.workflows.demo.tasks import compare_calls, coverage_profile, demo_report
from stargazer.workflows.environments import parallel, workflow_env
from stargazer.workflows.germline import germline_short_variant_discovery

__all__ = ["BUILD", "CONFIDENT", "TRIO", "DemoResult", "demo_trio", "lineage_steps"]

BUILD = "stargazer-demo"
CONFIDENT = "demo-confident"
TRIO = ("demo-father", "demo-mother", "demo-child")


class DemoResult(NamedTuple):
    """The calls, what they rest on, how they compare with the truth, and a page that shows it."""

    variants: Variants
    variants_index: VariantsIndex
    alignments: list[Alignment]
    summary: QcReport
    comparison: QcReport
    report: QcReport


@workflow_env.task
async def demo_trio(build: str = BUILD) -> DemoResult:
    """Call the variants of the demo's trio and compare them with the truth (`stargazer demo` registers its files)."""
    father, mother, child = TRIO
    reference = await Reference.one(build=build)
    truth = await Variants.one(kind="truth", reference_cid=reference)
    confident = await Intervals.one(name=CONFIDENT)
    calls = await germline_short_variant_discovery(samples=list(TRIO), build=build, caller="bcftools")
    comparison, *coverage = await parallel(
        [
            compare_calls(calls.variants, truth, confident, reference, father, mother, child),
            *(coverage_profile(alignment) for alignment in calls.alignments),
        ]
    )
    steps = await lineage_steps(calls.summary)
    report = await demo_report(calls.variants, comparison, coverage, steps)
    return DemoResult(
        calls.variants, calls.variants_index, calls.alignments, calls.summary, comparison, report
    )


async def lineage_steps(asset: Asset) -> list[dict[str, Any]]:
    """What was executed for an asset, in the order it started, with times, tools, commands and outputs."""
    store = current_client().store  # type: ignore[attr-defined]
    executions = await asyncio.to_thread(executions_of, store, [asset.cid or ""])
    return [
        {
            "task": execution.task,
            "on": _worked_on(execution),
            "seconds": execution.seconds,
            "tools": [f"{tool.name} {tool.version}" for tool in execution.tools],
            "commands": execution.commands,
            "outputs": [{"cid": entry.cid, "name": entry.name} for entry in execution.outputs],
        }
        for execution in sorted(executions.values(), key=lambda execution: execution.started)
    ]


def _worked_on(execution: Execution) -> list[str]:
    """Samples, lanes and interval names of what an execution read."""
    words = [entry.keyvalues.get(field) for field in ("sample", "lane", "name") for entry in execution.inputs]
    return list(dict.fromkeys(word for word in words if word))
