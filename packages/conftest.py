"""What every test stands on: isolation, test data, and a loud account of the equipment that ran and that did not."""

from __future__ import annotations

import os
import shutil
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DATA_VARIABLE = "STARGAZER_TEST_DATA"
DEBIAN_TOOLS = ("bwa", "samtools", "bcftools", "bgzip", "tabix")
FOREIGN_PREFIXES = ("STARGAZER_", "PINATA_", "FLYTE_", "FLYTECTL_", "UNION_")
NO_DATA = f"no test data: set {DATA_VARIABLE} to the folder that holds tp53/ and na12878_chr20/"
NO_TOOLS = "no Debian tools on PATH"
EQUIPMENT = {
    "test_data": ("the real reads", (DATA_VARIABLE,), NO_DATA),
    "debian": ("Debian's tools", (NO_TOOLS,), f"{NO_TOOLS}: apt-get install bwa samtools bcftools tabix"),
    "ipfsgw": (
        "the real IPFS gateway (boxo)",
        ("real IPFS gateway", "build the IPFS gateway"),
        "no IPFS gateway: install Go 1.26 (https://go.dev/dl), or see why it could not be built",
    ),
    "tus": (
        "the real TUS server (tuspyserver)",
        ("no TUS server",),
        "no TUS server: pip install tuspyserver uvicorn",
    ),
    "emulator": (
        "the Pinata emulator",
        ("no Pinata emulator",),
        "no Pinata emulator: it is in the repository, packages/stargazer-storage/tests",
    ),
    "mounts": (
        "read-only, full and foreign filesystems",
        ("user namespaces", "be mounted here", "mount cannot be made here", "no unshare"),
        "no mounts: run the tests as root, or where user namespaces are allowed",
    ),
}
"""What some tests need and not every machine has: by the fixture or marker that asks for it, what it is called, what
the reasons to skip say, and what would make it run."""


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers here, so that a distribution's tests also run from its sdist."""
    config.addinivalue_line("markers", "slow: takes more than a few seconds; runs after everything else")
    config.addinivalue_line("markers", "debian(*tools): compares with Debian's tools (default: all of them)")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run fast tests first: the order is otherwise the one pytest found."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note which equipment a test asks for; skip one whose oracles are not installed, naming them."""
    marker = item.get_closest_marker("debian")
    asked = [*getattr(item, "fixturenames", ()), *(["debian"] if marker else [])]
    item.user_properties += [("equipment", name) for name in asked if name in EQUIPMENT]
    if marker is None:
        return
    missing = [tool for tool in marker.args or DEBIAN_TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{NO_TOOLS}: {', '.join(missing)} (apt-get install bwa samtools bcftools tabix)")


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say which equipment ran, how much was not tested, and what would test it."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    ran = Counter(name for report in reports for key, name in report.user_properties if key == "equipment")
    if ran:
        told = ", ".join(f"{EQUIPMENT[name][0]} in {count} tests" for name, count in sorted(ran.items()))
        terminalreporter.write_sep("-", f"equipment that ran: {told}")
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    for _, signs, remedy in EQUIPMENT.values():
        count = sum(any(sign in reason for sign in signs) for reason in skipped)
        if count:
            terminalreporter.write_sep("!", f"not run: {count}", red=True, bold=True)
            terminalreporter.write_line(remedy, red=True)


def _isolate(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    for name in os.environ:
        if name.startswith(FOREIGN_PREFIXES) and name != DATA_VARIABLE:
            monkeypatch.delenv(name)
    monkeypatch.setenv("STARGAZER_MODE", "local")
    monkeypatch.setenv("STARGAZER_HOME", str(home))
    monkeypatch.setenv("STARGAZER_LOCAL", str(home / "local"))


@pytest.fixture(scope="session", autouse=True)
def _isolated_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fixtures wider than a test must not see the user's store either."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        _isolate(monkeypatch, tmp_path_factory.mktemp("stargazer-session"))
        yield


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each test has a store of its own, no credentials, and no way out of this machine."""
    _isolate(monkeypatch, tmp_path_factory.mktemp("stargazer"))
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("localhost", "127.0.0.1", "::1"):
            pytest.fail(f"a test tried to reach {address!r}: tests use no network")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_here)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real reads and truth sets; where it is not, tests that ask for it are skipped."""
    folder = os.environ.get(DATA_VARIABLE)
    if not folder:
        pytest.skip(NO_DATA)
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"{DATA_VARIABLE}={folder!r} is not a folder")
    return path
