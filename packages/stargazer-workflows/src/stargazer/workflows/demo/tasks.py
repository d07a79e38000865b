"""The demo's own task: comparison with the truth and with inheritance."""

from __future__ import annotations

from stargazer.assets import Intervals, QcReport, Reference, Variants
from stargazer.tasks import Library, call, report_env, workspace
from stargazer.workflows.demo.compare import write_comparison

__all__ = ["compare_calls"]


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
