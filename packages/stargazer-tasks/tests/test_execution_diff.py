"""diff of what tasks really recorded: one thing changed far upstream, and exactly that is named."""

from __future__ import annotations

import pytest
from stargazer.storage import get_client
from stargazer.storage.lineage import diff

from .changing_tasks import ChangingTasks


@pytest.mark.parametrize(
    ("old", "new", "build", "expected", "parts"),
    [
        ("text * FACTOR", "text * 4", "one", ("code", "changing.first"), ["FACTOR", "helper"]),
        ("FACTOR = 3", "FACTOR = 4", "one", ("code", "changing.first"), ["FACTOR"]),
        ("(interval, 1)", "(interval, 2)", "one", ("parameter", "times"), []),
        ('Script("1.0")', 'Script("1.1")', "one", ("tool", "counting"), []),
        ("", "", "two", ("file", "intervals"), []),
    ],
    ids=["a helper", "a constant", "a parameter", "a tool's version", "an input"],
)
def test_one_change_is_named_and_nothing_else(
    changing: ChangingTasks, old: str, new: str, build: str, expected: tuple[str, str], parts: list[str]
) -> None:
    a, b = changing("run"), changing("run", old, new, build)

    difference = diff(get_client().store, a, b)

    assert a != b
    assert [(found.kind, found.name) for found in difference.divergences] == [expected]
    assert difference.divergences[0].parts == parts
