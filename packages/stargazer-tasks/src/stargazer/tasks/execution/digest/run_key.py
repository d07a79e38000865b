"""The run key: what a result depends on, as one hash. Equal keys, equal results.

In it: the task's name, its code digest, its inputs (an asset by type, CID and typed fields, not by links or record),
its parameters, the versions of its tools and the code of our scripts that run them. Not in it: threads, memory, paths,
names of modules, time.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from stargazer.assets import Asset, ConfigurationError
from stargazer.tasks.execution.digest.canonical import canonical, essential
from stargazer.tasks.execution.digest.code import Digest, code_digest, package_of
from stargazer.tasks.execution.values import described
from stargazer.tasks.tools import ResolvedTool

__all__ = ["run_key", "script_digest", "task_digest"]

INTERFACE = 1
"""Of the runner that task bodies are written against: raised when the same body would give other bytes."""
RUNNER = ("stargazer.tasks.execution", "stargazer.tasks.tools")
FREE = {
    "stargazer.assets",
    "stargazer.storage",
    "stargazer.tasks",
    "stargazer.workflows",
    "attr",
    "attrs",
    "flyte",
}


def run_key(task: str, digest: str, arguments: Mapping[str, Any], tools: Iterable[ResolvedTool]) -> str:
    """The key of one call.

    Raises:
        InvalidAssetError: an argument is neither an asset nor plain data.
    """
    content = {
        "interface": INTERFACE,
        "task": task,
        "code": digest,
        "arguments": {name: described(value, name, _input) for name, value in sorted(arguments.items())},
        "tools": sorted([tool.name, tool.version, script_digest(tool.script)] for tool in tools),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def task_digest(function: Callable[..., Any], declared: frozenset[str]) -> Digest:
    """The digest of a task's code, once its packages were checked against the declared tools.

    It is taken anew for every call of a task of a notebook or script, where a cell can change a helper under it; and in
    the kernel of a notebook for every call at all, for a cell can load a module again, or set what it holds.

    Raises:
        Undigestable: something it uses has no stable form.
        ConfigurationError: it uses a package that is not declared, whose version the key would not know.
    """
    package = package_of(function.__module__)
    changes = function.__module__ == "__main__" or "marimo" in sys.modules
    digest = (code_digest if changes else _kept_digest)(function, package, RUNNER)
    undeclared = sorted(digest.externals - FREE - declared - {package})
    if undeclared:
        raise ConfigurationError(
            f"{function.__qualname__} uses {', '.join(undeclared)}, which it does not declare: "
            f"add Library({undeclared[0]!r}) (of stargazer.tasks.tools) to the task's tools, so that its version counts"
        )
    return digest


_kept_digest = functools.cache(code_digest)


@functools.cache
def script_digest(script: Path | None) -> str:
    """A digest of the code of a script and of what it imports of ours; comments and formatting aside, as for a task."""
    if script is None:
        return ""
    code: list[ast.AST] = []
    files = [script]
    for file in files:  # grows
        module = ast.parse(file.read_bytes())
        documented = ast.get_docstring(module, clean=False) is not None
        code += [essential(statement) for statement in module.body[documented:]]
        files += [imported for imported in _imported(module) if imported not in files]
    return hashlib.sha256(canonical(code).encode()).hexdigest()


def _imported(module: ast.Module) -> list[Path]:
    """The files of our own modules that a module imports names from."""
    names = [node.module for node in ast.walk(module) if isinstance(node, ast.ImportFrom) and node.module]
    specs = [find_spec(name) for name in names if name.startswith("stargazer.")]
    return [Path(spec.origin) for spec in specs if spec is not None and spec.origin]


def _input(asset: Asset) -> Any:
    fields = {
        name: described(value, name, _input) for name, value in asset.values().items() if value is not None
    }
    return {"type": asset.asset_key, "cid": asset.cid, "fields": fields}
