from .aligners import bwa, bwa_index, bwa_mem2, bwa_mem3
from .command import Command, Pipeline, Tool, expect
from .htslib import bcftools, samtools
from .pipelines import Completed
from .python import call
from .session import Session, current_session, use_session
from .sources import ENGINES, Library, OnPath, ResolvedTool, Source, Wheel

__all__ = [
    "ENGINES",
    "Command",
    "Completed",
    "Library",
    "OnPath",
    "Pipeline",
    "ResolvedTool",
    "Session",
    "Source",
    "Tool",
    "Wheel",
    "bcftools",
    "bwa",
    "bwa_index",
    "bwa_mem2",
    "bwa_mem3",
    "call",
    "current_session",
    "expect",
    "samtools",
    "use_session",
]
