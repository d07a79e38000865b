"""No secret of ours, of Flyte or of anybody reaches a tool or what is kept of a task: `env`, run by a real task."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from stargazer.assets import use_client
from stargazer.assets.catalogue import QcReport
from stargazer.storage import LocalStorageClient
from stargazer.tasks.execution import AssetEnvironment, log_to, workspace
from stargazer.tasks.tools import OnPath, Tool

SECRETS = [
    "PINATA_JWT", "PINATA_GATEWAY_TOKEN", "FLYTE_API_KEY", "FLYTE_AUTH_COMMAND", "UNION_API_KEY",
    "_UNION_EAGER_API_KEY", "EAGER_API_KEY", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN",
]  # fmt: skip
PROGRAM = '#!/bin/sh\nif [ "$1" = --version ]; then echo 1.0; else env; fi\n'

env = AssetEnvironment(name="secrets")
tell = Tool("tell-environment", (OnPath("tell-environment"),))


@env.task(tools=[tell])
async def told() -> QcReport:
    path = workspace() / "environment.txt"
    await tell(stdout=path)
    return QcReport(kind="environment", path=path)


def test_a_tool_gets_no_secret_and_nothing_kept_holds_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "tell-environment"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    for number, name in enumerate(SECRETS):
        monkeypatch.setenv(name, f"very-secret-{number}")
    client = LocalStorageClient(tmp_path / "store")

    async def main() -> QcReport:
        return await told()

    with use_client(client), log_to(tmp_path / "logs"):
        report = asyncio.run(main())

    names = [line.split("=")[0] for line in client.store.read(report.cid or "").read_text().splitlines()]
    assert "PATH" in names
    assert not [
        name for name in names if name.startswith(("PINATA_", "FLYTE_", "UNION_", "_U")) or name in SECRETS
    ]
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(kept) > 3
    assert not [path for path in kept if b"very-secret" in path.read_bytes()]
