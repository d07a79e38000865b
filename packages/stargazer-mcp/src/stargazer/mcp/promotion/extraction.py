"""Takes a task out of a notebook: its function, and the imports, constants, helpers and classes that it needs.

Nothing is run. What cannot be taken is refused, all of it at once, each with its line and what to do.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
from collections.abc import Iterator

import attrs
from stargazer.mcp.promotion.cells import Cell, Notebook, PromotionError, first_line, refused
from stargazer.mcp.promotion.names import Taken, asset_key, decorated_by, environment_name
from stargazer.mcp.promotion.packages import Packages
from stargazer.mcp.promotion.scope import (
    BUILTINS,
    Imported,
    bound_names,
    computed,
    evaluated,
    global_statements,
    names_at_definition,
    names_used,
)

__all__ = ["FOLDER", "SECRET", "Extraction", "Part", "Promoted", "canonical", "extract"]

FRONT_PAGE = "stargazer.tasks"
CHANGES = ("add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "reverse", "setdefault",
           "sort", "update")  # fmt: skip
"""Methods that change what they are called on."""

SECRET = re.compile(
    r"\b(gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|sk-[\w-]{20,}|hf_\w{20,}|xox[abprs]-[\w-]{10,}|AKIA[A-Z0-9]{16}"
    r"|eyJ[\w-]{10,}\.eyJ[\w-]{10,})|-----BEGIN [A-Z ]*PRIVATE KEY"
)
"""What tokens and keys of common services look like."""
HIDDEN = re.compile("[\u202a-\u202e\u2066-\u2069]")
FOLDER = re.compile(r"(/home/|/Users/|[A-Za-z]:\\+Users\\+)[^\s/\\'\"]+")
"""The folder of a person on some machine."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@attrs.frozen
class Promoted:
    """A task that is promoted.

    Attributes:
        task: its full name, environment and function: `htslib.count_lines`.
        function: the name of the function.
        module: where it goes: `stargazer.tasks.deepvariant`.
        notebook: file name of the notebook it is from.
        cell: the name of its cell, or "".
        parameters: the names of the function's parameters, in order.
    """

    task: str
    function: str
    module: str
    notebook: str
    cell: str
    parameters: tuple[str, ...]


@attrs.frozen
class Part:
    """A statement that is taken.

    Attributes:
        names: that it defines.
        text: as it is written in the notebook.
        line: of its first line in the notebook.
        statement: what it is in the notebook's syntax tree.
    """

    names: tuple[str, ...]
    text: str = attrs.field(repr=False)
    line: int
    statement: ast.stmt = attrs.field(repr=False)


@attrs.frozen
class Extraction:
    """What is taken out of a notebook.

    Attributes:
        promoted: the task.
        summary: the first line of its docstring.
        imports: that its code needs at the top of its module.
        parts: its code: what is needed to define others comes before them.
        offered: the names that people import: the task, the types of what it takes and gives, its environment.
        asset_types: keys of types of assets among them.
        warnings: what may be amiss.
    """

    promoted: Promoted
    summary: str
    imports: tuple[Imported, ...]
    parts: tuple[Part, ...]
    offered: tuple[str, ...]
    asset_types: tuple[str, ...]
    warnings: tuple[str, ...]


@attrs.frozen
class _Definition:
    cell: Cell
    statement: ast.stmt
    imported: Imported | None = None


def extract(notebook: Notebook, name: str, module: str, taken: Taken, packages: Packages) -> Extraction:
    """Take a task, and what it needs, out of a notebook.

    Args:
        name: of the task's function, or of its cell.
        module: where it goes.
        taken: names that tasks, environments and types of assets have already.
        packages: what may be imported.

    Raises:
        PromotionError: no such task, several, or something of it cannot be taken.
    """
    cell, function = _task_of(notebook, name)
    return _Extractor(notebook, cell, function, module, taken, packages).extraction()


def _tasks(cell: Cell) -> list[Function]:
    return [each for each in cell.statements if isinstance(each, Function) and decorated_by(each)]


