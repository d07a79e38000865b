"""GATK as anybody runs it, Java with no options, beside Stargazer: the same jars and the same Java.

`java -jar` takes a jar that names its own main class; the jar of the installed folder names the others only, so the
class is given: the same program.
"""

from __future__ import annotations

from pathlib import Path

from stargazer.tasks.tools import gatk, picard
from stargazer.tasks.tools.jars import Jars
from stargazer.tasks.tools.maven import Maven

__all__ = ["installed", "lend", "plain"]


def installed() -> Jars:
    """The jars of GATK in STARGAZER_HOME, brought now if they are not there."""
    found = [
        jars for source in gatk.sources if isinstance(source, Maven) and (jars := source.jars(gatk.name))
    ]
    if not found:
        raise SystemExit("GATK by hand needs its Java: pip install 'stargazer-mcp[gatk]'")
    found[0].install()
    return found[0]


def lend(home: Path) -> None:
    """Let another STARGAZER_HOME, which exists, use them: installing is measured elsewhere."""
    (home / "tools").symlink_to(installed().folder.parent)


def plain() -> dict[str, str]:
    """GATK and PICARD, how any command of theirs begins, as a script's variables; no option of ours is in them."""
    jars = installed()
    return {
        name: f"{jars.java} -cp {jars.jar} {source.main}"
        for name, tool in (("GATK", gatk), ("PICARD", picard))
        for source in tool.sources
        if isinstance(source, Maven)
    }
