"""A scripted agent goes from an empty store to figures that are checked, by what the server says alone."""

from __future__ import annotations

import asyncio
import copy
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport

from .agent import Agent, Refused
from .command import COMMAND, simulate


def as_agent(folder: Path, body: Callable[[Client[Any]], Awaitable[None]]) -> None:
    """Run a coroutine with a client of a server that reads files of one folder."""

    async def run() -> None:
        words = [*COMMAND[1:], "serve", "--root", str(folder)]
        with open(folder / "stderr", "w") as log:
            transport = StdioTransport(
                COMMAND[0], words, env=dict(os.environ), keep_alive=False, log_file=log
            )
            async with Client(transport) as client:
                await body(client)

    asyncio.run(asyncio.wait_for(run(), 1500))


async def contradicted(agent: Agent, claims: list[dict[str, Any]]) -> None:
    """An edited number, and a claim that is said of another sample, are not confirmed."""
    (true, *_) = [claim for claim in claims if claim["value"]]
    edited = copy.deepcopy(true) | {"value": true["value"] * 2 + 1}
    of_another = copy.deepcopy(true) | {"about": {"samples": ["somebody-else"]}}
    answer = await agent.ended(await agent.call("check_claims", claims=[true, edited, of_another]))
    assert [result["verdict"] for result in answer["results"]] == [
        "confirmed",
        "contradicted",
        "contradicted",
    ]
    assert answer["results"][1]["found"] == true["value"]


def test_from_reads_to_variants(tmp_path: Path) -> None:
    simulate(tmp_path)

    async def body(client: Client[Any]) -> None:
        said = {"sample": "S", "lane": "L001"}
        agent = Agent(
            client,
            [
                (str(tmp_path / "tiny.fa"), {"build": "tiny"}),
                ([str(tmp_path / "S_R1.fq.gz"), str(tmp_path / "S_R2.fq.gz")], said),
            ],
            ["S"],
        )
        with pytest.raises(Refused, match="no reference build=tiny"):
            await agent.ended(
                await agent.call("run_workflow", name="prepare_reference", arguments={"build": "tiny"})
            )
        verdicts = await agent.follow("call_variants", sample="S", build="tiny", caller="bcftools")
        assert verdicts["confirmed"] > 10
        assert (verdicts["contradicted"], verdicts["unverifiable"]) == (0, 0), verdicts["results"]
        (variants,) = [file for file in agent.results() if file["asset"] == "variants"]
        claim = {"cid": variants["cid"], "query": {"what": "count"}, "value": 1, "about": {"sample": "S"}}
        checked = await agent.ended(await agent.call("check_claims", claims=[claim]))
        assert checked["confirmed"] == 1, checked
        await contradicted(agent, await agent.claims())

    as_agent(tmp_path, body)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("caller", ["bcftools", "gatk"])
def test_a_cohort_from_a_sample_sheet(caller: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if caller == "gatk":
        request.getfixturevalue("gatk_home")
    from stargazer.workflows.demo.simulate import simulate_trio

    made = simulate_trio(str(tmp_path / "trio"))
    samples = [item["sample"] for item in made["samples"]]
    rows = ["sample,lane,fastq_1,fastq_2"]
    for item in made["samples"]:
        rows += [f"{item['sample']},{lane['lane']},{lane['r1']},{lane['r2']}" for lane in item["lanes"]]
    sheet = tmp_path / "samples.csv"
    sheet.write_text("\n".join([*rows, ""]))

    async def body(client: Client[Any]) -> None:
        agent = Agent(client, [], samples)
        agent.files = [(str(made["reference"]), {"build": "demo"}), (str(sheet), {"samplesheet": True})]
        await agent.upload()
        verdicts = await agent.follow("joint_call", samples=",".join(samples), build="demo", caller=caller)
        assert verdicts["confirmed"] > 10
        assert (verdicts["contradicted"], verdicts["unverifiable"]) == (0, 0), verdicts["results"]
        await contradicted(agent, await agent.claims())

    as_agent(tmp_path, body)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_from_counts_of_cells_to_clusters(tmp_path: Path) -> None:
    pytest.importorskip("scanpy", reason="NOT TESTED: pip install 'stargazer-mcp[scrna]'")
    from stargazer.workflows.demo.cells import simulate_cells

    made = simulate_cells(str(tmp_path / "cells"))
    samples = [item["sample"] for item in made["samples"]]

    async def body(client: Client[Any]) -> None:
        files = [(item["folder"], {"sample": item["sample"]}) for item in made["samples"]]
        agent = Agent(client, files, samples)
        verdicts = await agent.follow("cluster_cells", samples=",".join(samples))
        assert verdicts["confirmed"] > 10
        assert (verdicts["contradicted"], verdicts["unverifiable"]) == (0, 0), verdicts["results"]
        (cells,) = [file for file in agent.results() if file["asset"] == "anndata"]
        query = {"what": "count", "where": [{"column": "sample", "op": "=", "value": samples[0]}]}
        claim = {"cid": cells["cid"], "query": query, "value": 1, "about": {"sample": samples[0]}}
        (checked,) = (await agent.ended(await agent.call("check_claims", claims=[claim])))["results"]
        assert checked["verdict"] == "contradicted"
        assert checked["found"] > 500
        await contradicted(agent, await agent.claims())

    as_agent(tmp_path, body)
