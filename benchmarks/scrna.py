"""scrna_clustering against a plain scanpy script with scanpy's defaults: time and memory, cold, warm and again.

    python benchmarks/scrna.py [mouse] [simulated] [--rounds 3] [--cells 100000] [--folder FOLDER]

`mouse`: 10,000 cells of the mouse brain (STARGAZER_TEST_DATA), with doublets and without. `simulated`: so many cells of
20,000 genes, without doublets. The script does what the workflow does, in one process: QC metrics, filters, Scrublet,
normalisation, variable genes, principal components, neighbours, UMAP, Leiden at the workflow's three resolutions,
marker genes; it draws nothing, writes no report, and clusters once at each resolution, where the workflow clusters with
five seeds. Cold: nothing is compiled yet (an empty NUMBA_CACHE_DIR; a new STARGAZER_HOME). Warm: compiled by the round
before, which is not counted; the store of the workflow is new. Again: the same run once more, which computes nothing.
Exit status 1 above a limit.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import anndata
from _cells import convert, simulate
from _measure import STARGAZER, Run, alternate, middle_of, report, run
from stargazer.workflows.scrna import RESOLUTIONS

AGAIN = 1.5  # seconds
FEW = 20  # genes that a cell of the mouse brain has of the 1,000: 69 on average
LIMITS = {
    "doublets": {"warm": 0.4, "cold": 0.45, "memory": 1.0},
    "mouse": {"warm": 0.8, "memory": 1.0},
    "simulated": {"warm": 0.8, "memory": 1.0},
}
"""Of the script's figures."""

SCRIPT = f"""
import sys
import scanpy as sc

source, target, doublets, min_genes = sys.argv[1:]
cells = sc.read_h5ad(source)
cells.var["mt"] = cells.var_names.str.upper().str.startswith("MT-")
sc.pp.calculate_qc_metrics(cells, qc_vars=["mt"], inplace=True)
sc.pp.filter_cells(cells, min_genes=int(min_genes))
sc.pp.filter_genes(cells, min_cells=3)
if doublets == "doublets":
    sc.pp.scrublet(cells)
    cells = cells[~cells.obs["predicted_doublet"]].copy()
cells.layers["counts"] = cells.X.copy()
sc.pp.normalize_total(cells)
sc.pp.log1p(cells)
sc.pp.highly_variable_genes(cells)
sc.pp.pca(cells)
sc.pp.neighbors(cells)
sc.tl.umap(cells)
for resolution in {RESOLUTIONS}:
    sc.tl.leiden(cells, resolution, key_added=f"leiden_{{resolution:g}}", flavor="igraph", directed=False,
                 n_iterations=2)
sc.tl.rank_genes_groups(cells, "leiden_{RESOLUTIONS[-1]:g}")
cells.write_h5ad(target)
print(cells.n_obs)
"""


class Sides:
    """The script and the workflow on one file, in folders of their own."""

    def __init__(self, folder: Path, cells: Path, *, doublets: bool, min_genes: int):
        self.folder, self.cells, self.doublets, self.min_genes = folder, cells, doublets, min_genes
        self.home, self.out = folder / "home", folder / "out"
        folder.mkdir()
        self.environment = {
            **os.environ,
            "STARGAZER_MODE": "local",
            "STARGAZER_HOME": str(self.home),
            "STARGAZER_LOCAL": str(folder / "store"),
        }

    def script(self, name: str) -> Run:
        """The script, with what it has compiled in a folder of this name."""
        given = {**os.environ, "NUMBA_CACHE_DIR": str(self.folder / name)}
        words = [str(self.cells), str(self.folder / "script.h5ad"), "doublets" if self.doublets else "none"]
        words.append(str(self.min_genes))
        return run([sys.executable, "-c", SCRIPT, *words], cwd=self.folder, env=given)

    def cold_script(self) -> Run:
        shutil.rmtree(self.folder / "cold", ignore_errors=True)
        return self.script("cold")

    def warm_script(self) -> Run:
        return self.script("warm")

    def workflow(self) -> Run:
        words = [
            "samples=cells",
            f"min_genes={self.min_genes}",
            *([] if self.doublets else ["doublets=none"]),
        ]
        shutil.rmtree(self.out, ignore_errors=True)
        command = [STARGAZER, "run", "scrna_clustering", *words, "--outdir", str(self.out)]
        return run(command, env=self.environment)

    def warm_workflow(self) -> Run:
        shutil.rmtree(self.folder / "store", ignore_errors=True)
        shutil.rmtree(self.home / "runs", ignore_errors=True)
        run([STARGAZER, "add", str(self.cells), "sample=cells"], env=self.environment)
        return self.workflow()

    def cold_workflow(self) -> Run:
        shutil.rmtree(self.home, ignore_errors=True)
        return self.warm_workflow()

    def kept(self) -> tuple[int, int]:
        """The cells that the script kept, and those of the workflow."""
        (ours,) = self.out.glob("*.h5ad")
        script, workflow = (
            anndata.read_h5ad(path, backed="r").n_obs for path in (self.folder / "script.h5ad", ours)
        )
        return script, workflow


