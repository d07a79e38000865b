"""CIDs equal those of boxo (IPFS's own importer) at every boundary of the layout, however the file is read."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stargazer.assets.errors import StorageError
from stargazer.storage.cid import (
    BLOCK_SIZE,
    LEAF_SIZE,
    LINKS_PER_NODE,
    cid_from_leaves,
    compute_cid,
    hash_leaves,
    is_cid,
)

GOLDEN = json.loads((Path(__file__).parent / "data" / "cid_vectors.json").read_text())["vectors"]
PATTERNS = {"mod251": bytes(range(251)), "zeros": b"\x00"}
FEW_MEGABYTES = 64 * 1024 * 1024


def leaf_digests(pattern: bytes, size: int):
    """The digests of a repeating content, each distinct leaf hashed once (a leaf repeats when its phase does)."""
    repeated = pattern * (LEAF_SIZE // len(pattern) + 2)
    known: dict[tuple[int, int], bytes] = {}
    for start in range(0, max(size, 1), LEAF_SIZE):
        phase, length = start % len(pattern), min(LEAF_SIZE, size - start)
        if (phase, length) not in known:
            known[phase, length] = hashlib.sha256(repeated[phase : phase + length]).digest()
        yield known[phase, length]


@pytest.mark.parametrize("vector", GOLDEN, ids=lambda v: f"{v['content']}-{v['size']}")
def test_leaves_join_to_the_cid_that_boxo_gives(vector):
    assert (
        cid_from_leaves(leaf_digests(PATTERNS[vector["content"]], vector["size"]), vector["size"])
        == vector["cid"]
    )


@pytest.mark.parametrize(
    "vector",
    [v for v in GOLDEN if v["size"] <= FEW_MEGABYTES],
    ids=lambda v: f"{v['content']}-{v['size']}",
)
def test_a_file_has_the_cid_that_boxo_gives(tmp_path, vector):
    pattern, size = PATTERNS[vector["content"]], vector["size"]
    path = tmp_path / "content"
    path.write_bytes((pattern * (size // len(pattern) + 1))[:size])

    assert compute_cid(path) == vector["cid"]


def test_the_golden_sizes_cover_empty_chunk_and_fan_out_boundaries():
    full_node = LEAF_SIZE * LINKS_PER_NODE
    boundaries = {0, 1, LEAF_SIZE - 1, LEAF_SIZE, LEAF_SIZE + 1, full_node - 1, full_node, full_node + 1}
    assert boundaries <= {v["size"] for v in GOLDEN if v["size"] <= FEW_MEGABYTES}
    assert full_node * LINKS_PER_NODE + 1 in {v["size"] for v in GOLDEN}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(0, 3 * BLOCK_SIZE), seed=st.binary(min_size=1, max_size=40))
def test_reading_in_parallel_blocks_gives_the_cid_of_the_whole(tmp_path, size, seed):
    content = (seed * (size // len(seed) + 1))[:size]
    path = tmp_path / "content"
    path.write_bytes(content)
    whole = [hashlib.sha256(content[i : i + LEAF_SIZE]).digest() for i in range(0, max(size, 1), LEAF_SIZE)]

    assert compute_cid(path) == cid_from_leaves(whole, size)


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_every_computed_cid_is_one_and_no_neighbour_of_it_is(content):
    cid = cid_from_leaves([hashlib.sha256(content).digest()], len(content))
    assert is_cid(cid)
    assert not is_cid(cid + "a")
    assert not is_cid(cid[:-1])
    assert not is_cid(cid[:-1] + "b")  # the last character holds three bits only


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        "../../etc/passwd",
        "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH",
        None,
        3,
        b"bafkrei",
        "bafkrei" + "A" * 52,
    ],
)
def test_other_things_are_no_cid(text):
    assert not is_cid(text)


@pytest.mark.parametrize(("count", "size"), [(0, 0), (2, LEAF_SIZE), (1, LEAF_SIZE + 1)])
def test_leaves_that_do_not_fit_the_size_are_refused(count, size):
    with pytest.raises(ValueError, match="leaves"):
        cid_from_leaves([b"\x00" * 32] * count, size)


@pytest.mark.parametrize("size", [10, 2 * BLOCK_SIZE])
def test_a_file_shorter_than_promised_is_noticed(tmp_path, size):
    path = tmp_path / "content"
    path.write_bytes(b"x" * (size - 1))
    with path.open("rb") as file, pytest.raises(EOFError):
        hash_leaves(file.fileno(), size)


def test_a_folder_a_pipe_and_a_missing_file_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="not a regular file"):
        compute_cid(tmp_path)
    with pytest.raises(StorageError, match="not a regular file"):
        compute_cid(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        compute_cid(tmp_path / "missing")
