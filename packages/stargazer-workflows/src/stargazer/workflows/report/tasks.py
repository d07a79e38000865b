"""The tasks that write the report of a run as one HTML page."""

from __future__ import annotations

from typing import Any

from stargazer.assets import Plot, QcReport
from stargazer.tasks import Library, call, expect, report_env, workspace
from stargazer.workflows.report.germline import write_germline_report
from stargazer.workflows.report.scrna import write_scrna_report

__all__ = ["germline_report", "scrna_report"]


@report_env.task(tools=[Library("matplotlib"), Library("numpy")])
async def germline_report(
    summary: QcReport, steps: list[dict[str, Any]], comparison: QcReport | None = None
) -> QcReport:
    """One self-contained HTML page of a germline run: figures, plots, how it was run, and how it came to be.

    Args:
        summary: of `summarise_germline`.
        steps: of the summary's lineage, as `lineage_steps` gives them.
        comparison: of the demo's calls with the truth (`compare_calls`).
    """
    page = workspace() / "report.html"
    await call(
        write_germline_report,
        target=page,
        summary=summary.path,
        steps=steps,
        comparison=comparison and comparison.path,
    )
    return QcReport(
        path=expect(page, by="germline_report"),
        kind="germline_report",
        sample=summary.sample,
        variants_cid=summary.variants_cid,
    )


@report_env.task(tools=[])
async def scrna_report(summary: QcReport, plots: list[Plot], steps: list[dict[str, Any]]) -> QcReport:
    """One self-contained HTML page of a single-cell run: cells, clusters, how stable they are, markers, and how it was
    run.

    Args:
        summary: of `summarise_cells`.
        plots: of the `plot_` tasks, each shown once, at its place by its kind; those of one place in this order.
        steps: of the lineage of the summary and the plots, as `lineage_steps` gives them.
    """
    page = workspace() / "report.html"
    await call(
        write_scrna_report,
        target=page,
        summary=summary.path,
        plots=[{"kind": plot.kind, "path": plot.path} for plot in plots],
        steps=steps,
    )
    return QcReport(path=expect(page, by="scrna_report"), kind="scrna_report", sample=summary.sample)
