"""Files by the server: registered, copied out, corrected and taken back once somebody agreed; bundles of them."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from fastmcp.client.elicitation import ElicitResult
from stargazer.assets import StargazerError
from stargazer.mcp.access import Access
from stargazer.mcp.jobs import upload
from stargazer.storage import amend, get_client

from .command import Command
from .talk import answer, refusal, with_client


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are waited for: on a busy machine their process takes longer than a client would wait."""
    monkeypatch.setattr("stargazer.mcp.tools.jobs.PATIENCE", 60)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the server is started in, with files to register."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "a_R1.fq").write_text("@r\nACGT\n+\nIIII\n")
    (folder / "a_R2.fq").write_text("@r\nTTTT\n+\nIIII\n")
    (folder / "g.fa").write_text(">c\nACGT\n")
    return folder


def one(filters: dict[str, Any]) -> dict[str, Any]:
    """The only record with these keyvalues."""
    (record,) = get_client().store.query(filters)
    return {"id": record.id, "cid": record.cid, **record.keyvalues}


def test_files_are_registered_together_and_copied_out(here: Path) -> None:
    async def body(client: Client[Any]) -> None:
        both = json.dumps(["a_R1.fq", str(here / "a_R2.fq")])  # as some clients send a list
        done = await answer(client, "upload_file", source=both, metadata={"sample": "A", "lane": "L001"})
        assert done["total"] == 2
        first, second = done["files"]
        assert second["keyvalues"]["r1_cid"] == first["cid"]
        assert (first["keyvalues"]["sample"], first["keyvalues"]["lane"]) == ("A", "L001")
        assert done["notes"] == []
        copied = await answer(client, "download_file", cid=first["id"], folder="out/of it")
        assert sorted(Path(file["path"]).name for file in copied["files"]) == ["A.L001.r1.fq", "A.L001.r2.fq"]
        assert (here / "out/of it/A.L001.r2.fq").read_bytes() == (here / "a_R2.fq").read_bytes()

    with_client(body)


