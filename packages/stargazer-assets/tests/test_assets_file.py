"""Files of no known type: a name, notes, and a few keys of somebody's own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stargazer.assets import (
    R1,
    AmbiguousAssetError,
    Asset,
    File,
    InvalidAssetError,
    IpFile,
    assemble,
    asset_class,
)
from stargazer.assets.declaration import is_free_key
from stargazer.assets.keyvalues import composed

from .memory_client import MemoryClient

KEYS = st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True).filter(lambda key: is_free_key(File, key))
VALUES = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1)


@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_keys_of_somebodys_own_come_back_as_they_were(extra: dict[str, str]) -> None:
    pairs = File(name="x.tsv", notes="two\nlines", extra=extra).keyvalues
    assert pairs == {
        "asset": "file",
        "name": "x.tsv",
        "notes": "two\nlines",
        **{key: composed(text) for key, text in extra.items()},
    }
    record = IpFile(cid="bafk", keyvalues=pairs)
    read = Asset.from_record(record)
    assert isinstance(read, File)
    assert read.keyvalues == pairs
    assert read.copy(notes=None).keyvalues.items() == pairs.items() - {("notes", "two\nlines")}


@pytest.mark.parametrize(
    "key",
    ["asset", "cid", "some_cid", "provenance_cid", "client", "latest", "id", "path", "public", "record", "extra",
     "superseded", "run_key", "source", "samples", "size", "Project", "a key", "1st", "_own", "", "clé", "a" * 33],
)  # fmt: skip
def test_a_key_that_means_something_or_cannot_be_typed_is_refused(key: str) -> None:
    with pytest.raises(InvalidAssetError):
        _ = File(name="x", extra={key: "value"}).keyvalues
    if key not in ("asset", "provenance_cid"):
        with pytest.raises(InvalidAssetError):
            File.from_keyvalues({"name": "x", key: "value"})


@pytest.mark.parametrize("value", ["", " ", "a\tb", "a\n", "x\u200b", " x", "\ud800"])
def test_a_value_that_cannot_be_seen_is_refused(value: str) -> None:
    with pytest.raises(InvalidAssetError, match="project"):
        File.from_keyvalues({"name": "x", "project": value}).keyvalues  # noqa: B018


def test_there_is_room_for_six_keys() -> None:
    extra = {f"key{number}": "x" for number in range(7)}
    assert len(File(name="x", notes="n", extra=dict(list(extra.items())[:6])).keyvalues) == 9
    with pytest.raises(InvalidAssetError, match="at most 10 can be stored"):
        _ = File(name="x", notes="n", provenance_cid="bafk", extra=extra).keyvalues


def test_no_other_type_takes_keys_of_somebodys_own() -> None:
    with pytest.raises(InvalidAssetError, match="unknown key 'project'"):
        R1.from_keyvalues({"sample": "s", "project": "x"})
    with pytest.raises(InvalidAssetError, match="unknown key 'project'"):
        _ = R1(sample="s", extra={"project": "x"}).keyvalues
    assert not any(asset_class(key).free_keys for key in ("r1", "table", "qc_report"))


def test_it_is_found_by_its_keys_and_no_search_of_all_types_knows_them(tmp_path: Path) -> None:
    client = MemoryClient(tmp_path)

    async def journey() -> None:
        for number, project in enumerate(("brca", "luad", None)):
            path = tmp_path / f"{number}.tsv"
            path.write_text(str(number))
            extra = {"project": project, "sample": "s"} if project else {}
            await client.upload_file(path, File(name=path.name, extra=extra).keyvalues)
        reads = tmp_path / "reads.fq"
        reads.write_text("@r\nA\n+\nI\n")
        await client.upload_file(reads, R1(sample="s").keyvalues)

        assert (await File.one(project="brca", client=client)).name == "0.tsv"
        assert [each.name for each in await File.all(project=["brca", "luad"], client=client)] == [
            "0.tsv",
            "1.tsv",
        ]
        assert await File.all(project="other", client=client) == []
        assert {each.asset_key for each in await assemble(sample="s", client=client)} == {"file", "r1"}
        assert len(await assemble(asset="file", project="luad", client=client)) == 1
        with pytest.raises(InvalidAssetError, match="no asset type has a field 'project'"):
            await assemble(project="luad", client=client)

    asyncio.run(journey())


@pytest.mark.parametrize(
    "notes", ["\x85", "\x9b31m", "right \u202e wrong", "\u2066", " ", "a\x00", "x" * 2001]
)
def test_notes_that_are_not_shown_as_they_are_written_are_refused(notes: str) -> None:
    with pytest.raises(InvalidAssetError, match="notes"):
        File(name="x", notes=notes)


def test_a_name_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(InvalidAssetError, match="not valid Unicode"):
        _ = File(name="\udc80").keyvalues


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("genes.tsv", ".tsv"),
        ("a.b.tar.gz", ".tar.gz"),
        ("notes", ""),
        ("..x", ".x"),
        ("a.b c", ""),
        ("é.t", ".t"),
    ],
)
def test_its_file_ends_as_its_name_does(name: str, suffix: str) -> None:
    assert File(name=name).own_suffix() == suffix


def test_what_a_computation_depends_on_has_the_keys() -> None:
    assert File(name="x", extra={"project": "p"}).values() == {"name": "x", "notes": None, "project": "p"}


@pytest.mark.parametrize(
    "values",
    [{"name": "../x"}, {"name": ".."}, {"name": "a" * 256}, {"notes": " "}, {"notes": "\x1b[2J"}, {"notes": "x" * 2001},
     {"project": "x" * 256}],
)  # fmt: skip
def test_what_is_no_name_or_too_long_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(InvalidAssetError, match=next(iter(values))):
        File.from_keyvalues({"name": "x.tsv", **values})


def test_what_tells_several_apart_is_said_by_their_own_keys(tmp_path: Path) -> None:
    client = MemoryClient(tmp_path)

    async def add() -> None:
        for project in ("brca", "luad"):
            path = tmp_path / f"{project}.tsv"
            path.write_text(project)
            await client.upload_file(path, File(name="genes.tsv", extra={"project": project}).keyvalues)
        await File.one(client=client)

    with pytest.raises(AmbiguousAssetError, match="add a filter, for example project=brca"):
        asyncio.run(add())