def compare(title: str, sides: Sides, rounds: int, limits: dict[str, float], *, cold: bool) -> list[str]:
    """Time all sides in turn; what is above a limit."""
    print(title, flush=True)
    tried: dict[str, Any] = {"script": sides.warm_script, "stargazer run": sides.warm_workflow}
    tried["stargazer run, again"] = sides.workflow
    for compile_first in (sides.warm_script, sides.cold_workflow):
        compile_first()
    results = alternate(tried, rounds)
    report(results, "script")
    warm = {side: middle_of(runs) for side, runs in results.items()}
    figures = {
        "warm": (warm["stargazer run"].seconds, warm["script"].seconds),
        "memory": (warm["stargazer run"].peak, warm["script"].peak),
    }
    if cold:
        chilled = alternate(
            {"script, cold": sides.cold_script, "stargazer run, cold": sides.cold_workflow}, rounds
        )
        report(chilled, "script, cold")
        both = [middle_of(chilled[side]).seconds for side in ("stargazer run, cold", "script, cold")]
        figures["cold"] = (both[0], both[1])
    script, workflow = sides.kept()
    print(f"cells kept: {workflow:,}, by the script {script:,}", flush=True)
    failures = [
        f"{title}, {what}: {ours / theirs:.2f}x of the script, at most {limits[what]}x expected"
        for what, (ours, theirs) in figures.items()
        if ours > limits.get(what, float("inf")) * theirs
    ]
    if (again := warm["stargazer run, again"].seconds) > AGAIN:
        failures.append(f"{title}: the second run takes {again:.2f} s, at most {AGAIN} s expected")
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="part", help="mouse, simulated; both by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cells", type=int, default=100_000, help="that are simulated")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    parts = options.parts or ["mouse", "simulated"]
    if unknown := {*parts} - {"mouse", "simulated"}:
        parser.error(f"no such part: {', '.join(unknown)}")
    failures = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if "mouse" in parts and (data := os.environ.get("STARGAZER_TEST_DATA")):
            convert(Path(data), folder / "mouse.h5ad")
            sides = Sides(folder / "with doublets", folder / "mouse.h5ad", doublets=True, min_genes=FEW)
            failures += compare("10,000 mouse-brain cells, doublets included", sides, options.rounds,
                                LIMITS["doublets"], cold=True)  # fmt: skip
            sides = Sides(folder / "without doublets", folder / "mouse.h5ad", doublets=False, min_genes=FEW)
            failures += compare("10,000 mouse-brain cells, without doublets", sides, options.rounds,
                                LIMITS["mouse"], cold=False)  # fmt: skip
        elif "mouse" in parts:
            print("STARGAZER_TEST_DATA is not set: the mouse brain is left out", file=sys.stderr)
        if "simulated" in parts:
            simulate(folder / "simulated.h5ad", options.cells)
            sides = Sides(folder / "simulated", folder / "simulated.h5ad", doublets=False, min_genes=100)
            failures += compare(f"{options.cells:,} simulated cells, without doublets", sides, options.rounds,
                                LIMITS["simulated"], cold=False)  # fmt: skip
    print("; ".join(failures) or "every limit is met")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
