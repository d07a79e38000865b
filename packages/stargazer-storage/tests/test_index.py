"""What an index promises: durable transactions shared with tables, indexed look-ups, errors in the user's words."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys

import pytest
from stargazer.assets import StorageError
from stargazer.storage import Settings, known_keys, known_values
from stargazer.storage.index import location as location_module
from stargazer.storage.index.location import index_path, network_filesystem
from stargazer.storage.index.records import Index, compile_condition, select_documents
from stargazer.storage.index.schema import FORMAT
from tinydb import Query, where


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder of its own" / "index.sqlite"


@pytest.fixture
def index(path):
    with Index(path) as index:
        yield index


def mirrors(index: Index) -> list[tuple[str, str]]:
    with index.reading() as connection:
        return connection.execute("SELECT cid, url FROM mirrors").fetchall()


def test_documents_are_there_when_opened_again(path):
    with Index(path) as index:
        index.table("records").insert({"id": "r1", "keyvalues": {"asset": "reference", "build": "GRCh38"}})
    with Index(path) as index:
        assert index.table("records").search(where("keyvalues").build == "GRCh38") == [
            {"id": "r1", "keyvalues": {"asset": "reference", "build": "GRCh38"}}
        ]
        assert index.tables() == {"records"}


def test_a_transaction_holds_tables_and_sql_together(index):
    records = index.table("records")
    with index.transaction() as connection:
        connection.execute("INSERT INTO mirrors VALUES('p', 'c')")
        records.insert({"id": "r1"})
    assert (len(records), mirrors(index)) == (1, [("p", "c")])

    with pytest.raises(KeyError), index.transaction() as connection:  # noqa: PT012
        connection.execute("INSERT INTO mirrors VALUES('q', 'd')")
        records.insert({"id": "r2"})
        assert (len(records), len(mirrors(index))) == (2, 2)  # seen inside
        raise KeyError
    assert (len(records), mirrors(index)) == (1, [("p", "c")])


def test_an_inner_transaction_that_fails_undoes_its_own_part_only(index):
    with index.transaction() as connection:
        index.insert({"id": "kept"})
        with pytest.raises(KeyError), index.transaction():  # noqa: PT012
            index.insert({"id": "undone"})
            connection.execute("INSERT INTO mirrors VALUES('p', 'c')")
            raise KeyError
        index.insert({"id": "kept too"})
    assert [document["id"] for document in index] == ["kept", "kept too"]
    assert mirrors(index) == []


def test_a_failed_write_leaves_nothing(index):
    with pytest.raises(TypeError):
        index.insert_multiple([{"id": "a"}, {"id": object()}])
    with pytest.raises(ValueError, match="Mapping"):
        index.insert_multiple([{"id": "a"}, 3])
    assert len(index) == 0
    assert index.insert({"id": "a"}) == 1


KEY = where("keyvalues")


@pytest.mark.parametrize(
    ("condition", "looked_up"),
    [
        (where("id") == "r1", True),
        (where("cid").one_of(["a", "b"]), True),
        ((KEY.asset == "alignment") & (KEY.sample == "s") & (KEY.lane != "1"), True),
        ((KEY.asset == "alignment") | (KEY.asset == "variants"), True),
        (~(KEY.asset == "alignment"), False),
        ((KEY.asset == "alignment") | KEY.sample.matches("s.*"), False),
        (where("size") == 3, False),
        (KEY.asset == ["a"], False),
        (KEY == {"asset": "alignment"}, False),
        (KEY.sample == "x" * 600, False),
        (KEY.sample == 2**60, False),
        (Query().keyvalues.map(str) == "x", False),
        (Query().noop(), False),
        (lambda document: True, False),
    ],
)
def test_equality_on_identity_and_keyvalues_is_looked_up_and_nothing_else(condition, looked_up):
    assert (compile_condition(condition) is not None) is looked_up


def test_a_look_up_walks_the_index_of_terms_only(index):
    index.insert_multiple({"id": str(n), "keyvalues": {"asset": "a", "sample": str(n)}} for n in range(50))
    plan = compile_condition(
        (KEY.asset == "a") & (KEY.sample == "7") & (where("id").one_of(["7", "8"]) | (KEY.x == "y"))
    )
    assert plan is not None
    with index.reading() as connection:
        sql, parameters = select_documents(connection, "_default", plan)
        steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    assert not [step for step in steps if step.startswith(("SCAN terms", "SCAN u"))]


def test_very_many_values_and_deep_conditions_still_answer(index):
    index.insert_multiple({"id": str(n)} for n in range(20))
    many = where("id").one_of([str(n) for n in range(10, 40_000)])
    assert index.count(many) == 10
    either = where("id") == "0"
    for n in range(1, 60):
        either |= where("id") == str(n)
    assert index.count(either) == 20


def test_iteration_over_more_than_a_page_may_change_what_it_reads(index):
    index.insert_multiple({"n": n} for n in range(2_500))
    seen = []
    for document in index:
        seen.append(document["n"])
        if document["n"] % 1_000 == 0:
            index.insert({"n": -1})
    assert seen == list(range(2_500))


def test_words_that_records_hold_are_found_without_the_store(monkeypatch, tmp_path):
    assert (known_keys(), known_values("sample")) == ([], [])  # nothing is made for it
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("STARGAZER_INDEX", str(tmp_path))
    with Index(index_path(Settings.load().local, tmp_path)) as index:
        index.table("other").insert({"keyvalues": {"elsewhere": "x"}})
        index.table("records").insert_multiple(
            {
                "cid": f"c{n % 3}",
                "keyvalues": {"sample": f"S{n % 4}", "samples": f'["S{n}", "T"]', "n": n, "odd": ""},
            }
            for n in range(50)
        )
        assert known_keys() == ["n", "odd", "sample", "samples"]
        assert known_values("sample") == ["S0", "S1", "S2", "S3"]
        assert known_values("sample", "S2") == ["S2"]
        assert known_values("samples", "S1") == ["S1", *(f"S{n}" for n in range(10, 20))]
        assert (known_values("cid", "c"), known_values("n"), known_values("none")) == (
            ["c0", "c1", "c2"],
            [],
            [],
        )


def test_ids_are_not_used_again(index):
    index.insert_multiple([{}, {}, {}])
    index.remove(doc_ids=[3])
    assert index.insert({}) == 4
    index.drop_tables()
    assert index.insert({}) == 1


# --- errors in the user's words


def test_an_index_of_a_newer_version_is_refused(path):
    Index(path).insert({"id": "x"})
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version={FORMAT + 3}")
    connection.execute("DROP TABLE tools")
    connection.close()
    with pytest.raises(StorageError, match=r"newer Stargazer .*pip install --upgrade"):
        Index(path).all()


def test_an_index_of_an_older_version_is_refused_and_left_alone(path):
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE docs(body)")
        connection.execute("CREATE TABLE terms(key)")
        connection.execute(f"PRAGMA user_version={FORMAT - 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"older Stargazer .*STARGAZER_LOCAL"):
        Index(path).all()
    assert path.read_bytes() == before


def test_an_index_that_was_never_used_makes_no_file(path):
    Index(path).close()
    assert not path.parent.exists()


def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path):
    connection = sqlite3.connect(tmp_path / "other.sqlite")
    connection.execute("CREATE TABLE music(title)")
    connection.close()
    with pytest.raises(StorageError, match="something else"):
        Index(tmp_path / "other.sqlite").all()
    with sqlite3.connect(tmp_path / "other.sqlite") as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("music",)]


def test_a_damaged_file_is_named(path):
    with Index(path) as index:
        index.insert_multiple({"id": str(n), "keyvalues": {"sample": str(n)}} for n in range(500))
    content = bytearray(path.read_bytes())
    content[5_000:] = os.urandom(len(content) - 5_000)
    path.write_bytes(content)
    with (
        pytest.raises(StorageError, match=r"index\.sqlite.* damaged .*`stargazer fsck`"),
        Index(path) as index,
    ):
        index.all()

    path.write_bytes(b"not a database, only text" * 100)
    with pytest.raises(StorageError, match=r"damaged .*run `stargazer fsck`"):
        Index(path).all()


def test_a_full_disk_changes_nothing_and_says_so(index):
    index.insert({"id": "before"})
    with index.reading() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StorageError, match="disk is full"):
        index.insert_multiple({"id": "x" * 500} for _ in range(500))
    assert [document["id"] for document in index] == ["before"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"file/index' for the index cannot be made"):
        Index(tmp_path / "file" / "index" / "index.sqlite").all()


READ_ONLY = """
mount -t tmpfs none "$1" && cd / && "$2" -c 'import sys; from stargazer.storage.index.records import Index
Index(sys.argv[1] + "/index.sqlite").insert({"id": "x"})' "$1" && mount -o remount,ro "$1" && "$2" -c 'import sys
from stargazer.assets.errors import StorageError
from stargazer.storage.index.records import Index
for name in ("index.sqlite", "new.sqlite", "new/index.sqlite"):
    try:
        Index(f"{sys.argv[1]}/{name}").insert({"id": "y"})
    except StorageError as error:
        print(error)' "$1"
