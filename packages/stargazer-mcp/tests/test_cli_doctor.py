"""`stargazer doctor`: it finds what is there, what is missing, and what breaks us."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from stargazer.mcp.cli import main
from stargazer.mcp.cli.doctor import DEFAULT, ON_REQUEST, Finding, examine
from stargazer.storage import get_client
from stargazer.storage.lineage import executions_of
from stargazer.tasks.execution import TASKS, tasks_called
from stargazer.tasks.tools import sources
from stargazer.workflows import germline_short_variant_discovery

from .command import GERMLINE, simulate, stargazer

Absent = Callable[..., None]


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Absent]:
    """A function that makes pip's packages look as if they were not installed, and PATH empty."""
    monkeypatch.delenv("STARGAZER_TOOLS", raising=False)
    version = metadata.version

    def hide(*names: str) -> None:
        def asked(name: str) -> str:
            if name in names:
                raise metadata.PackageNotFoundError(name)
            return version(name)

        monkeypatch.setattr(metadata, "version", asked)
        monkeypatch.setenv("PATH", "/nonexistent")
        sources.installed_version.cache_clear()

    yield hide
    sources.installed_version.cache_clear()


def tools(capsys: pytest.CaptureFixture[str], status: int) -> dict[str, dict[str, Any]]:
    """What the command says of tools, for programs."""
    assert main(["doctor", "--json"]) == status
    findings = json.loads(capsys.readouterr().out)
    return {finding["name"]: finding for finding in findings if finding["topic"] == "tools"}


def found(topic: str, name: str) -> Finding:
    return next(finding for finding in examine() if (finding.topic, finding.name) == (topic, name))


