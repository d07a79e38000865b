"""The task that draws the report of a germline run."""

from __future__ import annotations

from typing import Any

from stargazer.assets import QcReport
from stargazer.tasks import Library, call, expect, report_env, workspace
from stargazer.workflows.report.germline import write_germline_report

__all__ = ["germline_report"]


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
