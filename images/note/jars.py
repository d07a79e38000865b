"""Bring the jars of GATK, and lay them out as a Maven repository: `python jars.py FOLDER`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from stargazer.tasks import gatk
from stargazer.tasks.tools.maven import Maven


def main(repository: Path) -> None:
    """Have GATK installed in STARGAZER_HOME, and move its jars to where STARGAZER_MAVEN can name them."""
    (source,) = (each for each in gatk.sources if isinstance(each, Maven))
    jars = source.jars(gatk.name)
    if jars is None:
        raise SystemExit(f"no Java: {source.describe()}")
    jars.install()
    for jar in jars.lock.jars:
        target = repository / jar.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(jars.folder / jar.name, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