def test_a_good_installation_is_status_zero(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for word in ("stargazer-mcp", "STARGAZER_HOME", "free space", "samtools", "wheel pysam=="):
        assert word in out


def test_json_is_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert {"topic", "name", "text", "state", "remedy", "details"} == set(findings[0])


def test_it_changes_nothing() -> None:
    examine()
    assert not Path(os.environ["STARGAZER_LOCAL"]).exists()


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINATA_JWT", "very-secret")
    findings = examine()
    assert "very-secret" not in str(findings)
    assert "set" in next(finding.text for finding in findings if finding.name == "pinata_jwt")


def test_where_a_setting_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path(os.environ["STARGAZER_HOME"])
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text("cores = 3\n")
    monkeypatch.setenv("STARGAZER_MEMORY", "4G")
    assert found("settings", "cores").text == f"3  [{home / 'config.toml'}]"
    assert found("settings", "memory").text == "4.3 GB  [STARGAZER_MEMORY]"
    assert found("settings", "mode").text == "local  [STARGAZER_MODE]"


def test_a_wrong_setting_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STARGAZER_CORES", "many")
    assert main(["doctor"]) == 1
    assert "STARGAZER_CORES" in capsys.readouterr().out


def test_somebody_elses_stargazer_is_found(tmp_path: Path) -> None:
    (tmp_path / "stargazer").mkdir()
    (tmp_path / "stargazer" / "__init__.py").write_text("")
    code = (
        "import sys; from stargazer.mcp.cli.doctor import examine; sys.path.append(sys.argv[1]); "
        "print([f.remedy for f in examine() if f.state == 'broken'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "pip uninstall stargazer" in done.stdout


def test_a_tool_has_version_and_source_and_says_what_needs_it(capsys: pytest.CaptureFixture[str]) -> None:
    tool = tools(capsys, status=0)["bwa-mem3"]
    assert tool["text"] == f"0.4.4 (wheel bwa-mem3==0.4.4); {DEFAULT} needs it"
    assert tool["details"] == {
        "version": "0.4.4",
        "source": "wheel bwa-mem3==0.4.4",
        "essential": True,
        "workflows": ["demo_trio", DEFAULT, "preprocess_sample"],
        "tasks": ["align_with_bwa_mem3"],
    }

    main(["doctor"])
    assert (
        "  ok        bwa-mem3             0.4.4 (wheel bwa-mem3==0.4.4); germline_short_variant_discovery needs it\n"
        "              workflows: demo_trio, germline_short_variant_discovery, preprocess_sample\n"
        "              tasks: align_with_bwa_mem3\n"
    ) in capsys.readouterr().out


def test_every_tool_that_a_task_declares_is_there_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    said = set(tools(capsys, status=0))  # loads them
    assert said == {tool.name for task in TASKS.values() for tool in task.tools}
    assert said >= {
        "bcftools",
        "bwa",
        "bwa-index",
        "bwa-mem2",
        "bwa-mem3",
        "matplotlib",
        "numpy",
        "pysam",
        "samtools",
    }


def test_an_optional_tool_that_is_missing_says_the_one_command_and_breaks_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert (
        "  optional  bwa-mem2             not found\n"
        "              workflows: demo_trio, germline_short_variant_discovery, prepare_reference, preprocess_sample\n"
        "              tasks: index_with_bwa_mem2\n"
        "              -> conda install -c bioconda bwa-mem2\n"
    ) in out


def test_a_tool_that_the_default_workflow_needs_is_broken_when_it_is_missing(
    absent: Absent, capsys: pytest.CaptureFixture[str]
) -> None:
    absent("bwa-mem3")
    assert main(["doctor"]) == 1
    said = capsys.readouterr()
    assert f"  BROKEN    bwa-mem3             not found; {DEFAULT} needs it\n" in said.out
    assert "              -> pip install 'bwa-mem3==0.4.4'\n" in said.out
    assert said.err == "stargazer: 1 thing broken: bwa-mem3\n"


def test_a_package_is_asked_for_in_the_version_that_the_tools_in_it_have(
    absent: Absent, capsys: pytest.CaptureFixture[str]
) -> None:
    absent("pysam")
    found = tools(capsys, status=1)
    assert {found[name]["remedy"] for name in ("samtools", "bcftools", "pysam")} == {
        "pip install 'pysam==0.24.1'"
    }
    assert [name for name in found if found[name]["state"] == "broken"] == ["bcftools", "samtools"]


def test_a_tool_on_path_takes_the_place_of_a_missing_wheel(
    absent: Absent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    absent("pysam")
    for name in ("samtools", "bcftools"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {name} 1.20\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = tools(capsys, status=0)
    assert (found["samtools"]["details"]["version"], found["samtools"]["details"]["source"]) == (
        "1.20",
        "PATH",
    )


def test_a_program_that_is_too_old_says_what_gets_another_from_where_it_is_looked_for(
    absent: Absent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    absent()
    for name, text in (("samtools", "samtools 1.9"), ("apt", "")):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("STARGAZER_TOOLS", "samtools=path")
    samtools = tools(capsys, status=1)["samtools"]
    assert "is version 1.9, but samtools needs 1.16 or newer" in samtools["text"]
    assert samtools["remedy"] == "apt install samtools"


SCRNA = {"anndata": "anndata", "faiss": "faiss-cpu", "h5py": "h5py", "harmonypy": "harmonypy", "igraph": "igraph",
         "numba": "numba", "pandas": "pandas", "pynndescent": "pynndescent", "scanpy": "scanpy", "scipy": "scipy",
         "skimage": "scikit-image", "umap": "umap-learn", "sklearn": "scikit-learn"}  # fmt: skip
"""Distributions of what single cells need, by their names for an import."""
TASKS_OF_CELLS = """\
              workflows: demo_scrna, scrna_clustering
              tasks: calculate_qc_metrics, concat, filter_cells, harmony_integrate, highly_variable_genes, leiden,
                neighbors, normalize_total, pca, plot_highly_variable_genes, plot_knee, plot_markers,
                plot_pca_variance_ratio, plot_qc, plot_umap, rank_genes_groups, read_10x_h5, read_10x_mtx, read_h5ad,
                scrublet, summarise_cells, umap, write_csv
"""


def test_what_single_cells_need_is_optional_and_told_together_with_the_one_command_that_adds_it(
    absent: Absent, capsys: pytest.CaptureFixture[str]
) -> None:
    absent(*SCRNA.values())
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out

    names = [
        "anndata",
        "faiss",
        "h5py",
        "harmonypy",
        "igraph",
        "numba",
        "pandas",
        "pynndescent",
        "scanpy",
        "scipy",
        "skimage",
        "umap",
    ]
    together = "".join(f"  optional  {name:20} not found\n" for name in names)
    assert f"{together}{TASKS_OF_CELLS}              -> pip install 'stargazer-mcp[scrna]'\n" in out
    assert (
        out.count("pip install 'stargazer-mcp[scrna]'") == 2
    )  # scikit-learn compares the demo's clusters as well


def test_what_single_cells_need_has_version_and_source(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    version = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: "1.2.3" if name in SCRNA.values() else version(name)
    )
    sources.installed_version.cache_clear()
    try:
        found = tools(capsys, status=0)
        main(["doctor"])
    finally:
        sources.installed_version.cache_clear()

    assert (found["umap"]["text"], found["umap"]["state"]) == ("1.2.3 (Python package)", "ok")
    assert (
        f"  ok        umap                 1.2.3 (Python package)\n{TASKS_OF_CELLS}"
        in capsys.readouterr().out
    )
    assert found["umap"]["details"]["workflows"] == ["demo_scrna", "scrna_clustering"]
    assert found["numpy"]["details"]["essential"]  # needed by both, told once
    assert {"check_aligner_index", "scrublet"} <= {*found["numpy"]["details"]["tasks"]}


def test_nothing_that_takes_seconds_is_imported() -> None:
    code = "import sys; from stargazer.mcp.cli import main; main(['doctor']); print('loaded', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.rpartition("loaded")[2].split()
    heavy = {
        "scanpy",
        "anndata",
        "h5py",
        "numba",
        "pandas",
        "scipy",
        "sklearn",
        "umap",
        "matplotlib",
        "fastmcp",
    }
    assert heavy.isdisjoint(loaded)


def test_a_package_that_runs_the_tools_is_broken_when_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = metadata.distributions
    monkeypatch.setattr(
        metadata, "distributions", lambda **of: [] if of.get("name") == "xopen" else there(**of)
    )
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "packages\n  BROKEN    xopen                not found; tools need it\n" in out
    assert "-> pip install 'xopen==2.1.0'\n" in out


def test_an_installation_in_which_no_task_can_be_loaded_is_broken() -> None:
    code = "import sys; sys.modules['flyte'] = None; from stargazer.mcp.cli import main; sys.exit(main(['doctor']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "BROKEN    tools                ModuleNotFoundError: import of flyte halted" in done.stdout


def test_the_default_workflow_runs_what_doctor_says_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    essential = {name for name, tool in tools(capsys, status=0).items() if tool["details"]["essential"]}
    monkeypatch.chdir(tmp_path)
    simulate(tmp_path)
    stargazer("add", "tiny.fa", "S_R1.fq.gz", "S_R2.fq.gz", "build=tiny", "sample=S", "lane=L1")

    results = json.loads(stargazer(*GERMLINE, "--json").stdout)["results"]
    ran = executions_of(
        get_client().store, [results["report"]["cid"], results["variants_index"]["cid"]]
    ).values()

    assert GERMLINE[1] == DEFAULT
    assert {tool.name for each in ran for tool in each.tools} == essential
    assert tasks_called(germline_short_variant_discovery) >= ON_REQUEST
    assert ON_REQUEST.isdisjoint(each.task for each in ran)


@pytest.mark.parametrize("variable", ["STARGAZER_HOME", "STARGAZER_LOCAL"])
def test_a_folder_that_cannot_be_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(variable, str(tmp_path / "file" / "below"))
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "BROKEN" in out
    assert str(tmp_path / "file") in out


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_home_of_somebody_else_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o500)
    monkeypatch.setenv("STARGAZER_HOME", str(tmp_path / "home"))
    home = found("settings", "home")
    tmp_path.chmod(0o700)
    assert home.state == "broken"
    assert "cannot be written" in home.text
