"""GATK, and Picard as it comes with it: from Maven, or from PATH."""

from __future__ import annotations

import re

from stargazer.tasks.tools.command import Tool
from stargazer.tasks.tools.maven import Maven
from stargazer.tasks.tools.sources import OnPath

__all__ = ["gatk", "picard"]

LOCK, CLASSES = "gatk-4.6.2.0.lock", "gatk-4.6.2.0.classes.gz"

_USER_ERROR = re.compile(r"A USER ERROR has occurred: *(\S.*)")
_EXCEPTION = re.compile(
    r"^(?:Exception in thread \"[^\"]*\" )?([a-z][\w.$]+(?:Exception|Error)(?:: .*)?)$", re.MULTILINE
)
_RETURNED = re.compile(r"^Tool returned:\n\S+\s*\Z", re.MULTILINE)
_HEAP = re.compile(r"Runtime\.totalMemory\(\)=(\d+)")


def cause(said: str) -> str | None:
    """Return why GATK or Picard ended: what it calls a user's error, else the first exception, else the last line."""
    if "java.lang.OutOfMemoryError" in said:
        heap = _HEAP.search(said)
        size = f" of {int(heap[1]) / 1e6:.0f} MB" if heap else ""
        return (
            f"the Java heap{size} is too small: a task gets the memory of its environment's resources, here "
            "gatk_env, and never more than STARGAZER_MEMORY: raise the lower one, or give the task less at once"
        )
    found = _USER_ERROR.search(said) or _EXCEPTION.search(said)
    lines = [line.strip() for line in _RETURNED.sub("", said).splitlines() if line.strip()]
    return found[1].strip() if found else lines[-1] if lines else None


gatk = Tool(
    "gatk",
    (
        Maven(LOCK, "org.broadinstitute.hellbender.Main", "4.6.2.0", CLASSES),
        OnPath("gatk", version_pattern=r"\(GATK\) v(\S+)", hint="conda install -c bioconda gatk4"),
    ),
    useful_line=cause,
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
    useful_line=cause,
)
"""Picard's tools by their own command line, which ends where GATK's waits (https://broadinstitute.github.io/picard)."""
