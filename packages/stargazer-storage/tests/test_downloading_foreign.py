"""Objects from a real IPFS gateway (boxo): other layouts than ours, missing and damaged blocks."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from stargazer.assets import IntegrityError, StorageError
from stargazer.storage.cid import LEAF_SIZE, compute_cid, normal
from stargazer.storage.download.fetch import fetch_object
from stargazer.storage.download.sources import Gateway, LocalFile
from stargazer.storage.objects import Objects

from .ipfs_gateway import IpfsGateway
from .pinata_emulator import PinataEmulator

pytestmark = pytest.mark.usefixtures("impatient")

SIZE = 5 * LEAF_SIZE + 3
Flags = dict[str, str | int]
PROFILES: list[Flags] = [
    {"leaves": "dag-pb", "version": 0},
    {"chunker": "size-1048576", "links": 1024},
    {"chunker": "size-1048576"},
]
UNKNOWN: list[Flags] = [
    {"chunker": "size-65536", "links": 3},
    {"chunker": "buzhash"},
    {"chunker": "rabin-65536-131072-262144"},
    {"layout": "trickle", "links": 2},
]


@pytest.fixture
def store(tmp_path: Path) -> Objects:
    return Objects(tmp_path / "store")


@pytest.fixture
def blocks(tmp_path: Path) -> Path:
    return tmp_path / "blocks"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(random.Random(7).randbytes(SIZE))
    return path


def left(store: Objects) -> list[str]:
    return sorted(path.name for name in ("tmp", "work") for path in (store.root / name).glob("*"))


def objects(store: Objects) -> list[str]:
    return sorted(path.name for path in (store.root / "objects").glob("*/*"))


@pytest.mark.parametrize("size", [0, 1, LEAF_SIZE, LEAF_SIZE + 1, 174 * LEAF_SIZE + 1])
def test_what_boxo_added_arrives(
    ipfsgw: IpfsGateway, store: Objects, blocks: Path, tmp_path: Path, size: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(random.Random(size).randbytes(size))
    (cid,) = ipfsgw.add(path, store=blocks)

    found = fetch_object(cid, [Gateway(ipfsgw.serve(blocks))], store)

    assert (found.cid, found.size) == (cid, size)
    assert objects(store) == [cid]


@pytest.mark.parametrize("flags", PROFILES, ids=str)
def test_another_layout_is_verified(
    ipfsgw: IpfsGateway, store: Objects, blocks: Path, file: Path, flags: Flags
) -> None:
    cid = normal(ipfsgw.add(file, store=blocks, **flags)[0])
    assert cid != compute_cid(file)

    fetch_object(cid, [Gateway(ipfsgw.serve(blocks))], store)

    assert store.path(cid).read_bytes() == file.read_bytes()
    assert store.verify(cid).cid == cid
    assert objects(store) == [cid]
    assert left(store) == []


@pytest.mark.parametrize("flags", PROFILES, ids=str)
def test_the_bytes_of_a_mirror_are_verified_in_another_layout(
    ipfsgw: IpfsGateway, store: Objects, blocks: Path, file: Path, flags: Flags
) -> None:
    cid = normal(ipfsgw.add(file, store=blocks, **flags)[0])
    for leaf in ipfsgw.leaves(blocks, cid):
        ipfsgw.delete(blocks, leaf)

    fetch_object(cid, [LocalFile(file), Gateway(ipfsgw.serve(blocks))], store)

    assert store.path(cid).read_bytes() == file.read_bytes()


def test_a_common_profile_needs_no_gateway(
    ipfsgw: IpfsGateway, store: Objects, blocks: Path, file: Path
) -> None:
    cid = normal(ipfsgw.add(file, store=blocks, leaves="dag-pb", version=0)[0])

    fetch_object(cid, [LocalFile(file)], store)

    assert store.verify(cid).cid == cid


def test_one_large_block_is_a_file(ipfsgw: IpfsGateway, store: Objects, blocks: Path, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(random.Random(1).randbytes(700_000))
    (cid,) = ipfsgw.add(path, store=blocks, chunker="size-1048576")
    assert cid.startswith("bafkrei")

    fetch_object(cid, [Gateway(ipfsgw.serve(blocks))], store)

    assert objects(store) == [cid]


@pytest.mark.parametrize("damage", ["missing", "corrupt"])
@pytest.mark.parametrize("which", [0, 2, -1])
def test_a_missing_or_damaged_leaf_is_an_error_and_another_source_has_it(
    ipfsgw: IpfsGateway,
    store: Objects,
    blocks: Path,
    file: Path,
    tmp_path: Path,
    damage: str,
    which: int,
) -> None:
    (cid,) = ipfsgw.add(file, store=blocks)
    ipfsgw.add(file, store=tmp_path / "whole")
    leaf = ipfsgw.leaves(blocks, cid)[which]
    if damage == "missing":
        ipfsgw.delete(blocks, leaf)
    else:
        ipfsgw.corrupt(blocks, leaf, 1)
    bad = Gateway(ipfsgw.serve(blocks))

    with pytest.raises(StorageError, match=cid) as raised:
        fetch_object(cid, [bad], store)
    assert bad.name in str(raised.value)
    assert isinstance(raised.value, IntegrityError) == (damage == "corrupt")
    assert objects(store) == []

    fetch_object(cid, [bad, Gateway(ipfsgw.serve(tmp_path / "whole"))], store)
    assert store.path(cid).read_bytes() == file.read_bytes()
    assert left(store) == []


def test_a_missing_root_is_not_found(ipfsgw: IpfsGateway, store: Objects, blocks: Path, file: Path) -> None:
    (cid,) = ipfsgw.add(file, store=blocks)
    ipfsgw.delete(blocks, cid)

    with pytest.raises(StorageError, match=f"{cid} could not be fetched: .* answered 404"):
        fetch_object(cid, [Gateway(ipfsgw.serve(blocks))], store)


@pytest.mark.parametrize("flags", UNKNOWN, ids=str)
def test_equal_bytes_of_two_sources_in_no_known_layout_ask_for_a_checksum(
    ipfsgw: IpfsGateway, store: Objects, blocks: Path, file: Path, flags: Flags
) -> None:
    cid = normal(ipfsgw.add(file, store=blocks, **flags)[0])
    gateway = Gateway(ipfsgw.serve(blocks))

    with pytest.raises(IntegrityError, match=cid) as raised:
        fetch_object(cid, [gateway], store)
    assert "give its sha256" not in str(raised.value)
    with pytest.raises(IntegrityError, match="unknown chunking or wrong bytes; give its sha256"):
        fetch_object(cid, [gateway, LocalFile(file)], store)

    assert objects(store) == []
    assert left(store) == []


def test_a_public_file_on_pinata_arrives(pinata: PinataEmulator, store: Objects, file: Path) -> None:
    cid = _upload(pinata, file)
    pinata.rules.gateway_token = "let me in"

    with pytest.raises(StorageError, match="401"):
        fetch_object(cid, [Gateway(pinata.gateway)], store)
    fetch_object(cid, [Gateway(pinata.gateway, "let me in")], store)

    assert store.path(cid).read_bytes() == file.read_bytes()


def _upload(pinata: PinataEmulator, file: Path) -> str:
    import requests

    answer = requests.post(
        f"{pinata.uploads}/v3/files",
        files={"file": (file.name, file.read_bytes())},
        data={"network": "public"},
        headers={"Authorization": f"Bearer {pinata.jwt}"},
        timeout=30,
    )
    answer.raise_for_status()
    return str(answer.json()["data"]["cid"])
