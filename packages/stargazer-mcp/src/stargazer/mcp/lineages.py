"""A lineage as JSON: every file once, with what made it and the CIDs of what that read."""

from __future__ import annotations

import json
from typing import Any

from stargazer.assets import provenance
from stargazer.storage.lineage import Other, Step

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
            "again": here.again,
            "others": [_other(other) for other in here.others],
        }
        waiting += here.inputs
    return {"cid": step.entry.cid, "files": files}


def _other(other: Other) -> dict[str, Any]:
    """What else made the same bytes; `stargazer why CID` follows it."""
    task = getattr(other.document, "task", "")
    return {"cid": other.provenance_cid, "task": task, "started": other.started, "again": other.again}
