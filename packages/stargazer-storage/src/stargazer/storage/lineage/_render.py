"""Lineages and files as text for people: how a file came to be is shown as an indented tree."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from stargazer.assets import provenance
from stargazer.storage.lineage._why import Step

__all__ = ["labels", "one_line", "render", "title", "version_of"]

_LABELS = ("sample", "samples", "lane", "name", "build")

_DEEPEST = 24  # columns of indentation: a longer chain goes on below


def render(step: Step) -> str:
    """A lineage as an indented text tree; a file that occurs again is shown in full only once."""
    lines: list[str] = []
    shown: set[tuple[str, str]] = set()
    waiting = [(step, 0)]
    while waiting:
        here, depth = waiting.pop()
        indent, key = " " * min(depth, _DEEPEST), (here.entry.cid, here.provenance_cid)
        lines += (f"{indent}{line}" for line in _lines(here, again=key in shown))
        if key not in shown:
            shown.add(key)
            waiting += [(child, depth + 4) for child in reversed(here.inputs)]
    return "\n".join(lines)


def _lines(step: Step, again: bool) -> Iterator[str]:
    entry, document = step.entry, step.document
    yield f"{_role(entry)}{title(entry)}"
    yield f"  cid {entry.cid}"
    if again:
        yield "  (its lineage is shown above)"
        return
    registered: list[provenance.Entry] = []
    match document:
        case provenance.Import() if entry.cid == step.provenance_cid:
            yield f"  import {_by(document)} ({document.command})"
            registered = document.files
        case provenance.Import():
            yield f"  {_imported(document, entry)}"
        case provenance.Execution():
            yield from _execution(document)
            registered = document.outputs if entry.cid == step.provenance_cid else []
        case provenance.Amendment() | provenance.Retraction():
            yield f"  of a record of {document.cid}, {_by(document)}"
        case provenance.Supersession():
            instead = f"superseded by {document.successor_cid}" if document.successor else "counts again"
            yield f"  a record of {document.cid} {instead}, {_by(document)}"
            if document.reason:
                yield f"    {one_line(document.reason)}"
        case _:
            unreadable = f": no readable document {step.provenance_cid}" if step.provenance_cid else ""
            yield f"  how it came to be is not known here{unreadable}"
    for made in registered:
        yield f"  -> {_role(made)}{made.keyvalues.get('asset', 'file')} {one_line(made.name)} {made.cid}"
    if step.again:
        yield f"  {_again(document, step.again)}"
    for other in step.others:
        yield f"  {_other(other, step)}: stargazer why {other.provenance_cid}"


def _by(document: provenance.Document) -> str:
    return f"by {document.account} at {getattr(document, 'at', '')[:19]}"


def _imported(document: provenance.Import, entry: provenance.Entry) -> str:
    return f"imported from {one_line(entry.origin or entry.name)} {_by(document)} ({document.command})"


def _again(document: provenance.Document | None, times: list[str]) -> str:
    done = "imported" if isinstance(document, provenance.Import) else "computed"
    count = "once" if len(times) == 1 else f"{len(times)} times, last"
    return f"{done} again {count} at {times[-1][:19]}"


def _other(other: Step, step: Step) -> str:
    """One line about what else made a file: how it differs from what is shown in full."""
    document = other.document
    again = f", {_again(document, other.again)}" if other.again else ""
    if isinstance(document, provenance.Import):
        fields = " ".join(["", "as", *_fields(other.entry)]) if _fields(other.entry) else ""
        return f"also {_imported(document, other.entry)}{fields}{again}"
    assert isinstance(document, provenance.Execution)
    tools = ", ".join(f"{tool.name} {tool.version}" for tool in document.tools)
    made = f"{'handed on' if other.handed_on else 'also made'} by {document.task}{f' ({tools})' if tools else ''}"
    shown = step.document.inputs if isinstance(step.document, provenance.Execution) else []
    return f"{made} from {_unlike(document.inputs, shown)} at {document.started[:19]}{again}"


def _unlike(inputs: list[provenance.Entry], shown: list[provenance.Entry]) -> str:
    """Those inputs of an execution that are not inputs of the one shown in full, for people."""
    known = {entry.cid for entry in shown}
    words = [
        " ".join(
            [entry.keyvalues.get("asset", "file"), *map(one_line, labels(entry)), f"...{entry.cid[-9:]}"]
        )
        for entry in inputs
        if entry.cid not in known
    ]
    if not words:
        return "some of the same files" if len(inputs) < len(shown) else "the same files"
    return ", ".join(words[:4]) + (f" and {len(words) - 4} more" if len(words) > 4 else "")


def _execution(document: provenance.Execution) -> Iterator[str]:
    source = f" ({one_line(document.place)})" if document.place else ""
    yield f"  made by {document.task}{source} at {document.started[:19]}, {document.seconds:.1f} s"
    yield from (f"    tool {tool.name} {version_of(tool)}" for tool in document.tools)
    yield from (f"    {name} = {one_line(str(value))}" for name, value in document.parameters.items())
    yield from (f"    $ {one_line(shlex.join(command))}" for command in document.commands)


def _role(entry: provenance.Entry) -> str:
    return f"{entry.role}: " if entry.role else ""


def title(entry: provenance.Entry) -> str:
    """A file's type, name and fields on one line."""
    return " ".join([entry.keyvalues.get("asset", "file"), one_line(entry.name), *_fields(entry)])


def labels(entry: provenance.Entry) -> list[str]:
    """The values of those fields by which people tell files apart."""
    return [entry.keyvalues[key] for key in _LABELS if entry.keyvalues.get(key)]


def _fields(entry: provenance.Entry) -> list[str]:
    """The metadata of a file, but for its type and links to other files."""
    pairs = entry.keyvalues.items()
    return [f"{key}={one_line(value)}" for key, value in pairs if key != "asset" and not key.endswith("_cid")]


def version_of(tool: provenance.ToolUse) -> str:
    """The version of a tool, and where it came from."""
    return tool.version + (f" ({tool.source})" if tool.source else "")


def one_line(text: str, most: int | None = None) -> str:
    """A text on one line, of `most` characters, with nothing in it that moves a terminal's cursor."""
    line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return line if most is None or len(line) <= most else f"{line[: most - 3]}..."
