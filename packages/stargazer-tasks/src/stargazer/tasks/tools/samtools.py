"""samtools, from pysam's wheel or from PATH."""

from __future__ import annotations

from stargazer.tasks.tools.sources import OnPath, Wheel
from stargazer.tasks.tools.tool import Tool

__all__ = ["PYSAM", "samtools"]

PYSAM = Wheel("pysam", "hts.py", "0.24.1", engine_version="1.24", several=True)
"""The wheel that carries samtools and bcftools. Exact: a range would change every run key."""

samtools = Tool(
    "samtools",
    (
        PYSAM,
        OnPath(
            "samtools",
            version_pattern=r"^samtools (\S+)",
            minimum="1.16",
            hint="conda install -c bioconda samtools, or apt install samtools",
        ),
    ),
)
"""Alignments: sort, index, fixmate, markdup, stats (https://www.htslib.org/doc/samtools.html)."""
