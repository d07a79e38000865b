"""samtools and bcftools, from pysam's wheel or from PATH."""

from __future__ import annotations

from stargazer.tasks.tools.command import Tool
from stargazer.tasks.tools.sources import OnPath, Wheel

__all__ = ["bcftools", "samtools"]

PYSAM = Wheel("pysam", "hts.py", "0.24.1", engine_version="1.24", several=True)
"""The wheel that carries both. Exact: a range would change every run key."""


def _of_htslib(name: str) -> Tool:
    hint = f"conda install -c bioconda {name}, or apt install {name}"
    return Tool(name, (PYSAM, OnPath(name, version_pattern=rf"^{name} (\S+)", minimum="1.16", hint=hint)))


samtools = _of_htslib("samtools")
"""Alignments: sort, index, fixmate, markdup, stats (https://www.htslib.org/doc/samtools.html)."""

bcftools = _of_htslib("bcftools")
"""Variants: mpileup, call, norm, filter, stats (https://samtools.github.io/bcftools/).

The wheel carries no plugins."""
