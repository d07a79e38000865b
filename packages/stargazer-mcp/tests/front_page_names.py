"""Says, in a process of its own, what is wrong with the names that packages offer; see test_front_pages.py.

    python front_page_names.py PACKAGE SEED

imports every module of a package in an order that follows from a word, then looks at each name in the `__all__` of
each of them, and prints what is wrong with it.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import random
import sys
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path
from types import ModuleType


def definition(module: str, name: str) -> ast.stmt | None:
    """What defines a name, looked for in a module's stub or source, and from there where it is imported from."""
    file = Path(str(importlib.import_module(module).__file__))
    stub = file.with_suffix(".pyi")
    for node in ast.parse((stub if stub.exists() else file).read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return node
        if isinstance(node, ast.ImportFrom) and name in [alias.asname or alias.name for alias in node.names]:
            package = module if file.stem == "__init__" else module.rpartition(".")[0]
            return definition(resolve_name("." * node.level + str(node.module), package), name)
    return None


def wrong_names(page: ModuleType) -> Iterator[str]:
    """The names of a page that do not exist, or are not what their definition says."""
    for name in page.__all__:
        try:
            found = getattr(page, name)
        except AttributeError as error:
            yield str(error)
            continue
        node = definition(page.__name__, name)
        is_class = isinstance(node, ast.ClassDef)
        is_plain = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.decorator_list
        if (
            inspect.ismodule(found)
            or inspect.isclass(found) < is_class
            or inspect.isroutine(found) < is_plain
        ):
            yield f"{page.__name__}.{name} is a {type(found).__name__}"


def main(package: str, seed: str) -> None:
    """Import all, then print what is wrong."""
    path = importlib.import_module(package).__path__
    names = sorted(module.name for module in pkgutil.walk_packages(path, f"{package}."))
    random.Random(seed).shuffle(names)
    modules = [importlib.import_module(name) for name in [package, *names] if not name.endswith("__main__")]
    for module in modules:
        for problem in wrong_names(module) if hasattr(module, "__all__") else ():
            print(problem)


if __name__ == "__main__":
    main(*sys.argv[1:])
