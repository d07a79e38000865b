"""What notebooks show, in notebooks that marimo runs: as a script, and in a kernel as the editor does."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from stargazer import assets, storage, tasks, workflows
from stargazer.assets import Reference, StargazerError
from stargazer.storage import Addition, get_client
from stargazer.workflows import Run, list_runs, new_run, remove_run, run
from stargazer.workflows.notebook import lineage_files, plain_table

pytest.importorskip("marimo", reason="NOT TESTED: pip install 'stargazer-workflows[notebook]'")

NAMES = (
    "execution_place, latest_run, lineage_graph, plain, progress, require_extra, require_records, run_table"
)


def write(path: Path, *cells: str) -> Path:
    """A notebook of these cells, which know marimo as `mo` and all that is tested."""
    lines = [
        "import marimo",
        "app = marimo.App()",
        "with app.setup:",
        "    import math",
        "    import marimo as mo",
    ]
    lines.append(f"    from stargazer.workflows.notebook import {NAMES}")
    for cell in cells:
        kind = "async def" if "await " in cell else "def"
        lines += ["@app.cell", f"{kind} _():", textwrap.indent(textwrap.dedent(cell).strip(), "    ")]
    path.write_text("\n".join([*lines, 'if __name__ == "__main__":', "    app.run()", ""]))
    return path


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., tuple[Any, ...]]:
    """Runs cells as a script, in this process; what each shows."""

    def outputs_of(*cells: str) -> tuple[Any, ...]:
        path = write(tmp_path / "notebook.py", *cells)
        spec = importlib.util.spec_from_file_location("notebook_of_a_test", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        outputs: tuple[Any, ...] = module.app.run()[0]
        return outputs

    return outputs_of


def texts_of(session: Path) -> list[str]:
    """What each cell shows in the record of a session, without its tags."""
    cells = json.loads(session.read_text())["cells"]
    shown = [json.dumps(cell["outputs"]).replace("\\n", "\n") for cell in cells if cell["id"] != "setup"]
    return [unescape(re.sub("<style>.*?</style>|<[^>]*>", " ", text, flags=re.DOTALL)) for text in shown]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home in which a small reference was prepared, a run has failed, and one is lost."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STARGAZER_HOME", str(folder))
        patch.setenv("STARGAZER_LOCAL", str(folder / "local"))
        (folder / "tiny.fa").write_text(">c\nACGT\n")
        get_client().store.add([Addition(folder / "tiny.fa", Reference(build="tiny"))])
        asyncio.run(run("prepare_reference", build="tiny", aligner="none"))
        with pytest.raises(StargazerError):
            asyncio.run(run("prepare_reference", build="absent"))
        new_run("prepare_reference", {"build": "lost"}, detached=True).release()
        yield folder


@pytest.fixture
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Run]:
    """The same for a test, and its runs by their states."""
    monkeypatch.setenv("STARGAZER_HOME", str(home))
    monkeypatch.setenv("STARGAZER_LOCAL", str(home / "local"))
    return {found.state: found for found in list_runs()}


def test_foreign_words_are_shown_as_they_are_written(script: Callable[..., tuple[Any, ...]]) -> None:
    (output,) = script(
        """plain("`stargazer add x.fa`: no file '<img src=x onerror=alert(1)>'\\nsecond line")"""
    )

    assert output.text == (
        "<p><code>stargazer add x.fa</code>: no file &#x27;&lt;img src=x onerror=alert(1)&gt;&#x27;<br>second line</p>"
    )


def test_the_files_that_one_was_made_from(at_home: dict[str, Run]) -> None:
    results = at_home["succeeded"].results
    rows = lineage_files(results["dictionary"]["cid"])
    assert [(row["type"], row["CID"]) for row in rows] == [("reference", results["reference"]["cid"])]
    assert rows[0]["what is said of it"].startswith("build=tiny")
    assert lineage_files(results["reference"]["cid"]) == []


# in a kernel


def test_what_cells_show_in_the_editor(at_home: dict[str, Run], home: Path) -> None:
    done, failed, lost = (at_home[state] for state in ("succeeded", "failed", "lost"))
    path = write(
        home / "notebook.py",
        f"done = await progress({done.id!r})",
        f"failed = await progress({failed.id!r})",
        "failed.state + ' is not reached'",
        f"await progress({lost.id!r})",
        f"lineage_graph({done.results['dictionary']['cid']!r})",
        f"lineage_graph({done.results['reference']['cid']!r})",
        "require_records(asset='reference', build='tiny')\n'registered'",
        "require_records(asset='reference', build=['GRCh37', 'GRCh38'])\n'registered'",
    )

    export = [sys.executable, "-m", "marimo", "export", "session", "--force-overwrite", path.name]
    told = subprocess.run(export, cwd=home, capture_output=True, text=True, check=False)

    assert told.returncode == 0, told.stderr
    session = home / "__marimo__" / "session" / "notebook.py.json"
    texts = texts_of(session)
    shown, why, below, gone, drawn, imported, there, missing = texts
    assert "succeeded, 3 computed, 0 remembered" in shown
    assert all(
        f"htslib.{name}" in shown for name in ("check_reference", "samtools_faidx", "sequence_dictionary")
    )
    assert f"run {failed.id} failed: no reference build=absent" in why
    assert f"stargazer runs resume {failed.id}  goes on where it was" in why
    assert "is not reached" not in below
    assert f"run {lost.id} is lost: its process ended before it did" in gone
    assert "sequence_dictionary" in drawn
    assert "sequence_dict.dict" in drawn
    assert "was imported: no task made it" in imported
    assert "registered" in there
    assert "registered" not in missing
    assert "stargazer add FILE asset=reference build=GRCh37,GRCh38" in session.read_text()


# as a script


def test_in_a_script_progress_is_told_on_stderr(
    at_home: dict[str, Run], script: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    script(f"assert (await progress({at_home['succeeded'].id!r})).state == 'succeeded'")

    lines = capfd.readouterr().err.splitlines()
    assert re.fullmatch(r"htslib\.samtools_faidx: done in \d+\.\d s", lines[1]), lines
    assert lines[-1].startswith("prepare_reference: succeeded, 3 computed, 0 remembered, ")


def test_in_a_script_a_run_that_failed_is_an_error(
    at_home: dict[str, Run], script: Callable[..., Any]
) -> None:
    with pytest.raises(StargazerError, match="no reference build=absent"):
        script(f"await progress({at_home['failed'].id!r})")


def test_a_run_that_is_not_there_is_said(script: Callable[..., Any]) -> None:
    with pytest.raises(StargazerError, match="no run 'nothing' in "):
        script("await progress('nothing')")


def test_a_run_that_goes_on_is_watched_to_its_end(
    at_home: dict[str, Run], script: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    (shown,) = script(
        """
        from stargazer.workflows import start_run
        done = await progress(start_run("prepare_reference", build="tiny", aligner="none"))
        f"{done.state}, {done.memo_hits} remembered"
        """
    )

    assert shown == "succeeded, 3 remembered"
    assert "htslib.check_reference: remembered" in capfd.readouterr().err
    remove_run(list_runs()[0].id)


def test_a_script_says_what_is_missing_and_goes_on(
    script: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    *_, last = script("require_records(asset='reference')\n'not reached'", "'the rest'")

    assert last == "the rest"
    assert "`stargazer add FILE asset=reference` registers one" in capfd.readouterr().err


# runs that are found again


def test_the_newest_run_with_the_same_arguments_is_found(at_home: dict[str, Run]) -> None:
    from stargazer.workflows.notebook import latest_run

    def found(*args: Any, **named: Any) -> str | None:
        run = latest_run(*args, **named)
        return run and run.state

    assert found("prepare_reference", build="tiny", aligner="none") == "succeeded"
    assert found("prepare_reference", {"aligner": "none"}, build="tiny", contigs=None) == "succeeded"
    assert found(workflows.prepare_reference, build="absent") == "failed"
    assert found("prepare_reference", build="lost") == "lost"
    assert found("prepare_reference", build="tiny") is None
    assert found("demo_trio") is None
    going = new_run("prepare_reference", {"build": "tiny", "aligner": "none"})  # its process has not begun
    try:
        assert found("prepare_reference", build="tiny", aligner="none") == "running"
    finally:
        going.release()
        remove_run(going.id)


def test_a_run_of_another_version_of_the_workflow_hides_none(at_home: dict[str, Run]) -> None:
    from stargazer.workflows.notebook import latest_run

    other = new_run("prepare_reference", {"build": "tiny", "aligner": "none", "colour": "red"})
    try:
        run = latest_run("prepare_reference", build="tiny", aligner="none")
        assert run is not None
        assert run.id == at_home["succeeded"].id
    finally:
        other.release()
        remove_run(other.id)


def test_the_table_of_runs_has_their_states(at_home: dict[str, Run], script: Callable[..., Any]) -> None:
    all_runs, of_one, none = script("run_table()", "run_table('prepare_reference')", "run_table('demo_trio')")

    assert [row["state"] for row in all_runs.data] == ["lost", "failed", "succeeded"]
    assert of_one.data == all_runs.data
    assert len(none.data) == 0


# where tasks run


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, in which nothing is configured."""
    monkeypatch.delenv("STARGAZER_MODE")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def name_endpoint(project: Path) -> None:
    """Let the project name an endpoint that nobody listens at."""
    (project / ".flyte").mkdir()
    (project / ".flyte" / "config.yaml").write_text(
        "admin: {endpoint: 'dns:///127.0.0.1:1', insecure: true}\ntask: {project: p, domain: d}\n"
    )


