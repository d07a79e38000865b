"""bcftools, from pysam's wheel or from PATH."""

from __future__ import annotations

from stargazer.tasks.tools.samtools import PYSAM
from stargazer.tasks.tools.sources import OnPath
from stargazer.tasks.tools.tool import Tool

__all__ = ["bcftools"]

bcftools = Tool(
    "bcftools",
    (
        PYSAM,
        OnPath(
            "bcftools",
            version_pattern=r"^bcftools (\S+)",
            minimum="1.16",
            hint="conda install -c bioconda bcftools, or apt install bcftools",
        ),
    ),
)
"""Variants: mpileup, call, norm, filter, stats (https://samtools.github.io/bcftools/).

The wheel carries no plugins."""
