"""UnixFS blocks are decoded strictly or refused in words, CIDs are read in any spelling, profiles inferred."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stargazer.assets import FormatError
from stargazer.storage.cid import PINATA, UNIXFS_V0_2015, UNIXFS_V1_2025, Profile, cid_from_leaves, is_cid
from stargazer.storage.dag import decode, infer_profile, normal, parse_binary, parse_cid
from stargazer.storage.profiles import Child, Tree, join, leaf

from .unixfs_blocks import field, node, raw, varint

VECTORS = json.loads((Path(__file__).parent / "cid_vectors.json").read_text())
EMPTY_FILE = "bafybeif7ztnhq65lumvvtr4ekcwd2ifwgm3awq4zfr3srh462rwyinlb4y"
BINARY = base64.b32decode(EMPTY_FILE[1:].upper() + "=" * 6)


def in_base(number: int, digits: str) -> str:
    return "" if number == 0 else in_base(number // len(digits), digits) + digits[number % len(digits)]


# CIDs


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
        assert is_cid(str(parse_binary(data)))


# nodes


def test_a_node_says_its_own_bytes_its_children_and_where_its_bytes_are():
    leaves = raw(b"first"), node(data=b"second", kind=0, version=0)
    block = node(*leaves, data=b"own")

    decoded = decode(block.encoded)

    assert decoded.data == block.encoded[decoded.offset : decoded.offset + 3] == b"own"
    assert decoded.children == tuple(
        Child(child.binary_cid, len(child.data), len(child.data)) for child in leaves
    )
    assert decoded.size == 3 + 5 + 6


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (b"", "no file"),
        (
            bytes.fromhex("0a020801"),
            "a folder, not a file",
        ),  # the empty folder, QmUNLLsPACCz1vLxQVkXqqLX5R1X345...
        (node(raw(b"x"), kind=1, sizes=[]).encoded, "a folder, not a file"),
        (field(1, field(1, 5) + field(2, b"\x01") + field(5, 0x22) + field(6, 256)), "sharded"),
        (field(1, field(1, 4) + field(2, b"../target")), "a symbolic link"),
        (field(1, field(1, 9)), "of type 9"),
        (field(1, field(3, 0)), "of type None"),
        (field(1, field(1, 2) + field(1, 2)), "repeated"),
        (field(1, field(1, 2) + field(9, 2)), "fields"),
        (field(1, field(1, 2) + field(2, 7)), "no bytes"),
        (field(1, field(1, 2)) * 2, "repeated"),
        (field(3, b""), "unknown"),
        (node(raw(b"x"), sizes=[]).encoded, "1 links, but the sizes of 0"),
        (node(sizes=[3]).encoded, "0 links, but the sizes of 1"),
        (node(raw(b"x"), size=2).encoded, "declares 2 bytes"),
        (node(raw(b"x"), sizes=[1 << 63]).encoded, "declares"),
        (field(2, field(3, 1)) + field(1, field(1, 2) + field(4, 0)), "no CID"),
        (field(2, field(1, b"nonsense")) + field(1, field(1, 2) + field(4, 0)), "no CID at all"),
        (field(2, field(3, 1) + field(1, b"x")), "out of order"),
        (node(raw(b"x")).encoded + field(2, field(1, b"x")), "out of order"),
        (node(raw(b"x")).encoded[:-1], "malformed"),
        (b"\x0a" + b"\xff" * 9 + b"\x01", "malformed"),
        (b"\x0a" + b"\xff" * 20, "malformed number"),
        (b"\x0d\x00\x00\x00\x00", "malformed"),
    ],
)
def test_what_is_no_file_is_refused_in_words(block, why):
    with pytest.raises(FormatError, match=why):
        decode(block)


@settings(max_examples=500)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_node_or_refused(block):
    for read in (decode, infer_profile):
        with contextlib.suppress(FormatError):
            read(block)


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_node_is_a_node_or_refused(data):
    block = bytearray(node(raw(b"first"), node(raw(b"in"), data=b"x"), raw(b"second"), data=b"own").encoded)
    for _ in range(data.draw(st.integers(1, 4))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    for read in (decode, infer_profile):
        with contextlib.suppress(FormatError):
            read(bytes(block))


# profiles


def root_block(profile: Profile, size: int) -> tuple[bytes, str]:
    """The root of a file of `size` bytes whose leaves all hash to zeros, and its CID (of more than one leaf)."""
    full, rest = divmod(size, profile.leaf_size)
    level = [leaf(profile, bytes(32), profile.leaf_size)] * full
    level += [leaf(profile, bytes(32), rest)] if rest else []
    while len(level) > profile.links:
        level = [join(profile, level[at : at + profile.links]) for at in range(0, len(level), profile.links)]
    root = join(profile, level)
    unixfs = field(1, 2) + field(3, size) + b"".join(field(4, child.size) for child in level)
    links = (field(2, field(1, child.cid) + field(2, b"") + field(3, child.total)) for child in level)
    block = b"".join(links) + field(1, unixfs)
    assert hashlib.sha256(block).digest() == root.cid[-32:]
    return block, str(parse_binary(root.cid))


def equivalent(inferred: Profile, size: int, cid: str) -> bool:
    tree = Tree(inferred)
    for at in range(0, size, inferred.leaf_size):
        tree.add(leaf(inferred, bytes(32), min(inferred.leaf_size, size - at)))
    return str(parse_binary(tree.root().cid)) == cid


@settings(max_examples=100, deadline=None)
@given(
    st.builds(
        Profile,
        st.sampled_from([256, 1000, 1024, 65_536, 262_144, 262_158, 1 << 20, 2 << 20])
        | st.integers(64, 2 << 20),
        st.sampled_from([174, 1024]) | st.integers(2, 40),
        st.booleans(),
        st.sampled_from([0, 1]),
    ),
    st.integers(2, 1000),
    st.integers(-1, 1),
)
def test_a_profile_is_inferred_from_the_root_alone(profile, leaves, by):
    size = profile.leaf_size * leaves + by
    block, cid = root_block(profile, size)

    inferred = infer_profile(block)

    assert inferred is not None
    assert equivalent(inferred, size, cid)


@pytest.mark.parametrize(
    "profile", [PINATA, UNIXFS_V1_2025, UNIXFS_V0_2015], ids=["pinata", "v1-2025", "v0-2015"]
)
@pytest.mark.parametrize("leaves", [2, 173, 174, 175, 1024, 1025, 174 * 174, 174 * 174 + 1])
def test_the_common_profiles_are_told_apart_by_any_root_that_differs(profile, leaves):
    block, _ = root_block(profile, profile.leaf_size * leaves)

    inferred = infer_profile(block)

    assert (inferred.leaf_size, inferred.raw_leaves) == (profile.leaf_size, profile.raw_leaves)
    if leaves > profile.links:
        assert inferred == profile


def test_one_leaf_that_is_a_node_has_a_profile_too():
    content = b"a short file"
    inferred = infer_profile(node(data=content).encoded)

    assert inferred is not None
    assert not inferred.raw_leaves
    assert inferred.leaf_size >= len(content)


@pytest.mark.parametrize(
    "block",
    [
        node(raw(b"12345"), raw(b"123"), raw(b"1234")),  # cut by content
        node(raw(b"12345"), raw(b"123456")),
        node(raw(b"12345"), raw(b"123"), data=b"own"),
        node(raw(b"12345")),
        node(raw(b"x" * 9), sizes=[9]),
    ],
    ids=["by content", "last one longer", "bytes in the root", "one link", "one link of its size"],
)
def test_what_no_balanced_layout_gives_has_no_profile(block):
    assert infer_profile(block.encoded) is None


@pytest.mark.parametrize("leaf_size", [1, 3 << 20])
def test_layouts_that_would_cost_too_much_are_not_believed(leaf_size):
    size = leaf_size * 174 * 174 * 174
    full = Child(b"\x01\x70\x12\x20" + bytes(32), size // 174, size // 174 + 50 * 174 * 174)
    block = b"".join(field(2, field(1, full.cid) + field(2, b"") + field(3, full.total)) for _ in range(174))
    block += field(1, field(1, 2) + field(3, size) + field(4, full.size) * 174)

    assert infer_profile(block) is None


def test_a_varint_of_the_tests_is_that_of_protobuf():
    assert varint(300) == b"\xac\x02"
    assert cid_from_leaves([hashlib.sha256(b"").digest()], 0) == str(parse_cid(raw(b"").cid))
