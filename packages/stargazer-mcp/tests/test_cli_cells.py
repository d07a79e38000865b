"""Single cells through the command: two folders of Cell Ranger are added and clustered, and each picture says why."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from stargazer.workflows.demo import cells
from stargazer.workflows.demo.names import CELL_SAMPLES

from .command import Command, added

STEPS = ("plot_umap", "rank_genes_groups", "leiden", "umap", "neighbors", "harmony_integrate", "pca",
         "highly_variable_genes", "normalize_total", "scrublet", "filter_cells", "calculate_qc_metrics",
         "concat")  # fmt: skip
"""From the picture of clusters back to the matrix of both samples."""
RUN = ("run", "scrna_clustering", f"samples={','.join(CELL_SAMPLES)}", "n_comps=20", "min_dist=0.4", "seeds=2",
       "resolutions=0.5", "genes=GENE1", "random_state=7")  # fmt: skip


@pytest.mark.timeout(600)  # most is for what numba compiles first
def test_why_of_a_picture_of_clusters_walks_to_the_matrices_with_parameters_and_versions(
    compiled: Path, stargazer: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cells, "CELLS", 150)
    made = cells.simulate_cells(str(tmp_path / "cells"))
    matrices = {
        added(stargazer, item["folder"], f"sample={item['sample']}")[0]["cid"] for item in made["samples"]
    }
    status, out, err = stargazer(*RUN, "--json")
    assert status == 0, err
    assert json.loads(out)["computed"] > len(STEPS)

    answer = json.loads(stargazer("why", "kind=umap_leiden", "--json")[1])

    walked, reached, imported = walk(answer)
    assert [made["task"] for made in walked[: len(STEPS)]] == [f"scrna.{step}" for step in STEPS]
    assert {made["task"] for made in walked[len(STEPS) :]} == {"scrna.read_10x_mtx"}
    assert reached == matrices
    assert {file["origin"] for file in imported} == {*CELL_SAMPLES}
    parameters = {made["task"].partition(".")[2]: made.get("parameters", {}) for made in walked}
    assert parameters["umap"] == {"min_dist": 0.4, "spread": 1.0, "random_state": 7}
    assert parameters["leiden"] == {
        "resolutions": [0.5],
        "resolution": None,
        "n_iterations": 2,
        "seeds": 2,
        "random_state": 7,
    }
    assert {name for name, given in parameters.items() if given.get("random_state") == 7} == {
        "scrublet",
        "pca",
        "harmony_integrate",
        "neighbors",
        "umap",
        "leiden",
    }
    names = {"scanpy": "scanpy", "umap": "umap-learn", "igraph": "igraph", "numba": "numba", "numpy": "numpy"}
    for made in walked:
        versions = {tool["name"]: tool["version"] for tool in made["tools"]}
        assert {name: versions[name] for name in names} == {name: version(names[name]) for name in names}

    status, text, _ = stargazer("why", "kind=umap_leiden")
    assert status == 0
    assert f"tool scanpy {version('scanpy')} (Python package)" in text
    assert "min_dist = 0.4" in text
    assert f"imported from {CELL_SAMPLES[0]}" in text


def walk(answer: dict[str, Any]) -> tuple[list[dict[str, Any]], set[str], list[dict[str, Any]]]:
    """What made a file and all before it, each once; the CIDs of what was imported, and its files."""
    made, reached, imported, waiting = [], set(), [], [answer["cid"]]
    seen = set(waiting)
    while waiting:
        cid = waiting.pop()
        by = answer["files"][cid]["made_by"]
        if by["kind"] == "import":
            reached.add(cid)
            imported += by["files"]
        else:
            made.append(by)
        new = {item["cid"] for item in by.get("inputs", ())} - seen
        seen |= new
        waiting += sorted(new)
    return made, reached, imported
