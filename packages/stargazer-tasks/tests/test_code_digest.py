"""The digest of a task's code: what changes it, what does not, and what is refused."""

from __future__ import annotations

import ast
import asyncio
import functools
import hashlib
import importlib
import itertools
import linecache
import os
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stargazer.assets import StargazerError
from stargazer.tasks.execution.digest.canonical import canonical, essential
from stargazer.tasks.execution.digest.code import Digest, Undigestable, code_digest
from stargazer.tasks.execution.digest.definitions import parse

Files = dict[str, str]
Digester = Callable[..., Digest]
numbers = itertools.count()

RUNNER = """
class Tool:
    def __init__(self, name, options): self.name, self.options = name, options
def workspace(): return "here"
"""


@pytest.fixture
def lab(tmp_path, monkeypatch) -> Iterator[Callable[..., types.ModuleType]]:
    """Write and import a package of its own name; answer its module `tasks`."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def load(tasks: str, **modules: str) -> types.ModuleType:
        name = f"lab{next(numbers)}"
        (tmp_path / name).mkdir()
        for module, text in {"__init__": "", "runner": RUNNER, **modules, "tasks": tasks}.items():
            (tmp_path / name / f"{module}.py").write_text(text)
        importlib.invalidate_caches()
        return importlib.import_module(f"{name}.tasks")

    yield load
    for name in set(sys.modules) - before:
        if name.startswith("lab"):
            del sys.modules[name]


def digest_of(module: types.ModuleType, name: str = "task") -> Digest:
    package = module.__name__.partition(".")[0]
    function = getattr(module, name)
    return code_digest(getattr(function, "func", function), package, (f"{package}.runner",))


@pytest.fixture
def digest(lab) -> Digester:
    return lambda tasks, **modules: digest_of(lab(tasks, **modules))


TASK = '''
import math
from typing import NamedTuple
from .helpers import clean
LIMIT = 20
class Window(NamedTuple):
    start: int
    size: int = 5
def shift(x, by=3):
    return x + by
async def task(x: int, y="left") -> int:
    """Do it."""
    z: int = shift(x)  # a hint
    return clean(math.floor(z) + LIMIT, y), Window(1)
'''
HELPERS = """
FACTOR = 2
def clean(x, y):
    return x * FACTOR, f"{y}-{x:>{FACTOR}}"
