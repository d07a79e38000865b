"""What Python code refers to: the names that it takes from around it, and where; whether an expression is constant."""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Callable, Iterator, Mapping

import attrs

__all__ = [
    "BUILTINS",
    "Imported",
    "bound_names",
    "computed",
    "evaluated",
    "global_statements",
    "names_at_definition",
    "names_used",
]

BUILTINS = frozenset(dir(builtins))

PURE_BUILTINS = ("abs", "bool", "bytes", "chr", "classmethod", "complex", "dict", "divmod", "enumerate", "float",
                 "format", "frozenset", "hex", "int", "len", "list", "max", "min", "object", "oct", "ord", "pow",
                 "property", "range", "reversed", "round", "set", "slice", "sorted", "staticmethod", "str", "sum",
                 "tuple", "zip")  # fmt: skip
PURE: Mapping[str, frozenset[str] | None] = {
    "attrs": None,
    "collections": None,
    "dataclasses": None,
    "datetime": frozenset({"date", "datetime", "time", "timedelta", "timezone"}),
    "decimal": None,
    "enum": None,
    "flyte": frozenset({"Resources"}),
    "fractions": None,
    "functools": None,
    "itertools": None,
    "math": None,
    "operator": None,
    "pathlib": frozenset({"Path", "PurePath", "PurePosixPath"}),
    "re": None,
    "stargazer.tasks": frozenset({"AssetEnvironment", "Library", "Maven", "OnPath", "Tool", "Wheel"}),
    "string": None,
    "struct": None,
    "textwrap": None,
    "types": None,
    "typing": None,
}
"""Modules whose functions give the same each time and read nothing; of some these names alone."""
MACHINE = ("os.environ", "os.environb", "sys.argv", "sys.executable", "sys.path", "sys.prefix")
METHODS = frozenset(
    name
    for kind in (str, bytes, dict, frozenset, list, tuple, int, float)
    for name in dir(kind)
    if name[0] != "_"
)
"""Methods of what a constant may be."""


@attrs.frozen
class Imported:
    """A name that an import binds.

    Attributes:
        bound: the name.
        module: that is imported, or from which something is.
        name: what is imported from it; "" for `import module`.
        renamed: whether it is bound by `as`.
        for_types: whether it is imported under `if TYPE_CHECKING:`, for annotations alone.
    """

    bound: str
    module: str
    name: str = ""
    renamed: bool = False
    for_types: bool = False

    @property
    def statement(self) -> str:
        """The import of this name alone."""
        what = f"from {self.module} import {self.name}" if self.name else f"import {self.module}"
        return f"{what} as {self.bound}" if self.renamed else what


def names_used(statement: ast.stmt) -> dict[str, int]:
    """The names that a statement takes from around it, each with the first line where it stands."""
    used: set[str] = set()
    module = ast.fix_missing_locations(ast.Module([statement], []))
    tables = [symtable.symtable(ast.unparse(module), "cell", "exec")]
    for table in tables:  # grows
        tables += table.get_children()
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (table.get_type() == "module" or symbol.is_global()):
                used.add(symbol.get_name())
    used |= {name for text in _text_annotations(statement) for name in _names_in(text)}
    lines = dict.fromkeys(used, statement.lineno)
    found = [node for node in ast.walk(statement) if isinstance(node, ast.Name) and node.id in used]
    for node in sorted(found, key=lambda node: node.lineno, reverse=True):
        lines[node.id] = node.lineno
    return lines


def _text_annotations(statement: ast.stmt) -> Iterator[str]:
    """Annotations, or parts of them, that are written as text."""
    for node in ast.walk(statement):
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(annotation, ast.expr):
                yield from _texts(annotation)


def _texts(annotation: ast.expr) -> Iterator[str]:
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value).endswith(
        ("Literal", "Annotated")
    ):
        return
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        yield annotation.value
    for child in ast.iter_child_nodes(annotation):
        if isinstance(child, ast.expr):
            yield from _texts(child)


