"""The current storage client: an argument, a context, or what is installed; and a light import."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import textwrap
from pathlib import Path

import attrs
import cattrs
import stargazer.assets
from stargazer.assets import NoClientError, StorageClient, current_client, use_client

from .memory_client import MemoryClient

LIBRARIES = {str(Path(module.__file__ or "").parents[1]) for module in (attrs, cattrs)}
SOURCE = Path(stargazer.assets.__file__).parents[2]


def run_alone(code: str, folder: Path, *, installed: str = "") -> str:
    """Run code where only stargazer.assets can be imported, and one distribution with these entry points."""
    if installed:
        info = folder / "lab-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(textwrap.dedent(installed))
    package = folder / "stargazer"
    package.mkdir()
    (package / "assets").symlink_to(SOURCE / "stargazer" / "assets")
    for library in ("attr", "attrs", "cattr", "cattrs", "lazy_loader", "typing_extensions.py"):
        for place in LIBRARIES:
            if (Path(place) / library).exists() and not (folder / library).exists():
                (folder / library).symlink_to(Path(place) / library)
    start = f"import sys; sys.path.insert(0, {str(folder)!r})\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", start + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_second_implementation_keeps_the_contract(tmp_path: Path) -> None:
    assert isinstance(MemoryClient(tmp_path), StorageClient)


def test_an_argument_comes_before_the_context(tmp_path: Path) -> None:
    one, other = MemoryClient(tmp_path / "1"), MemoryClient(tmp_path / "2")
    with use_client(one):
        assert current_client(other) is other
        assert current_client() is one


def test_contexts_nest_and_end(tmp_path: Path) -> None:
    one, other = MemoryClient(tmp_path / "1"), MemoryClient(tmp_path / "2")
    with use_client(one):
        with contextlib.suppress(KeyError), use_client(other):
            assert current_client() is other
            raise KeyError
        assert current_client() is one


def test_each_asyncio_task_has_its_own_context(tmp_path: Path) -> None:
    clients = [MemoryClient(tmp_path / str(number)) for number in range(3)]

    async def inner() -> StorageClient:
        await asyncio.sleep(0)
        return current_client()

    async def outer(client: MemoryClient) -> list[StorageClient]:
        with use_client(client):
            await asyncio.sleep(0)
            return [current_client(), await inner(), await asyncio.create_task(inner())]

    async def together() -> list[list[StorageClient]]:
        return await asyncio.gather(*map(outer, clients))

    assert asyncio.run(together()) == [[client] * 3 for client in clients]


def test_without_a_client_the_error_names_what_to_install(tmp_path: Path) -> None:
    code = """
        import asyncio
        from stargazer.assets import NoClientError, Reference, assemble, fetch
        for question in (Reference.one(), assemble(asset="r1"), fetch(Reference(build="b", cid="c"))):
            try:
                asyncio.run(question)
            except NoClientError as error:
                print(error)
    """
    said = run_alone(code, tmp_path).splitlines()
    assert len(said) == 3
    assert all("pip install stargazer-storage" in line for line in said)
    assert issubclass(NoClientError, RuntimeError)


def test_an_installed_distribution_provides_the_client(tmp_path: Path) -> None:
    (tmp_path / "lab.py").write_text(
        "made = []\ndef client():\n    made.append(1)\n    return 'client of lab'\n"
    )
    code = """
        from stargazer.assets import current_client
        print(current_client(), current_client("mine"))
    """
    entry = """
        [stargazer.clients]
        other = nowhere:at_all
        default = lab:client
    """
    assert run_alone(code, tmp_path, installed=entry) == "client of lab mine"


def test_an_installed_distribution_provides_asset_types(tmp_path: Path) -> None:
    (tmp_path / "lab.py").write_text(
        "from stargazer.assets import Asset, asset\n@asset('panel')\nclass Panel(Asset):\n    name: str\n"
    )
    code = """
        import warnings
        from stargazer.assets import Asset, IpFile, asset_class
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            print(asset_class("panel").__name__, Asset.from_record(IpFile(cid="c", keyvalues={"asset": "x"})).cid)
        print([str(warning.message) for warning in warned])
    """
    entry = """
        [stargazer.assets]
        broken = nowhere:at_all
        panel = lab
    """
    said = run_alone(code, tmp_path, installed=entry)
    assert said.startswith("Panel c")
    assert "the asset types of nowhere:at_all could not be loaded" in said
    assert "unknown asset type 'x'" in said


def test_the_import_is_light(tmp_path: Path) -> None:
    heavy = """flyte fastmcp pysam numpy requests asyncio tinydb sqlite3 importlib.metadata cattrs cattr
        matplotlib urllib.request ssl multiprocessing concurrent.futures"""
    code = f"""
        import stargazer.assets, sys
        print([name for name in {heavy.split()!r} if name in sys.modules])
    """
    assert run_alone(code, tmp_path) == "[]"
