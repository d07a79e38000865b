"""Documents of somebody else: what keeps one out, and that none of our own is kept out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import FormatError
from stargazer.assets.provenance import dump
from stargazer.storage.bundles.review import scrutinised
from stargazer.storage.changes import amend, retract, supersede
from stargazer.storage.store import open_store

from .lineage_store import imported, made

CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
FILE = {"cid": CID, "keyvalues": {"asset": "qc_report"}, "name": "a.txt", "size": 3}
OTHER = FILE | {"keyvalues": {"asset": "r1"}}


def written(kind: str, **body: Any) -> bytes:
    when = {"finished" if kind == "execution" else "at": "2026-11-29T12:00:00Z"}
    whole = {"stargazer": "provenance/1", "kind": kind} | when | body
    return json.dumps(whole, sort_keys=True, separators=(",", ":")).encode()


def test_whatever_a_store_writes_can_be_taken(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    first, second = imported(store, "raw"), imported(store, "ünïcode \u3000 Ω")
    result = made(store, "lab.count", "3", {"given": first}, run_key="a" * 64)
    records = {record.cid: record for record in store.query({})}
    changed = amend(store, records[first.cid or ""], {"sample": "changed"})
    supersede(store, changed, records[second.cid or ""], "better")
    retract(store, records[result.cid or ""])

    documents = [record.cid for record in store.query({"asset": "provenance"})]

    assert len(documents) == 6
    for cid in documents:
        data = store.read(cid).read_bytes()
        assert dump(scrutinised(data)) == data


def test_what_a_newer_version_says_besides_is_no_reason_to_refuse_it() -> None:
    assert scrutinised(written("import", files=[FILE], mood="good"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{}", "not a provenance document"),
        (written("import", files=[FILE])[:-1] + b" }", "not written as provenance is"),
        (written("import", files=[FILE]).decode().encode("utf-16"), "not written as provenance is"),
        (written("import", files=[FILE], at="\ud800"), "no Unicode"),
        (written("import", files=[FILE | {"cid": "../../x"}]), "'a.txt' has no CID"),
        (written("import", files=[FILE | {"size": -1}]), "impossible size"),
        (written("import", files=[FILE | {"keyvalues": {"asset": "provenance"}}]), "that of provenance"),
        (written("import", files=[FILE | {"keyvalues": {}}]), "no type"),
        (written("import", files=[FILE | {"keyvalues": {"asset": "r1", "cid": "x"}}]), "reserved name: cid"),
        (written("import", files=[FILE], trusted=[CID]), "whom to believe"),
        (written("execution", task="t", outputs=[FILE, OTHER]), "the same role"),
        (written("execution", task="t", outputs=[FILE, FILE | {"role": "b"}]), "names a file twice"),
        (written("import", files=[FILE], at=""), "not done at a time in UTC"),
        (written("execution", task="t", finished="2026-11-29"), "not done at a time in UTC"),
        (written("execution", task="t\nsame"), "cannot be printed"),
        (written("execution", task="t", inputs=[FILE | {"cid": "x"}]), "has no CID"),
        (
            written("execution", task="t", inputs=[FILE | {"provenance_cid": "x"}]),
            "names provenance by no CID",
        ),
        (
            written("amendment", record="x", made_by=CID, cid=CID, keyvalues={"asset": "r1"}),
            "no id of a record",
        ),
        (written("retraction", record="0" * 32, made_by="x", cid=CID), "no CID of a document"),
        (written("supersession", record="0" * 32, cid=CID, replaces=["x"]), "no CID of a document"),
    ],
)
def test_what_is_wrong_with_it_is_said(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        scrutinised(data)
