"""Each variable of tasks by what it does: how many run at once, what is too large, where tools come from."""

from __future__ import annotations

import asyncio
from pathlib import Path

import flyte
import pytest
from stargazer.assets.catalogue import QcReport
from stargazer.tasks import samtools
from stargazer.tasks.execution import AssetEnvironment, workspace

env = AssetEnvironment(name="settings_effects", resources=flyte.Resources(cpu=1, memory="1Gi"))
running: list[int] = []
most: list[int] = []


@env.task
async def counted(number: int) -> QcReport:
    running.append(number)
    most.append(len(running))
    await asyncio.sleep(0.2)
    running.remove(number)
    (workspace() / "x.txt").write_text(str(number))
    return QcReport(kind="counted", path=workspace() / "x.txt")


def at_once(count: int) -> int:
    async def main() -> None:
        await asyncio.gather(*(counted(number) for number in range(count)))

    most.clear()
    asyncio.run(main())
    return max(most)


@pytest.mark.parametrize("cores", [1, 2])
def test_stargazer_cores_is_how_many_tasks_of_one_core_run_at_once(
    monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    monkeypatch.setenv("STARGAZER_MEMORY", "64G")
    monkeypatch.setenv("STARGAZER_CORES", str(cores))

    assert at_once(3) == cores


def test_stargazer_memory_is_how_many_tasks_of_a_gigabyte_run_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STARGAZER_CORES", "8")
    monkeypatch.setenv("STARGAZER_MEMORY", "2G")

    assert at_once(3) == 2


def test_stargazer_tools_is_where_a_tool_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "samtools"
    program.write_text('#!/bin/sh\necho "samtools 1.99"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert samtools.resolve().source != "PATH"

    monkeypatch.setenv("STARGAZER_TOOLS", "samtools=path")

    assert (samtools.resolve().source, samtools.resolve().version) == ("PATH", "1.99")
