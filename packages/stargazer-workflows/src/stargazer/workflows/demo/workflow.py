"""The demo's workflow: germline discovery in a simulated trio, then comparison with the truth and a report."""

from __future__ import annotations

from typing import NamedTuple

from stargazer.assets import Alignment, Intervals, QcReport, Reference, Variants, VariantsIndex
from stargazer.workflows.demo.tasks import compare_calls
from stargazer.workflows.environments import workflow_env
from stargazer.workflows.germline import germline_short_variant_discovery
from stargazer.workflows.report import germline_report, lineage_steps

__all__ = ["BUILD", "CONFIDENT", "TRIO", "DemoResult", "demo_trio"]

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
    comparison = await compare_calls(calls.variants, truth, confident, reference, father, mother, child)
    report = await germline_report(calls.summary, await lineage_steps(calls.summary), comparison)
    return DemoResult(
        calls.variants, calls.variants_index, calls.alignments, calls.summary, comparison, report
    )
