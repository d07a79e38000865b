"""CIDs equal those of boxo (IPFS's own importer) at every boundary of the layout, however the file is read."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import json
import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stargazer.assets import FormatError, StorageError
from stargazer.storage.cid import (
    BLOCK_SIZE,
    LEAF_SIZE,
    PINATA,
    PROFILES,
    RAW,
    CidHasher,
    Profile,
    SumHasher,
    Tree,
    cid_text,
    compute_cid,
    compute_cid_like,
    hash_file,
    is_cid,
    normal,
)

_, UNIXFS_V0_2015, TEST_CID_V1, UNIXFS_V1_2025 = PROFILES
VECTORS = json.loads((Path(__file__).parent / "cid_vectors.json").read_text())
GOLDEN = VECTORS["vectors"]
NAMED = {name: Profile(**values) for name, values in VECTORS["profiles"].items()}
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


def cid_from_leaves(pattern: bytes, size: int, profile: Profile = PINATA) -> str:
    """The CID of a repeating content, each distinct leaf hashed once (a leaf repeats when its phase does)."""
    tree = Tree(profile)
    repeated = pattern * (profile.leaf_size // len(pattern) + 2)
    leaf = functools.cache(lambda phase, length: tree.leaf(repeated[phase : phase + length]))
    for start in range(0, max(size, 1), profile.leaf_size):
        tree.add(leaf(start % len(pattern), min(profile.leaf_size, size - start)))
    return tree.cid()


@pytest.mark.parametrize(
    "vector",
    [
        pytest.param(
            vector,
            marks=[pytest.mark.long] if vector["size"] // NAMED[vector["profile"]].leaf_size > 10**6 else [],
        )
        for vector in GOLDEN
    ],
    ids=name_of,
)
def test_leaves_join_to_the_cid_that_boxo_gives(vector):
    profile = NAMED[vector["profile"]]
    found = cid_from_leaves(PATTERNS[vector["content"]], vector["size"], profile)

    assert found == normal(vector["cid"])


@pytest.mark.parametrize(
    "vector",
    [
        pytest.param(vector, marks=[pytest.mark.long] if vector["size"] > FEW_MEGABYTES else [])
        for vector in GOLDEN
        if vector["size"] <= ONE_GIGABYTE
    ],
    ids=name_of,
)
def test_a_file_has_the_cid_that_boxo_gives(tmp_path, vector):
    path = tmp_path / "content"
    write_content(path, vector)
    try:
        assert compute_cid(path, NAMED[vector["profile"]]) == normal(vector["cid"])
    finally:
        path.unlink()


def test_pinatas_profile_is_the_one_that_is_meant_when_none_is_given(tmp_path):
    vector = next(v for v in GOLDEN if v["profile"] == "pinata-v1" and v["size"] == LEAF_SIZE + 1)
    write_content(tmp_path / "content", vector)

    assert compute_cid(tmp_path / "content") == vector["cid"]


def test_the_named_profiles_are_those_that_boxo_was_asked_for():
    named = {"pinata-v1": PINATA, "unixfs-v1-2025": UNIXFS_V1_2025, "unixfs-v0-2015": UNIXFS_V0_2015}
    assert named == {name: NAMED[name] for name in named}


def test_the_golden_sizes_cover_empty_chunk_and_fan_out_boundaries():
    full_node = LEAF_SIZE * PINATA.links
    boundaries = {0, 1, LEAF_SIZE - 1, LEAF_SIZE, LEAF_SIZE + 1, full_node - 1, full_node, full_node + 1}
    ours = {v["size"] for v in GOLDEN if v["profile"] == "pinata-v1"}
    assert boundaries <= ours
    assert full_node * PINATA.links + 1 in ours


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(0, 3 * BLOCK_SIZE), seed=st.binary(min_size=1, max_size=40))
def test_reading_in_parallel_blocks_gives_the_cid_of_the_whole(tmp_path, size, seed):
    content = (seed * (size // len(seed) + 1))[:size]
    path = tmp_path / "content"
    path.write_bytes(content)

    assert compute_cid(path) == cid_from_leaves(seed, size)


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_every_computed_cid_is_one_and_no_neighbour_of_it_is(content):
    cid = cid_text(RAW, hashlib.sha256(content).digest())
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

    with path.open("rb") as file, contextlib.closing(CidHasher(file.fileno(), profile)) as hasher:
        for arrived in range(0, size, max(1, size // 7)):
            hasher.advance(arrived)
        cid = hasher.finish(size)

    assert cid == compute_cid(path, profile)
    if size // profile.leaf_size < 10_000:
        assert cid == cid_from_leaves(bytes(range(251)), size, profile)


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


@pytest.mark.parametrize("size", [0, 1, LEAF_SIZE, BLOCK_SIZE, BLOCK_SIZE + 1, 3 * BLOCK_SIZE + 5])
def test_sums_of_a_file_that_grows_are_those_of_the_whole(tmp_path, size):
    content = (bytes(range(251)) * (size // 251 + 1))[:size]
    with (tmp_path / "content").open("w+b", buffering=0) as file:
        hasher = SumHasher(file.fileno(), ["sha256", "md5"])
        for start in range(0, size, 1_000_003):
            file.write(content[start : start + 1_000_003])
            hasher.advance(min(start + 1_000_003, size))

        assert hasher.finish(size) == {
            "sha256": hashlib.sha256(content).hexdigest(),
            "md5": hashlib.md5(content, usedforsecurity=False).hexdigest(),
        }


def test_a_hasher_that_gives_up_leaves_no_thread_behind(tmp_path):
    path = tmp_path / "content"
    path.write_bytes(b"x" * (10 * BLOCK_SIZE))
    with path.open("rb") as file, contextlib.closing(CidHasher(file.fileno())) as hasher:
        hasher.advance(10 * BLOCK_SIZE)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("stargazer")]


# layouts of others


@pytest.mark.parametrize("profile", PROFILES, ids=["pinata", "v0-2015", "test-cid-v1", "v1-2025"])
@pytest.mark.parametrize("size", [0, 1, 300_000, 1_500_000])
def test_files_of_the_published_profiles_are_recognised(tmp_path, profile, size):
    path = tmp_path / "object"
    path.write_bytes(b"x" * size)
    cid = compute_cid(path, profile)

    assert compute_cid_like(path, cid) == cid
    path.write_bytes(b"x" * size + b"!")
    assert compute_cid_like(path, cid) == compute_cid(path) != cid


def test_one_raw_block_of_any_size_is_its_plain_sha256(tmp_path):
    path = tmp_path / "object"
    path.write_bytes(b"x" * 3_000_000)
    cids = [cid_text(0x55, hashlib.sha256(b"x" * size).digest()) for size in (3_000_000, 2_999_999)]

    assert compute_cid_like(path, cids[0]) == cids[0]
    assert compute_cid_like(path, cids[1]) == compute_cid(path)


def test_the_profiles_of_kubo_are_told_apart_as_boxo_does(tmp_path, ipfsgw):
    path = tmp_path / "content"
    path.write_bytes(bytes((174 << 20) + 1))  # more leaves of 1 MiB than a node of test-cid-v1 has
    cids = [
        ipfsgw.add(path, chunker=f"size-{profile.leaf_size}", links=profile.links, version=profile.version,
                   leaves="raw" if profile.raw_leaves else "dag-pb")[0]
        for profile in PROFILES
    ]  # fmt: skip

    assert [compute_cid(path, profile) for profile in PROFILES] == list(map(normal, cids))
    assert len(set(cids)) == len(PROFILES)
    assert Profile(1 << 20, 174) == TEST_CID_V1
    assert [compute_cid_like(path, normal(cid)) for cid in cids] == list(map(normal, cids))


def test_what_is_no_file_is_an_error_in_any_layout(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for cid in (EMPTY_FILE, cid_text(0x55, bytes(32))):
        with pytest.raises(StorageError, match="not a regular file"):
            compute_cid_like(tmp_path / "pipe", cid)
        with pytest.raises(FileNotFoundError):
            compute_cid_like(tmp_path / "missing", cid)


# CIDs as others write them

EMPTY_FILE = "bafybeif7ztnhq65lumvvtr4ekcwd2ifwgm3awq4zfr3srh462rwyinlb4y"
BINARY = base64.b32decode(EMPTY_FILE[1:].upper() + "=" * 6)


def in_base(number: int, digits: str) -> str:
    return "" if number == 0 else in_base(number // len(digits), digits) + digits[number % len(digits)]


@pytest.mark.parametrize(
    "spelling",
    [
        EMPTY_FILE,
        "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH",
        "B" + EMPTY_FILE[1:].upper(),
        "f" + BINARY.hex(),
        "F" + BINARY.hex().upper(),
        "z"
        + in_base(
            int.from_bytes(BINARY, "big"), "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
        ),
        "k" + in_base(int.from_bytes(BINARY, "big"), "0123456789abcdefghijklmnopqrstuvwxyz"),
        "u" + base64.urlsafe_b64encode(BINARY).decode().rstrip("="),
        "U" + base64.urlsafe_b64encode(BINARY).decode(),
    ],
)
def test_every_spelling_of_a_cid_is_the_same_file(spelling):
    assert normal(spelling) == EMPTY_FILE


@pytest.mark.parametrize(
    "vector", VECTORS["vectors"], ids=lambda v: f"{v['profile']}-{v['content']}-{v['size']}"
)
def test_boxos_cids_become_the_stores_own(vector):
    assert is_cid(normal(vector["cid"]))
    assert normal(vector["cid"]) == vector["cid"] or vector["cid"].startswith("Qm")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "length"),
        ("Qm", "no CID"),
        ("QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQ0", "decode"),
        ("../../etc/passwd", "characters"),
        (EMPTY_FILE + "\n", "characters"),
        (EMPTY_FILE[:-1] + "b", "last character"),
        (EMPTY_FILE[:-1], "CID"),
        (EMPTY_FILE[:9] + EMPTY_FILE[9:].upper(), "mixed"),
        ("b" + base64.b32encode(b"\x01\x71\x12\x20" + bytes(32)).decode().lower().rstrip("="), "dag-cbor"),
        ("b" + base64.b32encode(b"\x01\x55\x13\x40" + bytes(64)).decode().lower().rstrip("="), "SHA-256"),
        ("b" + base64.b32encode(b"\x01\x55\x12\x10" + bytes(16)).decode().lower().rstrip("="), "too short"),
        ("bafkqaaa", "SHA-256"),  # a block inside its CID
        ("x" + EMPTY_FILE[1:], "base"),
        ("b" + "a" * 200, "length"),
    ],
)
def test_what_is_no_files_cid_is_refused_by_name(text, why):
    with pytest.raises(FormatError, match=why) as refused:
        normal(text)
    assert repr(text) in str(refused.value)


@given(st.text(max_size=70) | st.from_regex(r"(Qm|[bBfFzkuU])[A-Za-z0-9]{0,60}", fullmatch=True))
def test_any_text_is_a_cid_or_refused(text):
    try:
        assert is_cid(normal(text))
    except FormatError:
        assert not is_cid(text)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_cid_or_refused(data):
    with contextlib.suppress(FormatError):
        assert is_cid(normal("f" + data.hex()))
