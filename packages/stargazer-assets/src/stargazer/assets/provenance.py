"""The provenance schema: one JSON document for each import, execution, amendment, retraction and supersession.

An execution names what it read and wrote in full, the code and tools that did it and every command, so that a
result can be walked back to the files it came from with nothing but the documents. No document holds a secret,
a signed link or a path of somebody's machine.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, cast, get_args

import attrs
from stargazer.assets.client import IpFile
from stargazer.assets.errors import FormatError, InvalidAssetError

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["SCHEMA", "Amendment", "Document", "Entry", "Execution", "Import", "Retraction",
           "Supersession", "ToolUse", "dump", "load", "parse"]  # fmt: skip

SCHEMA = 1


@attrs.frozen(kw_only=True)
class Entry:
    """A file that was read, written or registered.

    Attributes:
        role: the parameter it was given as, or the name of the result; `name[0]`, `name[1]` in a list.
        cid: content identifier of its bytes.
        keyvalues: its metadata, without `provenance_cid`.
        name: file name.
        size: bytes.
        provenance_cid: what said how it was made, for a file that was read.
        origin: where an import came from: a file name or a URL without credentials or query.
    """

    role: str = ""
    cid: str
    keyvalues: Mapping[str, str]
    name: str = ""
    size: int = 0
    provenance_cid: str = ""
    origin: str = ""


@attrs.frozen(kw_only=True)
class ToolUse:
    """An external program or library that an execution used.

    Attributes:
        version: what it calls itself.
        source: where it came from.
        script: digest of the code of ours that runs it, which counts like a version; empty if there is none.
    """

    name: str
    version: str
    source: str = ""
    script: str = ""


@attrs.frozen(kw_only=True)
class Execution:
    """One task call.

    Attributes:
        task: its full name.
        distribution: name and version of the distribution that holds it.
        notebook, cell: file name of the notebook that defines it, and the name of the cell, where that has one.
        code_digest: digest of the code the result depends on.
        code: a short digest of each function, class and constant in it, by name: tells what differs between two.
        run_key: hash of task, code digest, inputs, parameters and tool versions: the key of the memo.
        parameters: the values that are no assets, as JSON; an asset among others stands there by its role.
        assets: the shapes of parameters that hold assets alone and are not just one: a list of roles, and the like.
        commands: the argument list of every command, in the order they started.
        started, finished: ISO 8601 in UTC.
        peak_memory: bytes, of the largest process.
        cores: that it had; 0 if it is not known.
        forced: it was computed again although the memo knew the result.
    """

    task: str
    distribution: str = ""
    notebook: str = ""
    cell: str = ""
    code_digest: str = ""
    code: Mapping[str, str] = attrs.field(factory=dict)
    run_key: str = ""
    parameters: Mapping[str, Any] = attrs.field(factory=dict)
    assets: Mapping[str, Any] = attrs.field(factory=dict)
    inputs: list[Entry] = attrs.field(factory=list)
    outputs: list[Entry] = attrs.field(factory=list)
    tools: list[ToolUse] = attrs.field(factory=list)
    commands: list[list[str]] = attrs.field(factory=list)
    image: str = ""
    platform: str = ""
    python: str = ""
    account: str = ""
    started: str = ""
    finished: str = ""
    seconds: float = 0.0
    peak_memory: int = 0
    cores: int = 0
    result: Any = None
    forced: bool = False

    @property
    def place(self) -> str:
        """Where the task is: its distribution and version, or its cell and notebook; empty if that is not known."""
        if not self.notebook:
            return self.distribution
        return f"{f'cell {self.cell}' if self.cell else 'a cell'} of {self.notebook}"


@attrs.frozen(kw_only=True)
class Import:
    """Files registered by one command.

    Attributes:
        trusted: provenance documents that others wrote, and with which the memo answers because it was asked for.
        checks: the checks of installed distributions that looked at the files: name, distribution and version.
        forced: why some of the files were refused by one; they were registered all the same, because it was asked for.
    """

    files: list[Entry]
    command: str = "add"
    trusted: list[str] = attrs.field(factory=list)
    checks: list[str] = attrs.field(factory=list)
    forced: list[str] = attrs.field(factory=list)
    account: str = ""
    at: str = ""


@attrs.frozen(kw_only=True)
class Amendment:
    """New metadata for one record.

    Attributes:
        record: the id of the record that it changes.
        made_by: the document that first made the file's record.
        cid, name, size, created_at: of the record, which keeps them.
        keyvalues: its metadata from now on, without `provenance_cid`.
        replaces: every document that said so far that there is this record. They are named one by one, so that
            what holds follows from the documents in any order, without a clock.
    """

    record: str
    made_by: str
    cid: str
    keyvalues: Mapping[str, str]
    name: str = ""
    size: int = 0
    created_at: str = ""
    replaces: list[str] = attrs.field(factory=list)
    account: str = ""
    at: str = ""


@attrs.frozen(kw_only=True)
class Retraction:
    """One record taken back: `record`, `made_by` and `replaces` as in an amendment."""

    record: str
    made_by: str
    cid: str
    replaces: list[str] = attrs.field(factory=list)
    account: str = ""
    at: str = ""


@attrs.frozen(kw_only=True)
class Supersession:
    """One record that another takes the place of: it stays, and searches pass it over.

    Attributes:
        record, cid: the id of the record that is superseded, and its file.
        successor, successor_cid: the same of the record to use instead; empty if the record counts again.
        reason: why, in the words of whoever said so.
        replaces: the supersessions that said so far what this says anew, one by one.
    """

    record: str
    cid: str
    successor: str = ""
    successor_cid: str = ""
    reason: str = ""
    replaces: list[str] = attrs.field(factory=list)
    account: str = ""
    at: str = ""


Change: TypeAlias = Amendment | Retraction | Supersession
"""What is said of a record that is there already."""
Document: TypeAlias = Execution | Import | Change
KINDS: dict[str, type[Document]] = {cls.__name__.lower(): cls for cls in get_args(Document)}


def dump(document: Document) -> bytes:
    """A document as canonical JSON: the same document is the same bytes, in ASCII; defaults are left out.

    Raises:
        InvalidAssetError: a parameter or result is no JSON value.
    """
    kind = type(document).__name__.lower()
    body = {"stargazer": f"provenance/{SCHEMA}", "kind": kind, **attrs.asdict(document, filter=_differs)}
    try:
        return json.dumps(body, sort_keys=True, separators=(",", ":")).encode("ascii")
    except TypeError as error:
        raise InvalidAssetError(f"provenance of {getattr(document, 'task', kind)!r}: {error}") from error


def parse(data: bytes) -> Document:
    """The document of canonical JSON.

    Raises:
        FormatError: no provenance document, or one of a newer schema.
    """
    try:
        body = json.loads(data)
        schema, kind = body.pop("stargazer"), body.pop("kind")
        if schema != f"provenance/{SCHEMA}":
            raise FormatError(f"provenance schema {schema!r} is not known here: upgrade stargazer-assets")
        return _converter().structure(body, KINDS[kind])
    except FormatError:
        raise
    except Exception as error:
        raise FormatError(f"not a provenance document: {error!r}") from error


def load(file: IpFile) -> Document:
    """The document of a downloaded file.

    Raises:
        FormatError: it holds no provenance document; the message names its CID.
    """
    assert file.path is not None
    try:
        return parse(file.path.read_bytes())
    except FormatError as error:
        raise FormatError(f"{file.cid}: {error}") from error


def _differs(attribute: attrs.Attribute[Any], value: Any) -> bool:
    """Whether a value is not its field's default, which is not written."""
    default = attribute.default
    return bool(value != (default.factory() if isinstance(default, cast(Any, attrs.Factory)) else default))


@functools.cache
def _converter() -> Converter:
    from cattrs import Converter

    converter = Converter()
    converter.register_structure_hook(Any, lambda value, _: value)
    return converter