def _task_of(notebook: Notebook, name: str) -> tuple[Cell, Function]:
    """The task that a name means, and its cell."""
    everywhere = [(cell, task) for cell in notebook.cells for task in _tasks(cell)]
    called = [(cell, task) for cell, task in everywhere if task.name == name]
    within = [(cell, task) for cell, task in everywhere if cell.name == name]
    found = called or within
    if len(found) == 1:
        return found[0]
    file = notebook.path.name
    if len(found) > 1:
        which = ", ".join(f"{file}::{task.name} (line {task.lineno})" for _, task in found)
        raise PromotionError(f"{file}: {name!r} means several tasks; name one of them: {which}")
    problems = [problem for cell in notebook.cells for problem in _misshapen(notebook, cell, name)]
    if problems:
        raise refused(problems)
    known = ", ".join(f"{task.name} (line {task.lineno})" for _, task in everywhere)
    has = f"it has {known}" if known else "it has none: a task is an `async def` under `@some_env.task`"
    raise PromotionError(f"{file} has no task, and no cell with one, that is called {name!r}; {has}")


def _misshapen(notebook: Notebook, cell: Cell, name: str) -> Iterator[str]:
    """What in a cell looks like the task that is meant but is none at its top level."""
    for statement in cell.statements:
        for node in ast.walk(statement):
            place = f"{notebook.at(getattr(node, 'lineno', cell.line))}: "
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef() if decorated_by(node) and name in (
                    node.name,
                    cell.name,
                ):
                    outer = getattr(statement, "name", "")
                    where = f"inside of `{outer}`" if outer else "inside of another statement"
                    yield (
                        f"{place}the task {node.name} is defined {where}; move it to the top level of its cell, and "
                        "give it what it takes from around it as parameters"
                    )
                case ast.Call(func=ast.Attribute(attr="task")) if _makes(statement, node, name, cell):
                    yield (
                        f"{place}a task that is made by a call of `{ast.unparse(node.func)}` has no function to take; "
                        "write it as an `async def` under the decorator, with types and a docstring"
                    )


def _makes(statement: ast.stmt, call: ast.Call, name: str, cell: Cell) -> bool:
    """Whether a statement binds what a call gives, and means what is asked for."""
    value = getattr(statement, "value", None)
    is_bound = isinstance(statement, ast.Assign | ast.AnnAssign) and value is not None
    inside = is_bound and any(each is call for each in ast.walk(value)) if value is not None else False
    return inside and name in (*bound_names(statement), cell.name)


