"""Every verb and every answer of the server says that the index is lost, emptied, damaged or incomplete."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from stargazer.mcp.cli import main
from stargazer.mcp.server import make_server
from stargazer.storage import get_client
from stargazer.storage.client import _clients

VERBS = (
    ["query"],
    ["query", "--json"],
    ["query", "asset=r1"],
    ["get", "build=T"],
    ["run", "prepare_reference", "build=T"],
    ["run", "prepare_reference", "build=T", "--why-not"],
    ["doctor"],
    ["doctor", "--json"],
    ["why", "build=T"],
    ["stale", "build=T"],
    ["amend", "T.fa", "build=U"],
    ["rm", "build=T"],
    ["verify", "build=T"],
    ["evict", "build=T"],
    ["gc"],
    ["bundle", "make", "b", "build=T"],
    ["bundle", "list"],
    ["bundle", "list", "--json"],
    ["run"],
    ["run", "--json"],
    ["config"],
    ["config", "--json"],
)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The index of a store with one reference."""
    monkeypatch.chdir(tmp_path)
    add("T")
    return anew()


def add(build: str) -> None:
    path = Path(f"{build}.fa")
    path.write_text(f">{build}\n" + "ACGTTGCA" * 50 + "\n")
    assert main(["add", str(path), f"build={build}"]) == 0


def anew() -> Path:
    """Let the next command be as if in a process of its own; the index."""
    store = get_client().store
    store.index.close()
    _clients.clear()
    path: Path = store.index_path
    return path


def lost(index: Path) -> None:
    for path in index.parent.glob(f"{index.name}*"):
        path.unlink()


def zero(index: Path) -> None:
    index.write_bytes(b"")


def damaged(index: Path) -> None:
    with open(index, "r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 300)


def another_version(index: Path) -> None:
    with open(index, "r+b") as file:
        file.seek(63)
        file.write(b"\xfe")


def a_folder(index: Path) -> None:
    index.unlink()
    index.mkdir()


Loss = Callable[[Path], None]


@pytest.mark.parametrize("loss", [lost, zero, damaged, another_version, a_folder])
@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_verb_names_fsck(
    index: Path, words: list[str], loss: Loss, capsys: pytest.CaptureFixture[str]
) -> None:
    loss(index)
    capsys.readouterr()

    main(words)

    said = capsys.readouterr()
    assert "stargazer fsck" in said.err + (said.out if "doctor" in words else "")
    assert "newer Stargazer" not in said.err + said.out
    assert "unexpected" not in said.err
    if "--json" in words and said.out:
        json.loads(said.out)


def test_it_is_said_after_an_add_too_until_fsck_has_run(
    index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost(index)
    add("Z")
    for words in (["query"], ["query", "asset=r1"], ["query", "--json"], ["get", "build=Z", "--to", "out"]):
        anew()
        capsys.readouterr()
        assert main(words) == 0
        assert "stargazer fsck" in capsys.readouterr().err
    anew()

    assert main(["fsck"]) == 0

    anew()
    capsys.readouterr()
    assert main(["query", "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert {file["keyvalues"]["build"] for file in json.loads(said.out)} == {"T", "Z"}
    assert main(["doctor"]) == 0


def test_doctor_makes_no_index(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lost(index)
    assert main(["doctor", "--json"]) == 1
    (finding,) = [found for found in json.loads(capsys.readouterr().out) if found["state"] == "broken"]
    assert (finding["topic"], finding["name"], finding["remedy"]) == ("store", "index", "stargazer fsck")
    assert not index.exists()


def asked(tool: str, **arguments: Any) -> Any:
    async def ask() -> Any:
        async with Client(make_server()) as client:
            return await client.call_tool(tool, arguments, raise_on_error=False)

    return asyncio.run(asyncio.wait_for(ask(), 60))


@pytest.mark.parametrize("loss", [lost, zero, damaged, another_version])
def test_every_answer_of_the_server_names_fsck(index: Path, loss: Loss) -> None:
    loss(index)

    for tool, arguments in (
        ("list_tasks", {"search": "prepare"}),
        ("query_files", {}),
        ("query_files", {"filters": {"asset": "r1"}}),
        ("run_workflow", {"name": "prepare_reference", "arguments": {"build": "T"}}),
        ("run_workflow", {"run_id": "no-such-run"}),
    ):
        anew()
        answer = asked(tool, **arguments)
        assert any("stargazer fsck" in part.text for part in answer.content), tool
        if not answer.is_error:
            assert "stargazer fsck" in answer.structured_content["warning"]


def test_the_server_is_quiet_where_all_is_well(index: Path) -> None:
    for tool in ("list_tasks", "query_files"):
        answer = asked(tool)
        assert "warning" not in answer.structured_content
        assert len(answer.content) == 1


def test_an_empty_store_is_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["query"], ["query", "--json"], ["doctor"]):
        assert main(words) == 0
        said = capsys.readouterr()
        assert "fsck" not in said.out + said.err
    assert "warning" not in asked("query_files").structured_content
    assert not Path(os.environ["STARGAZER_LOCAL"]).exists()
