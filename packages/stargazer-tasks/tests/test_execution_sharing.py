"""Running tasks in a store shared with a group: what one user's tasks make, another's can use and see."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from stargazer.assets.catalogue import AlignerIndex, QcReport
from stargazer.tasks.execution import AssetEnvironment, pack, workspace
from stargazer.tasks.execution.locks import key_lock

from .conftest import Bench

env = AssetEnvironment(name="sharing")
seen: dict[str, int] = {}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@env.task
async def index() -> AlignerIndex:
    folder = workspace() / "made"
    folder.mkdir()
    (folder / "index.bwt").write_text("index")
    return AlignerIndex(path=pack(folder, workspace() / "index.tar"), aligner="odd", reference_cid="bafkref")


@env.task
async def look_around(found: list[AlignerIndex]) -> QcReport:
    for path in (workspace(), workspace() / "found", workspace() / "found" / "0"):
        seen[path.relative_to(workspace().parent).as_posix().partition("/")[2]] = mode(path)
    seen["lock"] = mode(workspace().with_name(workspace().name + ".lock"))
    (workspace() / "report").write_text("report")
    return QcReport(path=workspace() / "report", kind="modes")


@pytest.fixture
def secretive() -> Iterator[None]:
    """A user whose files nobody else may read, unless they are shared."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def shared(folder: Path) -> Path:
    folder.mkdir()
    folder.chmod(0o2770)
    return folder


@pytest.mark.usefixtures("secretive")
def test_others_of_the_group_see_what_a_task_reads_and_use_what_it_unpacked(tmp_path):
    bench = Bench(shared(tmp_path / "store"))
    made = bench.run(index)
    bench.run(look_around, [made, made])

    assert seen == {"": 0o2770, "found": 0o2770, "found/0": 0o2770, "lock": 0o660}
    folder = bench.client.store.root / "unpacked"
    assert mode(folder) == 0o2770
    assert {mode(path) & 0o777 for path in folder.iterdir()} == {0o555}


@pytest.mark.usefixtures("secretive")
def test_locks_below_a_shared_folder_are_everybodys(tmp_path):
    home = shared(tmp_path / "home")

    async def take() -> set[int]:
        async with key_lock(home / "locks", "key"):
            return {mode(path) for path in home.rglob("*")}

    assert asyncio.run(take()) == {0o2770, 0o660}


@pytest.mark.usefixtures("secretive")
def test_locks_below_a_private_folder_stay_private(tmp_path):
    async def take() -> set[int]:
        async with key_lock(tmp_path / "home" / "locks", "key"):
            return {mode(path) for path in (tmp_path / "home").rglob("*")}

    assert asyncio.run(take()) == {0o700, 0o600}
