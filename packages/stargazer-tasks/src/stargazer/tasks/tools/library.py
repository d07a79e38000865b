"""Python packages that a task computes with, declared like tools so that their versions count."""

from __future__ import annotations

import functools

from attrs import frozen
from stargazer.assets import ToolError
from stargazer.tasks.tools.sources import ResolvedTool

__all__ = ["Library"]


@frozen
class Library:
    """An installed Python package, named as it is imported; `distribution` when PyPI calls it otherwise."""

    name: str
    distribution: str = ""

    def resolve(self) -> ResolvedTool:
        """Its version, without importing it.

        Raises:
            ToolError: it is not installed.
        """
        distribution = self.distribution or self.name
        version = _version(distribution)
        if version is None:
            raise ToolError(f"the Python package {distribution} is not installed: pip install {distribution}")
        return ResolvedTool(name=self.name, version=version, source="Python package", argv=())


@functools.cache
def _version(distribution: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
