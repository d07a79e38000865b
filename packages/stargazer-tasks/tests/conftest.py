"""A store to run tasks in, and the tools as they are without us."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import Asset, Intervals, use_client
from stargazer.storage import Addition, LocalStorageClient, Store, get_client, open_store
from stargazer.tasks.tools import Tool

from .changing_tasks import ChangingTasks


class Bench:
    """A store, and tasks run in it."""

    def __init__(self, root: Path):
        self.client = LocalStorageClient(root)

    def add(self, path: Path, asset: Asset, *, force: bool = False) -> Any:
        """Register a file; return its asset."""
        return Asset.from_record(self.client.store.add([Addition(path, asset, force=force)])[0])

    def run(self, task: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """The result of a task."""

        async def main() -> Any:
            return await task(*args, **kwargs)

        with use_client(self.client):
            return asyncio.run(main())

    def path(self, asset: Asset) -> Path:
        """The stored bytes of an asset."""
        return self.client.store.read(asset.cid or "")

    def types(self) -> list[str]:
        """The types of all records, sorted."""
        return sorted(record.keyvalues["asset"] for record in self.client.store.query({}))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """An empty store to run tasks in."""
    return Bench(tmp_path / "store")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store to register files in."""
    return open_store(tmp_path / "store")


@pytest.fixture
def add(store: Store) -> Callable[..., str]:
    """Register one file: its CID."""

    def run(path: Path, asset: Asset, *, force: bool = False) -> str:
        (record,) = store.add([Addition(path, asset, force=force)])
        return record.cid

    return run


@pytest.fixture(scope="session")
def by_hand() -> Callable[..., bytes]:
    """Runs a tool of ours without us; gives what it prints."""

    def run(tool: Tool, *args: Any, stdin: bytes = b"") -> bytes:
        found = tool.resolve({})
        done = subprocess.run([*found.argv, *map(str, args)], input=stdin, capture_output=True,
                              env=dict(found.environment))  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return run


@pytest.fixture
def changing(tmp_path: Path) -> ChangingTasks:
    """Two tasks of which one thing can be changed, and two files to read: intervals of build `one` and `two`."""
    for build, end in (("one", 10), ("two", 11)):
        path = tmp_path / f"{build}.bed"
        path.write_text(f"c\t0\t{end}\n")
        asyncio.run(get_client().upload_file(path, Intervals(name="i", build=build).keyvalues))
    return ChangingTasks(tmp_path)
