"""The table of a store's records, and what the assets page says of one: pages, questions, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import AssetNotFoundError, InvalidAssetError, IpFile, StargazerError, record_id
from stargazer.storage import Addition, Store, amend, get_client, open_store, retract
from stargazer.storage.maintenance import evict

pytest.importorskip("marimo", reason="NOT TESTED: pip install 'stargazer-workflows[notebook]'")

from stargazer.assets import Reference, asset_class
from stargazer.workflows.notebook import (
    amend_form,
    amend_record,
    asset_table,
    delete_question,
    delete_record,
    download_button,
    evict_question,
    evict_record,
    record_facts,
)
from stargazer.workflows.notebook.asset_table import page_of, words_of

HTML = "<img src=https://example.org/x.png onerror=alert(1)> **bold**"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An empty store, that of the settings."""
    monkeypatch.setenv("STARGAZER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STARGAZER_LOCAL", str(tmp_path / "home" / "local"))
    return get_client().store


def add(store: Store, name: str, **fields: Any) -> IpFile:
    path = store.root.parent / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f">{name}\nACGT\n")
    return store.add([Addition(path=path, asset=Reference(**fields), name=name)])[0]


def names(page: dict[str, Any]) -> list[str]:
    return [row["name"] for row in page["rows"]]


def test_an_empty_store_has_an_empty_page_and_stays_none(store: Store) -> None:
    page = page_of(store, {})
    assert (page["total"], page["rows"], page["types"], page["samples"]) == (0, [], {}, [])
    assert not store.root.exists()


def test_pages_counts_and_choices(store: Store) -> None:
    for number in range(5):
        add(store, f"{number}.fa", build=f"b{number % 2}")
    page = page_of(store, {"limit": 2})
    assert (page["total"], names(page), page["types"], page["builds"]) == (
        5, ["4.fa", "3.fa"], {"reference": 5}, ["b0", "b1"],
    )  # fmt: skip
    assert names(page_of(store, {"limit": 2, "offset": 2})) == ["2.fa", "1.fa"]
    assert names(page_of(store, {"build": "b1", "order": "name", "descending": False})) == ["1.fa", "3.fa"]
    assert page_of(store, {"words": "build=b0 build=b1"})["total"] == 5
    assert page_of(store, {"network": "public"})["total"] == 0
    assert page_of(store, {"network": "private"})["total"] == 5
    assert "types" not in page_of(store, {"choices": False})


def test_a_page_that_is_no_more_is_the_last_one(store: Store) -> None:
    records = [add(store, f"{number}.fa", build="b") for number in range(3)]
    retract(store, records[0])
    page = page_of(store, {"limit": 2, "offset": 2})
    assert (page["total"], page["offset"], names(page)) == (2, 0, ["2.fa", "1.fa"])


def test_what_others_change_is_on_the_next_page_that_is_asked_for(store: Store) -> None:
    records = [add(store, f"{number}.fa", build="b") for number in range(3)]
    assert page_of(store, {})["total"] == 3
    elsewhere = open_store(store.root)
    retract(elsewhere, records[0])
    amend(elsewhere, records[1], {"build": "c"})
    assert page_of(store, {})["total"] == 2
    assert page_of(store, {"build": "c"})["total"] == 1


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"words": "sample"}, "'sample' is no key=value"),
        ({"words": "a='b"}, "No closing quotation"),
        ({"words": "smaple=x"}, "no asset type has a field 'smaple'; did you mean 'sample'"),
        ({"type": "aligment"}, "aligment"),
        ({"sample": "a", "words": "sample=b"}, "sample is said twice"),
        ({"offset": "x"}, "cannot be read"),
    ],
)
def test_filters_that_are_none_are_said(store: Store, asked: dict[str, Any], said: str) -> None:
    add(store, "a.fa", build="b")
    page = page_of(store, asked)
    assert said in page["error"]
    assert page["rows"] == []


def test_words() -> None:
    assert words_of("a=1 a=2 b='x y'") == {"a": ["1", "2"], "b": ["x y"]}
    with pytest.raises(InvalidAssetError, match="'=x' is no key=value"):
        words_of("=x")


