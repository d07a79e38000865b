"""The entry points of an editable installation, which name the modules with tasks: as the checkout has them now.

An installer copies them from pyproject.toml once. A module that is new is found among the tasks only when they are
copied again.
"""

from __future__ import annotations

import json
import tomllib
from importlib import metadata
from pathlib import Path

from stargazer.mcp.promotion.checkout import PACKAGE, Checkout

__all__ = ["entry_points_text", "refresh_entry_points"]


def entry_points_text(checkout: Checkout) -> str:
    """The entry points of stargazer-tasks, in the form of an installation."""
    project = tomllib.loads(checkout.pyproject.read_text(encoding="utf-8"))["project"]
    lines = []
    scripts = {"console_scripts": project.get("scripts", {}), **project.get("entry-points", {})}
    for group, points in scripts.items():
        if points:
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items()), ""]
    return "\n".join(lines)


def refresh_entry_points(checkout: Checkout) -> bool:
    """Copy the entry points into this Python's installation of a checkout; False where none can be written."""
    for found in metadata.distributions(name=PACKAGE):
        folder = Path(str(found.locate_file(""))) / f"{PACKAGE.replace('-', '_')}-{found.version}.dist-info"
        try:
            said = json.loads((folder / "direct_url.json").read_bytes())
            is_this = said["url"] == checkout.package.as_uri() and said["dir_info"]["editable"]
            if not is_this:
                continue
            text, path = entry_points_text(checkout), folder / "entry_points.txt"
            if path.read_text(encoding="utf-8") != text:
                new = path.with_name("entry_points.txt.new")
                new.write_text(text, encoding="utf-8")
                new.replace(path)
            return True
        except (
            OSError,
            ValueError,
            LookupError,
            TypeError,
        ):  # installed in another way, or not ours to write
            continue
    return False
