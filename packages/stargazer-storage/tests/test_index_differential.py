"""Random operations on an index and on stock TinyDB: every result, its ids, order and kind of error must agree.

The index knows a query by TinyDB's private description of it, so this test is what allows the pinned version to move.
"""

from __future__ import annotations

import enum
import json
import random
import re
from collections import OrderedDict
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest
from stargazer.storage.index import records
from stargazer.storage.index.records import Index
from tinydb import Query, TinyDB, where
from tinydb.operations import delete, increment
from tinydb.table import Document

SEEDS = range(12)
STEPS = 60
KEYS = ["asset", "build", "k.k", ".k", "cid", "id", "日", ""]
PLAIN = [
    "a",
    "b",
    "c",
    "é",
    "日本",
    "",
    "A",
    "x" * 600,
    "1",
    1,
    1.0,
    True,
    False,
    0,
    None,
    0.1,
    -0.0,
    ["a"],
    {"a": "b"},
]
ODD = [
    2**53,
    2**53 + 1,
    2**60,
    2**70,
    -(2**70),
    1e300,
    float("inf"),
    float("nan"),
    "a\0b",
    "\ud800",
    "\U0001f600",
    [1, [2]],
]


class Chance:
    """Documents, conditions and choices drawn from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.values = PLAIN + (ODD if seed % 2 else [])

    def value(self) -> Any:
        return self.random.choice(self.values)

    def document(self) -> dict[str, Any]:
        draw = self.random
        document: dict[str, Any] = {"cid": self.value(), "size": draw.randrange(4)}
        document["keyvalues"] = {draw.choice(KEYS): self.value() for _ in range(draw.randrange(4))}
        if draw.random() < 0.5:
            document["id"] = self.value()
        if draw.random() < 0.1:
            document["keyvalues"] = draw.choice(
                [None, "asset", ["asset"], 3, {1: "a", 1.5: "b"}, {"t": ("a", "b")}]
            )
        if draw.random() < 0.05:
            del document["keyvalues"]
        if draw.random() < 0.3:
            tags = [self.value(), [self.value()], [{"t": "b"}, {"asset": "a"}], "ab", {"t": "b"}]
            document["tags"] = draw.choice(tags)
        if draw.random() < 0.1:
            document["deep"] = draw.choice([{"a": {"b": self.value()}}, {"a": [1]}, {}, None])
        if draw.random() < 0.1:
            document |= draw.choice(
                [{1: "one"}, {None: "none", True: 1}, {"a.b": 1}, {"日": "é"}, {"": {"": ""}}]
            )
        return document

    def leaf(self) -> Any:
        draw = self.random
        path = draw.choice(
            [where("cid"), where("id"), where("size"), where("keyvalues"), Query().keyvalues.map(lambda v: v)]
            + [where("keyvalues")[draw.choice(KEYS)] for _ in range(4)]
        )
        tests = [
            path == self.value(),
            path == self.value(),
            path != self.value(),
            path.one_of([self.value() for _ in range(draw.randrange(4))]),
            path.exists(),
            path.test(lambda value: isinstance(value, str) and len(value) < 2),
            where("cid").one_of(draw.choice([("a", "b"), [], [1, True], ["a", ["a"]]])),
            Query().noop(),
            Query().fragment({"size": 1}),
            where("keyvalues").test(lambda value: isinstance(value, dict)),
        ]
        return draw.choice(tests)

    def operation(self) -> Any:
        """One of every other operation that tinydb.queries has, on paths that are indexed, nested, odd or missing."""
        draw, nested = self.random, where("keyvalues")
        path = draw.choice(
            [
                where("cid"),
                where("id"),
                where("tags"),
                nested,
                nested["cid"],
                nested["k.k"],
                nested["asset"],
                where("日"),
                where("deep")["a"]["b"],
                Query()["keyvalues"][""],
                where("tags").map(list),
                where("a.b"),
            ]
        )
        values = [self.value() for _ in range(draw.randrange(4))]
        texts = ["", "a", "^a", "[ab]", "É", "x+$", "日.", "\\d"]
        conditions = [where("t") == "b", where("asset") == "a", Query().noop(), lambda value: value == "a"]
        number = draw.randrange(4)
        return draw.choice(
            [
                where("size") < number,
                where("size") <= number,
                where("size") > number,
                where("size") >= number,
                where("size").map(lambda size: size * 2) == number,
                path.exists(),
                path.matches(draw.choice(texts)),
                path.matches(draw.choice(texts), draw.choice([0, re.IGNORECASE])),
                path.search(draw.choice(texts)),
                path.search(draw.choice(texts), re.IGNORECASE | re.DOTALL),
                path.any(values),
                path.any(draw.choice(conditions)),
                path.all(values),
                path.all(draw.choice(conditions)),
                path.one_of(tuple(values)),
                path.one_of("abc"),
                path.one_of(dict.fromkeys(["a", 1])),
                path.test(lambda value, *more: value in more, *values),
                path.map(lambda value: type(value).__name__) == "str",
                path.map(str).map(len) >= number,
                path.map(str) == "a",
                path.fragment({"asset": self.value()}),
                nested.fragment({}),
                Query().fragment({"cid": self.value(), "size": number}),
                Query().fragment({"keyvalues": {"asset": "a"}}),
                Query().noop(),
                path == values,
                path == {"a": "b"},
                path == {"asset": self.value()},
                path != None,  # noqa: E711  # TinyDB's operator
                lambda document: "id" in document,
            ]
        )

    def condition(self, depth: int = 0) -> Any:
        kind = self.random.random()
        if depth > 3 or kind < 0.4:
            return self.leaf()
        if kind < 0.55:
            drawn = self.operation()
            return drawn if depth == 0 or hasattr(drawn, "_hash") else self.leaf()
        if kind < 0.72:
            return self.condition(depth + 1) & self.condition(depth + 1)
        if kind < 0.9:
            return self.condition(depth + 1) | self.condition(depth + 1)
        return ~self.condition(depth + 1)

    def write(self) -> Callable[[Any], Any]:
        """An operation on a table, drawn once and then applied to both."""
        draw, condition, document = self.random, self.condition(), self.document()
        fields = {"size": draw.randrange(4), "cid": self.value()}
        ids = [draw.randrange(30) for _ in range(3)]
        documents = [self.document() for _ in range(draw.randrange(4))]
        operations: list[Callable[[Any], Any]] = [
            lambda table: table.insert(document),
            lambda table: table.insert(document),
            lambda table: table.insert(document),
            lambda table: table.insert_multiple(documents),
            lambda table: table.update(fields, condition),
            lambda table: table.update(fields, doc_ids=ids),
            lambda table: table.update(increment("size"), doc_ids=ids),
            lambda table: table.update(delete("id"), condition),
            lambda table: table.update_multiple(
                [({"size": 9}, condition), (lambda d: d.update(id="u"), condition)]
            ),
            lambda table: table.upsert(document, condition),
            lambda table: table.remove(doc_ids=ids[:1]),
        ]
        if draw.random() < 0.2:
            operations = [lambda table: table.remove(condition), lambda table: table.truncate()]
        return draw.choice(operations)

    def read(self) -> Callable[[Any], Any]:
        condition, ids = self.condition(), [self.random.randrange(30) for _ in range(4)]
        return self.random.choice(
            [
                lambda table: table.search(condition),
                lambda table: table.search(condition),
                lambda table: table.get(condition),
                lambda table: table.get(doc_id=ids[0]),
                lambda table: table.get(doc_ids=ids),
                lambda table: table.count(condition),
                lambda table: table.contains(condition),
                lambda table: table.all(),
                lambda table: (len(table), list(table)),
            ]
        )


def outcome(operation: Callable[[Any], Any], table: Any) -> Any:
    try:
        return comparable(operation(table))
    except Exception as error:
        return type(error).__name__


def comparable(result: Any) -> Any:
    if isinstance(result, Document):
        return result.doc_id, json.dumps(result)
    if isinstance(result, (list, tuple)):
        return [comparable(item) for item in result]
    return result


class Name(str):
    """Text of a type of its own."""


class Level(enum.IntEnum):
    LOW = 1


@pytest.mark.parametrize(
    "document",
    [
        {"id": Name("a"), "cid": Level.LOW, "keyvalues": {Name("asset"): Name("a"), "n": Level.LOW}},
        {Name("keyvalues"): {"asset": "a"}, "id": True},
        OrderedDict(id="a", keyvalues=OrderedDict(asset="a")),
        MappingProxyType({"id": "a", "cid": 1}),
        {"id": "a", "keyvalues": {1: "x", "1": "y", None: "z", False: "t", 1.5: "f"}},
        {"id": ("a",), "keyvalues": {"asset": ("a", "b")}},
        {"id": -0.0, "cid": 1e22, "keyvalues": {"asset": 2**53, "n": 0.1 + 0.2}},
        {},
    ],
)
@pytest.mark.parametrize("many", [False, True])
def test_values_of_other_types_are_found_as_json_gives_them_back(tmp_path, document, many):
    stock, index = TinyDB(tmp_path / "stock.json"), Index(tmp_path / "index.sqlite")
    for database in (stock, index):
        if many:
            database.insert_multiple([document, {"id": "other"}, document])
        else:
            database.insert(document)
    keyvalues = where("keyvalues")
    paths = [
        where("id"),
        where("cid"),
        keyvalues["asset"],
        keyvalues["n"],
        keyvalues["1"],
        keyvalues["null"],
        keyvalues["false"],
    ]
    values = ["a", 1, True, "y", "x", "z", "t", ["a"], ["a", "b"], 0, 1e22, 2**53, 0.1 + 0.2, "f", None]
    assert comparable(index.all()) == comparable(stock.all())
    for path in paths:
        for value in values:
            assert comparable(index.search(path == value)) == comparable(stock.search(path == value))


def test_bulk_inserts_of_any_size_answer_like_stock_tinydb(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_BATCH", 7)
    chance = Chance(3)
    stock, index = TinyDB(tmp_path / "stock.json"), Index(tmp_path / "index.sqlite")
    for count in (0, 1, 6, 7, 8, 30, 2_500):
        documents = [chance.document() for _ in range(count)]
        assert index.insert_multiple(documents) == stock.insert_multiple(documents)
    assert index.remove(doc_ids=[5]) == stock.remove(doc_ids=[5])
    assert comparable(index.all()) == comparable(stock.all())
    for _ in range(40):
        condition = chance.condition()
        assert outcome(lambda t, c=condition: t.search(c), index) == outcome(
            lambda t, c=condition: t.search(c), stock
        )
        assert outcome(lambda t, c=condition: t.get(c), index) == outcome(
            lambda t, c=condition: t.get(c), stock
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_an_index_answers_like_stock_tinydb(tmp_path, seed):
    chance = Chance(seed)
    stock, index = TinyDB(tmp_path / "stock.json"), Index(tmp_path / "index.sqlite")
    onlooker = Index(tmp_path / "index.sqlite")  # another instance: sees every write at once
    high = 1_000

    def agree(operation: Callable[[Any], Any], name: str, *others: Index) -> None:
        expected = outcome(operation, stock.table(name))
        for other in (index, *others):
            assert outcome(operation, other.table(name)) == expected

    for _ in range(STEPS):
        name = chance.random.choice(["_default", "_default", "records"])
        agree(chance.write(), name)
        if chance.random.random() < 0.05:
            high += 1_000
            document = Document(chance.document(), high)
            agree(lambda table, document=document: table.insert(document), name)
            agree(lambda table, document=document: table.insert(document), name)  # the id is taken
            agree(lambda table, document=document: table.upsert(document), name)
            # stock would forget the highest id if its document were removed before the next insert
            agree(lambda table: table.insert({}), name)
        if chance.random.random() < 0.03:
            stock.drop_table(name)
            index.drop_table(name)
        for _ in range(3):
            agree(chance.read(), name, onlooker)
        agree(lambda table: table.all(), name, onlooker)
        assert index.tables() == stock.tables()
