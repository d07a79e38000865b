"""The provenance schema: canonical, exact both ways, closed to what it does not know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stargazer.assets import FormatError, InvalidAssetError, IpFile
from stargazer.assets.provenance import (
    KINDS,
    Amendment,
    Document,
    Entry,
    Execution,
    Import,
    Retraction,
    ToolUse,
    dump,
    load,
    parse,
)

text = st.text(st.characters(codec=None))  # file names and arguments hold surrogates, too
pairs = st.dictionaries(text, text, max_size=3)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
entries = st.builds(
    Entry,
    role=text,
    cid=text,
    keyvalues=pairs,
    name=text,
    size=st.integers(0),
    provenance_cid=text,
    origin=text,
)
documents: st.SearchStrategy[Document] = st.one_of(
    st.builds(
        Execution,
        task=text,
        distribution=text,
        notebook=text,
        cell=text,
        code_digest=text,
        code=pairs,
        run_key=text,
        parameters=st.dictionaries(text, json_values, max_size=3),
        assets=st.dictionaries(text, json_values, max_size=3),
        inputs=st.lists(entries, max_size=2),
        outputs=st.lists(entries, max_size=2),
        tools=st.lists(st.builds(ToolUse, name=text, version=text, source=text, script=text), max_size=2),
        commands=st.lists(st.lists(text, max_size=3), max_size=2),
        image=text,
        platform=text,
        python=text,
        account=text,
        started=text,
        finished=text,
        seconds=st.floats(0, 1e9),
        peak_memory=st.integers(0),
        cores=st.integers(0),
        result=json_values,
        forced=st.booleans(),
    ),
    st.builds(
        Import,
        files=st.lists(entries, max_size=2),
        command=text,
        trusted=st.lists(text, max_size=2),
        checks=st.lists(text, max_size=2),
        forced=st.lists(text, max_size=2),
        account=text,
        at=text,
    ),
    st.builds(
        Amendment,
        record=text,
        made_by=text,
        cid=text,
        keyvalues=pairs,
        name=text,
        size=st.integers(0),
        created_at=text,
        replaces=st.lists(text, max_size=2),
        account=text,
        at=text,
    ),
    st.builds(
        Retraction,
        record=text,
        made_by=text,
        cid=text,
        replaces=st.lists(text, max_size=2),
        account=text,
        at=text,
    ),
)


def test_every_field_is_tried_below() -> None:
    tried = {
        "parameters",
        "assets",
        "inputs",
        "outputs",
        "tools",
        "commands",
        "image",
        "platform",
        "python",
        "account",
    }
    tried |= {"task", "distribution", "code_digest", "code", "run_key", "started", "finished", "seconds"}
    assert {field.name for field in attrs.fields(Execution)} == tried | {
        "notebook",
        "cell",
        "peak_memory",
        "cores",
        "result",
        "forced",
    }


@given(documents)
def test_a_document_comes_back_exactly(document: Document) -> None:
    data = dump(document)
    assert parse(data) == document
    assert dump(parse(data)) == data
    assert data.isascii()


@given(st.permutations(["ploidy", "é", "min_quality"]))
def test_the_same_document_is_the_same_bytes(order: list[str]) -> None:
    document = Execution(task="call", parameters=dict.fromkeys(order, 1))
    assert dump(document) == dump(Execution(task="call", parameters={"ploidy": 1, "é": 1, "min_quality": 1}))


def test_defaults_are_left_out() -> None:
    assert json.loads(dump(Execution(task="call", inputs=[Entry(cid="c", keyvalues={})]))) == {
        "stargazer": "provenance/1",
        "kind": "execution",
        "task": "call",
        "inputs": [{"cid": "c", "keyvalues": {}}],
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_least_document_of_each_kind_has_a_fixed_form(kind: str) -> None:
    fixed = {
        "execution": b'{"kind":"execution","stargazer":"provenance/1","task":"t"}',
        "import": b'{"files":[],"kind":"import","stargazer":"provenance/1"}',
        "amendment": b'{"cid":"c","keyvalues":{},"kind":"amendment","made_by":"m","record":"r",'
        b'"stargazer":"provenance/1"}',
        "retraction": b'{"cid":"c","kind":"retraction","made_by":"m","record":"r","stargazer":"provenance/1"}',
        "supersession": b'{"cid":"c","kind":"supersession","record":"r","stargazer":"provenance/1"}',
    }
    assert dump(parse(fixed[kind])) == fixed[kind]


def test_an_unknown_schema_is_refused_with_the_way_out() -> None:
    newer = json.dumps({"stargazer": "provenance/2", "kind": "execution", "task": "t"}).encode()
    with pytest.raises(FormatError, match="'provenance/2' is not known here: upgrade stargazer-assets"):
        parse(newer)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\x00",
        b"{}",
        b"[]",
        b"null",
        b'{"stargazer":"provenance/1"}',
        b'{"stargazer":"provenance/1","kind":"rumour"}',
        b'{"stargazer":"provenance/1","kind":"execution"}',
        b'{"stargazer":"provenance/1","kind":"execution","task":"t","inputs":5}',
        b'{"stargazer":"provenance/1","kind":"import","files":[{"name":"x"}]}',
        b"[" * 100_000,
    ],
    ids=lambda data: data[:60].decode("latin-1"),
)
def test_what_is_no_document_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="not a provenance document"):
        parse(data)
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(FormatError, match="bafk1: not a provenance document"):
        load(IpFile(cid="bafk1", path=tmp_path / "x"))


def test_a_document_is_loaded_from_its_file(tmp_path: Path) -> None:
    document = Retraction(record="r", made_by="m", cid="c")
    (tmp_path / "x").write_bytes(dump(document))
    assert load(IpFile(cid="bafk1", path=tmp_path / "x")) == document


@pytest.mark.parametrize("value", [{1, 2}, 1j, object()], ids=lambda value: type(value).__name__)
def test_a_parameter_that_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(InvalidAssetError, match=r"provenance of 'call': .* not JSON serializable"):
        dump(Execution(task="call", parameters={"p": value}))
