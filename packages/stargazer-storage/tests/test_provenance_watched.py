"""The look for secrets after each test finds the provenance documents of a store where the store puts them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from stargazer.storage import LocalStorageClient


def test_what_add_writes_is_looked_through(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    (equipment,) = (
        plugin for plugin in pytestconfig.pluginmanager.get_plugins() if hasattr(plugin, "private_in")
    )
    (tmp_path / "x.fa").write_text(">c\nACGT\n")
    client = LocalStorageClient(tmp_path / "store")

    stored = asyncio.run(client.upload_file(tmp_path / "x.fa", {"asset": "reference", "build": "x"}))

    ((_, document),) = equipment.documents_below([tmp_path], set())
    assert stored.cid.encode() in document
