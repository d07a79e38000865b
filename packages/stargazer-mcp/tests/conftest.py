"""The command in this process, and files to use it on."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from stargazer.mcp.cli import main

from .command import Command, added
from .homes import register, run_undisturbed
from .waiting import SAMTOOLS

if TYPE_CHECKING:
    from fastmcp import Client, FastMCP


@pytest.fixture
def stargazer(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command in this process: status, stdout, stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        try:
            status = main(list(words))
        except SystemExit as ended:
            status = int(str(ended.code))
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    return run


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stargazer: Command) -> dict[str, dict[str, Any]]:
    """A reference with its index, and two lanes of read pairs: records by what they are."""
    monkeypatch.chdir(tmp_path)
    Path("g.fa").write_text(">c\nACGT\n")
    Path("g.fa.fai").write_text("c\t4\t3\t4\t5\n")
    records: dict[str, dict[str, Any]] = {}
    records["reference"] = added(stargazer, "g.fa", "build=GRCh38")[0]
    link = f"reference_cid={records['reference']['cid']}"
    records["fai"] = added(stargazer, "g.fa.fai", "asset=reference_index", link)[0]
    for lane in ("L1", "L2"):
        for mate in ("1", "2"):
            Path(f"{lane}_R{mate}.fq").write_text(f"@{lane}/{mate}\nACGT\n+\nIIII\n")
        words = [f"{lane}_R1.fq", f"{lane}_R2.fq", "sample=NA12878", f"lane={lane}"]
        records[f"r1 {lane}"], records[f"r2 {lane}"] = added(stargazer, *words)
    return records


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stargazer: Command) -> Iterator[Path]:
    """A reference, and a samtools that waits in `samtools_faidx` until this file is there."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.fa").write_text(">c\nACGT\n")
    assert stargazer("add", "tiny.fa", "build=tiny")[0] == 0
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "samtools"
    tool.write_text(SAMTOOLS)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=os.pathsep)
    monkeypatch.setenv("STARGAZER_TOOLS", "samtools=path")
    yield tool.with_name("go")
    tool.with_name("go").touch()  # whatever became of the test


# runs as a lab has them


@pytest.fixture(scope="module")
def registered(made_once: Callable[..., Path]) -> Path:
    """A home whose store has a reference and a lane each of two samples."""
    return made_once("registered", register) / "home"


@pytest.fixture
def home(registered: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it for one test."""
    home = Path(os.environ["STARGAZER_HOME"])
    shutil.copytree(registered, home, dirs_exist_ok=True)
    monkeypatch.setenv("STARGAZER_CORES", "2")
    return home


@pytest.fixture(scope="module")
def undisturbed(registered: Path, made_once: Callable[..., Path]) -> Path:
    """A home where a run of S and one of T were made, and nothing else happened to it."""
    return made_once("undisturbed", lambda home: run_undisturbed(home, registered))


@pytest.fixture
def undisturbed_cids(undisturbed: Path) -> dict[str, Any]:
    """The CIDs of what these two runs gave, by sample."""
    found: dict[str, Any] = json.loads((undisturbed / "cids.json").read_text())
    return found


@pytest.fixture
def ask(server: FastMCP) -> Callable[[Callable[[Client[Any]], Awaitable[Any]]], Any]:
    """Runs a coroutine with a client of the server that a module has for all of its tests."""

    from fastmcp import Client

    def run(body: Callable[[Client[Any]], Awaitable[Any]]) -> Any:
        async def connected() -> Any:
            async with Client(server) as client:
                return await body(client)

        return asyncio.run(asyncio.wait_for(connected(), 60))

    return run
