"""The test equipment itself: boxo's importer and gateway do what the tests that lean on them expect."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import requests

from .ipfs_gateway import IpfsGateway

KIB = 1024
LEAF = 256 * KIB


@pytest.fixture
def blocks(tmp_path: Path) -> Path:
    return tmp_path / "blocks"


def random_file(path: Path, size: int) -> Path:
    """A file without repetitions, the same at each call."""
    path.write_bytes(random.Random(size).randbytes(size))
    return path


def test_the_empty_file_has_its_well_known_cid(ipfsgw: IpfsGateway, tmp_path: Path) -> None:
    empty = random_file(tmp_path / "empty", 0)

    assert ipfsgw.add(empty) == ["bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"]
    assert ipfsgw.add(empty, version=0, leaves="dag-pb") == ["QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"]


def test_the_flags_change_the_layout(ipfsgw: IpfsGateway, tmp_path: Path, blocks: Path) -> None:
    file = random_file(tmp_path / "file", 3 * LEAF + 1)
    profiles: list[dict[str, str | int]] = [
        {},
        {"chunker": "size-1048576", "links": 1024},
        {"chunker": "buzhash"},
        {"chunker": "rabin-65536-131072-262144"},
        {"layout": "trickle", "links": 2},
        {"links": 2},
        {"leaves": "dag-pb", "version": 0},
    ]

    cids = [ipfsgw.add(file, store=blocks, **profile)[0] for profile in profiles]

    assert len(set(cids)) == len(profiles)
    url = ipfsgw.serve(blocks)
    for cid in cids:
        assert requests.get(f"{url}/ipfs/{cid}", timeout=30).content == file.read_bytes()


def test_files_are_served_whole_and_in_part(ipfsgw: IpfsGateway, tmp_path: Path, blocks: Path) -> None:
    small, large = random_file(tmp_path / "small", 5), random_file(tmp_path / "large", 2 * LEAF + 1)
    of_small, of_large = ipfsgw.add(small, large, store=blocks)
    url = ipfsgw.serve(blocks)

    assert requests.get(f"{url}/ipfs/{of_small}", timeout=30).content == small.read_bytes()
    answer = requests.get(f"{url}/ipfs/{of_large}", headers={"Range": f"bytes={LEAF - 1}-{LEAF}"}, timeout=30)
    assert (answer.status_code, answer.content) == (206, large.read_bytes()[LEAF - 1 : LEAF + 1])
    assert requests.get(f"{url}/ipfs/{of_large}?format=raw", timeout=30).content == (
        ipfsgw.block(blocks, of_large).read_bytes()
    )
    assert requests.get(f"{url}/ipfs/{of_large}?format=car", timeout=30).status_code == 200


@pytest.mark.parametrize("flags", [{}, {"leaves": "dag-pb", "version": 0}, {"links": 2}])
def test_leaves_are_found_in_order(
    ipfsgw: IpfsGateway, tmp_path: Path, blocks: Path, flags: dict[str, str | int]
) -> None:
    file = random_file(tmp_path / "file", 5 * LEAF)
    (cid,) = ipfsgw.add(file, store=blocks, **flags)

    leaves = ipfsgw.leaves(blocks, cid)

    assert len(leaves) == 5
    content = file.read_bytes()
    for number, leaf in enumerate(leaves):
        assert content[number * LEAF : (number + 1) * LEAF] in ipfsgw.block(blocks, leaf).read_bytes()


def test_a_lost_block_cuts_the_file_short(ipfsgw: IpfsGateway, tmp_path: Path, blocks: Path) -> None:
    (cid,) = ipfsgw.add(random_file(tmp_path / "file", 9 * LEAF), store=blocks)
    ipfsgw.delete(blocks, ipfsgw.leaves(blocks, cid)[5])
    url = ipfsgw.serve(blocks)

    with pytest.raises(requests.RequestException):
        requests.get(f"{url}/ipfs/{cid}", timeout=30)
    car = requests.get(f"{url}/ipfs/{cid}?format=car", timeout=30)
    assert car.status_code == 200, "a CAR ends as if all were well"


def test_a_searching_node_gives_up(ipfsgw: IpfsGateway, tmp_path: Path, blocks: Path) -> None:
    (cid,) = ipfsgw.add(random_file(tmp_path / "file", 5), store=blocks)
    ipfsgw.delete(blocks, cid)

    url = ipfsgw.serve(blocks, absent="wait", patience="200ms")

    assert requests.get(f"{url}/ipfs/{cid}", timeout=30).status_code == 504


def test_corrupt_bytes_are_served_unless_the_node_verifies(
    ipfsgw: IpfsGateway, tmp_path: Path, blocks: Path
) -> None:
    file = random_file(tmp_path / "file", 9 * LEAF)
    (cid,) = ipfsgw.add(file, store=blocks)
    ipfsgw.corrupt(blocks, ipfsgw.leaves(blocks, cid)[5], at=7)
    careless, careful = ipfsgw.serve(blocks), ipfsgw.serve(blocks, verify=True)

    answer = requests.get(f"{careless}/ipfs/{cid}", timeout=30)

    expected = bytearray(file.read_bytes())
    expected[5 * LEAF + 7] ^= 1
    assert (answer.status_code, answer.content) == (200, bytes(expected))
    with pytest.raises(requests.RequestException):
        requests.get(f"{careful}/ipfs/{cid}", timeout=30)


def test_a_trustless_node_serves_blocks_only(ipfsgw: IpfsGateway, tmp_path: Path, blocks: Path) -> None:
    (cid,) = ipfsgw.add(random_file(tmp_path / "file", 5), store=blocks)

    url = ipfsgw.serve(blocks, trustless=True)

    assert requests.get(f"{url}/ipfs/{cid}", timeout=30).status_code == 406
    assert requests.get(f"{url}/ipfs/{cid}?format=raw", timeout=30).status_code == 200


def test_it_can_be_stopped_and_started_on_the_same_port(
    ipfsgw: IpfsGateway, tmp_path: Path, blocks: Path
) -> None:
    (cid,) = ipfsgw.add(random_file(tmp_path / "file", 5), store=blocks)
    url = ipfsgw.serve(blocks)

    ipfsgw.stop(url)

    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/ipfs/{cid}", timeout=30)
    assert ipfsgw.serve(blocks, port=int(url.rpartition(":")[2])) == url
    assert requests.get(f"{url}/ipfs/{cid}", timeout=30).status_code == 200