def _names_in(text: str) -> set[str]:
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError):
        return set()
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def names_at_definition(statement: ast.stmt) -> set[str]:
    """The names that have to be there when a statement is run, not only when what it defines is called."""
    if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return set(names_used(statement))
    found: list[ast.AST] = [*statement.decorator_list]
    if isinstance(statement, ast.ClassDef):
        found += [*statement.bases, *(each.value for each in statement.keywords)]
        used = {name for part in statement.body for name in names_at_definition(part)}
    else:
        found += [*statement.args.defaults, *filter(None, statement.args.kw_defaults)]
        used = set()
    return used | {node.id for part in found for node in ast.walk(part) if isinstance(node, ast.Name)}


def global_statements(statement: ast.stmt) -> list[ast.Global]:
    """The `global` statements in it."""
    return [node for node in ast.walk(statement) if isinstance(node, ast.Global)]


def bound_names(statement: ast.stmt) -> set[str]:
    """The names that a statement at the top level of a cell gives a value, deletes included."""
    table = symtable.symtable(ast.unparse(statement), "cell", "exec")
    return {each.get_name() for each in table.get_symbols() if each.is_assigned() or each.is_imported()}


def computed(expression: ast.expr, resolve: Callable[[str], Imported | str]) -> tuple[ast.AST, str] | None:
    """What makes an expression no constant: the place, and in words what it does; None for a constant.

    Args:
        resolve: what a name is: an import, or one of `class`, `function`, `constant`, `builtin`, `unknown`.
    """
    nodes: list[ast.AST] = [expression]
    for node in nodes:  # grows
        if isinstance(node, ast.Lambda):  # what is in it is computed when it is called
            nodes += [*node.args.defaults, *filter(None, node.args.kw_defaults)]
            continue
        nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.Await | ast.Yield | ast.YieldFrom | ast.NamedExpr):
            return node, f"a value that the notebook computes (`{ast.unparse(node)}`)"
        if isinstance(node, ast.Attribute | ast.Name) and _is_of_machine(node, resolve):
            return node, f"a value of this machine and this run (`{ast.unparse(node)}`)"
        if isinstance(node, ast.Call) and not _is_pure(node.func, resolve):
            return node, f"a value that the notebook computes by calling `{ast.unparse(node.func)}`"
    return None


def evaluated(statement: ast.stmt) -> Iterator[ast.expr]:
    """The values that a function or class computes when it is defined: defaults of parameters, attributes."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        yield from (*statement.args.defaults, *filter(None, statement.args.kw_defaults))
    elif isinstance(statement, ast.ClassDef):
        for each in statement.body:
            if isinstance(each, ast.Assign | ast.AnnAssign) and each.value is not None:
                yield each.value
            yield from evaluated(each)


def _is_of_machine(node: ast.Attribute | ast.Name, resolve: Callable[[str], Imported | str]) -> bool:
    if isinstance(node, ast.Name):
        found = resolve(node.id)
        return isinstance(found, Imported) and f"{found.module}.{found.name}" in MACHINE
    root = resolve(node.value.id) if isinstance(node.value, ast.Name) else ""
    return isinstance(root, Imported) and f"{root.module}.{node.attr}" in MACHINE


def _is_pure(function: ast.expr, resolve: Callable[[str], Imported | str]) -> bool:
    path: list[str] = []
    while isinstance(function, ast.Attribute):
        path.insert(0, function.attr)
        function = function.value
    if not isinstance(function, ast.Name):
        return len(path) > 0 and path[-1] in METHODS
    root = resolve(function.id)
    if isinstance(root, Imported):
        module, *names = [root.module, *([root.name] if root.name else []), *path]
        while module not in PURE and len(names) > 1 and not root.name:
            module, names = f"{module}.{names[0]}", names[1:]
        if module.startswith("stargazer.tasks."):
            module = "stargazer.tasks"
        allowed = PURE.get(module, frozenset())
        return len(names) == 1 and (allowed is None or names[0] in allowed)
    if root == "builtin":
        return function.id in PURE_BUILTINS if not path else path[-1] in METHODS
    if root == "class":
        return not path
    return root == "constant" and bool(path) and path[-1] in METHODS