"""

UNCHANGED = {
    "comment": ("LIMIT = 20", "LIMIT = 20  # why not"),
    "docstring": ('"""Do it."""', '"""Do it in another way.\n    At length."""'),
    "no docstring": ('    """Do it."""\n', ""),
    "blank lines": ("def shift", "\n\n\n\ndef shift"),
    "parentheses": ("x + by", "(x\n        + by)"),
    "quotes": ('"left"', "'left'"),
    "number": ("LIMIT = 20", "LIMIT = 0x14"),
    "expression of the same value": ("LIMIT = 20", "LIMIT = 4 * 5"),
    "hint of an argument": ("x: int", "x: float"),
    "hint of the result": (" -> int", ""),
    "hint of a variable": ("z: int =", "z ="),
    "bare hint": ("    z: int", "    w: str\n    z: int"),
    "hint of a constant": ("LIMIT = 20", "LIMIT: int = 20"),
    "unused helper": ("LIMIT = 20", "LIMIT = 20\ndef unused(): pass"),
    "unused import": ("import math", "import math, json"),
    "order": ("LIMIT = 20\n", ""),
    "docstring of a helper": ("by=3):", 'by=3):\n    "Shift."'),
    "docstring of a class": ("Window(NamedTuple):", 'Window(NamedTuple):\n    "Of bases."'),
}
CHANGED = {
    "body": ("math.floor(z) + LIMIT", "math.floor(z) - LIMIT"),
    "function of another module": ("math.floor", "math.ceil"),
    "constant": ("LIMIT = 20", "LIMIT = 21"),
    "type of a constant": ("LIMIT = 20", "LIMIT = 20.0"),
    "default": ('y="left"', 'y="right"'),
    "default of a helper": ("by=3", "by=4"),
    "helper": ("x + by", "x - by"),
    "field of a class": ("size: int = 5", "size: int = 6"),
    "type of a field": ("size: int", "size: float"),
    "name of a field": ("start: int", "begin: int"),
    "other import": ("from .helpers import clean", "from .helpers import other as clean"),
    "async": ("async def task", "def task"),
}


@pytest.mark.parametrize("edit", UNCHANGED.values(), ids=UNCHANGED)
def test_what_cannot_change_a_result_does_not_count(digest, edit):
    assert edit[0] in TASK
    after = TASK.replace(*edit)
    if edit == UNCHANGED["order"]:
        after += "LIMIT = 20\n"
    assert digest(TASK, helpers=HELPERS) == digest(after, helpers=HELPERS)


@pytest.mark.parametrize("edit", CHANGED.values(), ids=CHANGED)
def test_what_can_change_a_result_counts(digest, edit):
    assert edit[0] in TASK
    helpers = HELPERS + "other = lambda x, y: x\n"
    assert digest(TASK, helpers=helpers).hex != digest(TASK.replace(*edit), helpers=helpers).hex


@pytest.mark.parametrize("edit", [("FACTOR = 2", "FACTOR = 3"), ("x * FACTOR", "x + FACTOR"), ("}-{", "}+{")])
def test_a_helper_in_a_sibling_module_counts_with_what_it_uses(digest, edit):
    assert edit[0] in HELPERS
    assert digest(TASK, helpers=HELPERS).hex != digest(TASK, helpers=HELPERS.replace(*edit)).hex


def test_the_module_a_helper_lives_in_does_not_count(digest):
    moved = TASK.replace(".helpers", ".elsewhere")
    assert digest(TASK, helpers=HELPERS) == digest(moved, elsewhere=HELPERS)


# Each: a task's module, and an edit of something it reaches.
REACHED = {
    "closure": (
        "def make(n):\n    def task(): return n\n    return task\ntask = make(3)\n",
        ("make(3)", "make(4)"),
    ),
    "function in a closure": (
        "def make(f):\n    def task(): return f(1)\n    return task\ntask = make(lambda x: x + 1)\n",
        ("x + 1", "x + 2"),
    ),
    "nonlocal": (
        "def make(n):\n    def step():\n        nonlocal n\n        n += 1\n    return step\n"
        "step = make(3)\ndef task(): return step()\n",
        ("make(3)", "make(4)"),
    ),
    "default from a loop": (
        "steps = [lambda x, n=n: x + n for n in (1, 2)]\ndef task(): return steps\n",
        ("(1, 2)", "(1, 3)"),
    ),
    "partial": (
        "import functools\ndef add(a, b): return a + b\nadd2 = functools.partial(add, b=2)\n"
        "def task(): return add2(1)\n",
        ("b=2", "b=3"),
    ),
    "function of a partial": (
        "import functools\ndef add(a, b): return a + b\nadd2 = functools.partial(add, b=2)\n"
        "def task(): return add2(1)\n",
        ("a + b", "a - b"),
    ),
    "enum": (
        "import enum\nclass Mode(enum.Enum):\n    FAST = 1\nMODE = Mode.FAST\ndef task(): return MODE\n",
        ("= 1", "= 2"),
    ),
    "member of an enum": (
        "import enum\nclass Mode(enum.IntEnum):\n    A = 1\n    B = 2\nMODES = {'m': Mode.A}\n"
        "def task(): return MODES\n",
        ("Mode.A", "Mode.B"),
    ),
    "attrs class": (
        "import attrs\n@attrs.frozen\nclass Cut:\n    depth: int = 3\ndef task(): return Cut()\n",
        ("= 3", "= 4"),
    ),
    "attrs instance": (
        "import attrs\n@attrs.frozen\nclass Cut:\n    depth: int = 3\nCUT = Cut(5)\ndef task(): return CUT\n",
        ("Cut(5)", "Cut(6)"),
    ),
    "dataclass instance": (
        "from dataclasses import dataclass\n@dataclass\nclass Cut:\n    depth: int\n"
        "    def double(self): return 2\n"
        "CUT = Cut(5)\ndef task(): return CUT.double()\n",
        ("return 2", "return 3"),
    ),
    "property of a named tuple": (
        "from typing import NamedTuple\nclass Cut(NamedTuple):\n    a: int\n    @property\n"
        "    def double(self): return 2\n"
        "CUT = Cut(5)\ndef task(): return CUT.double\n",
        ("return 2", "return 3"),
    ),
    "base class": (
        "class Base:\n    def go(self): return 1\nclass Cut(Base): pass\ndef task(): return Cut().go()\n",
        ("return 1", "return 2"),
    ),
    "class made by a call": (
        "from collections import namedtuple\nCut = namedtuple('Cut', 'a b')\ndef task(): return Cut(1, 2)\n",
        ("'a b'", "'b a'"),
    ),
    "table of functions": (
        "def one(): return 1\nTABLE = {'a': one}\ndef task(): return TABLE['a']()\n",
        ("return 1", "return 2"),
    ),
    "table filled by a decorator": (
        "TABLE = {}\ndef register(f):\n    TABLE[f.__name__] = f\n    return f\n@register\ndef one(): return 1\n"
        "def task(): return TABLE['one']()\n",
        ("return 1", "return 2"),
    ),
    "pattern": ("import re\nNAME = re.compile('a+')\ndef task(): return NAME\n", ("a+", "b+")),
    "instance by its statement": (
        "class Cut:\n    def __init__(self, n): self.n = n\nCUT = Cut(3)\ndef task(): return CUT\n",
        ("Cut(3)", "Cut(4)"),
    ),
    "recursion": (
        "def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)\n"
        "def task(n): return even(n)\n",
        ("n != 0", "n > 0"),
    ),
    "own decorator": (
        "import functools\ndef twice(n):\n    def wrap(f):\n        @functools.wraps(f)\n"
        "        def inner(*a): return f(*a) * n\n"
        "        return inner\n    return wrap\n@twice(2)\ndef helper(): return 1\ndef task(): return helper()\n",
        ("@twice(2)", "@twice(3)"),
    ),
    "code of an own decorator": (
        "import functools\ndef plus(f):\n    @functools.wraps(f)\n    def inner(*a): return f(*a) + 1\n"
        "    return inner\n"
        "@plus\ndef helper(): return 1\ndef task(): return helper()\n",
        ("f(*a) + 1", "f(*a) + 2"),
    ),
    "cached helper": (
        "import functools\n@functools.lru_cache(maxsize=3)\ndef helper(): return 1\ndef task(): return helper()\n",
        ("return 1", "return 2"),
    ),
    "context manager": (
        "import contextlib\n@contextlib.contextmanager\ndef helper(): yield 1\ndef task():\n"
        "    with helper() as x: return x\n",
        ("yield 1", "yield 2"),
    ),
    "class method": (
        "class Cut:\n    @classmethod\n    def make(cls): return 1\nmake = Cut.make\ndef task(): return make()\n",
        ("return 1", "return 2"),
    ),
    "lambda": ("pick = lambda x: x + 1\ndef task(): return pick(1)\n", ("x + 1", "x + 2")),
    "nested function": (
        "A = 1\ndef task():\n    def inner():\n        return [A for _ in range(3)]\n    return inner()\n",
        ("A = 1", "A = 2"),
    ),
    "comprehension in a default": (
        "A = (1, 2)\ndef task(x=[a for a in A]): return x\n",
        ("(1, 2)", "(1, 3)"),
    ),
    "constant under if": (
        "import sys\nif sys.platform:\n    A = object()\ndef task(): return A\n",
        ("object()", "object"),
    ),
}


@pytest.mark.parametrize("case", REACHED.values(), ids=REACHED)
def test_whatever_a_task_reaches_counts(digest, case):
    text, edit = case
    assert text.count(edit[0]) == 1
    assert digest(text) == digest(text)
    assert digest(text) == digest(ast.unparse(ast.parse(text)))
    assert digest(text).hex != digest(text.replace(*edit)).hex


# Other digests void every result that was memoised.
GOLDEN = "27ade4a5956603771e8be1a9303fb3ff296787239855b5bd23a91a3803da75fa"


def test_the_digests_are_these_on_every_python(digest):
    found = [digest(TASK, helpers=HELPERS).hex, *(digest(text).hex for text, _ in REACHED.values())]
    assert hashlib.sha256("".join(found).encode()).hexdigest() == GOLDEN


IMPORTS = {
    "attribute of a module": "from . import helpers\ndef task(): return helpers.clean(1, 2)\n",
    "under another name": "from . import helpers as h\ndef task(): return h.clean(1, 2)\n",
    "inside the body": "def task():\n    from .helpers import clean\n    return clean(1, 2)\n",
    "renamed inside the body": "def task():\n    from .helpers import clean as c\n    return c(1, 2)\n",
    "module inside the body": "def task():\n    from . import helpers\n    return helpers.clean(1, 2)\n",
    "nested module": "from . import hub\ndef task(): return hub.helpers.clean(1, 2)\n",
    "passed through": "from .hub import clean\ndef task(): return clean(1, 2)\n",
}


@pytest.mark.parametrize("text", IMPORTS.values(), ids=IMPORTS)
def test_every_way_to_import_a_helper_counts(digest, text):
    hub = "from . import helpers\nfrom .helpers import clean\n"
    changed = HELPERS.replace("FACTOR = 2", "FACTOR = 3")
    assert digest(text, hub=hub, helpers=HELPERS) == digest(text, hub=hub, helpers=HELPERS)
    assert digest(text, hub=hub, helpers=HELPERS).hex != digest(text, hub=hub, helpers=changed).hex
    unused = HELPERS + "OTHER = 5\n"
    assert digest(text, hub=hub, helpers=HELPERS) == digest(text, hub=hub, helpers=unused)


def test_a_dotted_import_reaches_the_package(lab, tmp_path):
    found = []
    for factor in (2, 3):
        name = f"lab{next(numbers)}"
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
        (tmp_path / name / "helpers.py").write_text(f"def clean(): return {factor}\n")
        (tmp_path / name / "tasks.py").write_text(
            f"import {name}.helpers\ndef task(): return {name}.helpers.clean()\n"
        )
        walk = code_digest(importlib.import_module(f"{name}.tasks").task, name)
        assert walk.externals == frozenset()
        importlib.import_module(f"{name}.helpers").clean = lambda: 0
        assert code_digest(importlib.import_module(f"{name}.tasks").task, name) != walk
        found.append(walk)
    assert found[0] != found[1]


def test_an_object_made_in_a_sibling_module_counts_by_the_statement_there(digest):
    text = "from .made import THING\ndef task(): return THING\n"
    before = "class Thing:\n    def __init__(self, n): self.n = n\nTHING = Thing(1)\n"
    assert digest(text, made=before).hex != digest(text, made=before.replace("Thing(1)", "Thing(2)")).hex


def test_packages_used_from_outside_are_named(digest):
    text = (
        "import json, os.path\nimport attrs\nfrom hypothesis import given\nA = attrs.NOTHING\ndef task():\n"
    )
    text += "    import numpy as np\n    from installed_nowhere.stats import norm\n"
    text += "    from stargazer.assets import Asset\n"
    text += "    return np, norm, json.dumps(1), os.path.join('a'), A, given, Asset\n"
    assert digest(text).externals == {"attr", "hypothesis", "installed_nowhere", "numpy", "stargazer.assets"}


def test_an_asset_class_counts_by_its_name(digest):
    text = "from stargazer.assets import Asset\ndef task(): return Asset\n"
    assert digest(text).externals == {"stargazer.assets"}
    assert digest(text) != digest(text.replace("import Asset", "import IpFile as Asset"))


@pytest.mark.parametrize("text", ["tool('a')", "workspace() / 'a'", "runner.workspace()"])
def test_the_runner_is_not_followed(digest, text):
    tasks = "from . import runner\nfrom .runner import Tool, workspace\ntool = Tool('gatk', 1)\n"
    tasks += f"def task(): return {text}\n"
    changed = RUNNER.replace('"here"', '"there"').replace("self.options =", "self.more =")
    assert digest(tasks, runner=RUNNER) == digest(tasks, runner=changed)
    assert digest(tasks, runner=RUNNER).externals == frozenset()


def test_a_tool_counts_by_its_type_and_name(digest):
    text = "from .runner import Tool\ntool = Tool('gatk', 1)\ndef task(): return tool('Sort')\n"
    assert digest(text) == digest(text.replace("1)", "2)"))
    assert digest(text) != digest(text.replace("'gatk'", "'bwa'"))


FLYTE = """
import flyte
env = flyte.TaskEnvironment(name="env")
@env.task
async def other(x: int) -> int: return x + 1
@env.task(retries=3)
async def task(x: int) -> int: return await other(x)
"""


def test_a_flyte_task_counts_as_its_function_without_the_decorator(lab):
    module, changed = lab(FLYTE), lab(FLYTE.replace("(retries=3)", ""))
    plain = lab(FLYTE.replace("@env.task(retries=3)\n", ""))
    assert digest_of(module) == digest_of(changed) == digest_of(plain)
    assert digest_of(module) != digest_of(lab(FLYTE.replace("await other", "1 + await other")))


def test_another_task_counts_by_its_name(digest):
    assert digest(FLYTE) == digest(FLYTE.replace("x + 1", "x + 2"))
    assert digest(FLYTE) != digest(FLYTE.replace('name="env"', 'name="vne"'))


def test_a_wrapper_of_the_runner_is_looked_through(lab):
    module = lab("def task(): return 1\n")

    @functools.wraps(module.task)
    async def wrapped() -> int:
        await asyncio.sleep(0)
        return 2

    package = module.__name__.partition(".")[0]
    assert code_digest(wrapped, package) == digest_of(module)


REFUSED = {
    "an open file": "import io\nF = {'f': io.StringIO()}\nG = dict(F)\ndef make(f):\n"
    "    def task(): return f\n    return task\ntask = make(F)\n",
    "an object in a closure": "def make(f):\n    def task(): return f\n    return task\ntask = make(object())\n",
    "a module as a value": "from . import runner2\ndef task(n): return getattr(runner2, n)\n",
    "a class in a function": "def make(n):\n    class Cut:\n        x = n\n    return Cut\nCut = make(1)\n"
    "def task(): return Cut\n",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_has_no_stable_form_is_refused_by_name(digest, text):
    with pytest.raises(Undigestable, match=r"\S") as error:
        digest(text, runner2="A = 1\n")
    assert isinstance(error.value, StargazerError)


def test_the_refusal_says_what_and_what_to_do():
    box = object()

    def task() -> object:
        return box

    with pytest.raises(Undigestable, match=r"box: a object has no stable form .* make it plain data"):
        code_digest(task, "nothing")


def test_something_else_than_a_function_is_refused():
    with pytest.raises(Undigestable, match="taken of a Python function"):
        code_digest(len, "nothing")


def test_a_file_edited_after_it_was_loaded_is_refused(lab):
    module = lab(
        "def helper(): return 1\nclass A:\n    def go(self): return 1\ndef task(): return helper(), A\n"
    )
    path = module.__file__
    for edit in ["def helper(): return 1", "def go(self): return 1"]:
        with open(path) as file:
            text = file.read()
        with open(path, "w") as file:
            file.write(text.replace(edit, edit.replace("1", "2")))
        linecache.clearcache()
        with pytest.raises(Undigestable, match="restart"):
            digest_of(module)
        with open(path, "w") as file:
            file.write(text)
        linecache.clearcache()
        digest_of(module)


def test_an_edited_and_reloaded_module_counts_as_it_is_now(lab):
    module = lab("def task(): return 1\n")
    before = digest_of(module)
    with open(module.__file__, "w") as file:
        file.write("# longer\n\ndef task(): return 22\n")
    assert digest_of(importlib.reload(module)) != before


class Notebook:
    """Cells run one after another, as a kernel does it."""

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {"__name__": "__main__"}

    def run(self, text: str, cell: str = "") -> None:
        """Run a cell; one that is named is a cell of marimo, and keeps its name."""
        name = f"/tmp/marimo_1/__marimo__cell_{cell}_.py" if cell else f"<cell-{next(numbers)}>"
        linecache.cache[name] = len(text), None, text.splitlines(True), name
        exec(compile(text, name, "exec"), self.scope)  # noqa: S102

    def digest(self) -> Digest:
        return code_digest(self.scope["task"], "nothing")


@pytest.fixture
def notebook(monkeypatch) -> Iterator[Notebook]:
    made = Notebook()
    module = types.ModuleType("__main__")
    module.__dict__.clear()
    made.scope = module.__dict__
    made.scope["__name__"] = "__main__"
    monkeypatch.setitem(sys.modules, "__main__", module)
    yield made
    for name in [name for name in linecache.cache if name.startswith(("<cell-", "/tmp/marimo_1/"))]:
        del linecache.cache[name]


def test_a_cell_of_a_notebook_that_runs_as_a_script_is_compiled_alone():
    setup = "app = marimo.App()\nwith app.setup:\n    import asyncio\n"
    task = "async def task():\n    await asyncio.sleep(0)\n"
    (code, *_) = compile("\n" * 4 + task, "cell", "exec").co_consts

    assert parse(f"{setup}@app.function\n{task}", main=True).runs(code)


def test_the_cells_of_a_notebook_count(notebook):
    notebook.run("import attrs, re\nN = 3\ndef helper(x):\n    return x + N\n")
    notebook.run(
        "@attrs.frozen\nclass Cut:\n    depth: int = 3\nclass Odd:\n    def __init__(self, n): self.n = n\n"
        "odd = Odd(1)\n"
    )
    notebook.run("async def task(x):\n    return helper(x), Cut(), odd\n")
    digests = [notebook.digest()]
    for cell in [
        "N = 4\n",
        "def helper(x):\n    return x - N\n",
        "@attrs.frozen\nclass Cut:\n    depth: int = 5\n",
        "odd = Odd(2)\n",
        "async def task(x):\n    return helper(x), Cut(), odd, 1\n",
    ]:
        notebook.run(cell)
        digests.append(notebook.digest())
    assert len({item.hex for item in digests}) == 6
    notebook.run("# run again\nasync def task(x):\n    return (helper(x), Cut(), odd, 1)\n")
    assert notebook.digest() == digests[-1]
    assert notebook.digest().externals == {"attrs"}


@pytest.fixture
def marimo(notebook, monkeypatch, tmp_path) -> Notebook:
    monkeypatch.setitem(sys.modules, "marimo", types.ModuleType("marimo"))
    path = tmp_path / "notebook.py"
    path.write_text("odd = 'as the file has it, which may be older or newer'\n")
    notebook.scope["__file__"] = str(path)
    return notebook


def test_what_a_marimo_cell_computed_has_no_stable_form(marimo):
    marimo.run("class Odd:\n    def __init__(self, n): self.n = n\nodd = Odd(1)\n", "aa")
    marimo.run("async def task(x): return odd\n", "bb")
    with pytest.raises(Undigestable, match=r"odd: what a cell has computed, a Odd here, has no stable form"):
        marimo.digest()


@pytest.mark.parametrize(
    ("cell", "used", "change"),
    [
        ("class C: n = 1", "C.n", "C.n = 2"),
        ("class C: n = 1", "getattr(C, 'm', 0)", "C.m = 2"),
        ("class C:\n  def go(self): return 1", "C().go()", "C.go = lambda self: 2"),
        ("class C:\n  n = {}\n  @classmethod\n  def add(cls, n): cls.n[n] = n", "C.n", "C.add(1)"),
        ("class C: n = READ()", "C.n", "class C: n = READ()"),
        ("import enum\nclass C(enum.Enum): A = READ()", "C.A", "class C(enum.Enum): A = READ()"),
        ("import attrs\n@attrs.frozen\nclass C:\n  n: int = READ()", "C().n",
         "@attrs.frozen\nclass C:\n  n: int = READ()"),
        ("import dataclasses as d\n@d.dataclass\nclass C:\n  n: int = READ()", "C().n",
         "@d.dataclass\nclass C:\n  n: int = READ()"),
        ("from typing import NamedTuple\nclass C(NamedTuple):\n  n: int = READ()", "C().n",
         "class C(NamedTuple):\n  n: int = READ()"),
        ("import dataclasses as d\n@d.dataclass\nclass B: a: int = 1\nclass C(B): pass\nc = C()\nc.n = 1", "c.n",
         "c.n = 2"),
        ("import collections\nC = collections.defaultdict(lambda: 1)", "C['x']",
         "C = collections.defaultdict(lambda: 2)"),
        ("f, g = (lambda: 1), (lambda: 2)", "f()", "g, f = (lambda: 1), (lambda: 2)"),
        ("def f(): return f.n\nf.n = 1", "f()", "f.n = 2"),
        ("class C(list): pass\nc = C([1])\nc.n = 1", "c.n", "c.n = 2"),
        ("import functools\n@functools.singledispatch\ndef f(x): return 1\n@f.register\ndef g(x: int): return 1",
         "f(1)", "@f.register\ndef h(x: int): return 2"),
    ],
)  # fmt: skip
def test_what_a_class_or_function_of_a_cell_holds_counts(marimo, cell, used, change):
    """A result that is of the former state would be given otherwise, without a word."""
    values = itertools.count()
    marimo.scope["READ"] = lambda: next(values)  # as of a file that was edited meanwhile
    marimo.scope["READ"].__module__ = "json"
    marimo.run(cell, "aa")
    marimo.run(f"async def task(x): return {used}\n", "bb")
    before = marimo.digest()
    assert marimo.digest() == before
    marimo.run(change, "aa" if "class C" in change else "cc")
    assert marimo.digest() != before


def test_a_class_of_a_cell_counts_as_the_same_in_a_package(marimo, lab):
    text = (
        "import enum, typing\nimport attrs\nclass Kind(enum.StrEnum):\n  ONE = 'one'\n"
        "class Pair(typing.NamedTuple):\n  left: int\n  right: int = 2\n"
        "@attrs.frozen\nclass Cut:\n  depth: int = 3\n  names: list = attrs.field(factory=list)\n"
        "  @property\n  def half(self): return self.depth / 2\n"
        "async def task(x): return Kind.ONE, Pair(1), Cut()\n"
    )
    marimo.run(text, "aa")
    assert marimo.digest().hex == digest_of(lab(text)).hex


def test_a_default_that_a_cell_has_computed_has_no_stable_form(marimo):
    marimo.run(
        "class Odd:\n    def __init__(self, n): self.n = n\ndef helper(odd=Odd(1)): return odd.n\n", "aa"
    )
    marimo.run("async def task(x): return helper()\n", "bb")
    with pytest.raises(Undigestable, match=r"helper\.0: a Odd has"):
        marimo.digest()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("from os import environ as found", "from os import environb as found"),
        ("class found: depth = 3", "class found: depth = 5"),
    ],
)
def test_of_names_that_several_marimo_cells_had_none_is_guessed(marimo, one, other):
    """A cell that was deleted is still known, and which of them was is not."""
    marimo.run(one, "aa")
    marimo.run("async def task(x): return found\n", "bb")
    before = marimo.digest()
    marimo.run(one, "cc")  # moved to another cell
    assert marimo.digest() == before
    marimo.run("other = 1", "aa")
    marimo.run(other, "dd")
    with pytest.raises(Undigestable, match=r"found: 2 cells have defined it in turn: restart the kernel"):
        marimo.digest()
    marimo.run("found = 1", "dd")
    assert marimo.digest() != before  # plain data counts as it is


def test_names_of_one_marimo_cell_count_without_what_marimo_puts_before_them(marimo):
    marimo.run("_cell_aa_limit = 3\ndef _cell_aa_helper(x): return x + _cell_aa_limit\n", "aa")
    text = "_limit = 3\ndef _helper(x): return x + _limit\n"
    name = "/tmp/marimo_1/__marimo__cell_aa_.py"
    linecache.cache[name] = len(text), None, text.splitlines(True), name
    marimo.run("task = None", "zz")
    marimo.scope["task"] = marimo.scope["_cell_aa_helper"]
    before = marimo.digest()
    marimo.scope["_cell_bb_limit"] = 7  # of another cell
    assert marimo.digest() == before
    marimo.scope["_cell_aa_limit"] = 4
    assert marimo.digest() != before


SCRIPT = """
import marimo
app = marimo.App()
with app.setup:
    N = 3
