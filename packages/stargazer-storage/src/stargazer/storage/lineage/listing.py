"""A lineage as JSON: every file once, with what made it and the CIDs of what that read."""

from __future__ import annotations

import json
from typing import Any

from stargazer.assets import provenance
from stargazer.storage.lineage.walking import Other, Step

__all__ = ["as_json"]


def as_json(step: Step) -> dict[str, Any]:
    """The file asked for, and all files of its lineage by CID."""
    files: dict[str, Any] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [step]
    while waiting:
        here = waiting.pop()
        if (here.entry.cid, here.provenance_cid) in seen:
            continue
        seen.add((here.entry.cid, here.provenance_cid))
        if here.entry.cid in files:  # the same bytes, before a step that changed only what they are called
            files[here.entry.cid].setdefault("before", []).append(_file(here))
        else:
            files[here.entry.cid] = _file(here)
        waiting += here.inputs
    return {"cid": step.entry.cid, "files": files}


def _file(step: Step) -> dict[str, Any]:
    return {
        "asset": step.entry.keyvalues.get("asset", ""),
        "name": step.entry.name,
        "keyvalues": dict(step.entry.keyvalues),
        "provenance_cid": step.provenance_cid,
        "inputs": [child.entry.cid for child in step.inputs],
        "made_by": json.loads(provenance.dump(step.document)) if step.document else None,
        "again": step.again,
        "others": [_other(other) for other in step.others],
    }


def _other(other: Other) -> dict[str, Any]:
    """What else made the same bytes; `stargazer why CID` follows it."""
    task = getattr(other.document, "task", "")
    return {"cid": other.provenance_cid, "task": task, "started": other.started, "again": other.again}
