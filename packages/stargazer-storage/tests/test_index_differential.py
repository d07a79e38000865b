"""Random operations on an index and on stock TinyDB: every result, its ids, order and kind of error must agree.

The index knows a query by TinyDB's private description of it, so this test is what allows the pinned version to move.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from stargazer.storage.index import Index
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

    def condition(self, depth: int = 0) -> Any:
        kind = self.random.random()
        if depth > 3 or kind < 0.4:
            return self.leaf()
        if kind < 0.65:
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
