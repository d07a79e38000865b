"""The text of a promoted task's test: its files registered, the task called as its cell called it, what came of it."""

from __future__ import annotations

import ast
import functools
import keyword
import math
import re
from collections.abc import Mapping
from enum import Enum
from importlib import metadata
from typing import Any

from stargazer.assets import Asset, InvalidAssetError, asset_class
from stargazer.assets.provenance import Entry, Execution
from stargazer.mcp.promotion.annotations import Annotations
from stargazer.mcp.promotion.case import Case, CaseFile
from stargazer.mcp.promotion.extraction import Promoted

__all__ = ["unit_test"]

SLOW, LONG = 5, 30  # seconds of a task: marked `slow`, and with a limit of its own
LIMIT = 900
WIDTH = 80  # letters of a text that are written in one piece
TAKEN = ("DATA", "Path", "bench", "pytest", "result", "shutil")
"""Names that the test itself has."""
DEBIAN = ("bwa", "samtools", "bcftools", "bgzip", "tabix")


def unit_test(promoted: Promoted, case: Case, source: str) -> str:
    """The module of the test; it has still to be formatted.

    Args:
        source: of the module that the task is promoted into.
    """
    return _Writer(promoted, case, source).module()


class _Writer:
    """One test in the making; `imported` collects what it needs of each module."""

    def __init__(self, promoted: Promoted, case: Case, source: str):
        self.promoted, self.case, self.execution = promoted, case, case.execution
        self.kinds = Annotations(ast.parse(source))
        self.function = self.kinds.function(promoted.function)
        self.imported: dict[str, set[str]] = {"stargazer.tasks": set()}
        self.called = "task" if promoted.function in TAKEN else promoted.function
        alias = "" if self.called == promoted.function else f" as {self.called}"
        self.imported["stargazer.tasks"].add(f"{promoted.function}{alias}")
        self.variables: dict[str, str] = {}
        self.by_cid: dict[str, str] = {}
        self.marks = _marks(self.execution)

    def module(self) -> str:
        """The whole text."""
        name, promoted = self.promoted.function, self.promoted
        where = f"the cell `{promoted.cell}` of " if promoted.cell else ""
        body = [*map(self.registered, self.case.files), "", self.call(), "", self.expected()]
        imports = [
            f"from {module} import {', '.join(sorted(names))}" for module, names in self.imported.items()
        ]
        imports += ["import pytest"] * any("pytest" in mark for mark in self.marks)
        imports += ["import shutil"] * any("shutil" in mark for mark in self.marks)
        data = [f'DATA = Path(__file__).parents[1] / "data" / "{name}"', ""] if self.case.files else []
        return "\n".join(
            [
                f'"""`{promoted.task}` gives what {where}{_as_words(promoted.notebook)} gave.',
                "",
                f"Provenance of that: {self.case.provenance_cid}",
                '"""',
                "",
                "from __future__ import annotations",
                "",
                *(["from pathlib import Path"] if data else []),
                *imports,
                "",
                *data,
                *([f"pytestmark = [{', '.join(self.marks)}]"] if self.marks else []),
                "",
                f"def test_{name}_gives_what_its_cell_gave(bench):",
                *(f"    {line}" if line else "" for line in body),
                "",
            ]
        )

    def registered(self, file: CaseFile) -> str:
        """The line that registers a file, as the variable of its role if it is an input."""
        entry = Entry(role=file.role, cid=file.cid, keyvalues=file.keyvalues)
        line = f'bench.add(DATA / "{file.name}", {self.asset(entry, linked="{}")})'
        if file.is_companion:
            return line
        variable = re.sub(r"\W+", "_", file.role).strip("_")
        while variable in (*TAKEN, self.called, *self.variables.values()) or keyword.iskeyword(variable):
            variable += "_"
        self.variables[file.role] = self.by_cid[file.cid] = variable
        return f"{variable} = {line}"

    def call(self) -> str:
        """The call with all arguments that the cell gave."""
        execution = self.execution
        alone = {entry.role: {"asset": entry.role} for entry in execution.inputs}
        shapes = {**alone, **execution.parameters, **execution.assets}
        for entry in execution.inputs:  # the same file in two roles is registered once
            self.variables.setdefault(entry.role, self.by_cid[entry.cid])
        written, words = self.function.args, []
        for argument in (*written.posonlyargs, *written.args, *written.kwonlyargs):  # Flyte takes no others
            name = "" if argument in written.posonlyargs else f"{argument.arg}="
            words.append(name + self.value(shapes[argument.arg], argument.annotation, self.variables))
        return f"result = bench.run({', '.join([self.called, *words])})"

    def expected(self) -> str:
        """The comparison of what it gives with what the cell had."""
        outputs = [self.asset(entry, cid=True, linked="{}.cid") for entry in self.execution.outputs]
        shape = self.execution.result
        value = self.value(shape, self.function.returns, dict(enumerate(outputs)))
        constant = shape is None or isinstance(shape, bool)
        return f"assert result {'is' if constant else '=='} {value}"

    def asset(self, entry: Entry, *, linked: str, cid: bool = False) -> str:
        """An asset as it is made; its links as `linked` says of the variable that they point at."""
        key = entry.keyvalues.get("asset", "")
        pairs = {name: text for name, text in entry.keyvalues.items() if name != "asset"}
        own = {"cid": repr(entry.cid)} if cid else {}
        try:
            kind = asset_class(key)
            values = kind.from_keyvalues(entry.keyvalues)
        except InvalidAssetError:  # a type that only the notebook's process knows
            kind, values = Asset, None
        if kind.__module__ != "stargazer.assets.catalogue" or values is None:
            fields = "".join(f", {name}={text}" for name, text in own.items())
            told = "{" + ", ".join(f"{name!r}: {_text(text)}" for name, text in pairs.items()) + "}"
            return f"{self.type_of(key)}.from_keyvalues({told}{fields})"
        self.imported.setdefault("stargazer.assets", set()).add(kind.__name__)
        for name in kind.fields():
            value = getattr(values, name)
            if name not in pairs:
                continue
            if name in kind.links() and str(value) in self.by_cid:
                own[name] = linked.format(self.by_cid[str(value)])
            else:
                own[name] = self.value(value, None, {})
        return f"{kind.__name__}({', '.join(f'{name}={text}' for name, text in own.items())})"

    def type_of(self, key: str) -> str:
        """An asset type that is not in the catalogue: the module's own class, or one that is looked up."""
        if key in self.kinds.assets:
            return self.imported_from_task(self.kinds.assets[key])
        self.imported.setdefault("stargazer.assets", set()).add("asset_class")
        return f"asset_class({key!r})"

    def value(self, shape: Any, annotation: ast.expr | None, assets: Mapping[Any, str]) -> str:
        """A value as it is written, from its JSON; assets by role or number."""
        inner = self.kinds.inner(annotation)
        if isinstance(shape, dict) and set(shape) == {"asset"}:
            return assets[shape["asset"]]
        if isinstance(shape, dict):
            members = shape["mapping"] if set(shape) == {"mapping"} else shape
            kinds = inner[-1:] or [None]
            told = (f"{name!r}: {self.value(part, kinds[0], assets)}" for name, part in members.items())
            return "{" + ", ".join(told) + "}"
        if isinstance(shape, list | tuple):
            several = inner if len(inner) == len(shape) else [inner[0] if inner else None] * len(shape)
            parts = [self.value(part, kind, assets) for part, kind in zip(shape, several, strict=True)]
            named = self.kinds.class_of(annotation, tuple)
            if named == "tuple" or (isinstance(shape, tuple) and not named):
                return f"({', '.join(parts)}{',' * (len(parts) == 1)})"
            if named:
                return f"{self.imported_from_task(named)}({', '.join(parts)})"
            return f"[{', '.join(parts)}]"
        text = _text(shape) if isinstance(shape, str) else repr(shape)
        if isinstance(shape, float) and not math.isfinite(shape):
            text = f'float("{shape}")'
        enum = self.kinds.class_of(annotation, Enum) if shape is not None else ""
        return f"{self.imported_from_task(enum)}({text})" if enum else text

    def imported_from_task(self, name: str) -> str:
        """A class that the task's module uses, imported from there."""
        self.imported.setdefault(self.promoted.module, set()).add(name)
        return name