def test_rows_of_100_000_records(store: Store) -> None:
    def record(number: int) -> dict[str, Any]:
        cid, pairs = f"bafkreih{number:051d}", {"asset": "r1", "sample": f"s{number}"}
        return {"id": record_id(cid, pairs), "cid": cid, "name": f"{number}.fq", "size": number, "keyvalues": pairs,
                "created_at": f"2026-11-23T12:00:00.{number:06d}+00:00"}  # fmt: skip

    store.open_index()
    store.index.table("records").insert_multiple(map(record, range(100_000)))
    page = page_of(store, {"offset": 50_000, "limit": 10})
    assert page["total"] == 100_000
    assert names(page) == [f"{number}.fq" for number in range(49_999, 49_989, -1)]
    assert len(json.dumps(page)) < 20_000, "no more than a page leaves the kernel"


def test_facts_are_text_and_say_who_can_read_a_file(store: Store) -> None:
    record = add(store, "x.fa", build=HTML)
    facts = {row["what"]: row["it is"] for row in record_facts(record)}
    assert facts["build"] == HTML
    assert facts["who can read it"] == "private: only on this machine"
    assert page_of(store, {})["rows"][0]["network"] == facts["who can read it"]
    form = amend_form(record, None)
    assert "<img" not in form.text, "in the page it is an attribute, escaped"


def test_a_record_is_amended_as_the_command_amends_it(store: Store) -> None:
    record = add(store, "x.fa", build="b")
    texts = {key: record.keyvalues.get(key, "") for key in asset_class("reference").fields()}
    assert amend_record(record, texts) == record
    amended = amend_record(record, {**texts, "build": "GRCh38"})
    assert store.get(amended.id) is not None
    assert amended.keyvalues["build"] == "GRCh38"
    with pytest.raises(AssetNotFoundError, match="somebody amended or deleted it meanwhile"):
        amend_record(record, texts)
    with pytest.raises(InvalidAssetError, match="unknown key 'lane'"):
        amend_record(amended, {**texts, "_others": "lane=L1"})
    with pytest.raises(InvalidAssetError, match="build is said more than once"):
        amend_record(amended, {**texts, "_others": "build=b"})
    with pytest.raises(StargazerError):
        amend_record(amended, {**texts, "build": ""})


def test_evicting_and_deleting_ask_and_say_what_happens(store: Store) -> None:
    record = add(store, "x.fa", build="b")
    text, can = evict_question(record)
    assert not can
    assert "it was imported, and no mirror of it gives it now" in text
    assert "stargazer evict --force" in text
    assert evict_record(record).startswith("Nothing was dropped")
    evict(store, [record], force=True)
    assert evict_question(record) == ("The bytes of 'x.fa' (reference) are not on this machine.", False)

    text, can = delete_question(record)
    assert can
    assert text.startswith("Take back the registration of 'x.fa' (reference)?")
    assert "Nothing was computed from it." in text
    assert delete_record(record).startswith("Took back the registration of 'x.fa'")
    for ask in (evict_question, delete_question, evict_record, delete_record):
        with pytest.raises(AssetNotFoundError, match="somebody amended or deleted it meanwhile"):
            ask(record)


def test_provenance_stays(store: Store) -> None:
    add(store, "x.fa", build="b")
    (document,) = store.query({"asset": "provenance"})
    assert delete_question(document)[1] is False
    assert evict_question(document)[1] is False


def test_a_large_file_is_left_to_the_command(store: Store) -> None:
    import attrs

    record = add(store, "x.fa", build="b")
    assert "marimo-download" in download_button(record).text
    large = download_button(attrs.evolve(record, size=1_000_000_000)).text
    assert f"stargazer get {record.cid} --to FOLDER" in large


def test_what_is_chosen_comes_back_as_records(store: Store) -> None:
    record = add(store, "x.fa", build="b")
    table = asset_table()
    table.widget.chosen = [record.id]
    assert table.records() == [record]
    retract(store, record)
    assert (table.records(), table.missing()) == ([], [record.id])
    table.refresh([])
    assert table.widget.news == {"turn": 1, "chosen": []}