"""


def test_a_read_only_location_is_named(tmp_path):
    command = [
        "unshare",
        "--mount",
        "--map-root-user",
        "sh",
        "-c",
        READ_ONLY,
        "sh",
        str(tmp_path),
        sys.executable,
    ]
    try:
        finished = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no unshare(1): a read-only mount cannot be made here")
    if "unshare" in finished.stderr or "mount:" in finished.stderr:
        pytest.skip(f"a read-only mount cannot be made here: {finished.stderr.strip()}")
    assert finished.stderr == ""
    lines = finished.stdout.splitlines()
    assert len(lines) == 3
    assert all("cannot be" in line or "read-only" in line for line in lines)


def test_a_mistake_in_sql_is_a_storage_error(index):
    with pytest.raises(StorageError, match="no such table"), index.transaction() as connection:
        connection.execute("INSERT INTO nowhere VALUES(1)")


def test_a_closed_index_is_refused(path):
    index = Index(path)
    index.close()
    with pytest.raises(StorageError, match="closed"):
        index.insert({"id": "x"})


def test_a_network_filesystem_is_refused(path, tmp_path, monkeypatch):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"/dev/sda / ext4 rw 0 0\nserver:/home {path.parent.as_posix().replace(' ', chr(92) + '040')} nfs4 rw 0 0\n"
    )
    monkeypatch.setattr(location_module, "_MOUNTS", str(mounts))

    assert network_filesystem(tmp_path) is None
    assert network_filesystem(path) == "nfs4"
    with pytest.raises(StorageError, match=r"network filesystem \(nfs4\).*local disk"):
        Index(path).all()
