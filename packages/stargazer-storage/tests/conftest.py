"""The equipment of these tests: a Pinata account, an IPFS gateway, a TUS server, a distribution that brings checks."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stargazer.storage import checks
from stargazer.storage.checks import Check
from stargazer.storage.download import fetch
from stargazer.storage.download.http import Patience
from stargazer.storage.pinata import PinataApi
from stargazer.storage.store import Store, open_store

from . import ipfs_gateway, tus_server
from .emulator import Mirror
from .ipfs_gateway import IpfsGateway
from .pinata_emulator import JWT, PinataEmulator, PinataProcess
from .pinata_store import make_store


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
def slept() -> list[float]:
    """The waits that were asked for, none of which was waited."""
    return []


@pytest.fixture
def api(pinata: PinataEmulator, slept: list[float]) -> PinataApi:
    """The account, asked without waiting."""
    return PinataApi(JWT, api=pinata.api, uploads=pinata.uploads, sleep=slept.append)


@pytest.fixture
def here(tmp_path: Path, pinata: PinataEmulator) -> Store:
    """A store with the account."""
    return make_store(tmp_path / "here", pinata)


@pytest.fixture
def there(tmp_path: Path, pinata: PinataEmulator) -> Store:
    """Another machine with the same account."""
    return make_store(tmp_path / "there", pinata)


@pytest.fixture
def mine(tmp_path: Path) -> Store:
    """A store without an account."""
    return open_store(tmp_path / "mine")


@pytest.fixture
def yours(tmp_path: Path) -> Store:
    """A colleague's store."""
    return open_store(tmp_path / "yours")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A download that fails is tried again at once."""
    monkeypatch.setattr(fetch, "PATIENCE", Patience(attempts=3, first=0.02))


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


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, Check]], None]]:
    """Install a distribution with these checks, and no other."""

    def run(installed: dict[str, Check]) -> None:
        module = types.ModuleType("labchecks")
        lines = ["[stargazer.checks]"]
        for number, (name, check) in enumerate(installed.items()):
            setattr(module, f"check{number}", check)
            lines.append(f"{name} = labchecks:check{number}")
        monkeypatch.setitem(sys.modules, "labchecks", module)
        folder = tmp_path / "site" / "labchecks-1.2.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: labchecks\nVersion: 1.2\n")
        (folder / "entry_points.txt").write_text("\n".join([*lines, "x.broken = labchecks:absent", ""]))
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        real = importlib.metadata.entry_points
        group = checks.ENTRY_POINT_GROUP
        found = [entry for entry in real(group=group) if "labchecks" in entry.value]
        monkeypatch.setattr(
            importlib.metadata, "entry_points", lambda **of: found if of == {"group": group} else real(**of)
        )
        _forget()

    _forget()
    yield run
    _forget()


def _forget() -> None:
    checks._checks_of.cache_clear()