class _Extractor:
    """One extraction: follows names from the task to what defines them."""

    def __init__(
        self,
        notebook: Notebook,
        cell: Cell,
        function: Function,
        module: str,
        taken: Taken,
        packages: Packages,
    ):
        self.notebook, self.cell, self.function, self.module = notebook, cell, function, module
        self.taken, self.packages = taken, packages
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.imports: dict[str, Imported] = {}
        self.parts: dict[ast.stmt, Part] = {}
        self.definitions: dict[Cell, dict[str, list[_Definition]]] = {
            each: _definitions(each) for each in notebook.cells
        }

    def extraction(self) -> Extraction:
        """All that is taken.

        Raises:
            PromotionError: something cannot be.
        """
        self._check_shape()
        self._take(_Definition(self.cell, self.function))
        self._check_parts()
        self._check_names()
        self._check_offered()
        environment = self._environment()
        if self.problems:
            raise refused(self.problems)
        function = self.function
        arguments = function.args
        parameters = [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        promoted = Promoted(
            task=f"{environment}.{function.name}",
            function=function.name,
            module=self.module,
            notebook=self.notebook.path.name,
            cell=self.cell.name,
            parameters=tuple(parameters),
        )
        keys = [asset_key(each) for each in self.parts if isinstance(each, ast.ClassDef)]
        return Extraction(
            promoted,
            summary=(ast.get_docstring(function) or "").strip().split("\n")[0],
            imports=tuple(sorted(self.imports.values(), key=lambda each: each.statement)),
            parts=tuple(self._ordered()),
            offered=tuple(self._offered()),
            asset_types=tuple(key for key in keys if key),
            warnings=tuple(self.warnings),
        )

    def _refuse(self, line: int, problem: str) -> None:
        self.problems.append(f"{self.notebook.at(line)}: {problem}")

    # what the task itself has to be

    def _check_shape(self) -> None:
        function, arguments = self.function, self.function.args
        line = function.lineno
        if not isinstance(function, ast.AsyncFunctionDef):
            self._refuse(line, f"{function.name} is not async; a task is an `async def`")
        elif any(isinstance(each, ast.Yield | ast.YieldFrom) for each in _own(function)):
            self._refuse(
                line, f"{function.name} is a generator (it has `yield`); let it return one result, or a list"
            )
        if not (ast.get_docstring(function) or "").strip():
            self._refuse(line, f"{function.name} has no docstring; say in its first line what it does")
        for each in (arguments.vararg, arguments.kwarg):
            if each is not None:
                self._refuse(
                    each.lineno, f"the parameters of a task have names; write out what *{each.arg} stands for"
                )
        if taken := self.taken.tasks.get(function.name):
            self._refuse(line, f"the name {function.name} is taken by {taken}; give the task another one")
        elif offered := self.taken.front_page.get(function.name):
            self._refuse(
                line,
                f"stargazer.tasks offers another {function.name} ({offered}); give the task another name",
            )
        if function.name.startswith("_"):
            self._refuse(
                line, f"{function.name} begins with an underscore, so nobody could import it; rename it"
            )

    def _check_types(self, function: Function) -> None:
        """mypy is strict in the packages."""
        arguments = function.args
        every = [
            *arguments.posonlyargs,
            *arguments.args,
            *arguments.kwonlyargs,
            arguments.vararg,
            arguments.kwarg,
        ]
        bare = [each.arg for each in every if each is not None and each.annotation is None]
        if bare:
            self._refuse(
                function.lineno, f"{function.name} does not say the type of {', '.join(bare)}; add it"
            )
        if function.returns is None:
            self._refuse(
                function.lineno, f"{function.name} does not say the type of its result; add it (`-> ...:`)"
            )

    def _environment(self) -> str:
        """The name of the environment that the task is declared in."""
        made_by = decorated_by(self.function)
        assert made_by is not None
        line = made_by.lineno
        if not isinstance(made_by, ast.Name):
            self._refuse(line, f"import the environment by its name, instead of `{ast.unparse(made_by)}`")
            return ""
        if made_by.id in self.imports:
            imported = self.imports[made_by.id]
            name = self.taken.environment_of(imported.module, imported.name)
            if name is None:
                self._refuse(line, f"no environment {imported.name} is found in {imported.module}; take one of "
                             "stargazer.tasks, or make one in a cell by AssetEnvironment(...)")  # fmt: skip
            return name or ""
        values = [
            getattr(each, "value", None) for each, part in self.parts.items() if made_by.id in part.names
        ]
        called = [each for each in values if isinstance(each, ast.Call)]
        name = next(filter(None, map(environment_name, called)), None)
        if any(ast.unparse(each.func).endswith("WorkflowEnvironment") for each in called):
            self._refuse(line, "this is a workflow; only tasks are promoted, a workflow is moved by hand")
        elif name is None and not self.problems:
            self._refuse(line, f"the name of the environment {made_by.id} is not written out; make it by "
                         'AssetEnvironment(name="...", ...)')  # fmt: skip
        elif name and (taken := self.taken.environments.get(name)):
            self._refuse(called[0].lineno, f"the environment {name!r} is taken by {taken}; import that one, or name "
                         "yours otherwise")  # fmt: skip
        return name or ""

    # following names

    def _take(self, definition: _Definition) -> None:
        statement = definition.statement
        if statement in self.parts:
            return
        text, line = self.notebook.text_of(definition.cell, statement), statement.lineno
        self.parts[statement] = Part(tuple(sorted(bound_names(statement))), text, line, statement)
        for each in global_statements(statement):
            self._refuse(each.lineno, f"`global {', '.join(each.names)}` changes what the notebook holds; hand it over "
                         "as parameters and results")  # fmt: skip
        for node in ast.walk(statement):
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._check_inner_import(node)
        for value in evaluated(statement):
            if found := computed(value, lambda each: self._kind(definition.cell, each)):
                node, what = found
                self._refuse(getattr(node, "lineno", statement.lineno), f"a default or attribute of "
                             f"{getattr(statement, 'name', '')} is {what}, once, when the module is imported; write it "
                             "as a literal, or compute it where it is used")  # fmt: skip
        if isinstance(statement, Function):
            self._check_types(statement)
        for name, used_at in sorted(names_used(statement).items(), key=lambda item: item[::-1]):
            self._follow(definition, name, used_at)

    def _follow(self, user: _Definition, name: str, line: int) -> None:
        found = self._resolve(user.cell, name)
        if not found:
            if name not in BUILTINS and name not in ("__name__", "__file__", "__doc__"):
                self._refuse(line, f"nothing in the notebook defines {name}; import or define it in a cell")
            elif name == "__file__":
                self._refuse(line, "__file__ is the notebook here and the module there; hand the path over")
            return
        changes = self._changes(name, found)
        if all(each.imported for each in found) and not changes:
            for each in found:
                self._take_import(each, line)
            return
        if len(found) + len(changes) > 1:
            lines = ", ".join(str(each.lineno) for each in (*(one.statement for one in found), *changes))
            self._refuse(line, f"{name} is given a value, or changed, more than once (lines {lines}); make it once, or "
                         "in the function")  # fmt: skip
            return
        (one,) = found
        self._take_one(one, name, line)

    def _take_one(self, one: _Definition, name: str, line: int) -> None:
        statement = one.statement
        if isinstance(statement, Function) and decorated_by(statement) and statement is not self.function:
            self._refuse(line, f"{name} is a task too, and a task is one operation; promote it first, and import it "
                         "from stargazer.tasks")  # fmt: skip
        elif isinstance(statement, Function | ast.ClassDef):
            key = asset_key(statement) if isinstance(statement, ast.ClassDef) else None
            if key and (taken := self.taken.asset_types.get(key)):
                self._refuse(
                    statement.lineno, f"the type of assets {key!r} is taken by {taken}; name it otherwise"
                )
            self._take(one)
        elif isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            if found := computed(statement.value, lambda each: self._kind(one.cell, each)):
                node, what = found
                place = self.notebook.at(getattr(node, "lineno", statement.lineno))
                self._refuse(line, f"{name} is {what} at {place}; make it a parameter of the task, compute it in the "
                             "task, or write it as a literal")  # fmt: skip
                return
            self._take(one)
        else:
            place = self.notebook.at(statement.lineno)
            self._refuse(line, f"{name} is bound by a `{_keyword(statement)}` at {place}; bind it by a plain import, "
                         "assignment, def or class at the top level of its cell, or make it a parameter")  # fmt: skip

    def _kind(self, cell: Cell, name: str) -> Imported | str:
        found = self._resolve(cell, name)
        if not found:
            return "builtin" if name in BUILTINS else "unknown"
        if found[0].imported:
            return found[0].imported
        statement = found[0].statement
        if isinstance(statement, ast.ClassDef):
            return "class"
        return "function" if isinstance(statement, Function) else "constant"

    def _resolve(self, cell: Cell, name: str) -> list[_Definition]:
        """What defines a name for a cell: its own statements, else those of another one, but no private names."""
        own = self.definitions[cell].get(name)
        if own or name.startswith("_"):
            return own or []
        return next((found for each in self.definitions.values() if (found := each.get(name))), [])

    def _changes(self, name: str, found: list[_Definition]) -> list[ast.stmt]:
        """Statements at the top level of cells that change what a name holds, without binding it anew."""
        defined = {each.statement for each in found}
        return [
            statement
            for cell in self.notebook.cells
            for statement in cell.statements
            if statement not in defined
            and (
                any(
                    _changed(node, calls=found[0].imported is None) == name
                    for node in _outside_functions(statement)
                )
                or (found[0].imported is None and name in _registered_with(statement))
            )
        ]

    # of imports

    def _take_import(self, definition: _Definition, line: int) -> None:
        imported = definition.imported
        assert imported is not None
        if problem := self.packages.problem(imported.module, at_top=not imported.for_types):
            self._refuse(
                line, f"{imported.bound} (line {definition.statement.lineno}) is not for a task: {problem}"
            )
        elif imported.module == "stargazer" or (not imported.name and imported.module == FRONT_PAGE):
            self._refuse(definition.statement.lineno, "import what is used of stargazer by name, such as "
                         "`from stargazer.tasks import htslib_env`")  # fmt: skip
        elif imported.module == FRONT_PAGE:
            defined = self.taken.front_page.get(imported.name)
            if (
                defined is None
                and not (self.taken.checkout.source / "tasks" / f"{imported.name}.py").is_file()
            ):
                self._refuse(definition.statement.lineno, f"stargazer.tasks offers no {imported.name} in this "
                             "checkout; see docs/catalogue.md for what it has")  # fmt: skip
            else:
                self._add_import(attrs.evolve(imported, module=defined or FRONT_PAGE))
        else:
            self._add_import(imported)

    def _add_import(self, imported: Imported) -> None:
        key = imported.bound if imported.name or imported.renamed else imported.module
        if self.imports.setdefault(key, imported) != imported:
            self.problems.append(f"{self.notebook.path.name}: {imported.bound} is imported as two things "
                                 f"({self.imports[key].statement}, {imported.statement}); rename one")  # fmt: skip

    def _check_inner_import(self, node: ast.Import | ast.ImportFrom) -> None:
        """An import inside of a function."""
        if isinstance(node, ast.ImportFrom) and node.level:
            self._refuse(
                node.lineno, "a relative import means nothing in a notebook; write the module's whole name"
            )
            return
        modules = [each.name for each in node.names] if isinstance(node, ast.Import) else [str(node.module)]
        for module in modules:
            if problem := self.packages.problem(module, at_top=False):
                self._refuse(node.lineno, problem)

    # what was taken

    def _check_parts(self) -> None:
        for part in self.parts.values():
            for offset, text in enumerate(part.text.split("\n")):
                line = first_line(part.statement) - _comments_above(part.text) + offset
                if SECRET.search(text):
                    self._refuse(line, "this looks like a secret, and all that see the repository would have it; "
                                 "revoke it if it is one, and take it out of the notebook")  # fmt: skip
                if HIDDEN.search(text):
                    self._refuse(line, "a character that changes the direction of text makes code look other than it "
                                 "is; take it out")  # fmt: skip
                if (found := FOLDER.search(text)) and "#" in text[: found.start()]:
                    self.warnings.append(f"{self.notebook.at(line)}: the comment has {found[0]!r}, which looks like a "
                                         "path of this machine")  # fmt: skip
            for node in ast.walk(part.statement):
                if (
                    isinstance(node, ast.Constant)
                    and isinstance(node.value, str)
                    and self._is_path(node.value)
                ):
                    self.warnings.append(f"{self.notebook.at(node.lineno)}: {node.value!r} looks like a path of this "
                                         "machine; a task is given its files as assets")  # fmt: skip

    def _is_path(self, text: str) -> bool:
        if re.fullmatch(r"(/|~/|[A-Za-z]:\\)[^\s:]*[\w)]/?", text) and len(text) > 3:
            return True
        try:
            looks = re.fullmatch(r"[\w./-]*[/.][\w./-]*\w", text) is not None
            return looks and (self.notebook.path.parent / text).exists()
        except (OSError, ValueError):
            return False

    def _ordered(self) -> Iterator[Part]:
        """Constants and classes, the task, then what is only called; what defining one needs comes before it."""
        by_name = {name: part for part in self.parts.values() for name in part.names}
        done: set[ast.stmt] = set()

        def emit(part: Part) -> Iterator[Part]:
            if part.statement not in done:
                done.add(part.statement)
                for name in sorted(names_at_definition(part.statement)):
                    if name in by_name:
                        yield from emit(by_name[name])
                yield part

        ranks = {part.statement: self._rank(part.statement) for part in self.parts.values()}
        for part in sorted(self.parts.values(), key=lambda part: (ranks[part.statement], part.line)):
            yield from emit(part)

    def _rank(self, statement: ast.stmt) -> int:
        if statement is self.function:
            return 1
        return 2 if isinstance(statement, Function) else 0

    def _offered(self) -> Iterator[str]:
        """The task, its environment, and the types that it takes and gives, with those of their fields."""
        classes = {each.name: each for each in self.parts if isinstance(each, ast.ClassDef)}
        wanted = [self.function.name, *_annotated(self.function)]
        for name in wanted:  # grows
            if name in classes:
                wanted += [each for each in _annotated(classes[name]) if each not in wanted]
        environment = decorated_by(self.function)
        if isinstance(environment, ast.Name):
            wanted.append(environment.id)
        for part in self.parts.values():
            yield from (name for name in part.names if name in wanted and not name.startswith("_"))

    def _check_offered(self) -> None:
        for part in self.parts.values():
            for name in set(part.names) & set(self._offered()) - {self.function.name}:
                if offered := self.taken.front_page.get(name):
                    self._refuse(
                        part.line, f"stargazer.tasks offers another {name} ({offered}); give it another name"
                    )

    def _check_names(self) -> None:
        """Private names of two cells would be one name in a module."""
        bound: dict[str, int] = {each.bound: 0 for each in self.imports.values()}
        for part in sorted(self.parts.values(), key=lambda part: part.line):
            for name in part.names:
                if name in bound:
                    other = f"line {bound[name]}" if bound[name] else "an import"
                    self._refuse(
                        part.line,
                        f"{name} is something else in another cell ({other}); rename one of the two",
                    )
                bound[name] = part.line


def _annotated(statement: ast.stmt) -> list[str]:
    """The names in the annotations of a function, or of a class and its bases."""
    found: list[ast.expr | None] = []
    if isinstance(statement, Function):
        found = [
            statement.returns,
            *(each.annotation for each in ast.walk(statement.args) if isinstance(each, ast.arg)),
        ]
    elif isinstance(statement, ast.ClassDef):
        fields = [each.annotation for each in statement.body if isinstance(each, ast.AnnAssign)]
        found = [*statement.bases, *fields]
    return [
        node.id for each in found if each is not None for node in ast.walk(each) if isinstance(node, ast.Name)
    ]


def _definitions(cell: Cell) -> dict[str, list[_Definition]]:
    """What the statements of a cell bind, by name."""
    found: dict[str, list[_Definition]] = {}
    for statement in cell.statements:
        is_block = isinstance(statement, ast.If) and ast.unparse(statement.test).endswith("TYPE_CHECKING")
        for_types = statement.body if is_block and isinstance(statement, ast.If) else []
        imports = [each for each in (statement, *for_types) if isinstance(each, ast.Import | ast.ImportFrom)]
        for each in imports:
            for bound, imported in _imported(each):
                known = attrs.evolve(imported, for_types=is_block)
                found.setdefault(bound, []).append(_Definition(cell, each, known))
        if not imports:
            for name in bound_names(statement):
                found.setdefault(name, []).append(_Definition(cell, statement))
    return found


def _imported(statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Imported]]:
    for alias in statement.names:
        renamed = alias.asname is not None
        if isinstance(statement, ast.ImportFrom):
            module = "." * statement.level + (statement.module or "")
            yield (
                alias.asname or alias.name,
                Imported(alias.asname or alias.name, module, alias.name, renamed),
            )
        else:
            bound = alias.asname or alias.name.partition(".")[0]
            yield bound, Imported(bound, alias.name, "", renamed)


