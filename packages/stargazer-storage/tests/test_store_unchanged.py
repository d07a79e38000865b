"""Files that are added again: what is registered and unchanged is answered for at once, anything else is not."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stargazer.assets import R1, R2, Annotation, FormatError
from stargazer.storage import statcache
from stargazer.storage import store as store_module
from stargazer.storage.changes import retract
from stargazer.storage.cid import compute_cid
from stargazer.storage.store import Addition, Store, open_store

_watching: list[Path] = []  # folders
_opened: list[Path] = []


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _watching and isinstance(arguments[0], str | os.PathLike):
        path = Path(arguments[0])
        if any(path.is_relative_to(folder) for folder in _watching) and not path.is_dir():
            _opened.append(path)


sys.addaudithook(_watch)


@contextmanager
def opening(*folders: Path) -> Iterator[list[Path]]:
    """The files below these folders that this process opens within the block."""
    _opened.clear()
    _watching[:] = folders
    try:
        yield _opened
    finally:
        _watching.clear()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(statcache, "SETTLED", 0)  # test_statcache.py is about this time
    return open_store(tmp_path / "store")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "files"
    folder.mkdir()
    paths = [folder / f"{number}.gff3" for number in range(5)]
    for number, path in enumerate(paths):
        path.write_text(f"chr1\t.\tgene\t{number + 1}\t{number + 9}\t.\t+\t.\t.\n")
    return paths


def annotations(paths: list[Path], build: str = "GRCh38") -> list[Addition]:
    return [Addition(path, Annotation(name="genes", build=build)) for path in paths]


def everything(store: Store) -> dict[Path, tuple[int, int]]:
    """Every file of a store, with its size and time of change."""
    found = [path for path in store.root.rglob("*") if path.is_file() and not path.name.endswith("-shm")]
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def test_what_is_registered_and_unchanged_is_neither_opened_nor_written(store, files):
    records = store.add(annotations(files))
    before = everything(store)

    with opening(files[0].parent, store.root / "objects") as opened:
        again = annotations(files)
        assert store.add(again) == records
    assert opened == []
    assert everything(store) == before
    assert [item.asset.cid for item in again] == [record.cid for record in records]
    assert [record.path for record in store.add(again)] == [record.path for record in records]


def test_more_files_than_one_look_up_takes(store, tmp_path):
    paths = [tmp_path / f"{number}.gff3" for number in range(1_203)]
    for number, path in enumerate(paths):
        path.write_text(f"chr1\t.\tgene\t1\t{number // 2 + 1}\t.\t+\t.\t.\n")  # each twice
    records = store.add(annotations(paths))

    with opening(tmp_path) as opened:
        assert store.add(annotations(paths[::-1])) == records[::-1]
    assert [path for path in opened if path in paths] == []


def test_a_file_that_was_touched_is_read_and_is_the_same_record(store, files):
    records = store.add(annotations(files))
    os.utime(files[1], ns=(1, 1))

    with opening(files[0].parent) as opened:
        assert store.add(annotations(files)) == records
    assert files[1] in opened
    with opening(files[0].parent) as opened:
        assert store.add(annotations(files)) == records
    assert opened == []


def test_a_file_that_changed_is_another_record(store, files):
    store.add(annotations(files))
    files[1].write_text(files[1].read_text().replace("gene", "exon"))

    assert store.add(annotations(files))[1].cid == compute_cid(files[1])
    assert len(store.query({"asset": "annotation"})) == 6


def test_an_object_that_was_touched_is_verified(store, files):
    records = store.add(annotations(files))
    touched = store.objects.path(records[2].cid)
    os.utime(touched, ns=(1, 1))

    with opening(store.root / "objects") as opened:
        assert store.add(annotations(files)) == records
    assert opened == [touched]
    with opening(store.root / "objects") as opened:
        assert store.add(annotations(files)) == records
    assert opened == []


@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_an_object_that_is_damaged_or_gone_is_made_again(store, files, damage):
    records = store.add(annotations(files))
    path = store.objects.path(records[2].cid)
    data = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(b"x" + data[1:] if damage == "changed" else data[:-1])

    assert store.add(annotations(files)) == records
    assert path.read_bytes() == data
    with opening(files[0].parent, store.root / "objects") as opened:
        assert store.add(annotations(files)) == records
    assert opened == []


def test_the_same_files_as_something_else_are_new_records(store, files):
    store.add(annotations(files))

    again = store.add(annotations(files, build="GRCh37"))

    assert {record.keyvalues["build"] for record in again} == {"GRCh37"}
    assert len(store.query({"asset": "annotation"})) == 10


def test_a_file_of_another_type_is_looked_at(store, files):
    store.add(annotations(files))

    with pytest.raises(FormatError, match="FASTQ"):
        store.add([Addition(files[0], R1(sample="NA12878"))])


def test_what_was_taken_back_is_registered_anew(store, files):
    records = store.add(annotations(files))
    retract(store, records[3])

    assert [record.id for record in store.add(annotations(files))] == [record.id for record in records]
    assert len(store.documents(records[3].cid)) == 2
    assert len(store.documents(records[2].cid)) == 1


def test_a_missing_file_among_known_ones_is_named(store, files):
    store.add(annotations(files))
    files[4].unlink()

    with pytest.raises(FormatError, match=r"no such file: .*4\.gff3"):
        store.add(annotations(files))


def test_links_between_files_are_part_of_what_they_are(store, tmp_path):
    first, second = tmp_path / "a_1.fq", tmp_path / "a_2.fq"
    for path in (first, second):
        path.write_text(f"@{path.stem}\nACGT\n+\nIIII\n")

    def mates(*, linked: bool = True) -> list[Addition]:
        one = R1(sample="NA12878")
        two = R2(sample="NA12878", r1_cid=one) if linked else R2(sample="NA12878")
        return [Addition(second, two), Addition(first, one)]

    records = store.add(mates())
    with opening(tmp_path) as opened:
        again = mates()
        assert store.add(again) == records
    assert not {first, second} & {*opened}
    assert again[0].asset.r1_cid == records[1].cid
    assert store.add(mates(linked=False))[0].id != records[0].id


def test_a_file_in_place_is_known_while_its_object_is_a_link_to_it(store, files, tmp_path):
    def in_place(path: Path) -> list[Addition]:
        return [Addition(path, Annotation(name="genes", build="GRCh38"), in_place=True)]

    records = store.add(in_place(files[0]))
    copy = tmp_path / "copy.gff3"
    copy.write_bytes(files[0].read_bytes())
    with opening(tmp_path) as opened:
        assert store.add(in_place(files[0])) == records
    assert files[0] not in opened

    assert store.add(in_place(copy))[0].id == records[0].id
    assert store.objects.original(records[0].cid) == copy
    store.add(in_place(files[0]))
    assert store.objects.original(records[0].cid) == files[0]


def test_links_and_detours_on_the_way_to_a_file_do_not_matter(store, files, tmp_path, monkeypatch):
    records = store.add(annotations(files[:1]))
    (tmp_path / "folder").symlink_to(files[0].parent)
    (tmp_path / "link.gff3").symlink_to(files[0])
    monkeypatch.chdir(files[0].parent)

    for path in ("0.gff3", "../folder/0.gff3", "../link.gff3", "./../files/../folder/../files/0.gff3"):
        with opening(files[0].parent, tmp_path / "folder", Path("..")) as opened:
            assert store.add(annotations([Path(path)])) == records
        assert opened == []


def test_asking_makes_no_store(store, tmp_path):
    with pytest.raises(FormatError, match="no such file"):
        store.add(annotations([tmp_path / "absent.gff3"]))
    assert not store.root.exists()


def test_a_file_that_was_added_in_place_is_copied_when_it_is_added_without_that(store, files):
    annotation = Annotation(name="genes", build="GRCh38")
    (record,) = store.add([Addition(files[0], annotation, in_place=True)])
    assert store.objects.is_link(record.cid)

    for also_new in ([], [Addition(files[1], Annotation(name="more", build="GRCh38"))]):
        assert store.add([Addition(files[0], annotation.copy(cid=None)), *also_new])[0].id == record.id
        assert not store.objects.is_link(record.cid)
        store.objects.remove(record.cid)
        store.objects.link(files[0])


def test_a_file_that_changes_while_it_is_checked_is_registered_as_what_it_is_now(store, files, monkeypatch):
    store.add(annotations(files[:1]))

    def checked_slowly(*given):
        files[0].write_text("chr2\t.\tgene\t5\t50\t.\t+\t.\t.\n")
        return run_checks(*given)

    run_checks = store_module.run_checks
    monkeypatch.setattr(store_module, "run_checks", checked_slowly)
    first, _ = store.add(annotations(files[:2], build="GRCh37"))
    monkeypatch.undo()

    assert first.cid == compute_cid(files[0])
    (again,) = store.add(annotations(files[:1], build="GRCh37"))
    assert again.cid == compute_cid(files[0])
