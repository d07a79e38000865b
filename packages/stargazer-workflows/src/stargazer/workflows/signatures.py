"""What is known of the parameters of workflows without importing them, which takes half a second: a file for each."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stargazer.storage import Settings

if TYPE_CHECKING:
    from stargazer.workflows.catalogue import Entry

__all__ = ["is_known_to_fit", "keep_signature"]


def is_known_to_fit(workflow: str, given: Mapping[str, Any]) -> bool:
    """Whether these are names of a workflow's parameters, and all that it requires.

    Args:
        workflow: its name.
        given: values by name.

    Returns:
        False also where nothing is known: it was not used yet, or its module has changed since.
    """
    try:
        known = json.loads(_path(workflow).read_bytes())
        return (
            _stamp(known["module"]) == known["stamp"]
            and given.keys() <= known["parameters"].keys()
            and all(name in given for name, required in known["parameters"].items() if required)
        )
    except (OSError, ValueError, TypeError, LookupError):
        return False


def keep_signature(entry: Entry) -> None:
    """Keep the parameters of a workflow for `is_known_to_fit`, where that can be written."""
    with contextlib.suppress(OSError, TypeError):  # a module without a file
        path, module = _path(entry.name), str(sys.modules[entry.module].__file__)
        known = {
            "module": module,
            "stamp": _stamp(module),
            "parameters": {parameter.name: parameter.required for parameter in entry.parameters},
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.part")
        temporary.write_text(json.dumps(known))
        temporary.replace(path)


def _path(workflow: str) -> Path:
    if not workflow.replace(".", "_").isidentifier():
        raise ValueError(workflow)
    return Settings.load().home / "caches" / "workflows" / f"{workflow}.json"


def _stamp(module: str) -> list[int]:
    status = os.stat(module)
    return [status.st_mtime_ns, status.st_size]
