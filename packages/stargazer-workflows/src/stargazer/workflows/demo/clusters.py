"""How clusters of the demo's cells compare with the types that were simulated."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

from stargazer.workflows.demo.names import DAMAGED, DOUBLET

__all__ = ["write_cluster_comparison"]


def write_cluster_comparison(target: str, cells: str, truth: str) -> None:
    """Write as JSON how clusters compare with the true types, and how many doublets and damaged cells are left.

    Args:
        cells: CSV of `write_csv`.
        truth: CSV of `simulate_cells`.

    The content: `ari`, the adjusted Rand index of each clustering with the types, over the cells that are neither
    doublets nor damaged; `types`, for each type its cells by cluster; `doublets` and `damaged`, each with how many were
    simulated (`true`) and how many are among the clustered cells (`left`).
    """
    from sklearn.metrics import adjusted_rand_score

    types = {f"{row['sample']}_{row['barcode']}": row["type"] for row in _rows(truth)}
    rows = _rows(cells)
    plain = [row for row in rows if types[row["cell"]] not in (DOUBLET, DAMAGED)]
    clusterings = [name for name in rows[0] if name.startswith("leiden")]
    names = [types[row["cell"]] for row in plain]
    simulated, left = Counter(types.values()), Counter(types[row["cell"]] for row in rows)
    found: dict[str, Any] = {
        "ari": {name: round(float(adjusted_rand_score(names, [row[name] for row in plain])), 4)
                for name in clusterings},
        "types": {name: dict(sorted(Counter(row["leiden"] for row in plain if types[row["cell"]] == name).items()))
                  for name in sorted(set(names))},
        "doublets": {"true": simulated[DOUBLET], "left": left[DOUBLET]},
        "damaged": {"true": simulated[DAMAGED], "left": left[DAMAGED]},
    }  # fmt: skip
    Path(target).write_text(json.dumps(found, indent=1))


def _rows(path: str) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))
