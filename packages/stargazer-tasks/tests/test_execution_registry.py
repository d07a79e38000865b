"""Which tasks a workflow may call, as its code tells."""

from __future__ import annotations

from stargazer.tasks import AssetEnvironment, WorkflowEnvironment
from stargazer.tasks.execution import tasks_called

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
