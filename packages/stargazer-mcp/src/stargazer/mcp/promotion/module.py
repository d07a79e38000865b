"""Makes the files that a promoted task changes: its module, the front page, the entry points, catalogue and changelog.

Each function takes the text of a file as it is and gives it as it is to be; nothing is written here.
"""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from stargazer.assets import ConfigurationError
from stargazer.mcp.promotion.cells import PromotionError, first_line, refused
from stargazer.mcp.promotion.extraction import Extraction, Part, canonical
from stargazer.mcp.promotion.names import Taken, decorated_by
from stargazer.mcp.promotion.scope import BUILTINS, Imported, bound_names, names_used

__all__ = ["changed_catalogue", "changed_changelog", "changed_entry_points", "changed_front_page", "changed_module",
           "formatted", "notebook_line"]  # fmt: skip

WIDTH = 110
RUFF_SECONDS = 60


def changed_module(text: str | None, extraction: Extraction, path: Path) -> str:
    """The module with a task in it.

    Args:
        text: of the module; None for one that is to be made.
        path: of the module, below whose folders ruff finds its configuration.

    Raises:
        PromotionError: a name means something else in the module, or ruff finds what it does not mend.
    """
    if text is None:
        text = f"{_docstring(extraction.summary)}\n\nfrom __future__ import annotations\n\n__all__ = []\n"
    parts, imports = _not_there(text, extraction)
    text = _with_types(text, [each.statement for each in imports if each.for_types])
    text = _with_imports(text, [each.statement for each in imports if not each.for_types])
    text = _with_offered(text, extraction.offered)
    is_first = text.rstrip().endswith("]")  # of a new module, whose `__all__` it comes after
    body, gap = "", "\n" if is_first else "\n\n"
    for part in parts:
        body += f"{gap}{part.text}\n"
        gap = "\n" if isinstance(part.statement, ast.Assign | ast.AnnAssign) else "\n\n"
    whole = formatted(f"{text.rstrip()}\n{body}", path)
    _check(whole, path, extraction)
    return whole


def _docstring(summary: str) -> str:
    text = summary.replace("\\", "\\\\").replace('"""', "'''").rstrip('"')
    return f'"""{text}"""'


def _not_there(text: str, extraction: Extraction) -> tuple[list[Part], list[Imported]]:
    """What of an extraction a module does not have yet.

    Raises:
        PromotionError: it has something else of the name.
    """
    tree = ast.parse(text)
    there: dict[str, list[ast.stmt]] = {}
    for statement in [*tree.body, *(each for block in _type_blocks(tree) for each in block.body)]:
        for name in bound_names(statement) if statement not in _type_blocks(tree) else ():
            there.setdefault(name, []).append(statement)
    file = f"{extraction.promoted.module.replace('.', '/')}.py"
    notebook = extraction.promoted.notebook
    problems, parts, imports = [], [], []
    for part in extraction.parts:
        found = [each for name in part.names for each in there.get(name, [])]
        if not found:
            parts.append(part)
        elif any(canonical(each) != canonical(part.statement) for each in found):
            problems.append(
                f"{notebook}:{part.line}: {' and '.join(part.names)} is something else in {file} (line "
                f"{found[0].lineno}); rename it in the notebook, or promote into another module"
            )
    for imported in extraction.imports:
        found = there.get(imported.bound, [])
        same = any(_imports(each, imported) for each in found)
        if imported.module == extraction.promoted.module and found:  # defined where the task goes
            continue
        if found and not same and not all(_plain(each) and not imported.name for each in found):
            problems.append(
                f"{notebook}: {imported.bound} ({imported.statement}) is something else in {file} (line "
                f"{found[0].lineno}); import it by another name, or promote into another module"
            )
        elif not same:
            imports.append(imported)
    for part in extraction.parts:
        own = {name for each in extraction.parts for name in each.names}
        for name, line in names_used(part.statement).items():
            if name in BUILTINS and name in there and name not in own:
                problems.append(f"{notebook}:{line}: {name} is Python's own here, and something else in {file}; "
                                "promote into another module")  # fmt: skip
    if problems:
        raise refused(problems)
    return parts, imports


def _plain(statement: ast.stmt) -> bool:
    """Whether it is `import a.b`, of which several bind the same name to the same module."""
    return isinstance(statement, ast.Import) and all(each.asname is None for each in statement.names)


def _imports(statement: ast.stmt, imported: Imported) -> bool:
    """Whether a statement binds the name to the same."""
    if isinstance(statement, ast.Import):
        return not imported.name and any(
            each.name == imported.module
            and (each.asname or "") == (imported.bound if imported.renamed else "")
            for each in statement.names
        )
    return (
        isinstance(statement, ast.ImportFrom)
        and statement.module == imported.module
        and any(
            (each.name, each.asname or each.name) == (imported.name, imported.bound)
            for each in statement.names
        )
    )


def _type_blocks(tree: ast.Module) -> list[ast.If]:
    """What a module imports for annotations alone."""
    return [
        each for each in tree.body if isinstance(each, ast.If) and ast.unparse(each.test) == "TYPE_CHECKING"
    ]


