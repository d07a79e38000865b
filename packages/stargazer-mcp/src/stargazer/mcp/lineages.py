"""A lineage as JSON: every file once, with what made it and the CIDs of what that read."""

from __future__ import annotations

import json
from typing import Any

from stargazer.assets import provenance
from stargazer.storage.lineage import Step

__all__ = ["as_json"]


def as_json(step: Step) -> dict[str, Any]:
    """The file asked for, and all files of its lineage by CID."""
    files: dict[str, Any] = {}
    waiting = [step]
    while waiting:
        here = waiting.pop()
        if here.entry.cid in files:
            continue
        made_by = json.loads(provenance.dump(here.document)) if here.document else None
        files[here.entry.cid] = {
            "asset": here.entry.keyvalues.get("asset", ""),
            "name": here.entry.name,
            "keyvalues": dict(here.entry.keyvalues),
            "provenance_cid": here.provenance_cid,
            "inputs": [child.entry.cid for child in here.inputs],
            "made_by": made_by,
        }
        waiting += here.inputs
    return {"cid": step.entry.cid, "files": files}