@app.function
def helper(x):
    return x + N
@app.cell
def _(other):
    _hidden = 1
    async def task(x):
        return helper(x) + other
    return (task,)
"""


def test_a_notebook_that_is_run_as_a_script_counts_as_its_cells_do(marimo, tmp_path):
    marimo.run("N = 3\n", "setup")
    marimo.run("def helper(x):\n    return x + N\n", "aa")
    marimo.run("_hidden = 1\nasync def task(x):\n    return helper(x) + other\n", "bb")
    marimo.scope["other"] = 5
    in_kernel = marimo.digest()
    for name in [name for name in linecache.cache if name.startswith("/tmp/marimo_1/")]:
        del linecache.cache[name]
    path = Path(marimo.scope["__file__"])
    path.write_text(SCRIPT)
    lines = SCRIPT.splitlines(True)
    for first, last in ((6, 8), (11, 13)):  # as marimo compiles them, at their lines of the file
        cell = textwrap.dedent("".join(lines[first:last]))
        exec(compile("\n" * first + cell, str(path), "exec"), marimo.scope)  # noqa: S102
    assert marimo.digest() == in_kernel


def test_the_digest_is_the_same_in_every_process(lab, tmp_path):
    text = (
        TASK
        + "NAMES = {'a', 'b', 'c', 'd'}\nclass Box: pass\nALL = {Box, Window}\ndef again(): return NAMES, ALL, task\n"
    )
    module = lab(text, helpers=HELPERS)
    package = module.__name__.partition(".")[0]
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from stargazer.tasks.execution.digest.code import code_digest\n"
        f"import {package}.tasks as t\nprint(code_digest(t.again, {package!r}).hex)"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", script, tmp_path],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("0", "1", "2")
    }
    assert found == {digest_of(module, "again").hex}


names = st.sampled_from(["x", "y", "limit", "clean"])
leaves = st.one_of(
    names,
    st.integers(0, 10**30).map(str),
    st.floats(allow_nan=False, allow_infinity=False, min_value=0).map(repr),
    st.text(max_size=8).map(lambda text: ascii(text)),
    st.binary(max_size=8).map(repr),
    st.sampled_from(
        ["f''", "f'{x}'", "f'a{x!r:>{y}}b' 'c'", "None", "...", "''", "f'{x}' f'{y}'", "f'{{}}'"]
    ),
)
expressions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "and", "if x else", "<", "@", "**"]), inner).map(
            lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"
        ),
        inner.map(lambda text: f"clean(*[{text}], key={text})"),
        inner.map(lambda text: f"[{text} for x in y if (z := {text})]"),
        inner.map(lambda text: f"(lambda x={text}, *, k: {text})"),
        st.lists(inner, max_size=3).map(
            lambda texts: "{" + ", ".join(f"'k': {text}" for text in texts) + "}"
        ),
        inner.map(lambda text: f"x[{text}:, ...].y"),
    ),
    max_leaves=8,
)
statements = st.one_of(
    expressions.map(lambda text: f"x = {text}"),
    expressions.map(lambda text: f"return {text}"),
    expressions.map(lambda text: f"if {text}: pass\nelse: y = 1"),
    expressions.map(lambda text: f"def inner(a, /, b={text}): return {text}"),
    expressions.map(lambda text: f"async with {text} as x: await clean({text})"),
    expressions.map(lambda text: f"match {text}:\n    case [x, *_]: y = {text}"),
    expressions.map(lambda text: f"try: x = {text}\nexcept* ValueError: raise"),
)
bodies = st.lists(statements, min_size=1, max_size=4)


def module_of(body: list[str]) -> str:
    lines = "\n".join(body).splitlines()
    return "async def task(x, y):\n" + "\n".join(f"    {line}" for line in lines) + "\n"


def text_of(source: str) -> str:
    return canonical(essential(ast.parse(source).body[-1]))


@given(bodies)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_formatting_changes_the_canonical_text(body):
    source = module_of(body)
    header, _, rest = source.partition("\n")
    spaced = header + "\n    'Docstring.'\n" + rest.replace("\n", "  # end\n\n# between\n")
    hinted = source.replace("x, y):", "x: 'list[int]', y: int | None) -> None:", 1)
    expected = text_of(source)
    assert text_of(ast.unparse(ast.parse(source))) == expected
    assert text_of(spaced) == expected
    assert text_of(hinted) == expected
    assert text_of("# first\n\n" + source) == expected


@given(bodies, bodies)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_canonical_text_is_equal_only_for_equal_code(one, two):
    same = ast.unparse(ast.parse(module_of(one))) == ast.unparse(ast.parse(module_of(two)))
    if text_of(module_of(one)) == text_of(module_of(two)):
        assert same or "pass" in module_of(one) + module_of(two)