def _with_types(text: str, statements: Sequence[str]) -> str:
    """A module with imports that are there for annotations alone."""
    if not statements:
        return text
    lines = text.split("\n")
    if blocks := _type_blocks(ast.parse(text)):
        last = blocks[0].body[-1].end_lineno or blocks[0].lineno
        return "\n".join([*lines[:last], *(f"    {each}" for each in statements), *lines[last:]])
    block = "\n".join(["", "if TYPE_CHECKING:", *(f"    {each}" for each in statements)])
    return _with_imports(text, ["from typing import TYPE_CHECKING", block])


def _with_imports(text: str, statements: Sequence[str]) -> str:
    tree = ast.parse(text)
    last = max(
        (each.end_lineno or 0 for each in tree.body if isinstance(each, ast.Import | ast.ImportFrom)),
        default=0,
    )
    if not last and tree.body and ast.get_docstring(tree) is not None:
        last = tree.body[0].end_lineno or 0
    lines = text.split("\n")
    return "\n".join([*lines[:last], *statements, *lines[last:]])


def _with_offered(text: str, names: Iterable[str]) -> str:
    """A module whose `__all__` has these names too, in ruff's order.

    Raises:
        PromotionError: its `__all__` is no plain list.
    """
    tree = ast.parse(text)
    lists = [each for each in tree.body if "__all__" in bound_names(each)]
    for each in lists if len(lists) == 1 else ():
        match each:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List(elts=elements)):
                known = [str(each.value) for each in elements if isinstance(each, ast.Constant)]
                lines = text.split("\n")
                last = each.end_lineno or each.lineno
                wrapped = "# fmt: skip" in lines[last - 1]
                return "\n".join(
                    [*lines[: each.lineno - 1], _all({*known, *names}, wrapped=wrapped), *lines[last:]]
                )
    if lists:
        raise PromotionError(
            "the `__all__` of the module is no plain list of names; write it as one, and promote again"
        )
    imports = [each.end_lineno or 0 for each in tree.body if isinstance(each, ast.Import | ast.ImportFrom)]
    lines, last = text.split("\n"), max(imports, default=0)
    return "\n".join([*lines[:last], "", _all(set(names), wrapped=False), *lines[last:]])


def _all(names: Iterable[str], *, wrapped: bool) -> str:
    """The list of a module's names, on one line, or as the house wraps it."""
    listed = ", ".join(f'"{name}"' for name in sorted(names, key=_isort_key))
    line = f"__all__ = [{listed}]"
    if not wrapped or len(line) <= WIDTH:
        return line
    inner = textwrap.fill(
        listed, 120 - len("__all__ = []  # fmt: skip"), break_long_words=False, break_on_hyphens=False
    )
    return f"__all__ = [{inner.replace(chr(10), chr(10) + ' ' * 11)}]  # fmt: skip"


def _isort_key(name: str) -> tuple[int, str]:
    """Constants, then classes, then the others, as ruff sorts `__all__`."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind, name


def changed_front_page(text: str, extraction: Extraction, path: Path) -> str:
    """The front page of stargazer.tasks with what an extraction offers."""
    module = extraction.promoted.module.removeprefix("stargazer.tasks")
    text = _with_imports(text, [f"from {module} import {name}" for name in extraction.offered])
    return formatted(_with_offered(text, extraction.offered), path)


def changed_entry_points(text: str, extraction: Extraction) -> str:
    """The pyproject.toml of stargazer-tasks, whose entry points name the module of a task."""
    import tomlkit

    document = tomlkit.parse(text)
    groups = ["stargazer.tasks", *(["stargazer.assets"] if extraction.asset_types else [])]
    for group in groups:
        points = document["project"]["entry-points"]
        if group not in points:
            points[group] = tomlkit.table()
        table, module = points[group], extraction.promoted.module
        if module not in table.values():
            words = module.removeprefix("stargazer.tasks.").split(".")
            name = words[-1] if words[-1] not in table else "_".join(words)
            table[name] = module
    return tomlkit.dumps(document)


def changed_catalogue(text: str, extraction: Extraction, target: Path, taken: Taken) -> str:
    """The script of docs/catalogue.md, which places a task with others of its module, else with those most like it."""
    groups = _groups(text)
    placed = {name: title for title, node in groups.items() for name in str(node.value).split()}
    task = extraction.promoted
    likeness = {
        node.name: _likeness(extraction, node) + 5 * (file == target)
        for file, node in taken.functions
        if node.name in placed
    }
    most = max(likeness.values(), default=0)
    titles = Counter(placed[name] for name, like in likeness.items() if like == most > 1)
    lines = text.split("\n")
    if not titles:
        title = task.module.rpartition(".")[2].replace("_", " ").capitalize()
        end = max(node.end_lineno or 0 for node in groups.values())
        return "\n".join([*lines[:end], f'    "{title}": """{task.function}""",', *lines[end:]])
    node = groups[titles.most_common(1)[0][0]]
    end = (node.end_lineno or 0) - 1
    head, quotes, tail = lines[end].rpartition('"""')
    long = len(f"{head} {task.function}{quotes}{tail}") > WIDTH
    added = f"\n        {task.function}" if long else f" {task.function}"
    lines[end] = f"{head}{added}{quotes}{tail}"
    return "\n".join(lines)


