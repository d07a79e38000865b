"""Folders of results: of one run each, listed, and what else is in them stays or is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import IpFile, StorageError, Variants
from stargazer.storage import Addition, Store, open_store
from stargazer.storage.copies import RESULTS, check_results, export, export_results, human_stem

HEAD = "##fileformat=VCFv4.2\n##n={n}\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


def calls(store: Store, tmp_path: Path, *samples: str, **fields: Any) -> IpFile:
    """Calls of these samples, each time other bytes."""
    number = len(store.query({"asset": "variants"})) if store.exists() else 0
    path = tmp_path / f"{number}.vcf"
    path.write_text("\t".join([HEAD.format(n=number), "FORMAT", *samples]) + "\n")
    return store.add([Addition(path, Variants(samples=list(samples), **fields))])[0]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def listed(folder: Path) -> dict[str, str]:
    return {file["file"]: file["cid"] for file in json.loads((folder / RESULTS).read_text())["files"]}


def test_what_a_run_has_put_there_is_listed_with_its_cids(store: Store, tmp_path: Path) -> None:
    made = calls(store, tmp_path, "F")
    done, notes = export_results(store, [made], tmp_path / "out", run="R")
    assert (listed(tmp_path / "out"), notes) == ({"F.variants.vcf": made.cid}, [])
    assert json.loads((tmp_path / "out" / RESULTS).read_text())["run"] == "R"
    assert names(tmp_path / "out") == {"F.variants.vcf", RESULTS}
    assert [(path.name, record.cid) for path, record in done] == [("F.variants.vcf", made.cid)]


def test_the_same_again_changes_nothing(store: Store, tmp_path: Path) -> None:
    made = calls(store, tmp_path, "F")
    out = tmp_path / "out"
    export_results(store, [made], out)
    before = (out / "F.variants.vcf").stat().st_mtime_ns
    assert export_results(store, [made], out)[1] == []
    assert (out / "F.variants.vcf").stat().st_mtime_ns == before


def test_of_an_earlier_run_listed_files_go_and_all_others_stay(store: Store, tmp_path: Path) -> None:
    first, second, third = (calls(store, tmp_path, *pair) for pair in (("F", "A"), ("F", "B"), ("F", "C")))
    out = tmp_path / "out"
    export_results(store, [first, second], out)
    (out / "notes.txt").write_text("mine")
    (out / "F+B.variants.vcf").write_text("changed")

    notes = export_results(store, [third], out)[1]

    assert names(out) == {"F+C.variants.vcf", "F+B.variants.vcf", "notes.txt", RESULTS}
    assert listed(out) == {"F+C.variants.vcf": third.cid}
    assert "where an earlier run had put them (they are in the store still): F+A.variants.vcf" in notes[0]
    assert "changed since: F+B.variants.vcf" in notes[1]


def test_another_result_of_the_same_name_replaces_the_earlier_one_with_a_word(
    store: Store, tmp_path: Path
) -> None:
    first, second = calls(store, tmp_path, "F"), calls(store, tmp_path, "F")
    export_results(store, [first], tmp_path / "out")
    notes = export_results(store, [second], tmp_path / "out")[1]
    assert listed(tmp_path / "out") == {"F.variants.vcf": second.cid}
    assert notes == [
        f"replaced in {str(tmp_path / 'out')!r}, where an earlier run had put others: F.variants.vcf"
    ]


@pytest.mark.parametrize("what", ["a file", "a folder", "a link", "a changed one"])
def test_what_is_in_the_way_is_refused_by_name_before_anything_is_copied(
    store: Store, tmp_path: Path, what: str
) -> None:
    earlier, other, wanted = (
        calls(store, tmp_path, "A"),
        calls(store, tmp_path, "B"),
        calls(store, tmp_path, "F"),
    )
    out = tmp_path / "out"
    export_results(store, [earlier], out)
    target = out / "F.variants.vcf"
    if what == "a folder":
        target.mkdir()
    elif what == "a link":
        target.symlink_to(store.read(wanted.cid))
    elif what == "a changed one":
        export_results(store, [earlier, wanted], out)
        target.write_text("changed")
        wanted = calls(store, tmp_path, "F")
    else:
        target.write_text("mine")
    before = names(out)

    with pytest.raises(StorageError, match=r"in the way in .*: 'F\.variants\.vcf'.*nothing was copied"):
        export_results(store, [other, wanted], out)

    assert names(out) == before


def test_what_holds_the_same_bytes_is_not_in_the_way(store: Store, tmp_path: Path) -> None:
    wanted = calls(store, tmp_path, "F")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "F.variants.vcf").write_bytes(store.read(wanted.cid).read_bytes())
    export_results(store, [wanted], tmp_path / "out")
    assert listed(tmp_path / "out") == {"F.variants.vcf": wanted.cid}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"stargazer": "results/1"}', "[" * 100_000, '{"stargazer": "results/9"}']
)
def test_a_list_that_is_none_is_refused_before_anything_is_computed(tmp_path: Path, text: str) -> None:
    (tmp_path / RESULTS).write_text(text)
    with pytest.raises(StorageError, match="it is no list of results of this version; move it away"):
        check_results(tmp_path)


def test_a_list_can_name_nothing_outside_of_its_folder(store: Store, tmp_path: Path) -> None:
    old, new = calls(store, tmp_path, "A"), calls(store, tmp_path, "F")
    out, beside = tmp_path / "out", tmp_path / "A.variants.vcf"
    beside.write_bytes(store.read(old.cid).read_bytes())
    export_results(store, [old], out)
    body = json.loads((out / RESULTS).read_text())
    (sole,) = body["files"]
    body["files"] = [
        {**sole, "file": name} for name in ("../A.variants.vcf", str(beside), "..", "", ".", RESULTS)
    ]
    (out / RESULTS).write_text(json.dumps(body))
    export_results(store, [new], out)
    assert beside.exists()
    assert names(out) == {"A.variants.vcf", "F.variants.vcf", RESULTS}


def test_a_run_that_was_killed_while_it_copied_is_known_to_the_next(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (calls(store, tmp_path, name) for name in "ABC")
    out = tmp_path / "out"
    export_results(store, [first], out)
    with monkeypatch.context() as patched:
        copy = store.export
        patched.setattr(
            Store, "export", lambda self, cid, path: copy(cid, path) if cid != third.cid else 1 / 0
        )
        with pytest.raises(ZeroDivisionError):
            export_results(store, [third, second], out)
    export_results(store, [first], out)
    assert names(out) == {"A.variants.vcf", RESULTS}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["F", "P3"], ["F", "P4"]),
        ([f"S{n}" for n in range(90)], [f"S{n}" for n in range(1, 91)]),
        (["x" * 300], ["x" * 301]),
        (["x" * 100, "y" * 100], ["x" * 100, "z" * 100]),
    ],
)
def test_calls_of_other_samples_have_another_name(one: list[str], other: list[str]) -> None:
    stems = [human_stem(Variants(samples=samples)) for samples in (one, other)]
    assert stems[0] != stems[1]
    assert all(len(stem.encode()) <= 180 for stem in stems)


def test_get_replaces_an_older_copy_of_the_same_and_nothing_else(store: Store, tmp_path: Path) -> None:
    plus, two = calls(store, tmp_path, "F+P"), calls(store, tmp_path, "F", "P")  # called the same
    out = tmp_path / "out"
    for record in (plus, two):
        export(store, [record], out)
    assert names(out) == {"F+P.variants.vcf", f"F+P.variants.{two.cid[-9:-1]}.vcf"}
    newer = calls(store, tmp_path, "F+P")
    assert [path.name for path, _ in export(store, [newer], out)] == ["F+P.variants.vcf"]
    assert (out / "F+P.variants.vcf").read_bytes() == store.read(newer.cid).read_bytes()


def test_names_that_differ_in_case_alone_are_kept_apart(store: Store, tmp_path: Path) -> None:
    records = [calls(store, tmp_path, name) for name in ("f", "F")]
    paths = [path.name for path, _ in export_results(store, records, tmp_path / "out")[0]]
    assert len({name.casefold() for name in paths}) == 2
