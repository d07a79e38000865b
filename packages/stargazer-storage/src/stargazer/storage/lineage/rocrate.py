"""How a file came to be, as an RO-Crate: metadata for repositories and readers that know nothing of Stargazer.

The profile is Process Run Crate 0.5, of the Workflow Run RO-Crate collection (https://w3id.org/ro/wfrun/process):
every execution is an action with its software, what it read, its parameters and what it made. Data are named by
`ipfs://CID`, so that the crate is one small file that is true wherever the bytes are.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from stargazer.assets.provenance import Execution, Import, ToolUse
from stargazer.storage.lineage._render import version_of
from stargazer.storage.lineage._why import Step, walk
from stargazer.storage.refusals import explained

__all__ = ["METADATA", "as_rocrate", "write_rocrate"]

METADATA = "ro-crate-metadata.json"
"""The name that RO-Crate gives its one file of metadata."""

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
CONTEXT = "https://w3id.org/ro/crate/1.1/context"
LICENSE: dict[str, Any] = {
    "@id": "#license",
    "@type": "CreativeWork",
    "name": "Not stated",
    "description": "What holds is the licence of each file that was imported.",
}
PYPI = "https://pypi.org/project"
FORMATS = {
    ".bam": "application/vnd.ga4gh.bam", ".cram": "application/vnd.ga4gh.cram", ".gz": "application/gzip",
    ".bed": "text/plain", ".fa": "text/plain", ".fai": "text/plain", ".html": "text/html", ".json": "application/json",
    ".tar": "application/x-tar", ".tsv": "text/tab-separated-values", ".txt": "text/plain", ".vcf": "text/plain",
}  # fmt: skip

Entity: TypeAlias = dict[str, Any]


def as_rocrate(step: Step) -> Entity:
    """The metadata of a crate about a file and everything it was made from, as JSON-LD; same lineage, same text."""
    files: dict[str, Step] = {}
    executions: dict[str, Execution] = {}
    for here in walk(step):
        files.setdefault(here.entry.cid, here)
        if isinstance(here.document, Execution):
            executions.setdefault(here.provenance_cid, here.document)
    actions = sorted(executions.items(), key=lambda item: (item[1].started, item[0]))
    told = [*map(_file, files.values()), *(_action(cid, execution, files) for cid, execution in actions)]
    entities = {entity["@id"]: entity for entity in chain.from_iterable(told)}
    times = [document.finished for document in executions.values()]
    times += [file.document.at for file in files.values() if isinstance(file.document, Import)]
    name = step.entry.name or step.entry.keyvalues.get("asset", "file")
    graph: list[Entity] = [
        {
            "@id": METADATA,
            "@type": "CreativeWork",
            "about": _to("./"),
            "conformsTo": _to("https://w3id.org/ro/crate/1.1"),
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "name": f"How {name} came to be",
            "description": f"{name} ({step.entry.cid}) and what it was made from, as Stargazer recorded it.",
            "datePublished": _time(max(filter(None, times), default="1970-01-01T00:00:00Z")),
            "license": _to(LICENSE["@id"]),
            "conformsTo": _to(PROFILE),
            "hasPart": _to(*(f"ipfs://{cid}" for cid in files)),
            "mentions": _to(*(f"#{cid}" for cid in executions)),
            "author": _to(*(id for id, entity in entities.items() if entity["@type"] == "Person")),
        },
        {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
        LICENSE,
        *entities.values(),
    ]
    return {"@context": CONTEXT, "@graph": [_compact(entity) for entity in graph]}


def write_rocrate(step: Step, folder: Path) -> Path:
    """Write the crate of a file into a folder, made if it is missing, and return the path of its metadata.

    Raises:
        StorageError: the folder cannot be written.
    """
    path = folder / METADATA
    with explained(f"cannot write {str(path)!r}"):
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(as_rocrate(step), indent=2) + "\n", encoding="utf-8")
    return path


def _file(step: Step) -> Iterator[Entity]:
    entry, document = step.entry, step.document
    description = " ".join(f"{key}={value}" for key, value in sorted(entry.keyvalues.items()))
    if isinstance(document, Import):
        imported = f"imported from {entry.origin or entry.name} by {document.account} at {document.at}"
        description = f"{description} ({imported})".strip()
        if document.account:
            yield _person(document.account)
    yield {
        "@id": f"ipfs://{entry.cid}",
        "@type": "File",
        "name": entry.name or entry.keyvalues.get("asset", "file"),
        "description": description,
        "identifier": entry.cid,
        "encodingFormat": FORMATS.get(Path(entry.name).suffix, "application/octet-stream"),
        "contentSize": str(entry.size or ""),
        "isBasedOn": entry.origin if entry.origin.startswith(("https://", "http://")) else "",
    }


def _action(cid: str, execution: Execution, files: Mapping[str, Step]) -> Iterator[Entity]:
    software = _software(execution)
    parameters: dict[str, Entity] = {}
    for name, value in execution.parameters.items():
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        id = f"#{cid}-{quote(name, safe='')}"
        parameters[id] = {"@id": id, "@type": "PropertyValue", "name": name, "value": text}
    python = f"Python {execution.python}" if execution.python else ""
    place = ", ".join(filter(None, [execution.platform, python, execution.image]))
    commands = "\n".join(shlex.join(command) for command in execution.commands)
    people = [_person(execution.account)] if execution.account else []
    sides = (execution.inputs, execution.outputs)
    read, made = ([entry.cid for entry in side if entry.cid in files] for side in sides)
    yield from people
    yield {
        "@id": f"#{cid}",
        "@type": "CreateAction",
        "name": f"Run of {execution.task}",
        "description": "\n".join(filter(None, [place, commands])) or execution.task,
        "identifier": cid,
        "instrument": _to(software["@id"]),
        "object": _to(*(f"ipfs://{cid}" for cid in read), *parameters),
        "result": _to(*(f"ipfs://{cid}" for cid in made)),
        "startTime": _time(execution.started),
        "endTime": _time(execution.finished),
        "actionStatus": "http://schema.org/CompletedActionStatus",
        "agent": _to(*(person["@id"] for person in people)),
    }
    yield software
    yield from map(_tool, execution.tools)
    yield from parameters.values()


def _software(execution: Execution) -> Entity:
    """The task, as one program: its code, and the tools that it needs."""
    name, _, version = execution.distribution.rpartition(" ")
    tools = [_tool(tool)["@id"] for tool in execution.tools]
    digest = hashlib.sha256("\n".join([execution.code_digest, *tools]).encode())
    page = f"{PYPI}/{quote(name, safe='')}/{quote(version, safe='')}/" if name else ""
    text = f"{execution.place or execution.task}, code {execution.code_digest or 'unknown'}"
    anchor = f"{quote(execution.task, safe='')}-{digest.hexdigest()[:16]}"
    program = _program(page, anchor, execution.task, text, version or execution.code_digest or "unknown")
    return {**program, "softwareRequirements": _to(*tools)}


def _tool(tool: ToolUse) -> Entity:
    wheel = re.fullmatch(r"wheel ([\w.-]+)==([\w.+!-]+)", tool.source)
    page = f"{PYPI}/{wheel[1]}/{quote(wheel[2], safe='')}/" if wheel else ""
    anchor = f"tool-{quote(f'{tool.name}-{tool.version}', safe='')}"
    return _program(page, anchor, tool.name, f"{tool.name} {version_of(tool)}", tool.version)


def _program(page: str, anchor: str, name: str, text: str, version: str) -> Entity:
    return {
        "@id": f"{page}#{anchor}",
        "@type": "SoftwareApplication",
        "name": name,
        "description": text,
        "softwareVersion": version,
        "url": page,
    }


def _person(account: str) -> Entity:
    return {"@id": f"#person-{quote(account, safe='')}", "@type": "Person", "name": account}


def _to(*ids: str) -> list[Entity]:
    """References to entities, each once."""
    return [{"@id": id} for id in dict.fromkeys(ids)]


def _time(text: str) -> str:
    """A time in the one spelling of ISO 8601 that validators of the profile take: milliseconds, and +00:00."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).isoformat(timespec="milliseconds")
    except ValueError:
        return text


def _compact(entity: Mapping[str, Any]) -> Entity:
    """An entity without empty lists and texts, and single values for lists of one, as RO-Crate wants them."""
    single = (
        (key, value[0] if isinstance(value, list) and len(value) == 1 else value)
        for key, value in entity.items()
    )
    return {key: value for key, value in single if value not in ("", [])}