def _groups(text: str) -> dict[str, ast.Constant]:
    for node in ast.parse(text).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="GROUPS")], value=ast.Dict(keys=keys, values=values)):
                return {
                    str(key.value): value
                    for key, value in zip(keys, values, strict=True)
                    if isinstance(key, ast.Constant) and isinstance(value, ast.Constant)
                }
    raise ConfigurationError(".ci/catalogue.py has no GROUPS; expected a checkout of this version")


def _likeness(extraction: Extraction, other: ast.AsyncFunctionDef) -> int:
    """How much another task takes and gives the same types, in the same environment."""
    (own,) = (
        part.statement
        for part in extraction.parts
        if isinstance(part.statement, ast.AsyncFunctionDef)
        and part.statement.name == extraction.promoted.function
    )
    (takes, gives, by), (others_takes, others_gives, others_by) = map(_types, (own, other))
    return 2 * len(takes & others_takes) + 2 * (gives == others_gives) + (by == others_by)


def _types(function: ast.AsyncFunctionDef) -> tuple[set[str], str, str]:
    """The types of assets that a task takes, what it gives, and its environment."""
    annotations = [each.annotation for each in function.args.args if each.annotation is not None]
    names = {node.id for each in annotations for node in ast.walk(each) if isinstance(node, ast.Name)}
    gives = ast.unparse(function.returns) if function.returns is not None else ""
    made_by = decorated_by(function)
    return {name for name in names if name[0].isupper()}, gives, ast.unparse(made_by) if made_by else ""


def changed_changelog(text: str, extraction: Extraction) -> str:
    """The changelog with a line about a task, in a section that is not released yet."""
    task = extraction.promoted
    line = textwrap.fill(
        f"- `{task.function}` (`{task.module}`): {extraction.summary}",
        120,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    found = re.search(r"^## .*$", text, re.MULTILINE)
    if found is not None and "unreleased" in found[0]:
        return f"{text[: found.end()]}\n\n{line}\n{text[found.end() :].lstrip(chr(10))}"
    place = found.start() if found else len(text)
    return f"{text[:place]}## Next (unreleased)\n\n{line}\n\n{text[place:]}"


def formatted(text: str, path: Path) -> str:
    """Python as the checkout's ruff has it: imports sorted, types without the quotes that a cell needs."""
    text = _ruff(["check", "--select", "I,UP037", "--fix", "--quiet", "--exit-zero"], text, path)
    return _ruff(["format", "--quiet"], text, path)


def _ruff(words: Sequence[str], text: str, path: Path) -> str:
    done = _run_ruff(words, text, path)
    if done.returncode != 0:
        raise ConfigurationError(
            f"ruff cannot format {path.name}: {(done.stderr or done.stdout).strip()[-500:]}"
        )
    return done.stdout


def _run_ruff(words: Sequence[str], text: str, path: Path) -> subprocess.CompletedProcess[str]:
    folder = next(folder for folder in path.parents if folder.is_dir())
    command = [sys.executable, "-P", "-m", "ruff", *words, "--no-cache", "--stdin-filename", str(path), "-"]
    if words[0] == "format":
        command.remove("--no-cache")
    return subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=RUFF_SECONDS, cwd=folder, check=False
    )


def _check(text: str, path: Path, extraction: Extraction) -> None:
    """See that ruff finds nothing in a module.

    Raises:
        PromotionError: what it finds, by the lines of the notebook where it can be told.
    """
    done = _run_ruff(["check", "--quiet", "--output-format", "concise"], text, path)
    if done.returncode == 0:
        return
    problems = [
        _said(line, text, extraction) for line in done.stdout.splitlines() if re.search(r":\d+:\d+: ", line)
    ]
    raise refused(problems or [f"ruff fails on what would be written: {done.stderr.strip()[-500:]}"])


def _said(line: str, text: str, extraction: Extraction) -> str:
    number, said = re.sub(r"^.*?:(\d+):\d+: ", r"\1 ", line).split(" ", 1)
    blocks = said.startswith("ASYNC")  # what blocks the loop, such as reading a file
    advice = "do it in a plain function that the task calls" if blocks else "mend it in the cell"
    return f"{notebook_line(int(number), text, extraction)}: ruff says {said}; {advice}"


def notebook_line(number: int, text: str, extraction: Extraction) -> str:
    """The line of the notebook, as messages call it, that a line of the module is from; else that line itself."""
    wanted = text.split("\n")[number - 1].strip()
    for part in extraction.parts:
        for offset, each in enumerate(part.text.split("\n")):
            if wanted and each.strip() == wanted:
                return f"{extraction.promoted.notebook}:{_first(part) + offset}"
    return f"{extraction.promoted.notebook}: `{wanted[:80]}`"


def _first(part: Part) -> int:
    """The line of the notebook at which the text of a part begins."""
    comments = itertools.takewhile(lambda line: line.startswith("#"), part.text.split("\n"))
    return first_line(part.statement) - len(list(comments))
