"""The environment of a capsule: what was installed where it was made, and the tools that its lineage used."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen
from stargazer.assets import FormatError
from stargazer.assets.provenance import Execution

__all__ = ["Environment", "differences", "environment_here", "parse_environment", "requirements"]

_PACKAGE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.!+_-]*)")
_MOST = 10_000


@frozen(kw_only=True)
class Environment:
    """Where something was computed, so that it can be computed there again.

    Attributes:
        python: its version.
        platform: operating system and processor.
        packages: every installed Python package: `name==version`, sorted.
        tools: the tools of the executions: name, version and where each came from.
    """

    python: str
    platform: str
    packages: tuple[str, ...]
    tools: tuple[str, ...] = ()


def environment_here(executions: Iterable[Execution] = ()) -> Environment:
    """The environment of this process, with the tools of these executions."""
    import importlib.metadata

    found = [
        f"{_normal(distribution.metadata['Name'] or '')}=={distribution.version}"
        for distribution in importlib.metadata.distributions()
    ]
    tools = {
        f"{tool.name} {tool.version}" + (f" ({tool.source})" if tool.source else "")
        for execution in executions
        for tool in execution.tools
    }
    return Environment(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        packages=tuple(sorted({package for package in found if _PACKAGE.fullmatch(package)})),
        tools=tuple(sorted(tools)),
    )


def requirements(environment: Environment) -> str:
    """The packages as pip takes them (`pip install -r`), with the rest as comments."""
    lines = [f"# Python {environment.python}, {environment.platform}"]
    lines += [f"# {tool}" for tool in environment.tools]
    return "\n".join([*lines, *environment.packages]) + "\n"


def differences(then: Environment, now: Environment) -> list[str]:
    """What is not the same now: Python, platform, and packages that both or only the first have."""
    versions = _versions(now)
    found = [("Python", then.python, now.python), ("platform", then.platform, now.platform)]
    found += [(name, a, versions.get(name, "not installed")) for name, a in _versions(then).items()]
    return [f"{name}: {a} then, {b} now" for name, a, b in found if a != b]


def parse_environment(body: object, title: str) -> Environment:
    """The environment in a manifest that nobody vouches for.

    Raises:
        FormatError: it is none.
    """
    known = {"python", "platform", "packages", "tools"}
    if not isinstance(body, Mapping) or not set(body) <= known:
        raise FormatError(f"{title}: expected {', '.join(sorted(known))}, got {body!r:.100}")
    packages = _texts(body.get("packages", []), f"{title}: packages")
    for package in packages:
        if not _PACKAGE.fullmatch(package):
            raise FormatError(f"{title}: {package!r:.100} is no package: expected name==version")
    python, machine = _texts([body.get("python", ""), body.get("platform", "")], title)
    tools = _texts(body.get("tools", []), f"{title}: tools")
    return Environment(python=python, platform=machine, packages=packages, tools=tools)


def _texts(value: Any, title: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > _MOST:
        raise FormatError(f"{title}: expected a list of texts, got {value!r:.100}")
    for text in value:
        if not isinstance(text, str) or not text.isprintable() or len(text) > 1000:
            raise FormatError(f"{title}: expected text on one line, got {text!r:.100}")
    return tuple(value)


def _versions(environment: Environment) -> dict[str, str]:
    pairs = (package.split("==") for package in environment.packages)
    return {_normal(name): version for name, version in pairs}


def _normal(name: str) -> str:
    """A package's name as PyPI compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
