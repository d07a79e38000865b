"""A CAR gives exactly the file that its CID names, or an error that names the CID: whatever is in the stream."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stargazer.assets import FormatError, IntegrityError
from stargazer.storage import dag
from stargazer.storage.car import extract
from stargazer.storage.dag import MAX_BLOCK, MAX_DEPTH, normal

from .unixfs_blocks import Block, car, field, header, node, raw, section, varint

CARS = json.loads((Path(__file__).parent / "cid_vectors.json").read_text())["cars"]
PATTERNS = {"mod251": bytes(range(251)), "zeros": bytes(1)}


def extracted(stream: bytes, cid: str, most: int = 1 << 30, **options) -> bytes:
    """What extract() makes of a stream that arrives in pieces of at most `most` bytes."""
    source, out = io.BytesIO(stream), io.BytesIO()
    size = extract(lambda count: source.read(min(count, most)), cid, out, **options)
    assert size == len(out.getvalue())
    return out.getvalue()


blocks = st.recursive(
    st.binary(min_size=1, max_size=20).map(raw)
    | st.builds(lambda data, kind, version: node(data=data, kind=kind, version=version),
                st.binary(min_size=1, max_size=20), st.sampled_from([0, 2]), st.sampled_from([0, 1])),
    lambda inner: st.builds(lambda children, data, version: node(*children, data=data, version=version),
                            st.lists(inner, min_size=1, max_size=5), st.binary(max_size=5), st.sampled_from([0, 1])),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.parametrize("vector", CARS, ids=lambda v: f"{v['content']}-{v['cid'][:5]}-dups={v['dups']}")
@pytest.mark.parametrize("most", [1, 7, 1 << 20])
def test_a_car_from_boxo_is_its_file(vector, most):
    pattern = PATTERNS[vector["content"]]
    content = (pattern * (vector["size"] // len(pattern) + 1))[: vector["size"]]
    stream = base64.b64decode(vector["car"])

    assert extracted(stream, vector["cid"], most) == content
    assert extracted(stream, normal(vector["cid"]), most, size=vector["size"]) == content


@settings(max_examples=200, deadline=None)
@given(blocks, st.booleans())
def test_any_tree_is_its_file(root, dups):
    assert extracted(car(root, dups), root.cid) == root.content


@pytest.mark.parametrize("vector", CARS, ids=lambda v: f"{v['content']}-{v['cid'][:5]}-dups={v['dups']}")
def test_any_flipped_bit_anywhere_is_noticed_and_names_the_cid(vector):
    stream = base64.b64decode(vector["car"])
    for at in range(len(stream)):
        damaged = bytearray(stream)
        damaged[at] ^= 1 << at % 8
        with pytest.raises(IntegrityError, match=normal(vector["cid"])):
            extracted(bytes(damaged), vector["cid"])


@settings(max_examples=200, deadline=None)
@given(blocks, st.booleans(), st.data())
def test_any_other_byte_anywhere_is_noticed(root, dups, data):
    stream = bytearray(car(root, dups))
    at = data.draw(st.integers(0, len(stream) - 1))
    stream[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(IntegrityError, match=root.cid):
        extracted(bytes(stream), root.cid)


@pytest.mark.parametrize("vector", CARS[:2], ids=["y", "n"])
def test_a_stream_cut_anywhere_is_noticed(vector):
    stream = base64.b64decode(vector["car"])
    for length in range(len(stream)):
        with pytest.raises(IntegrityError, match=vector["cid"]):
            extracted(stream[:length], vector["cid"])


@settings(max_examples=500)
@given(st.binary(max_size=300))
def test_any_bytes_are_refused(stream):
    root = raw(b"something else")
    for begin in (b"", header(root.binary_cid)):
        with pytest.raises(IntegrityError, match=root.cid):
            extracted(begin + stream, root.cid)


def test_boxos_own_words_on_a_stream_that_it_broke_off_are_passed_on():
    root = node(raw(b"first"), raw(b"second"))
    stream = header(root.binary_cid) + section(root)
    stream += b"[Gateway Error: CAR stream truncated: block was not found locally (offline)]"
    with pytest.raises(IntegrityError, match="CAR stream truncated"):
        extracted(stream, root.cid)


FILE = node(raw(b"first"), raw(b"second"))


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>Just a moment...</body></html>" + bytes(200), "begin"),
        (b"\x80", "breaks off"),
        (b"\xff" * 100, "no sense"),
        (varint(1 << 34), "begin"),
        (b"\x0a\xa1\x67version\x02" + bytes(40), "CARv2"),
        (header(raw(b"other").binary_cid) + car(FILE)[len(header(FILE.binary_cid)) :], "another root"),
        (header(FILE.binary_cid, FILE.binary_cid) + car(FILE)[len(header(FILE.binary_cid)) :], "begin"),
        (header(FILE.binary_cid), "ends where"),
        (header(FILE.binary_cid) + varint(1 << 33), "bytes, more than"),
        (header(FILE.binary_cid) + varint(1 << 62), "no sense"),
        (header(FILE.binary_cid) + b"\x00", "not of a file"),
        (header(FILE.binary_cid) + b"\x80", "breaks off"),
        (
            header(FILE.binary_cid) + b"\xa4\x00" + bytes(36),
            "no sense",
        ),  # a number spelled longer than it needs
        (car(FILE) + section(raw(b"extra")), "goes on"),
        (car(FILE) + section(raw(b"second")), "goes on"),
        (car(FILE) + b"\n", "breaks off"),
        (header(FILE.binary_cid) + section(raw(b"extra")) + section(FILE), "has block"),
        (header(FILE.binary_cid) + section(FILE) + section(raw(b"second")) + section(raw(b"first")), "order"),
        (header(FILE.binary_cid) + section(FILE) + section(raw(b"first")), "ends where"),
    ],
)
def test_what_is_wrong_with_a_stream_is_said(stream, why):
    with pytest.raises(IntegrityError, match=why) as refused:
        extracted(stream, FILE.cid)
    assert FILE.cid in str(refused.value)


def test_roots_may_be_left_out_of_the_header():
    assert extracted(header() + car(FILE)[len(header(FILE.binary_cid)) :], FILE.cid) == b"firstsecond"


def test_a_huge_block_is_not_even_read():
    asked = []
    stream = io.BytesIO(header(FILE.binary_cid) + varint(MAX_BLOCK * 2) + bytes(100))

    def read(count: int) -> bytes:
        asked.append(count)
        return stream.read(count)

    with pytest.raises(IntegrityError, match="more than"):
        extract(read, FILE.cid, io.BytesIO())
    assert max(asked) < 1000


def test_the_largest_block_there_is_is_read():
    root = raw(bytes(MAX_BLOCK))
    assert extracted(car(root), root.cid) == root.content


def nested(levels: int) -> Block:
    block = raw(b"x")
    for _ in range(levels):
        block = node(block)
    return block


def test_a_tower_of_nodes_has_an_end():
    assert extracted(car(nested(MAX_DEPTH)), nested(MAX_DEPTH).cid) == b"x"
    with pytest.raises(FormatError, match="levels deep"):
        extracted(car(nested(MAX_DEPTH + 1)), nested(MAX_DEPTH + 1).cid)


def linking(child: bytes, count: int, size: int) -> Block:
    """A node that links `count` times to one child, without holding what that would be."""
    links = (field(2, field(1, child) + field(2, b"") + field(3, size))) * count
    return Block(links + field(1, field(1, 2) + field(3, size * count) + field(4, size) * count), 0x70, b"")


def test_a_few_blocks_that_unfold_into_a_huge_file_stop_at_the_size_that_was_expected():
    block, size = raw(b"x"), 1
    stream = section(block)
    for _ in range(6):
        block = linking(block.binary_cid, 1000, size)
        size *= 1000
        stream = section(block) + stream
    with pytest.raises(FormatError, match=f"{size} bytes of the file where 5 are announced"):
        extracted(header(block.binary_cid) + stream, block.cid, size=5)


def test_a_few_blocks_that_unfold_into_endless_nothing_are_refused():
    block = raw(b"")
    stream = section(block)
    for _ in range(20):
        block = linking(block.binary_cid, 1000, 0)
        stream = section(block) + stream
    with pytest.raises(FormatError, match="without bytes"):
        extracted(header(block.binary_cid) + stream, block.cid)


def test_a_repeated_branch_is_copied_from_where_it_was():
    branch = node(raw(b"a" * 1000), node(raw(b"b"), data=b"c"))
    root = node(*[node(*[branch] * 50)] * 50, raw(b"end"))
    stream = car(root, dups=False)

    assert len(stream) < 10_000
    assert extracted(stream, root.cid) == root.content


def test_blocks_that_nobody_remembers_are_missed_and_not_made_up(monkeypatch):
    monkeypatch.setattr(dag, "_REMEMBERED", 1)
    root = node(raw(b"first"), raw(b"second"), raw(b"third"), raw(b"second"))

    assert extracted(car(root), root.cid) == root.content
    with pytest.raises(IntegrityError, match="ends where"):
        extracted(car(root, dups=False), root.cid)


@pytest.mark.parametrize(
    "root",
    [
        node(raw(b"first"), raw(b"second"), sizes=[4, 7]),
        node(raw(b"first"), raw(b"second"), sizes=[5, 7]),
        node(node(raw(b"first"), raw(b"second")), raw(b"third"), sizes=[10, 5]),
        node(raw(b"same"), raw(b"same"), sizes=[4, 5]),
    ],
    ids=["moved", "longer", "inner node", "two sizes for one block"],
)
@pytest.mark.parametrize("dups", [True, False])
def test_a_file_that_contradicts_itself_is_refused_with_its_cid(root, dups):
    with pytest.raises(FormatError, match=f"{root.cid} cannot be read as a file"):
        extracted(car(root, dups), root.cid)


def test_a_folder_is_refused_in_words():
    root = node(raw(b"a file in it"), kind=1, sizes=[], size=0)
    with pytest.raises(FormatError, match=f"{root.cid} cannot be read as a file: a folder, not a file"):
        extracted(car(root), root.cid)


def test_a_block_under_another_codec_is_another_block():
    inner = node(raw(b"first"))
    plain = raw(inner.encoded)
    root = node(inner, plain)
    assert plain.digest == inner.digest

    assert extracted(car(root), root.cid) == root.content
    assert extracted(car(root, dups=False), root.cid) == root.content


def test_errors_of_the_connection_pass_unchanged():
    def read(count: int) -> bytes:
        raise ConnectionResetError("cut")

    with pytest.raises(ConnectionResetError):
        extract(read, FILE.cid, io.BytesIO())


def test_each_node_is_handed_on_once_and_verified():
    branch = node(raw(b"first"), raw(b"second"))
    root = node(branch, branch, raw(b"third"))
    for dups in (True, False):
        kept = []
        extracted(car(root, dups), root.cid, keep_node=lambda block, decoded, kept=kept: kept.append(block))
        assert [hashlib.sha256(block).digest() for block in kept] == [root.digest, branch.digest]
