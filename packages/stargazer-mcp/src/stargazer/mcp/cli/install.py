"""`stargazer install`: brings the files of a tool that are else downloaded at first use, or lists such tools."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stargazer.assets import StorageError, ToolError
from stargazer.mcp.cli.console import (
    Parser,
    count,
    human_size,
    note,
    option,
    print_json,
    print_table,
    print_text,
)
from stargazer.mcp.cli.progress import file_progress

if TYPE_CHECKING:
    from stargazer.tasks import Maven

__all__ = ["brought_tools", "install"]


def install(argv: Sequence[str]) -> None:
    """Bring the files of a tool."""
    parser = Parser(
        "install",
        "[TOOL] [--from FOLDER] [--json]",
        "Bring the files of a tool now that are else downloaded when it is first used, and read those that are here\n"
        "again. Each is compared with its checksum. Without a name, list such tools.",
        "  stargazer install\n  stargazer install gatk\n  stargazer install gatk --from /media/usb/gatk-4.6.2.0",
        {
            "--from": option(
                "FOLDER",
                "take them from this folder and those below it, without network: a copy of another machine's, or a "
                "Maven repository",
            ),
            "--json": "print the answer as JSON",
        },
    )
    words = parser.sort(argv)
    given = vars(words.options)["from"]
    if words.pairs or len(words.plain) > 1:
        parser.error("name one tool")
    if given and not words.plain:
        parser.error("name the tool that --from is for")
    tools = brought_tools()
    if words.plain:
        name = words.plain[0]
        if name not in tools:
            raise ToolError(
                f"{name} has no files to be brought; those that have: {', '.join(tools) or 'none'}"
            )
        _bring(name, tools[name], Path(given).expanduser() if given else None)
        tools = {name: tools[name]}
    answers = [_answer(name, source) for name, source in tools.items()]
    if words.options.json:
        print_json(answers)
    elif words.plain:
        _print(answers[0])
    else:
        rows = [[each["tool"], each["version"], each["state"], human_size(each["size"]), each["folder"] or ""]
                for each in answers]  # fmt: skip
        print_table(["TOOL", "VERSION", "STATE", "SIZE", "FOLDER"], rows)


def brought_tools() -> dict[str, Maven]:
    """The sources of this kind of every tool that an installed task declares, by the tool's name."""
    from stargazer.tasks import Maven, Tool
    from stargazer.tasks.execution import TASKS
    from stargazer.workflows import entries

    entries()  # has all tasks declared
    tools = {tool.name: tool for task in TASKS.values() for tool in task.tools if isinstance(tool, Tool)}
    return {
        name: source
        for name, tool in sorted(tools.items())
        for source in tool.sources
        if isinstance(source, Maven)
    }


def _bring(name: str, source: Maven, folder: Path | None) -> None:
    if folder is not None and not folder.is_dir():
        raise StorageError(f"{str(folder)!r} is no folder: give the one that holds the jars of {name}")
    jars = source.jars(name)
    if jars is None:
        raise ToolError(f"{name}: {source.describe()}, or 'stargazer-mcp[gatk]'")
    if absent := jars.absent():
        size = human_size(sum(jar.size for jar in absent))
        note(f"{name}: {count(len(absent), 'jar')}, {size}, from {folder or 'Maven'} ...")
    with file_progress(f"{name}:") as show:
        jars.install(show, folder, again=True)


def _answer(name: str, source: Maven) -> dict[str, Any]:
    """What of a tool is where."""
    jars = source.jars(name)
    lock = source.locked
    answer: dict[str, Any] = {"tool": name, "version": source.version, "state": "no Java", "files": len(lock.jars),
                              "size": lock.size, "absent": len(lock.jars), "folder": None, "archive": None,
                              "java": source.jre}  # fmt: skip
    if jars is None:
        return answer
    absent = jars.absent()
    archive = str(jars.archive) if jars.archive.exists() else None
    state = "here" if not absent else "not here" if len(absent) == len(lock.jars) else "in part"
    return {**answer, "state": state, "absent": len(absent), "folder": str(jars.folder), "archive": archive}


def _print(answer: dict[str, Any]) -> None:
    print_text(
        f"{answer['tool']} {answer['version']}: {count(answer['files'], 'jar')}, {human_size(answer['size'])}, "
        f"verified, in {answer['folder']}"
    )
    if answer["archive"]:
        size = human_size(Path(answer["archive"]).stat().st_size)
        print_text(f"its classes are archived for {answer['java']}: {size}")
    else:
        print_text("its classes are not archived: it starts more slowly")
