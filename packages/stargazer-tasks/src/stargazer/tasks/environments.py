"""The Flyte environments of the tasks: what they need of a machine, and their tools."""

from __future__ import annotations

import flyte
from stargazer.tasks.execution import AssetEnvironment
from stargazer.tasks.tools import Library, bcftools, gatk, samtools

__all__ = ["align_env", "gatk_env", "htslib_env", "index_env", "report_env", "scrna_env"]

htslib_env = AssetEnvironment(
    name="htslib", tools=[samtools, bcftools], resources=flyte.Resources(cpu=1, memory="1Gi")
)
"""samtools and bcftools on one core."""

gatk_env = AssetEnvironment(name="gatk", tools=[gatk], resources=flyte.Resources(cpu=1, memory="4Gi"))
"""GATK and Picard on one core; the Java heap gets what is granted, but for what Java itself needs."""

align_env = AssetEnvironment(name="align", tools=[samtools], resources=flyte.Resources(cpu=4, memory="6Gi"))
"""Aligners, on several cores."""

index_env = AssetEnvironment(name="index", resources=flyte.Resources(cpu=1, memory="4Gi"))
"""Aligner indexes."""

report_env = AssetEnvironment(name="report", resources=flyte.Resources(cpu=1, memory="1Gi"))
"""Summaries and comparisons in Python."""

scrna_env = AssetEnvironment(
    name="scrna",
    tools=[
        Library(name, distribution, extra="scrna")
        for name, distribution in {
            "scanpy": "",
            "anndata": "",
            "faiss": "faiss-cpu",
            "h5py": "",
            "harmonypy": "",
            "igraph": "",
            "numba": "",
            "numpy": "",
            "pandas": "",
            "pynndescent": "",
            "scipy": "",
            "skimage": "scikit-image",
            "sklearn": "scikit-learn",
            "threadpoolctl": "",
            "umap": "umap-learn",
        }.items()
    ],
    resources=flyte.Resources(cpu=2, memory="4Gi"),
)
"""scanpy, and what it computes with."""
