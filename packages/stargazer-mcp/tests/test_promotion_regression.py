"""The test that comes with a promoted task: its files, its text, that it passes, and fails when the task is broken."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest
import stargazer.tasks
from stargazer.assets import (
    R1,
    R2,
    Asset,
    AssetNotFoundError,
    InvalidAssetError,
    Reference,
    ReferenceIndex,
    StorageError,
    ToolError,
    use_client,
)
from stargazer.assets.provenance import ToolUse
from stargazer.mcp.promotion import case as case_module
from stargazer.mcp.promotion.case import Case, find_cases
from stargazer.mcp.promotion.checkout import Checkout
from stargazer.mcp.promotion.extraction import Promoted
from stargazer.mcp.promotion.publication import description
from stargazer.mcp.promotion.regression import Outcome, regression_files, run_case
from stargazer.mcp.promotion.unit_test import unit_test
from stargazer.storage import Addition, LocalStorageClient
from stargazer.tasks.execution import TASKS

ROOT = Path(__file__).parents[3]
in_repository = pytest.mark.skipif(
    not (ROOT / "packages").is_dir() or importlib.util.find_spec("ruff") is None,
    reason="a task is promoted in the repository, where ruff is: pip install 'stargazer-mcp[notebook]'",
)

LAB = '''
"""Tasks as cells have them."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from stargazer.assets import R1, R2, Asset, Reference, Table, asset
from stargazer.tasks import AssetEnvironment, workspace

lab_env = AssetEnvironment(name="lab16")


@asset("panel16", suffix=".txt")
class Panel(Asset):
    """A panel of genes."""

    name: str
    genes: list[str]


class Unit(Enum):
    """What is counted."""

    LINES = "lines"
    BYTES = "bytes"


class Counted(NamedTuple):
    """What was counted, and how much."""

    table: Table
    number: int
    units: list[Unit]


def written(name: str, text: str) -> Table:
    path = workspace() / f"{name}.csv"
    path.write_text(text)
    return Table(path=path, kind=name)


@lab_env.task
async def count_lines(reference: Reference, least: int = 0) -> Table:
    """How many lines a reference has."""
    return written("lines", f"lines\\n{len(reference.path.read_text().splitlines())}\\n")


@lab_env.task
async def count_reads(reads: list[R1], unit: Unit, labels: dict[str, float], limits: tuple[int, int]) -> Counted:
    """How many reads there are, with a tuple, an enum and a dict."""
    assert isinstance(unit, Unit) and isinstance(limits, tuple)
    return Counted(written("reads", f"reads\\n{len(reads)}\\n"), len(reads), [unit])


@lab_env.task
async def split_reads(mates: dict[str, R1 | R2], /, *, stem: str | None) -> dict[str, list[Table]]:
    """A table of each mate."""
    return {"tables": [written(f"{stem}-{name}", mate.path.read_text()) for name, mate in mates.items()]}


@lab_env.task
async def make_panel(reference: Reference, bench: str, lambda_: str) -> tuple[Panel, Reference, None]:
    """An asset of a type of its own, and an input that is handed on."""
    path = workspace() / "panel.txt"
    path.write_text("TP53\\n")
    return Panel(path=path, name=bench, genes=["TP53", lambda_]), reference, None
