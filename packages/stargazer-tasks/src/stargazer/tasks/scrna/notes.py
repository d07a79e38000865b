"""What the steps of a single-cell analysis note beside the cells, for the report: JSON texts in `uns["stargazer"]`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import anndata

__all__ = ["KEY", "note_down", "noted"]

KEY = "stargazer"


def note_down(cells: anndata.AnnData, step: str, what: Any) -> None:
    """Note what a step did, as JSON: HDF5 keeps no lists of tables."""
    cells.uns[KEY] = {**cells.uns.get(KEY, {}), step: json.dumps(what, sort_keys=True)}


def noted(cells: anndata.AnnData, step: str) -> Any:
    """What a step noted; nothing if it did not run."""
    return json.loads(cells.uns.get(KEY, {}).get(step, "{}"))
