"""Measure what `hatch run demo` installs: nothing that no user needs, and at most 50 MB more than it began with."""

from __future__ import annotations

import contextlib
import platform
import re
import sys
from collections.abc import Set
from importlib.metadata import Distribution, PackageNotFoundError, distributions, requires
from pathlib import Path

PRODUCT = "stargazer-mcp"  # needs the other four
BEFORE, GROWTH = 288, 50  # MB; measured 2026-11-30
MEASURED_ON = ("Linux", "x86_64")
TOLD = 8


def normalised(name: str) -> str:
    """A name as requirements are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(product: str) -> Set[str]:
    """What a distribution requires, and what that requires, with the extras asked for; on any platform and Python."""
    found: dict[str, set[str]] = {}
    waiting: list[tuple[str, set[str]]] = [(product, set())]
    while waiting:
        name, extras = waiting.pop()
        if extras <= found.get(name, set()) and name in found:
            continue
        found.setdefault(name, set()).update(extras)
        with contextlib.suppress(PackageNotFoundError):
            for requirement in requires(name) or []:
                wanted, _, condition = requirement.partition(";")
                extra = re.search(r"extra\s*==\s*['\"]([\w.-]+)['\"]", condition)
                if extra is None or normalised(extra[1]) in found[name]:
                    other, more = re.match(r"\s*([\w.-]+)\s*(?:\[([^]]*)\])?", wanted).groups()
                    waiting.append(
                        (normalised(other), {*map(normalised, re.findall(r"[\w.-]+", more or ""))})
                    )
    return found.keys()


def size(distribution: Distribution) -> int:
    """The bytes of its files, but for compiled modules, which come and go."""
    files = [Path(str(file.locate())) for file in distribution.files or () if file.suffix != ".pyc"]
    return sum(file.stat().st_size for file in files if file.is_file())


def main() -> int:
    """Return 1 if the environment is too large, or holds what a user does not need."""
    sizes = {normalised(found.metadata["Name"]): size(found) for found in distributions()}
    total, most = sum(sizes.values()) / 1e6, BEFORE + GROWTH
    largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:TOLD]
    print(
        f"`hatch run demo` installs {len(sizes)} packages, {total:.0f} MB ({BEFORE} MB at first, limit {most} MB);"
    )
    print("the largest:", ", ".join(f"{name} {sizes[name] / 1e6:.0f} MB" for name in largest))

    failures = []
    strays = sizes.keys() - needed(PRODUCT)
    if strays:
        failures.append(
            f"no user needs {', '.join(sorted(strays))}: that goes into [envs.test] of hatch.toml"
        )
    here = (platform.system(), platform.machine())
    if here != MEASURED_ON:
        print(f"the limit holds on {' '.join(MEASURED_ON)}, where it was measured; this is {' '.join(here)}")
    elif total > most:
        failures.append(
            f"{total:.0f} MB are too many: let an extra bring what few need (CONTRIBUTING.md, 'Extras')"
        )
    print(*failures, sep="\n", end="\n" if failures else "")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
