"""The demo's own tasks: coverage along the reference, comparison with the truth, and the report."""

from __future__ import annotations

from typing import Any

from stargazer.assets import Alignment, Intervals, QcReport, Reference, Variants
from stargazer.tasks import Library, call, expect, report_env, workspace
from stargazer.workflows.demo.compare import write_comparison
from stargazer.workflows.demo.report import write_demo_report
from stargazer.workflows.demo.statistics import write_coverage

__all__ = ["compare_calls", "coverage_profile", "demo_report"]


@report_env.task(tools=[Library("numpy"), Library("pysam")])
async def coverage_profile(alignment: Alignment) -> QcReport:
    """Depth along the contigs of an indexed alignment, by windows, as JSON."""
    profile = workspace() / "coverage.json"
    await call(write_coverage, target=profile, alignment=alignment.path)
    return QcReport(path=profile, kind="coverage", sample=alignment.sample, alignment_cid=alignment)


@report_env.task(tools=[Library("numpy"), Library("pysam")])
async def compare_calls(
    calls: Variants,
    truth: Variants,
    confident: Intervals,
    reference: Reference,
    father: str,
    mother: str,
    child: str,
) -> QcReport:
    """Compare a trio's calls with the truth and with inheritance where short reads can be judged, as JSON."""
    comparison = workspace() / "comparison.json"
    await call(
        write_comparison,
        target=comparison,
        calls=calls.path,
        truth=truth.path,
        confident=confident.path,
        reference=reference.path,
        father=father,
        mother=mother,
        child=child,
    )
    return QcReport(path=comparison, kind="truth_comparison", variants_cid=calls)


@report_env.task(tools=[Library("matplotlib"), Library("numpy")])
async def demo_report(
    calls: Variants, comparison: QcReport, coverage: list[QcReport], steps: list[dict[str, Any]]
) -> QcReport:
    """One self-contained HTML page: tables, plots, and how the calls came to be.

    Args:
        coverage: a profile for each sample.
        steps: of the calls' lineage, as `lineage_steps` gives them.
    """
    page = workspace() / "report.html"
    await call(
        write_demo_report,
        target=page,
        comparison=comparison.path,
        coverage={str(profile.sample): profile.path for profile in coverage},
        steps=steps,
    )
    return QcReport(path=expect(page, by="demo_report"), kind="demo_report", variants_cid=calls)
