"""Summaries of what other tasks counted."""

from __future__ import annotations

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
) -> QcReport:
    """One JSON document of a germline run: reads, duplicates and coverage by sample, variants by type.

    Args:
        flagstats, alignment_stats: one for each sample, in the same order.
        reference: indexed by samtools_faidx.
    """
    target = workspace() / "summary.json"
    await call(
        quality.summarise_germline,
        target=target,
        variant_stats=variant_stats.path,
        samples=[
            {"sample": flags.sample, "flagstat": flags.path, "stats": stats.path}
            for flags, stats in zip(flagstats, alignment_stats, strict=True)
        ],
        fai=fai_of(reference),
    )
    return QcReport(path=target, kind="summary", sample=variants.only_sample, variants_cid=variants)