'''


class Bench:
    """A store, and tasks run in it: as the tests of stargazer-tasks have it."""

    def __init__(self, root: Path):
        self.client = LocalStorageClient(root)

    def add(self, path: Path, asset: Asset) -> Any:
        return Asset.from_record(self.client.store.add([Addition(path, asset)])[0])

    def run(self, task: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        async def main() -> Any:
            return await task(*args, **kwargs)

        with use_client(self.client):
            return asyncio.run(main())


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The notebook of these tasks."""
    from stargazer.assets import REGISTRY

    path = tmp_path / "experiment.py"
    path.write_text(LAB)
    spec = importlib.util.spec_from_file_location("experiment16", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "experiment16", module)
    spec.loader.exec_module(module)
    yield module
    for name in [name for name in TASKS if name.startswith("lab16.")]:
        del TASKS[name]
    REGISTRY.pop("panel16", None)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """The store that the notebook uses."""
    return Bench(tmp_path / "store")


@pytest.fixture
def reference(bench: Bench, tmp_path: Path) -> Any:
    """A reference with its index."""
    (tmp_path / "Mustermann.fa").write_text(">c\nACGT\n")
    (tmp_path / "Mustermann.fa.fai").write_text("c\t4\t3\t4\t5\n")
    reference = bench.add(tmp_path / "Mustermann.fa", Reference(build="tiny", species="x" * 200))
    bench.add(tmp_path / "Mustermann.fa.fai", ReferenceIndex(reference_cid=reference))
    return reference


@pytest.fixture
def mates(bench: Bench, tmp_path: Path) -> list[Any]:
    """A read pair."""
    pair: list[Any] = []
    for number, kind in ((1, R1), (2, R2)):
        path = tmp_path / f"p{number}.fq"
        path.write_text(f"@a/{number}\nACGT\n+\nIIII\n")
        link = {"r1_cid": pair[0]} if pair else {}
        pair.append(bench.add(path, kind(sample="S", lane="L1", **link)))
    return pair


def promoted(function: str, notebook: str = "experiment.py") -> Promoted:
    return Promoted(
        task=f"lab16.{function}",
        function=function,
        module="stargazer.tasks.lab16",
        notebook=notebook,
        cell=function,
        parameters=(),
    )


def call(bench: Bench, lab: ModuleType, function: str, reference: Any, mates: list[Any]) -> None:
    """What the cell of a task does last."""
    arguments: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
        "count_lines": ((reference, 3), {}),
        "count_reads": (([mates[0]], lab.Unit.LINES, {"a": 1.5, "b": float("inf")}, (1, 2)), {}),
        "split_reads": (({"one": mates[0], "two": mates[1]},), {"stem": None}),
        "make_panel": ((reference, "b", "quote ' and \" and \\"), {}),
    }
    args, kwargs = arguments[function]
    bench.run(getattr(lab, function), *args, **kwargs)


def found(bench: Bench, function: str, *fixtures: str) -> Case:
    return next(find_cases(bench.client, promoted(function), fixtures))


@in_repository
def test_text_is_short_and_says_what_the_cell_did(bench: Bench, lab: ModuleType, reference: Any) -> None:
    bench.run(lab.count_lines, reference, least=3)
    checkout = Checkout(ROOT)

    files = regression_files(promoted("count_lines"), checkout, found(bench, "count_lines"), LAB)

    test = checkout.unit_tests / "test_count_lines.py"
    text = files[test].decode()
    assert sorted(str(path.relative_to(checkout.package)) for path in files) == [
        "tests/data/.gitattributes",
        "tests/data/count_lines/reference.fa",
        "tests/data/count_lines/reference.fa.fai",
        "tests/unit/test_count_lines.py",
    ]
    assert files[checkout.test_data / "count_lines" / "reference.fa"] == b">c\nACGT\n"
    provenance, table = re.findall(r"baf\w+", text)
    assert (
        text
        == f'''"""`lab16.count_lines` gives what the cell `count_lines` of experiment.py gave.

Provenance of that: {provenance}
"""

from __future__ import annotations

from pathlib import Path

from stargazer.assets import Reference, ReferenceIndex, Table
from stargazer.tasks import count_lines

DATA = Path(__file__).parents[1] / "data" / "count_lines"


def test_count_lines_gives_what_its_cell_gave(bench):
    reference = bench.add(
        DATA / "reference.fa",
        Reference(
            build="tiny",
            species=(
                "{"x" * 80}"
                "{"x" * 80}"
                "{"x" * 40}"
            ),
        ),
    )
    bench.add(DATA / "reference.fa.fai", ReferenceIndex(reference_cid=reference))

    result = bench.run(count_lines, reference=reference, least=3)

    assert result == Table(cid="{table}", kind="lines")