def label_of(place: Any) -> str:
    """The text above the choices."""
    return " ".join(re.sub("<[^>]*>", " ", unescape(unescape(place._args.label))).split())


def test_without_configuration_it_is_this_machine(project: Path, script: Callable[..., Any]) -> None:
    (place,) = script("place = execution_place()\nplace")

    assert (place.value, place.options) == ("local", {"this machine": "local"})
    assert "no .flyte/config.yaml of this project names an endpoint" in label_of(place)


def test_the_cluster_is_offered_where_there_is_one(
    project: Path, script: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    name_endpoint(project)
    monkeypatch.setenv("PINATA_JWT", "a-token-of-a-test")
    monkeypatch.setenv("STARGAZER_MODE", "local")

    (place,) = script("place = execution_place()\nplace")

    assert place.value == "local"
    assert place.options == {"this machine": "local", "the cluster at dns:///127.0.0.1:1": "cloud"}
    assert "STARGAZER_MODE is 'local'; the endpoint dns:///127.0.0.1:1" in label_of(place)
    assert "awaited in a cell runs on this machine always" in label_of(place)


def test_without_a_token_the_cluster_is_not_offered(project: Path, script: Callable[..., Any]) -> None:
    name_endpoint(project)

    (place,) = script("place = execution_place()\nplace")

    assert (place.value, place.options) == (None, {"this machine": "local"})
    assert "The cluster at dns:///127.0.0.1:1 needs PINATA_JWT" in label_of(place)
    place._update("this machine")  # as the page does
    assert os.environ["STARGAZER_MODE"] == "local"


def test_settings_that_are_wrong_are_said(
    project: Path, script: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARGAZER_MODE", "cloud")

    (place,) = script("place = execution_place()\nplace")

    assert (place.value, place.options) == (None, {"this machine": "local"})
    assert "STARGAZER_MODE is 'cloud', but nothing names a Flyte endpoint" in label_of(place)


# what is not installed


@pytest.fixture
def python_without(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script where all is installed that is here, but for some distributions."""

    def python(script: Path, *absent: str) -> subprocess.CompletedProcess[str]:
        site = tmp_path / "site-packages"
        (site / "stargazer").mkdir(parents=True)
        for package in (assets, storage, tasks, workflows):
            source = Path(package.__file__ or "").parent
            (site / "stargazer" / source.name).symlink_to(source)
        for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
            if path.name != "stargazer" and path.name.partition("-")[0] not in absent:
                (site / path.name).symlink_to(path)
        return subprocess.run(
            [sys.executable, "-S", script], env={**os.environ, "PYTHONPATH": str(site)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    return python


def test_without_marimo_it_says_what_to_install(python_without: Callable[..., Any], tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("""
from stargazer.assets import StargazerError
from stargazer.workflows import list_runs
from stargazer.workflows.notebook import execution_place, latest_run
print(list_runs(), latest_run("prepare_reference", build="tiny"))
try:
    execution_place()
except StargazerError as error:
    print(error)
""")

    told = python_without(script, "marimo")

    assert told.stdout.splitlines() == [
        "[] None",
        "stargazer.workflows.notebook needs marimo, which is not installed: "
        "pip install 'stargazer-workflows[notebook]'",
    ], told.stderr


@pytest.mark.parametrize(
    ("absent", "told_of"),
    [
        (["scanpy"], "scanpy, which is"),
        (
            ["scanpy", "anndata", "faiss_cpu", "harmonypy", "igraph"],
            "anndata, faiss-cpu, harmonypy and 2 more, which are",
        ),
    ],
)
def test_a_cell_that_needs_an_extra_says_which_command_adds_it(
    python_without: Callable[..., Any], tmp_path: Path, absent: list[str], told_of: str
) -> None:
    path = write(
        tmp_path / "notebook.py", "require_extra('scrna')\nprint('not reached')", "print('the rest')"
    )

    told = python_without(path, *absent)

    assert told.stdout == "the rest\n", told.stderr
    assert (
        f"This part needs {told_of} not installed here: `pip install 'stargazer-mcp[scrna]'`" in told.stderr
    )


def test_an_extra_that_nobody_knows_is_refused() -> None:
    from stargazer.workflows.notebook import require_extra

    with pytest.raises(StargazerError, match="no extra 'scna'; known: gatk, scrna"):
        require_extra("scna")


def test_an_address_in_a_table_stays_text_and_the_rows_are_what_was_given() -> None:
    rows = [{"file": "https://pictures.invalid/a.png", "n": 7}, {"file": None, "n": 0.5}]
    table = plain_table(rows, selection="multi", initial_selection=[0], format_mapping={"n": "{:.2f}".format})

    data = json.loads(table._component_args["data"])
    assert [row["file"] for row in data] == ["https:\u2060//pictures.invalid/a.png", None]
    assert [row["n"] for row in data] == ["7.00", "0.50"]
    assert table.value == [rows[0]]
    assert plain_table([], selection="multi").value == []
