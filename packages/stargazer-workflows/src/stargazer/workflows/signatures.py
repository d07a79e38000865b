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
    """Whether a workflow is known to take these arguments.

    Args:
        workflow: its name.
        given: values by name, as people type them.

    Returns:
        False where `convert` has to tell: nothing is known, for the workflow was not used yet or its module has changed
        since; a name or a value is another one than those that are known to fit.
    """
    try:
        known = json.loads(_path(workflow).read_bytes())
        taken, required = known["takes"], known["required"]
        return (
            _stamp(known["module"]) == known["stamp"]
            and given.keys() >= set(required)
            and all(_fits(value, taken[name]) for name, value in given.items())
        )
    except (OSError, ValueError, TypeError, LookupError):
        return False


def keep_signature(entry: Entry) -> None:
    """Keep the parameters of a workflow for `is_known_to_fit`, where that can be written."""
    from stargazer.workflows.arguments import surely_taken

    with contextlib.suppress(OSError, TypeError):  # a module without a file
        path, module = _path(entry.name), str(sys.modules[entry.module].__file__)
        known = {
            "module": module,
            "stamp": _stamp(module),
            "required": [parameter.name for parameter in entry.parameters if parameter.required],
            "takes": {parameter.name: surely_taken(parameter.annotation) for parameter in entry.parameters},
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.part")
        temporary.write_text(json.dumps(known))
        temporary.replace(path)


def _fits(value: Any, taken: list[str] | None) -> bool:
    """Whether a value, alone or given once, is one of those taken; None stands for any text, and JSON is none."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if taken is not None:
        return value in taken
    return isinstance(value, str) and bool(value.strip()) and not value.lstrip().startswith("[")


def _path(workflow: str) -> Path:
    if not workflow.replace(".", "_").isidentifier():
        raise ValueError(workflow)
    return Settings.load().home / "caches" / "workflows" / f"{workflow}.json"


def _stamp(module: str) -> list[int]:
    status = os.stat(module)
    return [status.st_mtime_ns, status.st_size]
