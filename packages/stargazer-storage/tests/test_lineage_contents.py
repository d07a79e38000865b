"""How the contents of two files differ: text, tables, JSON, bytes; compressed or not; and readers of others."""

from __future__ import annotations

import gzip

import pytest
from stargazer.assets import FormatError
from stargazer.storage.lineage._contents import ENTRY_POINT_GROUP, contents, plain
from stargazer.storage.store import open_store

from .lineage_store import entry_of, imported


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


@pytest.fixture
def compared(tmp_path):
    def run(a: bytes, b: bytes) -> list[str]:
        (tmp_path / "a").write_bytes(a)
        (tmp_path / "b").write_bytes(b)
        return plain(tmp_path / "a", tmp_path / "b")

    return run


def test_text_by_its_lines(compared):
    assert compared(b"one\ntwo\nthree\n", b"one\n2\nthree\nfour\n") == [
        "lines: 3 in A, 4 in B; 1 only in A, 2 only in B",
        "first different line: 2",
        "  only in A: two",
        "  only in B: 2",
        "  only in B: four",
    ]


def test_a_line_that_was_inserted_is_one_line(compared):
    text = b"".join(b"line %d\n" % number for number in range(1000))
    assert compared(text, b"new\n" + text)[0] == "lines: 1,000 in A, 1,001 in B; 0 only in A, 1 only in B"


def test_another_order_is_said_to_be_that(compared):
    assert compared(b"a\nb\n", b"b\na\n")[0].endswith("0 only in A, 0 only in B (another order)")


def test_another_compression_of_the_same_text(compared):
    assert compared(gzip.compress(b"a\n", 1), b"a\n")[-1] == "the same lines, compressed in another way"


def test_a_table_by_its_columns_too(compared):
    lines = compared(b"sample\tdepth\nS\t3\n", b"sample\tmean\nS\t3\n")
    assert lines[:2] == ["columns only in A: depth", "columns only in B: mean"]


def test_a_table_without_names_has_no_columns_to_compare(compared):
    assert compared(b"chr1\t0\t10\n", b"chr1\t0\t11\n")[0].startswith("lines: 1 in A, 1 in B")


def test_json_by_its_values(compared):
    a, b = (
        b'{"x": {"n": 1, "list": [1, 2]}, "same": 0}',
        b'{"same": 0, "x": {"list": [1, 3], "n": 1}, "new": "y"}',
    )
    assert compared(a, b) == ["x.list[1]: 2 in A, 3 in B", "new: absent in A, y in B"]
    assert compared(b'{"a": 1}', b'{ "a": 1 }') == ["the same values, written in another way"]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (b"\0ab", b"\0ac", ["first different byte: 2"]),
        (b"\0ab", b"\0abc", ["size: 3 bytes in A, 4 in B", "first different byte: 3"]),
        (b"", b"\0", ["size: 0 bytes in A, 1 in B", "first different byte: 0"]),
    ],
)
def test_other_bytes_by_their_place(compared, a, b, expected):
    assert compared(a, b) == expected


def test_nothing_that_moves_a_cursor_is_shown(compared):
    assert "\x1b" not in "".join(compared(b"a\x1b[2J\n", b"b\n"))


def test_a_long_line_is_cut(compared):
    assert max(map(len, compared(b"a" * 100_000 + b"\n", b"b\n"))) < 200


def test_json_that_is_none_is_text(compared):
    assert compared(b"{not json\n", b"{neither\n")[0].startswith("lines: 1 in A")


def test_of_bytes_that_are_not_here_nothing_is_said_but_that(store):
    a, b = imported(store, "one"), imported(store, "two")
    store.objects.remove(b.cid)
    assert contents(store, entry_of("", a), entry_of("", b)) == [
        "the bytes of B are not here: `stargazer get CID` brings them"
    ]


def test_a_reader_that_is_installed_knows_its_type(store, monkeypatch):
    def reader(a, b):
        return [f"{a.read_text()} and {b.read_text()}"]

    offer(monkeypatch, reader)
    a, b = imported(store, "one"), imported(store, "two")
    assert contents(store, entry_of("", a), entry_of("", b)) == ["one and two"]


def test_a_reader_that_fails_gives_way_to_the_plain_one(store, monkeypatch):
    def reader(a, b):
        raise FormatError("no such header")

    offer(monkeypatch, reader)
    a, b = imported(store, "one"), imported(store, "two")
    lines = contents(store, entry_of("", a), entry_of("", b))
    assert lines[:2] == [
        "not read as what it is registered as: no such header",
        "lines: 1 in A, 1 in B; 1 only in A, 1 only in B",
    ]


def offer(monkeypatch, reader):
    class Point:
        def load(self):
            return reader

    def entry_points(*, group, name):
        assert (group, name) == (ENTRY_POINT_GROUP, "qc_report")
        return [Point()]

    monkeypatch.setattr("stargazer.storage.lineage._contents.entry_points", entry_points)
