from ._gatk import gatk, picard
from .aligners import bwa, bwa_index, bwa_mem2, bwa_mem3
from .command import Command, Tool, expect
from .htslib import bcftools, samtools
from .maven import Maven
from .python import call
from .session import Session, current_session, use_session
from .sources import ENGINES, Library, OnPath, ResolvedTool, Source, Wheel
from .worker import compute

__all__ = [
    "ENGINES",
    "Command",
    "Library",
    "Maven",
    "OnPath",
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
    "compute",
    "current_session",
    "expect",
    "gatk",
    "picard",
    "samtools",
    "use_session",
]
