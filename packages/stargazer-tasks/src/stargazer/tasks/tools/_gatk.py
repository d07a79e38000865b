"""GATK, and Picard as it comes with it: from Maven, or from PATH."""

from __future__ import annotations

from stargazer.tasks.tools.command import Tool
from stargazer.tasks.tools.maven import Maven
from stargazer.tasks.tools.sources import OnPath

__all__ = ["gatk", "picard"]

LOCK, CLASSES = "gatk-4.6.2.0.lock", "gatk-4.6.2.0.classes.gz"

gatk = Tool(
    "gatk",
    (
        Maven(LOCK, "org.broadinstitute.hellbender.Main", "4.6.2.0", CLASSES),
        OnPath("gatk", version_pattern=r"\(GATK\) v(\S+)", hint="conda install -c bioconda gatk4"),
    ),
)
"""The Genome Analysis Toolkit: recalibration, HaplotypeCaller, joint genotyping (https://gatk.broadinstitute.org)."""

picard = Tool(
    "picard",
    (
        Maven(LOCK, "picard.cmdline.PicardCommandLine", "3.4.0", CLASSES),
        OnPath(
            "picard",
            version_args=("MarkDuplicates", "--version"),
            version_pattern=r"(?m)^(?:Version:)?(\d+\.\d+\.\d+)",
            hint="conda install -c bioconda picard",
        ),
    ),
)
"""Picard's tools by their own command line, which ends where GATK's waits (https://broadinstitute.github.io/picard)."""
