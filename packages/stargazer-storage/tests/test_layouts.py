"""An object in a foreign layout verifies with its layout beside it, and never because of what that says alone."""

from __future__ import annotations

import io
import os

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from stargazer.assets import FormatError, StorageError
from stargazer.storage.car import extract
from stargazer.storage.cid import PINATA, UNIXFS_V0_2015, UNIXFS_V1_2025, Profile, compute_cid
from stargazer.storage.layouts import layout_path, load, recorder, save, verify, write_profile

from .test_car import blocks
from .unixfs_blocks import car, node, raw

NARROW = Profile(1000, 3, raw_leaves=False, version=0)
PIECES = [
    raw(b"by content"),
    node(data=b" cut, as a chunker", kind=0, version=0),
    raw(b" finds it"),
    raw(b" finds it"),
]
FILE = node(node(*PIECES[:2], data=b"Cut "), *PIECES[2:], node(*PIECES[:2], data=b"Cut "), version=0)


def put(folder, root, dups=True, layout=True):
    """A file as a CAR brings it, with its nodes beside it."""
    path = folder / root.cid
    with open(path, "w+b") as out, open(folder / "nodes", "wb") as nodes:
        extract(io.BytesIO(car(root, dups)).read, root.cid, out, keep_node=recorder(nodes))
    if layout:
        save(path, folder / "nodes")
    return path


def put_profile(folder, path, profile):
    with open(folder / "profile", "wb") as out:
        write_profile(out, profile)
    save(path, folder / "profile")


@pytest.mark.parametrize("dups", [True, False])
def test_a_file_cut_by_content_verifies_by_its_nodes(tmp_path, dups):
    path = put(tmp_path, FILE, dups)

    assert path.read_bytes() == FILE.content
    assert verify(path, FILE.cid)
    assert oct(layout_path(path).stat().st_mode & 0o777) == "0o444"
    assert load(path) is None
    assert sorted(os.listdir(tmp_path)) == [FILE.cid, FILE.cid + ".layout"]


def test_any_flipped_bit_of_a_file_cut_by_content_is_noticed(tmp_path):
    path = put(tmp_path, FILE)
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes((content[at] ^ 1 << at % 8,)) + content[at + 1 :])
        assert not verify(path, FILE.cid)
    for other in (content[:-1], content + b"\n", b""):
        path.write_bytes(other)
        assert not verify(path, FILE.cid)


def test_a_damaged_layout_proves_nothing_and_crashes_nothing(tmp_path):
    path = put(tmp_path, FILE)
    beside = layout_path(path)
    nodes = beside.read_bytes()
    beside.chmod(0o644)
    for at in range(len(nodes)):
        beside.write_bytes(nodes[:at] + bytes((nodes[at] ^ 1 << at % 8,)) + nodes[at + 1 :])
        assert not verify(path, FILE.cid)
        beside.write_bytes(nodes[:at])
        assert not verify(path, FILE.cid)
    beside.unlink()
    assert not verify(path, FILE.cid)


ALIKE = node(*[node(data=data, kind=2, version=0) for data in (b"\x01", b"\x01", b"\x00")], version=0)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(blocks, st.booleans())
@example(ALIKE, False).via("leaves that differ in nothing but their bytes, one of them there twice")
@example(ALIKE, True)
def test_any_tree_verifies_by_its_nodes(tmp_path, root, dups):
    path = put(tmp_path, root, dups)
    assert verify(path, root.cid)
    path.write_bytes(path.read_bytes() + b"x")
    assert not verify(path, root.cid)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.booleans())
def test_any_layout_is_only_ever_a_hint(tmp_path, said, prefixed):
    path = tmp_path / "object"
    path.write_bytes(FILE.content)
    layout_path(path).write_bytes((b"stargazer layout 1: UnixFS nodes\n" if prefixed else b"") + said)

    assert not verify(path, FILE.cid)
    assert verify(path, compute_cid(path))


def test_a_file_of_another_profile_verifies_by_it(tmp_path):
    path = tmp_path / "object"
    path.write_bytes(bytes(range(251)) * 100)
    cid = compute_cid(path, NARROW)
    assert not verify(path, cid)

    put_profile(tmp_path, path, NARROW)

    assert load(path) == NARROW
    assert verify(path, cid)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert not verify(path, cid)


@pytest.mark.parametrize(
    "profile", [PINATA, UNIXFS_V0_2015, UNIXFS_V1_2025], ids=["pinata", "v0-2015", "v1-2025"]
)
@pytest.mark.parametrize("size", [0, 1, 300_000, 1_500_000])
def test_files_of_the_common_profiles_need_no_layout_nor_does_a_wrong_one_harm_them(tmp_path, profile, size):
    path = tmp_path / "object"
    path.write_bytes(b"x" * size)
    cid = compute_cid(path, profile)

    assert load(path) is None
    assert verify(path, cid)
    put_profile(tmp_path, path, NARROW)
    assert verify(path, cid)


def test_one_raw_block_of_any_size_is_its_plain_sha256(tmp_path):
    whole = raw(b"x" * 3_000_000)
    path = tmp_path / "object"
    path.write_bytes(whole.content)

    assert verify(path, whole.cid)
    assert not verify(path, raw(b"x" * 2_999_999).cid)


@pytest.mark.parametrize(
    "said",
    [b"", b"{", b"[]", b"{}", b'{"leaf_size": 0, "links": 2}', b'{"leaf_size": 4194304, "links": 2}',
     b'{"leaf_size": "1", "links": 2}', b'{"leaf_size": 1, "links": 2, "more": 3}', b"\xff\xfe", b"[" * 900],
)  # fmt: skip
def test_what_is_no_profile_is_none(tmp_path, said):
    layout_path(tmp_path / "object").write_bytes(said)
    assert load(tmp_path / "object") is None


def test_what_is_no_file_and_what_is_no_cid_are_errors(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for cid in (FILE.cid, raw(b"").cid):
        with pytest.raises(StorageError, match="not a regular file"):
            verify(tmp_path / "pipe", cid)
        with pytest.raises(FileNotFoundError):
            verify(tmp_path / "missing", cid)
    with pytest.raises(FormatError, match="not the CID"):
        verify(tmp_path / "missing", "nonsense")
