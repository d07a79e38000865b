"""What others wrote is gone through in work that grows with its size: steps of the interpreter are counted, no time."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import R1, R2, FormatError, IpFile, record_id
from stargazer.assets.provenance import Amendment, Document, Entry, Execution, Import, dump
from stargazer.storage.additions import Addition
from stargazer.storage.bundles._fetch import select
from stargazer.storage.bundles._make import documents_of
from stargazer.storage.bundles.manifest import _unique, parse
from stargazer.storage.bundles.review import accepted, needed, scrutinised
from stargazer.storage.checks import Lookup
from stargazer.storage.cid import RAW, cid_text
from stargazer.storage.lineage import why
from stargazer.storage.lineage._diff import diff
from stargazer.storage.store import open_store

FEW, MANY = 20, 80
AT = "2026-11-29T12:00:00.000000Z"


def steps(function: Callable[[], Any]) -> int:
    """How many lines the interpreter runs, each turn of a loop counted."""
    count = 0

    def trace(frame: Any, event: str, arg: Any) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def assert_linear(make: Callable[[int], Callable[[], Any]]) -> None:
    make(2)()  # imports, and what is known after the first time
    few, many = steps(make(FEW)), steps(make(MANY))
    assert many < 1.5 * (MANY / FEW) * few, (few, many)  # four times the size: not sixteen times the work


def cid(*words: object) -> str:
    return cid_text(RAW, hashlib.sha256(repr(words).encode()).digest())


def entry(number: int, **more: str) -> Entry:
    return Entry(
        cid=cid(number),
        keyvalues={"asset": "r1", "sample": f"s{number}"},
        name=f"{number}.fq",
        size=1,
        **more,
    )


def imported(count: int) -> Import:
    return Import(files=[entry(number) for number in range(count)], at=AT)


class Key(str):
    """A key that counts how often it is compared with another."""

    compared = 0
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        Key.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


@pytest.mark.parametrize("count", [2_000, 20_000])
def test_repeated_keys_are_found_in_one_pass(count: int) -> None:
    Key.compared = 0
    with pytest.raises(FormatError, match="'z' is there twice"):
        _unique([(Key(number), 0) for number in range(count)] + [(Key("z"), 0), (Key("z"), 0)])
    assert Key.compared < 10 * count


def test_manifests_are_parsed_and_selected_from() -> None:
    def make(count: int) -> Callable[[], Any]:
        files = [
            {"name": f"{number}.fq", "size": 1, "cid": cid(number), "keyvalues": {"asset": "r2", "sample": "s"},
             "links": {"r1_cid": f"{number + 1}.fq"}}
            for number in range(count)
        ]  # fmt: skip
        files.append(
            {"name": f"{count}.fq", "size": 1, "cid": cid(count), "keyvalues": {"asset": "r1", "sample": "t"}}
        )
        data = json.dumps(
            {"stargazer": "bundle/1", "name": "m", "mirrors": ["{cid}"], "files": files}
        ).encode()
        return lambda: select(parse(data, remote=True), {"sample": ["s"]})

    assert_linear(make)


def test_documents_are_scrutinised() -> None:
    def make(count: int) -> Callable[[], Any]:
        data = dump(imported(count))
        return lambda: scrutinised(data)

    assert_linear(make)


def test_amendments_of_the_files_of_one_document_are_accepted(tmp_path: Path) -> None:
    store = open_store(tmp_path)

    def make(count: int) -> Callable[[], Any]:
        first = imported(count)
        documents: dict[str, Document] = {cid("import"): first}
        for number, item in enumerate(first.files):
            documents[cid("amendment", number)] = Amendment(
                record=record_id(item.cid, item.keyvalues), made_by=cid("import"), cid=item.cid,
                keyvalues={"asset": "r1", "sample": "x"}, replaces=[cid("import")], at=AT,
            )  # fmt: skip

        def run() -> None:
            assert len(accepted(store, documents)) == count + 1

        return run

    assert_linear(make)


def test_documents_that_speak_of_one_file_are_needed() -> None:
    def make(count: int) -> Callable[[], Any]:
        documents: dict[str, Document] = {}
        for number in range(count):
            file = Entry(cid=cid("one"), keyvalues={"asset": "r1", "sample": f"s{number}"})
            documents[cid("import", number)] = Import(files=[file], at=AT)
            documents[cid("run", number)] = Execution(
                task="t", inputs=[file], outputs=[entry(number)], finished=AT
            )
        ids = [record_id(entry(number).cid, entry(number).keyvalues) for number in range(count)]

        def run() -> None:
            assert needed(documents, ids) == documents.keys()

        return run

    assert_linear(make)


def test_the_documents_of_records_are_found(tmp_path: Path) -> None:
    def make(count: int) -> Callable[[], Any]:
        store = open_store(tmp_path / str(count))
        paths = [tmp_path / f"{number}.fq" for number in range(count)]
        for number, path in enumerate(paths):
            path.write_text(f"@r{number}/1\nACGT\n+\nIIII\n")
        records: list[IpFile] = store.add([Addition(path, R1(sample=path.stem)) for path in paths])

        def run() -> None:
            assert len(documents_of(store, records)) == 1

        return run

    assert_linear(make)


def test_lineages_are_walked_and_compared(tmp_path: Path) -> None:
    def make(count: int) -> Callable[[], Any]:
        store = open_store(tmp_path / str(count))
        paths = [tmp_path / f"{number}.fq" for number in range(count)]
        for number, path in enumerate(paths):
            path.write_text(f"@r{number}/1\nACGT\n+\nIIII\n")
        records = store.add([Addition(path, R1(sample=path.stem)) for path in paths])
        inputs = [
            Entry(role=f"reads{number}[0]", cid=record.cid, keyvalues=_plain(record), name=record.name,
                  provenance_cid=record.keyvalues["provenance_cid"])
            for number, record in enumerate(records)
        ]  # fmt: skip
        made = [
            Entry(role="made", cid=cid(run), keyvalues={"asset": "r2", "sample": "s"}) for run in range(2)
        ]
        for entry, read in zip(made, (inputs, inputs[::-1]), strict=True):
            with store.arriving() as arrived:
                document = Execution(task="t", inputs=read, outputs=[entry], finished=AT)
                stored = store.write_document(document, arrived)
                store.replay([stored.cid])

        def run() -> None:
            assert len(why(store, made[0].cid).inputs) == count
            diff(store, made[0].cid, made[1].cid)

        return run

    assert_linear(make)


def _plain(record: IpFile) -> dict[str, str]:
    return {key: value for key, value in record.keyvalues.items() if key != "provenance_cid"}


def test_files_that_are_registered_together_are_compared() -> None:
    def make(count: int) -> Callable[[], Any]:
        firsts = [R1(sample=f"s{number}", cid=cid(number)) for number in range(count)]
        seconds = [R2(sample=f"s{number}", r1_cid=first) for number, first in enumerate(firsts)]
        lookup = Lookup([Addition(Path("x"), asset) for asset in [*firsts, *seconds]], lambda pairs: [])

        def run() -> None:
            for first, second in zip(firsts, seconds, strict=True):
                assert [known.asset for known in lookup.find("r1", sample=first.sample)] == [first]
                assert [known.asset for known in lookup.companions(first, "r2", "r1_cid")] == [second]
                alike = lookup.find("r2", sample=first.sample, lane=None)
                assert [known.asset for known in alike] == [second]

        return run

    assert_linear(make)
