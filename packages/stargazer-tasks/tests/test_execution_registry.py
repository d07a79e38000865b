"""Which tasks a workflow may call, as its code tells; tasks of one name in several modules."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from stargazer.tasks import AssetEnvironment, WorkflowEnvironment
from stargazer.tasks.execution import Event, observe, tasks_called
from stargazer.tasks.execution.registry import full_names

env = AssetEnvironment(name="called")
flow = WorkflowEnvironment(name="calling")


@env.task
async def direct(text: str) -> str:
    return text


@env.task
async def repeated(text: str) -> str:
    return text


@env.task
async def chosen(text: str) -> str:
    return text


@env.task
async def inner(text: str) -> str:
    return text


@env.task
async def unused(text: str) -> str:
    return text


@flow.task
async def below(text: str) -> str:
    return await inner(text)


async def helper(texts: list[str]) -> list[str]:
    return [await repeated(text) for text in texts]


@flow.task
async def above(text: str, again: bool = False) -> str:
    task = chosen if again else direct
    await helper([await task(text)])
    return await above(text) if again else await below(text)


def test_a_workflow_may_call_what_it_names_and_what_its_helpers_and_workflows_name() -> None:
    names = {"called.direct", "called.repeated", "called.chosen", "called.inner"}

    assert tasks_called(above) == names
    assert tasks_called(below) == {"called.inner"}


MODULE = """
from stargazer.tasks import AssetEnvironment
env = AssetEnvironment(name={environment!r})

@env.task
async def shout(text: str) -> str:
    return text.upper() + {ending!r}
"""


@pytest.mark.parametrize("second", ["loud", "louder"], ids=["of one environment", "of two"])
def test_two_tasks_of_one_name_in_different_modules_are_remembered_apart(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: str
) -> None:
    tasks = []
    for name, environment, ending in (("one", "loud", "!"), ("two", second, "?")):
        path = tmp_path / f"shouting_{name}.py"
        path.write_text(MODULE.format(environment=environment, ending=ending))
        module = ModuleType(path.stem)
        module.__file__ = str(path)
        monkeypatch.setitem(sys.modules, path.stem, module)
        exec(compile(path.read_text(), path, "exec"), vars(module))  # noqa: S102 - a module of a user's
        tasks.append(module.shout)
    events: list[Event] = []

    with observe(events.append):
        results = [bench.run(task, "hey") for task in [*tasks, *tasks]]

    assert results == ["HEY!", "HEY?", "HEY!", "HEY?"]
    kinds = [event.kind for event in events]
    assert (kinds.count("finished"), kinds.count("memo hit")) == (2, 2)
    assert full_names("shout") == sorted({"loud.shout", f"{second}.shout"})
