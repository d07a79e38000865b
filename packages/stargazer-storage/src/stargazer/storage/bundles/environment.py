"""The environment of a capsule: what was installed where it was made, and the tools that its lineage used."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable

from attrs import frozen
from stargazer.assets.provenance import Execution

__all__ = ["PACKAGE", "Environment", "differences", "environment_here", "requirements"]

PACKAGE = r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.!+_-]*"


@frozen(kw_only=True)
class Environment:
    """Where something was computed, so that it can be computed there again.

    Attributes:
        python: its version.
        platform: operating system and processor.
        packages: every installed Python package: `name==version`, sorted.
        tools: the tools of the executions: name, version and where each came from.
    """

    python: str = ""
    platform: str = ""
    packages: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()


def environment_here(executions: Iterable[Execution] = ()) -> Environment:
    """The environment of this process, with the tools of these executions."""
    from importlib.metadata import distributions

    installed = (f"{_normal(found.metadata['Name'] or '')}=={found.version}" for found in distributions())
    tools = {
        f"{tool.name} {tool.version}" + (f" ({tool.source})" if tool.source else "")
        for execution in executions
        for tool in execution.tools
    }
    return Environment(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        packages=tuple(sorted({package for package in installed if re.fullmatch(PACKAGE, package)})),
        tools=tuple(sorted(tools)),
    )


def requirements(environment: Environment) -> str:
    """The packages as pip takes them (`pip install -r`), with the rest as comments."""
    comments = [f"Python {environment.python}, {environment.platform}", *environment.tools]
    return "\n".join([*(f"# {line}" for line in comments), *environment.packages]) + "\n"


def differences(then: Environment, now: Environment) -> list[str]:
    """What is not the same now: Python, platform, and packages that both or only the first have."""
    versions = _versions(now)
    found = [("Python", then.python, now.python), ("platform", then.platform, now.platform)]
    found += [(name, a, versions.get(name, "not installed")) for name, a in _versions(then).items()]
    return [f"{name}: {a} then, {b} now" for name, a, b in found if a != b]


def _versions(environment: Environment) -> dict[str, str]:
    pairs = (package.split("==") for package in environment.packages)
    return {_normal(name): version for name, version in pairs}


def _normal(name: str) -> str:
    """A package's name as PyPI compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
