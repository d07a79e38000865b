"""A scripted agent: it knows what its user has told it, and else follows what prompts, answers and errors say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastmcp import Client

__all__ = ["Agent", "Refused"]

STEP = re.compile(r"^    (\w+) (\{.*\})$", re.MULTILINE)
"""A call as a prompt shows it."""
NEXT = re.compile(r"\b([a-z_]+)(?: with)? (\{[^{}]*\})")
"""A call as an answer or an error shows it."""
FIGURES = 40  # that it reports of one document


class Refused(Exception):
    """A tool's error."""


class Agent:
    """Does what a prompt asks for.

    Args:
        client: of the server.
        files: what the user says of each file: where it is, and what it is.
        samples: the user's.
    """

    def __init__(
        self, client: Client[Any], files: Sequence[tuple[Any, Mapping[str, Any]]], samples: Sequence[str]
    ):
        self.client, self.files, self.samples = client, files, samples
        self.calls: list[str] = []
        self.done: dict[str, Any] = {}
        """The run of the workflow, once it has ended."""

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """What a tool answers.

        Raises:
            Refused: with the tool's error.
        """
        self.calls.append(tool)
        result = await self.client.call_tool(tool, arguments, raise_on_error=False)
        if result.is_error:
            raise Refused(str(result.content[0].text))
        answer: dict[str, Any] = result.structured_content or {}
        return answer

    async def ended(self, answer: dict[str, Any]) -> dict[str, Any]:
        """An answer once what it speaks of is over, as its `next` says; of a job, its result.

        Raises:
            Refused: it has failed.
        """
        while answer.get("state") == "running":
            tool, arguments = NEXT.findall(answer["next"])[0]
            answer = await self.call(tool, **json.loads(arguments))
        if answer.get("state") in ("failed", "cancelled", "lost"):
            raise Refused(answer["error"])
        if answer.get("kind") == "job":
            result: dict[str, Any] = answer["results"]["result"]
            return result
        return answer

    async def follow(self, prompt: str, **arguments: str) -> dict[str, Any]:
        """Do the steps of a prompt, to claims that are checked; the verdicts."""
        (message,) = (await self.client.get_prompt(prompt, arguments)).messages
        for tool, example in STEP.findall(message.content.text):
            given = json.loads(example)
            if tool == "upload_file":
                await self.upload()
            elif tool == "run_workflow":
                self.done = await self.ended(await self.call(tool, **given))
                assert self.done["state"] == "succeeded", self.done
            elif tool == "get_run":
                assert given["run_id"] == "RUN"
                self.done = await self.ended(await self.call(tool, **given | {"run_id": self.done["run"]}))
            elif tool == "why":
                for file in self.results():
                    assert (await self.call(tool, cid=file["cid"]))["steps"]
            elif tool == "check_claims":
                return await self.ended(await self.call(tool, claims=await self.claims()))
            else:
                await self.call(tool, **given)
        raise AssertionError(f"{prompt} ends without claims")

    def results(self) -> Iterator[dict[str, Any]]:
        """The files of the workflow's results."""
        for value in self.done["results"].values():
            for file in value if isinstance(value, list) else [value]:
                if isinstance(file, dict) and "cid" in file:
                    yield file

    async def claims(self) -> list[dict[str, Any]]:
        """A claim for each figure of the summary."""
        cid, found = self.done["results"]["summary"]["cid"], []
        (content,) = await self.client.read_resource(f"stargazer://assets/{cid}/content")
        for path, figure in figures(json.loads(content.text)):
            about = [name for name in self.samples if name in path] or self.samples
            found.append({"cid": cid, "field": pointer(path), "value": figure, "about": {"samples": about}})
        assert found
        return found[:FIGURES]

    async def upload(self) -> None:
        """Register the user's files, all of them at the first step that asks for one."""
        files, self.files = self.files, []
        for source, metadata in files:
            said = dict(metadata)
            is_sheet = said.pop("samplesheet", False)
            answer = await self.call("upload_file", source=source, metadata=said, samplesheet=is_sheet)
            answer = await self.ended(answer)
            assert answer["files"]


def figures(document: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    """Every number in a JSON document, with the keys that lead to it."""
    if isinstance(document, dict | list):
        pairs = document.items() if isinstance(document, dict) else enumerate(document)
        for key, value in pairs:
            yield from figures(value, (*path, str(key)))
    elif isinstance(document, int | float) and not isinstance(document, bool):
        yield path, document


def pointer(path: Sequence[str]) -> str:
    """Where something is in a JSON document, as RFC 6901 has it."""
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)
