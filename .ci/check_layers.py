"""Show that imports go down, past no front page and in no circle, and that extras go up: plant every mistake in a copy.

Each has to be noticed there.
"""

from __future__ import annotations

import graphlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("assets", "storage", "tasks", "workflows", "mcp")  # from the lowest to the highest
FOREIGN = {"assets": "requests", "storage": "flyte", "tasks": "fastmcp", "workflows": "rich"}
INNER = {"assets": "model", "storage": "store", "tasks": "environments", "workflows": "lanes"}
"""A module of each layer that is on no front page."""

NOTEBOOKS = ("notebooks.germline", "scratch.experiment", "germline")
"""Ways to import a notebook: from the root of the repository, from their folder."""

BROKEN_LAYER = re.compile(r"stargazer\.(\w+) is not allowed to import stargazer\.(\w+):")
BROKEN_FOREIGN = re.compile(r"stargazer\.(\w+) is not allowed to import (\w+):")


def copy_tree(copy: Path) -> list[Path]:
    """Copy what is read here and by import-linter, and return the source folders in the copy."""
    shutil.copy(ROOT / "pyproject.toml", copy)
    shutil.copy(ROOT / "hatch.toml", copy)
    sources = []
    for layer in LAYERS:
        source = Path("packages", f"stargazer-{layer}", "src")
        (copy / source).parent.mkdir(parents=True)
        shutil.copy((ROOT / source).with_name("pyproject.toml"), (copy / source).parent)
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


def circle(sources: list[Path]) -> list[str]:
    """The modules of one circle of imports, imports for types included; none if there is no circle."""
    listed = json.loads(
        subprocess.run(
            [sys.executable, "-c", IMPORTS],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sources))},
            text=True,
            capture_output=True,
            check=True,
        ).stdout
    )
    try:
        graphlib.TopologicalSorter(listed).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


IMPORTS = """
import grimp, json
graph = grimp.build_graph("stargazer", cache_dir=None)
print(json.dumps({name: sorted(graph.find_modules_directly_imported_by(name)) for name in graph.modules}))
"""


def plant_circle(copy: Path) -> None:
    """Add two modules that import each other, one of them for types alone."""
    folder = copy / f"packages/stargazer-{LAYERS[0]}/src/stargazer/{LAYERS[0]}"
    name = f"stargazer.{LAYERS[0]}.circle"
    (folder / "circle_a.py").write_text(f"import {name}_b\n")
    (folder / "circle_b.py").write_text(
        f"from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import {name}_a\n"
    )


def extras_of(folder: Path, layer: str) -> dict[str, list[str]]:
    """The extras that a distribution offers, each with what it requires."""
    project = tomllib.loads((folder / f"packages/stargazer-{layer}/pyproject.toml").read_text())["project"]
    return project.get("optional-dependencies", {})


def missing_extras(folder: Path) -> list[str]:
    """What has to be written so that extras of lower layers are offered by those above, and tested."""
    members = tomllib.loads((folder / "hatch.toml").read_text())["envs"]["test"]["workspace"]["members"]
    tested = {member["path"]: member["features"] for member in members if isinstance(member, dict)}
    missing, lower = [], set[str]()
    for below, layer in zip(("", *LAYERS), LAYERS, strict=False):
        path, offered = f"packages/stargazer-{layer}", extras_of(folder, layer)
        passed_on = {extra: f"stargazer-{below}[{extra}]" for extra in sorted(lower)}
        for extra, needs in passed_on.items():
            if needs not in offered.get(extra, []):
                missing.append(f'{path}/pyproject.toml: {extra} = ["{needs}"]')
        own = {extra for extra, needs in offered.items() if needs != [passed_on.get(extra)]}
        if untested := sorted(own - {*tested.get(path, [])}):
            missing.append(f'hatch.toml: {{ path = "{path}", features = {untested} }}')
        lower |= offered.keys()
    return missing


def plant_extra(copy: Path) -> list[str]:
    """Add an extra to the lowest layer, and return where it is missing then."""
    path = copy / f"packages/stargazer-{LAYERS[0]}/pyproject.toml"
    path.write_text(f'{path.read_text()}\n[project.optional-dependencies]\nplanted = ["planted"]\n')
    return missing_extras(copy)


def unlisted_notebooks() -> list[str]:
    """Names by which a notebook may be imported that the contract does not have."""
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (listed,) = [each["forbidden_modules"] for each in linter["contracts"] if each["id"] == "notebooks"]
    folder = ROOT / "notebooks"
    paths = [
        path.relative_to(ROOT).with_suffix("")
        for path in folder.rglob("[!_]*.py")
        if path.parts[-2] != "scratch"
    ]
    named = {part for path in [*paths, Path("notebooks/scratch/experiment")] for part in path.parts}
    return sorted(named - {*listed})


def main() -> int:
    """Return 0 if the tree is kept and every planted mistake is reported."""
    if missing := missing_extras(ROOT):
        print(*missing, "Extras are missing: these lines.", sep="\n")
        return 1
    if unlisted := unlisted_notebooks():
        print(f"pyproject.toml: the contract `notebooks` lacks {', '.join(unlisted)}")
        return 1
    with tempfile.TemporaryDirectory(prefix="stargazer-layers-") as folder:
        copy = Path(folder)
        sources = copy_tree(copy)
        clean = lint_imports(copy, sources)
        if clean.returncode != 0:
            print(clean.stdout, clean.stderr, "The layers are broken as they stand.", sep="\n")
            return 1
        if found := circle(sources):
            print("These modules import one another in a circle:", *found, sep="\n")
            return 1

        upward = {(low, high) for i, low in enumerate(LAYERS) for high in LAYERS[i + 1 :]}
        for layer in LAYERS:
            names = [f"stargazer.{high}" for low, high in sorted(upward) if low == layer]
            inner = [f"stargazer.{low}.{INNER[low]}" for low, high in sorted(upward) if high == layer]
            foreign = [FOREIGN[layer]] if layer in FOREIGN else []
            plant(copy, layer, [*names, *inner, *foreign, *NOTEBOOKS])
        planted = lint_imports(copy, sources)
        plant_circle(copy)
        turned = circle(sources)
        extras = plant_extra(copy)

    unnoticed = [
        *(f"{low} -> {high}" for low, high in sorted(upward - set(BROKEN_LAYER.findall(planted.stdout)))),
        *(
            f"{high} -> an inner module of {low}"
            for low, high in sorted(upward)
            if not re.search(
                rf"stargazer\.{high}\.planted -> stargazer\.{low}\.{INNER[low]} ", planted.stdout
            )
        ),
        *(["a circle"] if not turned else []),
        *(f"{a} -> {b}" for a, b in FOREIGN.items() if (a, b) not in BROKEN_FOREIGN.findall(planted.stdout)),
        *(
            f"{layer} -> {name}"
            for layer in LAYERS
            for name in dict.fromkeys(name.partition(".")[0] for name in NOTEBOOKS)
            if (layer, name) not in BROKEN_FOREIGN.findall(planted.stdout)
        ),
        *(["an extra that is neither passed on nor tested"] if len(extras) != len(LAYERS) else []),
    ]
    if planted.returncode == 0 or unnoticed:
        print(planted.stdout, planted.stderr, f"Planted but not noticed: {', '.join(unnoticed)}", sep="\n")
        return 1
    print(
        f"layers kept, no circle, extras passed on; {len(upward)} upward and {len(FOREIGN)} foreign imports, "
        f"{len(upward)} that pass a front page by, some of notebooks, a circle and an extra planted in a copy: "
        "all noticed"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
