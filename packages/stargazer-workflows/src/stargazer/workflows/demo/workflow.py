"""The demos' workflows: variants of a simulated trio, clusters of simulated cells, each compared with the truth."""

from __future__ import annotations

from typing import NamedTuple

from stargazer.assets import (
    Alignment,
    AnnData,
    Intervals,
    Plot,
    QcReport,
    Reference,
    Table,
    Variants,
    VariantsIndex,
)
from stargazer.workflows.demo.names import BUILD, CELL_SAMPLES, CELL_TYPES, CONFIDENT, TRIO
from stargazer.workflows.demo.tasks import compare_calls, compare_clusters
from stargazer.workflows.environments import workflow_env
from stargazer.workflows.germline import germline_short_variant_discovery
from stargazer.workflows.report import germline_report, lineage_steps
from stargazer.workflows.scrna import scrna_clustering

__all__ = ["DemoClusters", "DemoResult", "demo_scrna", "demo_trio"]


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


class DemoClusters(NamedTuple):
    """The clusters, their markers and plots, how they compare with the true types, and a page that shows them."""

    cells: AnnData
    markers: Table
    table: Table
    plots: list[Plot]
    summary: QcReport
    comparison: QcReport
    report: QcReport


@workflow_env.task
async def demo_scrna() -> DemoClusters:
    """Cluster the demo's cells and compare with their true types (`stargazer demo scrna` registers their files)."""
    truth = await Table.one(kind=CELL_TYPES)
    found = await scrna_clustering(samples=list(CELL_SAMPLES))
    comparison = await compare_clusters(found.table, truth)
    return DemoClusters(
        found.cells, found.markers, found.table, found.plots, found.summary, comparison, found.report
    )
