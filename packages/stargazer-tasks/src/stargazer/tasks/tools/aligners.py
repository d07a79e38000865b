"""Aligners: bwa-mem3 with an indexer of its own from wheels; bwa and bwa-mem2 from PATH."""

from __future__ import annotations

from stargazer.tasks.tools.command import Tool
from stargazer.tasks.tools.sources import OnPath, Wheel

__all__ = ["bwa", "bwa_index", "bwa_mem2", "bwa_mem3"]

bwa_mem3 = Tool("bwa-mem3", (Wheel("bwa-mem3", "bwa_mem3.py", "0.4.4"),))
"""BWA-MEM (Li, arXiv:1303.3997) in its accelerated third edition: `mem`, pairs in, BAM out."""

bwa_index = Tool("bwa-index", (Wheel("pydivsufsort", "bwa_index.py", "0.0.20"),))
"""Builds the index that bwa-mem2 and bwa-mem3 search; 12 bytes of memory for each base, 20 above 1 Gb."""

bwa_mem2 = Tool(
    "bwa-mem2",
    (
        OnPath(
            "bwa-mem2",
            version_args=("version",),
            version_pattern=r"(\d+\.\d+\S*)",
            hint="conda install -c bioconda bwa-mem2",
        ),
    ),
)
"""Only its `index`, for references too large for ours (https://github.com/bwa-mem2/bwa-mem2)."""

bwa = Tool(
    "bwa",
    (
        OnPath(
            "bwa",
            version_args=(),
            version_pattern=r"Version: (\S+)",
            hint="conda install -c bioconda bwa, or apt install bwa",
        ),
    ),
)
"""BWA-MEM, the original: indexes a human genome in about 5 GB of memory (https://github.com/lh3/bwa)."""