def _as_words(name: str) -> str:
    """A file's name within a docstring, which it must not end, nor go on after."""
    return re.sub(r'[\\"\x00-\x1f\x7f]', "?", name)


def _text(text: str) -> str:
    """A text, in pieces if it is long: the formatter breaks no text."""
    pieces = [text[start : start + WIDTH] for start in range(0, len(text), WIDTH)] or [""]
    return repr(text) if len(pieces) == 1 else f"({' '.join(map(repr, pieces))})"


def _marks(execution: Execution) -> list[str]:
    """What the test needs beside Python, and how long it takes."""
    fixtures: dict[str, None] = {}
    marks: list[str] = []
    for tool in execution.tools:
        if tool.source.startswith("maven"):
            fixtures["gatk_home"] = None
        elif tool.source == "PATH" and tool.name in DEBIAN:
            marks.append(f'pytest.mark.debian("{tool.name}")')
        elif tool.source == "PATH":
            absent = f'shutil.which("{tool.name}") is None'
            marks.append(f'pytest.mark.skipif({absent}, reason="NOT TESTED: no {tool.name} on PATH")')
        elif tool.source == "Python package" and tool.name in _optional_packages():
            fixtures["compiled"] = None
    if fixtures:
        marks.insert(0, f"pytest.mark.usefixtures({', '.join(map(repr, fixtures))})")
    if execution.seconds > SLOW:
        marks.append("pytest.mark.slow")
    if execution.seconds > LONG:
        marks.append(f"pytest.mark.timeout({min(LIMIT, 10 * math.ceil(execution.seconds))})")
    return marks


@functools.cache
def _optional_packages() -> frozenset[str]:
    """The names under which packages of an extra of stargazer-tasks are imported."""
    wanted = [line for line in metadata.requires("stargazer-tasks") or [] if "extra ==" in line]
    distributions = {_plain(line) for line in wanted}
    return frozenset(
        module
        for module, names in metadata.packages_distributions().items()
        if distributions & {_plain(name) for name in names}
    )


def _plain(requirement: str) -> str:
    """The name of a distribution at the head of a requirement, as indexes compare it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement, maxsplit=1)[0]).lower()
