from ._contents import contents
from ._diff import between, diff, difference_as_json, render_difference
from ._render import render
from ._stale import Stale, stale
from ._why import Step, as_json, executions_of, executions_of_task, walk, why
from .graph import as_dot, as_mermaid
from .nearest import Nearest, find_nearest, then_and_now
from .rocrate import as_rocrate, write_rocrate

__all__ = [
    "Nearest",
    "Stale",
    "Step",
    "as_dot",
    "as_json",
    "as_mermaid",
    "as_rocrate",
    "between",
    "contents",
    "diff",
    "difference_as_json",
    "executions_of",
    "executions_of_task",
    "find_nearest",
    "render",
    "render_difference",
    "stale",
    "then_and_now",
    "walk",
    "why",
    "write_rocrate",
]
