"""GATK and Picard."""

from __future__ import annotations

from stargazer.tasks.tools.command import Tool
from stargazer.tasks.tools.sources import OnPath

__all__ = ["gatk", "picard"]

gatk = Tool("gatk", (OnPath("gatk"),))
picard = Tool("picard", (OnPath("picard", version_args=("SortSam", "--version")),))