def _changed(node: ast.AST, *, calls: bool) -> str | None:
    """The name whose value a node changes in place, where asked for also by a call of a method."""
    target: ast.expr | None = None
    match node:
        case ast.Call(func=ast.Attribute(value=value, attr=attr)) if calls and attr in CHANGES:
            target = value
        case ast.Subscript(ctx=ast.Store() | ast.Del()) | ast.Attribute(ctx=ast.Store() | ast.Del()):
            target = node.value
    while isinstance(target, ast.Subscript | ast.Attribute):
        target = target.value
    return target.id if isinstance(target, ast.Name) else None


def _registered_with(statement: ast.stmt) -> set[str]:
    """The names whose attributes decorate a function or class: it becomes a part of them (`@dispatched.register`)."""
    found: set[str] = set()
    if isinstance(statement, Function | ast.ClassDef):
        for each in statement.decorator_list:
            called = each.func if isinstance(each, ast.Call) else each
            if (
                isinstance(called, ast.Attribute)
                and called.attr != "task"
                and isinstance(called.value, ast.Name)
            ):
                found.add(called.value.id)
    return found


def _comments_above(text: str) -> int:
    return len(list(itertools.takewhile(lambda line: line.startswith("#"), text.split("\n"))))


def _outside_functions(statement: ast.stmt) -> Iterator[ast.AST]:
    nodes: list[ast.AST] = [statement]
    for node in nodes:  # grows
        if not isinstance(node, Function | ast.ClassDef | ast.Lambda):
            yield node
            nodes += ast.iter_child_nodes(node)


def _own(function: Function) -> Iterator[ast.AST]:
    """The nodes of a function's body, without those of functions inside."""
    nodes: list[ast.AST] = list(function.body)
    for node in nodes:  # grows
        yield node
        if not isinstance(node, Function | ast.ClassDef | ast.Lambda):
            nodes += ast.iter_child_nodes(node)


def _keyword(statement: ast.stmt) -> str:
    return (
        type(statement).__name__.removesuffix("Def").removeprefix("Async").lower().replace("augassign", "+=")
    )


def canonical(statement: ast.stmt) -> str:
    """What a statement does, whatever its formatting, comments and the indentation of its docstrings."""
    copy = ast.parse(ast.unparse(statement))
    for node in ast.walk(copy):
        if isinstance(node, Function | ast.ClassDef) and ast.get_docstring(node) is not None:
            first = node.body[0]
            assert isinstance(first, ast.Expr)
            first.value = ast.Constant(inspect.cleandoc(ast.get_docstring(node) or ""))
    return ast.dump(copy)
