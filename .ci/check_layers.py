"""Show that the layers contract holds, and that it would notice: plant every upward import in a copy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("assets", "storage", "tasks", "workflows", "mcp")  # from the lowest to the highest
FOREIGN = {"assets": "requests", "storage": "flyte", "tasks": "fastmcp", "workflows": "rich"}

BROKEN_LAYER = re.compile(r"stargazer\.(\w+) is not allowed to import stargazer\.(\w+):")
BROKEN_FOREIGN = re.compile(r"stargazer\.(\w+) is not allowed to import (\w+):")


def copy_tree(copy: Path) -> list[Path]:
    """Copy what import-linter reads, and return the source folders in the copy."""
    shutil.copy(ROOT / "pyproject.toml", copy)
    sources = []
    for layer in LAYERS:
        source = Path("packages", f"stargazer-{layer}", "src")
        shutil.copytree(ROOT / source, copy / source, ignore=shutil.ignore_patterns("__pycache__"))
        sources.append(copy / source)
    return sources


def lint_imports(folder: Path, sources: list[Path]) -> subprocess.CompletedProcess[str]:
    """Run import-linter on a copy: its sources come before the installed ones."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sources)), "NO_COLOR": "1"}
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False)


def plant(copy: Path, layer: str, imports: list[str]) -> None:
    """Add a module whose only import hides in a function, where a careless check does not look."""
    module = copy / f"packages/stargazer-{layer}/src/stargazer/{layer}/planted.py"
    body = "".join(f"    import {name}\n" for name in imports)
    module.write_text(f"def planted():\n{body}")


def main() -> int:
    """Return 0 if the tree is kept and every planted import is reported."""
    with tempfile.TemporaryDirectory(prefix="stargazer-layers-") as folder:
        copy = Path(folder)
        sources = copy_tree(copy)
        clean = lint_imports(copy, sources)
        if clean.returncode != 0:
            print(clean.stdout, clean.stderr, "The layers are broken as they stand.", sep="\n")
            return 1

        upward = {(low, high) for i, low in enumerate(LAYERS) for high in LAYERS[i + 1 :]}
        for layer in LAYERS[:-1]:
            names = [f"stargazer.{high}" for low, high in sorted(upward) if low == layer]
            plant(copy, layer, [*names, FOREIGN[layer]])
        planted = lint_imports(copy, sources)

    unnoticed = [
        *(f"{low} -> {high}" for low, high in sorted(upward - set(BROKEN_LAYER.findall(planted.stdout)))),
        *(f"{a} -> {b}" for a, b in FOREIGN.items() if (a, b) not in BROKEN_FOREIGN.findall(planted.stdout)),
    ]
    if planted.returncode == 0 or unnoticed:
        print(planted.stdout, planted.stderr, f"Planted but not noticed: {', '.join(unnoticed)}", sep="\n")
        return 1
    print(
        f"layers kept; {len(upward)} upward and {len(FOREIGN)} foreign imports planted in a copy: all noticed"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