'''
    )


@pytest.mark.parametrize("function", ["count_lines", "count_reads", "split_reads", "make_panel"])
def test_a_test_passes_in_an_empty_store_and_fails_for_another_result(
    bench: Bench,
    lab: ModuleType,
    reference: Any,
    mates: list[Any],
    function: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    call(bench, lab, function, reference, mates)
    (tmp_path / "tests" / "data" / function).mkdir(parents=True)
    case = found(bench, function)
    for file in case.files:
        shutil.copy(file.path, tmp_path / "tests" / "data" / function / file.name)
    monkeypatch.setattr(stargazer.tasks, function, getattr(lab, function), raising=False)
    monkeypatch.setitem(sys.modules, "stargazer.tasks.lab16", lab)

    def tested(case: Case, store: str) -> None:
        names: dict[str, Any] = {"__file__": str(tmp_path / "tests" / "unit" / "test_it.py")}
        exec(compile(unit_test(promoted(function), case, LAB), "test_it.py", "exec"), names)  # noqa: S102
        names[f"test_{function}_gives_what_its_cell_gave"](Bench(tmp_path / store))

    tested(case, "empty")
    first, *others = case.execution.outputs
    key = next(name for name in ("kind", "name") if name in first.keyvalues)
    other_field = attrs.evolve(first, keyvalues={**first.keyvalues, key: "other"})
    for store, changed in (("one", other_field), ("two", attrs.evolve(first, cid=reference.cid))):
        other = attrs.evolve(case, execution=attrs.evolve(case.execution, outputs=[changed, *others]))
        with pytest.raises(AssertionError):
            tested(other, store)


def test_a_cell_that_was_never_run_is_refused(bench: Bench, lab: ModuleType) -> None:
    with pytest.raises(
        AssetNotFoundError, match=r"never run in experiment.py.* run the cell 'count_lines' first"
    ):
        found(bench, "count_lines")


def test_what_an_installed_task_did_is_no_run_of_the_cell(bench: Bench, reference: Any) -> None:
    bench.run(stargazer.tasks.samtools_faidx, reference)
    made = attrs.evolve(promoted("samtools_faidx"), task="htslib.samtools_faidx")

    with pytest.raises(AssetNotFoundError, match=r"htslib.samtools_faidx was never run"):
        next(find_cases(bench.client, made))


def test_what_another_notebook_did_is_no_run_of_the_cell(
    bench: Bench, lab: ModuleType, reference: Any, tmp_path: Path
) -> None:
    bench.run(lab.count_lines, reference)
    document = bench.client.store.document(found(bench, "count_lines").provenance_cid)
    other = attrs.evolve(document, notebook="other.py")
    elsewhere = LocalStorageClient(tmp_path / "elsewhere")
    elsewhere.store.commit(other, [])

    with pytest.raises(
        AssetNotFoundError,
        match=r"never run in experiment.py.* \(but in other.py\): run the cell.* first within `with refreshing",
    ):
        next(find_cases(elsewhere, promoted("count_lines")))


def test_the_last_run_counts_and_fixtures_name_another(
    bench: Bench, lab: ModuleType, reference: Any, tmp_path: Path
) -> None:
    bench.run(lab.count_lines, reference)
    (tmp_path / "other.fa").write_text(">c\nACGT\nAC\n")
    other = bench.add(tmp_path / "other.fa", Reference(build="other"))
    bench.run(lab.count_lines, other)

    assert [file.cid for file in found(bench, "count_lines").files] == [other.cid]
    assert found(bench, "count_lines", reference.cid).files[0].cid == reference.cid
    with pytest.raises(AssetNotFoundError, match="run the cell 'count_lines' on these files first"):
        found(bench, "count_lines", reference.cid, other.cid)


def test_each_code_that_the_cell_had_is_a_case_the_newest_first(
    bench: Bench, lab: ModuleType, reference: Any
) -> None:
    bench.run(lab.count_lines, reference)
    cid = found(bench, "count_lines").provenance_cid
    document = bench.client.store.document(cid)
    edited = attrs.evolve(
        document, code_digest="0" * 64, run_key="1" * 64, started="9999-01-01T00:00:00+00:00"
    )
    bench.client.store.commit(edited, [])

    cases = [*find_cases(bench.client, promoted("count_lines"))]
    assert [case.execution.code_digest for case in cases] == ["0" * 64, document.code_digest]


def test_large_files_are_refused_and_small_ones_can_be_named(
    bench: Bench, lab: ModuleType, reference: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run(lab.count_lines, reference)
    (tmp_path / "large.fa").write_text(">c\n" + "ACGT" * 25 + "\n")
    bench.run(lab.count_lines, bench.add(tmp_path / "large.fa", Reference(build="large")))
    monkeypatch.setattr(case_module, "LARGEST", 50)

    with pytest.raises(
        InvalidAssetError, match=r"reference 0.0 MB \(baf.*Run the cell on small files.*--fixture CID"
    ):
        found(bench, "count_lines")
    assert found(bench, "count_lines", reference.cid).size == 18


def test_bytes_that_nobody_has_are_refused(bench: Bench, lab: ModuleType, reference: Any) -> None:
    bench.run(lab.count_lines, reference)
    bench.client.store.objects.remove(reference.cid)

    with pytest.raises(StorageError, match="the bytes of reference are not to be had"):
        found(bench, "count_lines")


def test_bytes_that_are_gone_are_computed_again(bench: Bench, lab: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "two.fa").write_text(">c\nACGT\n>d\nAC\n")
    whole = bench.add(tmp_path / "two.fa", Reference(build="two"))
    part = bench.run(stargazer.tasks.select_contigs, whole, ["c"], "part")
    bench.run(lab.count_lines, part)
    bench.client.store.objects.remove(part.cid)

    (file,) = found(bench, "count_lines").files

    assert (file.name, file.path.read_text()) == ("reference.fa", ">c\nACGT\n")


def test_a_pull_request_says_what_it_stands_on(bench: Bench, lab: ModuleType, reference: Any) -> None:
    made = bench.run(lab.count_lines, reference)
    case = found(bench, "count_lines")

    text = description(promoted("count_lines"), "How many lines.", case, Outcome(1.23))

    assert text.startswith("How many lines.\n\n- task: `lab16.count_lines`, in `stargazer.tasks.lab16`\n")
    assert f"provenance of the run that the test is made of: {case.provenance_cid}, " in text
    assert (
        f"  - reference: reference, 8 bytes, {reference.cid}\n  - reference (comes along): reference_index,"
        in text
    )
    assert (
        f"  - result: table, 8 bytes, {made.cid}\n- test: `tests/unit/test_count_lines.py`, passed in 1.2 s"
        in text
    )
    assert "NOT RUN: no GATK" in description(promoted("count_lines"), "", case, Outcome(1.0, "no GATK"))
    assert str(bench.client.store.root) not in text
    assert "Mustermann" not in text


@pytest.mark.parametrize(
    ("tool", "mark"),
    [
        (ToolUse(name="gatk", version="4", source="maven org:gatk:4 on wheel x"), 'usefixtures("gatk_home")'),
        (ToolUse(name="scanpy", version="1", source="Python package"), 'usefixtures("compiled")'),
        (ToolUse(name="bwa", version="1", source="PATH"), 'debian("bwa")'),
        (ToolUse(name="bwa-mem2", version="1", source="PATH"), "NOT TESTED: no bwa-mem2 on PATH"),
    ],
)
def test_tools_that_not_everybody_has_skip_the_test(
    bench: Bench, lab: ModuleType, reference: Any, tool: ToolUse, mark: str
) -> None:
    bench.run(lab.count_lines, reference)
    case = found(bench, "count_lines")
    case = attrs.evolve(case, execution=attrs.evolve(case.execution, tools=[tool], seconds=42.0))

    text = unit_test(promoted("count_lines"), case, LAB)

    assert mark in text.replace("'", '"')
    assert "pytest.mark.slow, pytest.mark.timeout(420)" in text


def test_a_path_of_this_machine_among_the_arguments_is_refused(
    bench: Bench, lab: ModuleType, reference: Any, tmp_path: Path
) -> None:
    bench.run(lab.count_lines, reference, least=3)
    case = found(bench, "count_lines")
    parameters = {**case.execution.parameters, "least": "/home/alice/reads"}
    told = attrs.evolve(case, execution=attrs.evolve(case.execution, parameters=parameters))
    with pytest.raises(
        InvalidAssetError, match=r"a path of this machine \('/home/alice'\).*run the cell without it"
    ):
        regression_files(promoted("count_lines"), Checkout(tmp_path / "checkout"), told, LAB)


def test_a_test_of_this_name_is_refused(
    bench: Bench, lab: ModuleType, reference: Any, tmp_path: Path
) -> None:
    bench.run(lab.count_lines, reference)
    checkout = Checkout(tmp_path / "checkout")
    (checkout.test_data / "count_lines").mkdir(parents=True)

    with pytest.raises(InvalidAssetError, match="tests/data/count_lines' is there already"):
        regression_files(promoted("count_lines"), checkout, found(bench, "count_lines"), LAB)


# run in a checkout


@pytest.fixture
def checkout(bench: Bench, lab: ModuleType, reference: Any, mates: list[Any], tmp_path: Path) -> Checkout:
    """A checkout with these tasks in a module of the package, and the test of one of them."""
    call(bench, lab, "count_reads", reference, mates)
    checkout = Checkout(tmp_path / "checkout")
    shutil.copytree(ROOT / "packages/stargazer-tasks/src", checkout.package / "src")
    shutil.copytree(ROOT / "packages/stargazer-tasks/tests", checkout.package / "tests", ignore=lambda folder, names: [
        name for name in names if name.startswith("test_") or name == "unit"])  # fmt: skip
    shutil.copy(ROOT / "pyproject.toml", checkout.root)
    shutil.copy(ROOT / "packages/conftest.py", checkout.root / "packages")
    (checkout.source / "tasks/lab16.py").write_text(LAB)
    page = checkout.front_page.read_text()
    checkout.front_page.write_text(
        "from .lab16 import count_reads\n" + page.replace("__all__ = [", '__all__ = [\n    "count_reads",')
    )
    for path, data in regression_files(
        promoted("count_reads"), checkout, found(bench, "count_reads"), LAB
    ).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return checkout


@in_repository
def test_the_test_passes_and_fails_when_the_function_is_broken(checkout: Checkout) -> None:
    test, module = checkout.unit_tests / "test_count_reads.py", checkout.source / "tasks/lab16.py"

    assert run_case(checkout, test).skipped == ""

    for old, new, meaning in (
        (
            "{len(reads)}",
            "{len(reads) + 1}",
            "the task gives the same each time, and something else than its cell",
        ),
        (
            "reads\\n{",
            "{__import__('time').time_ns()}\\n{",
            "the task is not deterministic: two runs of it gave",
        ),
        (
            'written("reads"',
            'missing("reads"',
            "it does not run outside of its notebook\n  NameError: name 'missing' is not def",
        ),
    ):
        assert old in LAB
        module.write_text(LAB.replace(old, new))
        with pytest.raises(ToolError, match=rf"(?s)tests/unit/test_count_reads.py' fails: {meaning}"):
            run_case(checkout, test)
