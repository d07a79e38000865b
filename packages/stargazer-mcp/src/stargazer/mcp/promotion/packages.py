"""Which packages the code of stargazer-tasks may import: what it requires, with all extras, and what that requires."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from functools import cached_property
from importlib import metadata

import attrs
from stargazer.mcp.promotion.checkout import Checkout

__all__ = ["Packages"]

NOTEBOOK_ONLY = frozenset({"altair", "ipywidgets", "marimo"})
LOWER = frozenset({"stargazer.assets", "stargazer.storage", "stargazer.tasks"})


@attrs.define(slots=False)
class Packages:
    """What may be imported in a checkout's stargazer-tasks.

    Attributes:
        checkout: the checkout.
    """

    checkout: Checkout

    @cached_property
    def _project(self) -> dict[str, list[str]]:
        """Requirements by extra; those that are always there under ""."""
        project = tomllib.loads(self.checkout.pyproject.read_text(encoding="utf-8"))["project"]
        return {"": project.get("dependencies", []), **project.get("optional-dependencies", {})}

    @cached_property
    def _always(self) -> set[str]:
        return _closure(self._project[""])

    @cached_property
    def _by_extra(self) -> dict[str, set[str]]:
        return {extra: _closure(needs) for extra, needs in self._project.items() if extra}

    @cached_property
    def _distributions(self) -> dict[str, list[str]]:
        return {module: list(names) for module, names in metadata.packages_distributions().items()}

    def problem(self, module: str, *, at_top: bool) -> str | None:
        """Why a module may not be imported and what to do, or None.

        Args:
            at_top: whether it would be imported when the task's module is, and not only when the task runs.
        """
        top = module.partition(".")[0]
        if top == "stargazer":
            if ".".join(module.split(".")[:2]) in LOWER:
                return None
            return f"`{module}` is of a layer above the tasks; a task uses stargazer.tasks, storage and assets only"
        if top in NOTEBOOK_ONLY:
            return f"`{top}` is for notebooks; let the task return an asset, and show it in another cell"
        if top in sys.stdlib_module_names:
            return None
        names = {_normal(name) for name in self._distributions.get(top, [top])}
        if names & self._always:
            return None
        extras = sorted(extra for extra, known in self._by_extra.items() if names & known)
        if not extras:
            return (
                f"`{top}` is no package that stargazer-tasks requires; add {min(names)} to the dependencies in "
                f"{self.checkout.pyproject.relative_to(self.checkout.root)}, or do without"
            )
        if at_top:
            return (
                f"`{top}` comes with the extra {extras[0]}, without which the module has to load; import it inside the "
                "function that uses it (for annotations under `if TYPE_CHECKING:`)"
            )
        return None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _closure(requirements: Iterable[str]) -> set[str]:
    """The distributions that requirements name, and as far as they are installed those that these require."""
    names = [_name(each) for each in requirements]
    for name in names:  # grows
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        names += [other for each in needs if "extra ==" not in each and (other := _name(each)) not in names]
    return set(names)


def _name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement.strip())
    return _normal(match[0]) if match else ""