def test_what_takes_long_is_followed_as_a_run(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stargazer.mcp.tools.jobs.PATIENCE", 0)

    async def body(client: Client[Any]) -> None:
        started = await answer(client, "upload_file", source="g.fa", metadata={"build": "tiny"})
        assert set(started) == {"run", "state", "next"}
        assert f'get_run with {{"run_id": "{started["run"]}"}}' in started["next"]
        done = await answer(client, "get_run", run_id=started["run"], wait_s=50)
        assert done["results"]["result"]["files"][0]["keyvalues"]["build"] == "tiny"

    with_client(body)


def test_two_uploads_of_a_file_at_once_are_one_registration(here: Path) -> None:
    async def body(client: Client[Any]) -> None:
        call = {"source": "g.fa", "metadata": {"build": "tiny"}}
        first, second = await asyncio.gather(*(answer(client, "upload_file", **call) for _ in range(2)))
        assert first["files"][0]["id"] == second["files"][0]["id"] == one({"asset": "reference"})["id"]

    with_client(body)


def test_a_sample_sheet_registers_its_files(here: Path) -> None:
    (here / "s.csv").write_text("sample,lane,fastq_1,fastq_2\nA,L1,a_R1.fq,a_R2.fq\n")

    async def body(client: Client[Any]) -> None:
        done = await answer(client, "upload_file", source="s.csv", samplesheet=True)
        assert {file["keyvalues"]["sample"] for file in done["files"]} == {"A"}
        assert done["notes"] == [f"1 sample in '{here}/s.csv': 2 files registered"]

    with_client(body)


def test_a_folder_of_cell_ranger_is_one_file(here: Path) -> None:
    (here / "pbmc").mkdir()
    (here / "pbmc/matrix.mtx").write_text("%%MatrixMarket matrix coordinate integer general\n1 1 1\n1 1 3\n")
    (here / "pbmc/barcodes.tsv").write_text("AAAC-1\n")
    (here / "pbmc/features.tsv").write_text("ENSG1\tA\tGene Expression\n")
    with_client(lambda client: answer(client, "upload_file", source="pbmc", metadata={"sample": "P"}))
    assert one({"asset": "tenx_mtx"})["sample"] == "P"


def test_what_is_wrong_with_an_upload_is_said_with_what_is_right(here: Path) -> None:
    async def body(client: Client[Any]) -> None:
        async def wrong(source: Any, **more: Any) -> str:
            return await refusal(client, "upload_file", source=source, **more)

        assert "did you mean 'build'" in await wrong("g.fa", metadata={"bild": "tiny"})
        assert "given twice" in await wrong(["a_R1.fq", "a_R1.fq"], metadata={"sample": "A"})
        assert "an empty list" in await wrong([])
        assert "one sample sheet alone" in await wrong(["g.fa", "a.csv"], samplesheet=True)
        assert "checksum: is for a URL" in await wrong("g.fa", checksum="a" * 64)
        assert 'for example: {"source"' in await wrong({"path": "g.fa"})

    with_client(body)
    assert not get_client().store.exists() or get_client().store.query({}) == []


@pytest.mark.parametrize(
    ("source", "metadata", "text"),
    [
        ("none_R1.fq", {"sample": "A"}, "no such file"),
        ("empty_R1.fq", {"sample": "A"}, "is empty"),
        ("text_R1.fq", {"sample": "A"}, "FASTQ"),
        ("g.fa", {"build": ["a", {"b": 1}]}, "build"),
        ("a_R1.fq", {"sample": "A", "asset": "reads"}, "'reads'"),
        ("g.fa", {"asset": "provenance"}, "provenance"),
        ("g.fa", {"asset": ["reference"]}, "expected the name of a type"),
        ("a_R1.fq", {"sample": "https://me:hush@example.org/a"}, "without user, password"),
        ("a_R1.fq", {}, "sample"),
    ],
)
def test_a_file_that_is_not_what_is_said_is_refused(
    here: Path, source: str, metadata: dict[str, Any], text: str
) -> None:
    (here / "empty_R1.fq").touch()
    (here / "text_R1.fq").write_text("no reads")
    with pytest.raises(StargazerError, match=text):
        asyncio.run(upload([source], metadata, Access().as_dict()))
    assert not get_client().store.exists() or get_client().store.query({}) == []


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_client_that_cannot_ask_goes_ahead(here: Path, stargazer: Command, mode: str) -> None:
    assert stargazer("add", "a_R1.fq", "sample=A")[0] == 0
    before = one({"asset": "r1"})

    async def body(client: Client[Any]) -> None:
        done = await answer(client, "update_file", id=before["cid"], metadata={"lane": "L002", "sample": "B"})
        assert (done["file"]["keyvalues"]["lane"], done["file"]["keyvalues"]["sample"]) == ("L002", "B")
        done = await answer(client, "update_file", id=done["file"]["id"], metadata={"lane": None})
        assert "lane" not in done["file"]["keyvalues"]
        id = done["file"]["id"]
        assert "did you mean 'lane'" in await refusal(client, "update_file", id=id, metadata={"lan": "L1"})
        assert "cannot be amended" in await refusal(client, "update_file", id=id, metadata={"asset": "r2"})
        assert "empty" in await refusal(client, "update_file", id=id, metadata={})
        assert one({"asset": "r1"})["id"] == id
        gone = await answer(client, "delete_file", id=id)
        assert gone["deleted"]["id"] == id
        text = await refusal(client, "delete_file", id=id)
        assert f'no registered file has the CID or id "{id}": query_files lists' in text

    with_client(body, mode=mode)
    assert get_client().store.query({"asset": "r1"}) == []
    assert get_client().store.objects.stat(before["cid"]) is not None


def test_one_of_several_registrations_is_named_by_its_id(here: Path, stargazer: Command) -> None:
    for sample in ("A", "B"):
        assert stargazer("add", "a_R1.fq", f"sample={sample}")[0] == 0
    cid = one({"sample": "A"})["cid"]

    async def body(client: Client[Any]) -> None:
        text = await refusal(client, "delete_file", id=cid)
        head, *candidates = text.splitlines()
        assert head == "it is registered 2 times; name one by its id:"
        assert {json.loads(line)["keyvalues"]["sample"] for line in candidates[:2]} == {"A", "B"}
        await answer(client, "delete_file", id=json.loads(candidates[0])["id"])

    with_client(body)
    assert len(get_client().store.query({"asset": "r1"})) == 1


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize(
    ("said", "agreed"),
    [
        ({"value": True}, True),
        ({"value": False}, False),
        (ElicitResult(action="decline"), False),
        (ElicitResult(action="cancel"), False),
    ],
)
def test_a_client_that_can_ask_does_so_first(
    here: Path, stargazer: Command, mode: str, said: Any, agreed: bool
) -> None:
    assert stargazer("add", "g.fa", "build=tiny")[0] == 0
    record, asked = one({"asset": "reference"}), []

    async def handler(message: str, *given: Any) -> Any:
        asked.append(message)
        return said

    async def body(client: Client[Any]) -> None:
        change = await client.call_tool(
            "update_file", {"id": record["id"], "metadata": {"build": "other"}}, raise_on_error=False
        )
        assert change.is_error is not agreed
        assert one({"asset": "reference"})["build"] == ("other" if agreed else "tiny")
        id = one({"asset": "reference"})["id"]
        gone = await client.call_tool("delete_file", {"id": id}, raise_on_error=False)
        assert gone.is_error is not agreed
        if not agreed:
            assert "the user did not agree" in gone.content[0].text

    with_client(body, elicitation_handler=handler, mode=mode)
    assert len(asked) == 2
    assert '"build": "other"' in asked[0]
    assert '"name": "g.fa"' in asked[1]
    assert len(get_client().store.query({"asset": "reference"})) == (0 if agreed else 1)


def test_what_was_agreed_to_counts_for_nothing_else(here: Path, stargazer: Command) -> None:
    """While the person was asked about one registration, another one took the place of it."""
    assert stargazer("add", "g.fa", "build=tiny")[0] == 0
    asked: list[str] = []

    async def handler(message: str, *given: Any) -> Any:
        asked.append(message)
        if len(asked) == 1:
            (record,) = get_client().store.query({"asset": "reference"})
            amend(get_client().store, record, {"build": "new"})
        return {"value": True}

    cid = one({"asset": "reference"})["cid"]
    with_client(lambda client: answer(client, "delete_file", id=cid), elicitation_handler=handler)
    assert ['"build": "tiny"' in asked[0], '"build": "new"' in asked[1]] == [True, True]


def test_bundles_are_listed_and_fetched_by_name(here: Path, stargazer: Command) -> None:
    assert stargazer("add", "g.fa", "build=tiny")[0] == 0
    record = one({"asset": "reference"})
    assert stargazer("bundle", "make", "mine", record["cid"])[0] == 0
    assert stargazer("rm", record["id"])[0] == 0

    async def body(client: Client[Any]) -> None:
        listed = await answer(client, "bundles")
        assert {"demo", "mine"} == {bundle["name"] for bundle in listed["bundles"]}
        done = await answer(client, "bundles", fetch="mine")
        assert [file["keyvalues"]["build"] for file in done["files"]] == ["tiny"]
        assert stargazer("evict", record["cid"])[0] == 0
        (evicted,) = (await answer(client, "query_files", filters={"cid": record["cid"]}))["files"]
        assert evicted["evicted"] is True
        back = await answer(client, "download_file", cid=record["cid"], folder="back")
        assert Path(back["files"][0]["path"]).read_bytes() == (here / "g.fa").read_bytes()
        for name in ("mein", "mine/mine.bundle.json", "https://example.org/a.bundle.json"):
            text = await refusal(client, "bundles", fetch=name)
            assert "is known here; there are demo, mine" in text

    with_client(body)


def test_a_server_that_only_reads_has_no_tool_that_writes(here: Path) -> None:
    async def body(client: Client[Any]) -> None:
        names = {tool.name for tool in await client.list_tools()}
        writing = {
            "upload_file",
            "download_file",
            "delete_file",
            "update_file",
            "bundles",
            "run_task",
            "run_workflow",
        }
        assert not writing & names
        assert "query_files" in names
        for name in ("upload_file", "delete_file"):
            assert "only reads" in await refusal(client, name, source="g.fa", id="x")

    with_client(body, Access(read_only=True))


def test_the_tools_say_what_they_do(here: Path) -> None:
    async def body(client: Client[Any]) -> None:
        tools = {tool.name: tool for tool in await client.list_tools()}
        for name in ("upload_file", "download_file", "bundles", "delete_file", "update_file"):
            hints = tools[name].annotations
            assert hints is not None
            assert hints.read_only_hint is False
            assert hints.idempotent_hint is True
            assert hints.destructive_hint is (name in ("delete_file", "update_file"))
            assert tools[name].output_schema
            schema = tools[name].input_schema["properties"]
            assert all("description" in parameter for parameter in schema.values())

    with_client(body)
    assert os.listdir(here)
