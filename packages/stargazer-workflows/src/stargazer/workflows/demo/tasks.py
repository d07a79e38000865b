"""The demos' own tasks: comparison of variants with the truth and with inheritance, of clusters with true types."""

from __future__ import annotations

from stargazer.assets import Intervals, QcReport, Reference, Table, Variants
from stargazer.tasks import Library, call, report_env, workspace
from stargazer.workflows.demo.clusters import write_cluster_comparison
from stargazer.workflows.demo.compare import write_comparison

__all__ = ["compare_calls", "compare_clusters"]


@report_env.task(tools=[Library("pysam")])
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


@report_env.task(tools=[Library("sklearn", "scikit-learn", extra="scrna")])
async def compare_clusters(cells: Table, truth: Table) -> QcReport:
    """Compare clusters with the types that were simulated, as JSON.

    Args:
        cells: of write_csv.
        truth: sample, barcode and type of each simulated cell.
    """
    comparison = workspace() / "comparison.json"
    await call(write_cluster_comparison, target=comparison, cells=cells.path, truth=truth.path)
    return QcReport(path=comparison, kind="truth_comparison")
