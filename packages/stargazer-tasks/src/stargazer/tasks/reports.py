"""The task that writes the summary of a germline run: reads, coverage and duplicates by sample, calls, notes."""

from __future__ import annotations

from typing import Any

from stargazer.assets import QcReport, Reference, Variants
from stargazer.tasks import quality
from stargazer.tasks.environments import report_env
from stargazer.tasks.execution import workspace
from stargazer.tasks.regions import fai_of
from stargazer.tasks.tools import call

__all__ = ["summarise_germline"]


@report_env.task
async def summarise_germline(
    variants: Variants,
    variant_stats: QcReport,
    flagstats: list[QcReport],
    alignment_stats: list[QcReport],
    reference: Reference,
    reference_report: QcReport,
    checks: list[QcReport],
    settings: dict[str, Any],
) -> QcReport:
    """One JSON document of a germline run: what to know of it, reads, duplicates and coverage by sample, calls by type.

    Args:
        flagstats, alignment_stats: one for each sample, in the same order.
        reference: indexed by samtools_faidx.
        reference_report: of check_reference.
        checks: of check_alignment, for each alignment from elsewhere.
        settings: `ploidy`, `sex`, `max_depth`, `marked_elsewhere`, as the run had them.
    """
    target = workspace() / "summary.json"
    await call(
        quality.summarise_germline,
        target=target,
        calls=variants.path,
        variant_stats=variant_stats.path,
        samples=[
            {"sample": flags.sample, "flagstat": flags.path, "stats": stats.path}
            for flags, stats in zip(flagstats, alignment_stats, strict=True)
        ],
        fai=fai_of(reference),
        reference_report=reference_report.path,
        checks=[check.path for check in checks],
        settings=settings,
    )
    return QcReport(path=target, kind="summary", sample=variants.only_sample, variants_cid=variants)
