"""CIDs equal those of boxo (IPFS's own importer) at every boundary of the layout, however the file is read."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stargazer.assets import StorageError
from stargazer.storage.cid import (
    BLOCK_SIZE,
    LEAF_SIZE,
    LINKS_PER_NODE,
    PINATA,
    UNIXFS_V0_2015,
    UNIXFS_V1_2025,
    Profile,
    cid_from_leaves,
    compute_cid,
    hash_file,
    is_cid,
)
from stargazer.storage.links import normal

VECTORS = json.loads((Path(__file__).parent / "cid_vectors.json").read_text())
GOLDEN = VECTORS["vectors"]
PROFILES = {name: Profile(**values) for name, values in VECTORS["profiles"].items()}
PATTERNS = {"mod251": bytes(range(251)), "zeros": b"\x00"}
FEW_MEGABYTES = 64 * 1024 * 1024
ONE_GIGABYTE = (1 << 30) + 1


def name_of(vector):
    return f"{vector['profile']}-{vector['content']}-{vector['size']}"


def write_content(path, vector):
    pattern = PATTERNS[vector["content"]] * 4096
    with path.open("wb") as file:
        for start in range(0, vector["size"], len(pattern)):
            file.write(pattern[: vector["size"] - start])


def leaf_digests(pattern: bytes, size: int, leaf_size: int):
    """The digests of a repeating content, each distinct leaf hashed once (a leaf repeats when its phase does)."""
    repeated = pattern * (leaf_size // len(pattern) + 2)
    known: dict[tuple[int, int], bytes] = {}
    for start in range(0, max(size, 1), leaf_size):
        phase, length = start % len(pattern), min(leaf_size, size - start)
        if (phase, length) not in known:
            known[phase, length] = hashlib.sha256(repeated[phase : phase + length]).digest()
        yield known[phase, length]


@pytest.mark.parametrize(
    "vector",
    [
        pytest.param(
            vector,
            marks=[pytest.mark.slow]
            if vector["size"] // PROFILES[vector["profile"]].leaf_size > 10**6
            else [],
        )
        for vector in GOLDEN
        if PROFILES[vector["profile"]].raw_leaves
    ],
    ids=name_of,
)
def test_leaves_join_to_the_cid_that_boxo_gives(vector):
    profile = PROFILES[vector["profile"]]
    digests = leaf_digests(PATTERNS[vector["content"]], vector["size"], profile.leaf_size)

    assert cid_from_leaves(digests, vector["size"], profile) == normal(vector["cid"])


@pytest.mark.parametrize(
    "vector",
    [
        pytest.param(vector, marks=[pytest.mark.slow] if vector["size"] > FEW_MEGABYTES else [])
        for vector in GOLDEN
        if vector["size"] <= ONE_GIGABYTE
    ],
    ids=name_of,
)
def test_a_file_has_the_cid_that_boxo_gives(tmp_path, vector):
    path = tmp_path / "content"
    write_content(path, vector)
    try:
        assert compute_cid(path, PROFILES[vector["profile"]]) == normal(vector["cid"])
    finally:
        path.unlink()


def test_pinatas_profile_is_the_one_that_is_meant_when_none_is_given(tmp_path):
    vector = next(v for v in GOLDEN if v["profile"] == "pinata-v1" and v["size"] == LEAF_SIZE + 1)
    write_content(tmp_path / "content", vector)

    assert compute_cid(tmp_path / "content") == vector["cid"]


def test_the_named_profiles_are_those_that_boxo_was_asked_for():
    named = {"pinata-v1": PINATA, "unixfs-v1-2025": UNIXFS_V1_2025, "unixfs-v0-2015": UNIXFS_V0_2015}
    assert named == {name: PROFILES[name] for name in named}


@pytest.mark.parametrize(
    "wrong", [(0, 174), (LEAF_SIZE, 1), (LEAF_SIZE, 174, 1), (LEAF_SIZE, 174, True, 2), ("1024", 174)]
)
def test_a_layout_that_is_none_is_refused(wrong):
    with pytest.raises((ValueError, TypeError)):
        Profile(*wrong)


def test_the_golden_sizes_cover_empty_chunk_and_fan_out_boundaries():
    full_node = LEAF_SIZE * LINKS_PER_NODE
    boundaries = {0, 1, LEAF_SIZE - 1, LEAF_SIZE, LEAF_SIZE + 1, full_node - 1, full_node, full_node + 1}
    ours = {v["size"] for v in GOLDEN if v["profile"] == "pinata-v1"}
    assert boundaries <= ours
    assert full_node * LINKS_PER_NODE + 1 in ours


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


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.builds(
        Profile, st.integers(1, 2 * BLOCK_SIZE), st.integers(2, 200), st.booleans(), st.sampled_from([0, 1])
    ),
    st.integers(0, 200),
    st.integers(-1, 1),
)
def test_any_layout_is_hashed_alike_in_parallel_and_leaf_by_leaf(tmp_path, profile, leaves, by):
    size = min(max(0, profile.leaf_size * leaves + by), 3 * BLOCK_SIZE)
    path = tmp_path / "content"
    path.write_bytes((bytes(range(251)) * (size // 251 + 1))[:size])

    with path.open("rb") as file:
        waited = []
        cid = hash_file(file.fileno(), size, waited.append, profile=profile)

    assert cid == compute_cid(path, profile)
    assert max(waited) == size
    if profile.raw_leaves and size // profile.leaf_size < 10_000:
        assert cid == cid_from_leaves(leaf_digests(bytes(range(251)), size, profile.leaf_size), size, profile)


@pytest.mark.parametrize("size", [10, 2 * BLOCK_SIZE])
def test_a_file_shorter_than_promised_is_noticed(tmp_path, size):
    path = tmp_path / "content"
    path.write_bytes(b"x" * (size - 1))
    with path.open("rb") as file, pytest.raises(EOFError):
        hash_file(file.fileno(), size)


def test_a_folder_a_pipe_and_a_missing_file_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="not a regular file"):
        compute_cid(tmp_path)
    with pytest.raises(StorageError, match="not a regular file"):
        compute_cid(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        compute_cid(tmp_path / "missing")
