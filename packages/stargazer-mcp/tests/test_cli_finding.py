"""`stargazer query`, `get` and `rm` on files that were added."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import Plot, Table, Variants
from stargazer.storage.copies import human_stem

from .command import Command, added


def test_filters_select_by_type_and_field(stargazer: Command, store: dict[str, Any]) -> None:
    _, out, _ = stargazer("query", "asset=r1", "sample=NA12878", "lane=L2", "--json")
    assert json.loads(out) == [store["r1 L2"]]


def test_a_key_given_twice_means_either(stargazer: Command, store: dict[str, Any]) -> None:
    _, out, _ = stargazer("query", "asset=r1", "asset=r2", "lane=L1", "--json")
    assert [record["keyvalues"]["asset"] for record in json.loads(out)] == ["r1", "r2"]


def test_a_table_is_for_people(stargazer: Command, store: dict[str, Any]) -> None:
    _, out, _ = stargazer("query", "asset=reference")
    header, row = out.splitlines()
    assert header.split() == ["TYPE", "WHAT", "NAME", "SIZE", "CREATED", "(UTC)", "CID"]
    assert row.startswith("reference  build=GRCh38  g.fa")
    assert row.endswith(store["reference"]["cid"])


def test_provenance_is_hidden_unless_asked_for(stargazer: Command, store: dict[str, Any]) -> None:
    everything = json.loads(stargazer("query", "--json")[1])
    assert len(everything) == len(store)
    documents = json.loads(stargazer("query", "asset=provenance", "kind=import", "--json")[1])
    assert len(documents) == 4


def test_nothing_found_is_an_empty_answer(stargazer: Command) -> None:
    assert stargazer("query", "--json")[:2] == (0, "[]\n")
    status, out, err = stargazer("query")
    assert (status, out) == (0, "")
    assert "stargazer add" in err


@pytest.mark.parametrize("words", [["query"], ["get", "build=x"], ["rm", "build=x"], ["why", "build=x"]])
def test_looking_into_a_store_that_is_not_there_makes_none(stargazer: Command, words: list[str]) -> None:
    folder = Path(os.environ["STARGAZER_LOCAL"])
    status, out, err = stargazer(*words)
    assert (status, out) == (0 if words == ["query"] else 1, "")
    assert f"there is no store at {str(folder)!r} yet" in err
    assert not folder.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["asset=r1", "lain=x"], "did you mean 'lane'"),
        (["lain=x"], "did you mean 'lane'"),
        (["asset=reeds"], "unknown asset type 'reeds'"),
        (["asset=alignment", "duplicates_marked=perhaps"], "true or false"),
    ],
)
def test_wrong_filters_are_errors(
    stargazer: Command, store: dict[str, Any], words: list[str], said: str
) -> None:
    status, out, err = stargazer("query", *words)
    assert (status, out) == (1, "")
    assert said in err


def test_get_names_files_for_people_and_brings_companions(stargazer: Command, store: dict[str, Any]) -> None:
    answers = [
        stargazer("get", *words, "--to", "out/put")
        for words in ([store["reference"]["cid"]], ["sample=NA12878", "lane=L1"])
    ]
    assert [status for status, _, _ in answers] == [0, 0]
    out = "".join(out for _, out, _ in answers)
    names = sorted(path.name for path in Path("out/put").iterdir())
    assert names == ["GRCh38.fa", "GRCh38.fa.fai", "NA12878.L1.r1.fq", "NA12878.L1.r2.fq"]
    assert sorted(out.split()) == [f"out/put/{name}" for name in names]
    assert Path("out/put/NA12878.L1.r2.fq").read_text() == Path("L1_R2.fq").read_text()


def test_an_index_alone_is_named_after_its_file(stargazer: Command, store: dict[str, Any]) -> None:
    stargazer("get", "asset=reference_index", "--to", "out")
    assert [path.name for path in Path("out").iterdir()] == ["GRCh38.fa.fai"]


def test_get_twice_changes_nothing(stargazer: Command, store: dict[str, Any]) -> None:
    stargazer("get", "asset=reference", "--to", "out")
    before = {path: path.stat().st_mtime_ns for path in Path("out").iterdir()}
    assert stargazer("get", "asset=reference", "--to", "out")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in Path("out").iterdir()} == before


def test_a_different_file_is_never_overwritten(stargazer: Command, store: dict[str, Any]) -> None:
    Path("GRCh38.fa").write_text("mine")
    _, out, _ = stargazer("get", store["reference"]["cid"])
    assert Path("GRCh38.fa").read_text() == "mine"
    part = store["reference"]["cid"][-9:-1]
    assert out.split() == [f"GRCh38.{part}.fa", f"GRCh38.{part}.fa.fai"]


def test_of_two_files_of_one_name_the_newest_gets_it(stargazer: Command, store: dict[str, Any]) -> None:
    Path("h.fa").write_text(">c\nGGGG\n")
    added(stargazer, "h.fa", "build=GRCh38")
    stargazer("get", "asset=reference", "--to", "out")
    part = store["reference"]["cid"][-9:-1]
    assert Path("out/GRCh38.fa").read_text() == Path("h.fa").read_text()
    assert Path(f"out/GRCh38.{part}.fa").read_text() == Path("g.fa").read_text()


def test_a_name_cannot_leave_the_folder(stargazer: Command, store: dict[str, Any]) -> None:
    Path("e.fa").write_text(">c\nTTTT\n")
    added(stargazer, "e.fa", "build=../../etc/x")
    stargazer("get", "build=../../etc/x", "--to", "out")
    assert [path.name for path in Path("out").iterdir()] == ["_.._etc_x.fa"]


@pytest.mark.parametrize("verb", ["get", "why"])
@pytest.mark.parametrize(("name", "said"), [("other", "never registered"), ("folder", "is a folder")])
def test_a_file_nobody_registered_is_named(
    stargazer: Command, store: dict[str, Any], verb: str, name: str, said: str
) -> None:
    Path("other").write_text("other")
    Path("folder").mkdir()
    status, out, err = stargazer(verb, name)
    assert (status, out) == (1, "")
    assert f"{name!r}" in err
    assert said in err


@pytest.mark.parametrize("verb", ["get", "rm", "why"])
def test_what_is_not_there_is_an_error(stargazer: Command, store: dict[str, Any], verb: str) -> None:
    for word in ("nonsense", "sample=NA0", "bafkreib6vj3os7l4lqqytaw5vju46iorcknttfiwfnlbizjcqn7xd5hrvy"):
        status, out, err = stargazer(verb, word)
        assert (status, out) == (1, "")
        assert word.partition("=")[2] in err


def test_rm_takes_one_record_back(stargazer: Command, store: dict[str, Any]) -> None:
    status, out, err = stargazer("rm", "asset=r1", "lane=L1", "--json")
    assert (status, [record["id"] for record in json.loads(out)], err) == (0, [store["r1 L1"]["id"]], "")
    left = json.loads(stargazer("query", "--json")[1])
    assert store["r1 L1"]["id"] not in [record["id"] for record in left]
    assert len(left) == len(store) - 1


def test_rm_says_what_stays(stargazer: Command, store: dict[str, Any]) -> None:
    assert stargazer("rm", "asset=reference")[2] == (
        "took back 1 registration; its bytes and other records stay\n"
    )
    assert stargazer("rm", "sample=NA12878", "--all")[2] == (
        "took back 4 registrations; their bytes and other records stay\n"
    )


def test_get_takes_a_file_of_this_machine_by_what_it_holds(stargazer: Command, store: dict[str, Any]) -> None:
    Path("renamed").write_bytes(Path("g.fa").read_bytes())
    assert stargazer("get", "renamed", "--to", "out")[1].split() == ["out/GRCh38.fa", "out/GRCh38.fa.fai"]


@pytest.mark.parametrize(
    ("fields", "stem"),
    [
        ({"caller": "bcftools"}, "S.variants.raw"),
        ({"caller": "bcftools", "normalised": True}, "S.variants.normalised"),
        ({"caller": "bcftools", "normalised": True, "filtered": True}, "S.variants"),
        ({"kind": "truth"}, "S.truth.variants"),
        ({}, "S.variants"),
    ],
)
def test_calls_on_the_way_to_filtered_ones_say_so(fields: dict[str, Any], stem: str) -> None:
    assert human_stem(Variants(samples=["S"], **fields)) == stem


def test_what_a_run_has_many_of_is_called_by_its_kind() -> None:
    assert human_stem(Plot(kind="umap_HLA/A", sample="pbmc")) == "pbmc.umap_HLA_A"
    assert human_stem(Table(kind="markers")) == "markers"


def test_rm_takes_an_id(stargazer: Command, store: dict[str, Any]) -> None:
    assert stargazer("rm", store["fai"]["id"])[0] == 0
    assert json.loads(stargazer("query", "asset=reference_index", "--json")[1]) == []


def test_rm_of_several_asks_first(stargazer: Command, store: dict[str, Any]) -> None:
    status, _, err = stargazer("rm", "sample=NA12878")
    assert status == 1
    assert "4 records match" in err
    assert store["r2 L2"]["id"] in err
    assert len(json.loads(stargazer("query", "--json")[1])) == len(store)
    assert stargazer("rm", "sample=NA12878", "--all")[0] == 0
    assert json.loads(stargazer("query", "sample=NA12878", "--json")[1]) == []


def test_a_retracted_file_can_be_added_again(stargazer: Command, store: dict[str, Any]) -> None:
    stargazer("rm", "asset=reference")
    added(stargazer, "g.fa", "build=GRCh38")
    assert len(json.loads(stargazer("query", "asset=reference", "--json")[1])) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["query", "x"],
        ["get"],
        ["get", "x", "a=b"],
        ["rm"],
        ["rm", "x", "a=b"],
        ["query", "--no"],
    ],
)
def test_misuse_is_status_two(stargazer: Command, words: list[str]) -> None:
    assert stargazer(*words)[0] == 2
