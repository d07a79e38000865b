"""The equipment of these tests as fixtures: a Pinata account, a real IPFS gateway, a real TUS server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import ipfs_gateway, tus_server
from .emulator import Mirror
from .ipfs_gateway import IpfsGateway
from .pinata_emulator import PinataEmulator, PinataProcess


@pytest.fixture
def pinata(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PinataEmulator]:
    """An empty Pinata account in this process."""
    folder = tmp_path_factory.mktemp("pinata")
    with PinataEmulator(folder) as emulator:
        yield emulator
    shutil.rmtree(folder)


@pytest.fixture
def pinata_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PinataProcess]:
    """An empty Pinata account in a process of its own, which can be killed and started again."""
    folder = tmp_path_factory.mktemp("pinata")
    with PinataProcess(folder) as process:
        yield process
    shutil.rmtree(folder)


@pytest.fixture
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    """A plain web server of what a test puts into its `folder`."""
    with Mirror(tmp_path_factory.mktemp("mirror")) as server:
        yield server


@pytest.fixture(scope="session")
def _ipfsgw_binary() -> Path:
    try:
        return ipfs_gateway.build()
    except ipfs_gateway.NoGo as reason:
        pytest.skip(str(reason))
    except ipfs_gateway.BuildFailed as reason:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(reason))


@pytest.fixture
def ipfsgw(_ipfsgw_binary: Path) -> Iterator[IpfsGateway]:
    """The reference importer and gateway; what it serves ends with the test."""
    gateway = IpfsGateway(_ipfsgw_binary)
    yield gateway
    gateway.close()


@pytest.fixture
def tus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tus_server.TusServer]:
    """Somebody else's TUS server."""
    if reason := tus_server.missing():
        pytest.skip(reason)
    with tus_server.TusServer(tmp_path_factory.mktemp("tus")) as server:
        yield server
