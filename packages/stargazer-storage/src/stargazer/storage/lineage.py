"""Walking provenance: how a file came to be, back to what was imported, from the store alone."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import attrs
from stargazer.assets.errors import AssetNotFoundError, StargazerError
from stargazer.assets.provenance import Document, Entry, Execution, Import

from stargazer.storage.store import LocalStore

__all__ = ["Step", "render", "why"]


@attrs.frozen(kw_only=True)
class Step:
    """One file of a lineage: what made it, and the steps of what that read.

    Attributes:
        entry: the file.
        provenance_cid: the document that names it as an output; empty when none is known.
        document: that document.
        inputs: a step for each file it read.
    """

    entry: Entry
    provenance_cid: str = ""
    document: Document | None = None
    inputs: list[Step] = attrs.field(factory=list)


def why(store: LocalStore, cid: str) -> Step:
    """The lineage of a file, back to imports.

    Raises:
        AssetNotFoundError: the store knows nothing of this CID.
    """
    steps: dict[tuple[str, str], Step] = {}
    if not store.documents(cid) and not store.query({"cid": cid}):
        raise AssetNotFoundError(f"nothing is known of {cid!r} in {store.root}: see `stargazer query`")
    return _step(store, Entry(cid=cid, keyvalues={}), steps)


def _step(store: LocalStore, entry: Entry, steps: dict[tuple[str, str], Step]) -> Step:
    provenance_cid = entry.provenance_cid or next(iter(store.documents(entry.cid)), "")
    key = (entry.cid, provenance_cid)
    if key in steps:
        return attrs.evolve(steps[key], entry=attrs.evolve(steps[key].entry, role=entry.role))
    document: Document | None = None
    if provenance_cid:
        try:
            document = store.document(provenance_cid)
        except StargazerError:
            document = None
    made = _output(document, entry.cid)
    step = Step(
        entry=attrs.evolve(made, role=entry.role) if made else entry,
        provenance_cid=provenance_cid,
        document=document,
        inputs=[_step(store, read, steps) for read in document.inputs] if isinstance(document, Execution) else [],
    )
    steps[key] = step
    return step


def _output(document: Document | None, cid: str) -> Entry | None:
    entries = document.outputs if isinstance(document, Execution) else document.files if isinstance(document, Import) else []
    return next((entry for entry in entries if entry.cid == cid), None)


def render(step: Step) -> str:
    """A lineage as an indented text tree; a file that occurs again is shown in full only once."""
    return "\n".join(_lines(step, "", set()))


def _lines(step: Step, indent: str, shown: set[str]) -> Iterator[str]:
    entry, document = step.entry, step.document
    pairs = " ".join(f"{key}={value}" for key, value in entry.keyvalues.items() if key != "asset" and not key.endswith("_cid"))
    role = f"{entry.role}: " if entry.role else ""
    yield f"{indent}{role}{entry.keyvalues.get('asset', 'file')} {entry.name} {pairs}".rstrip()
    inner = indent + "  "
    yield f"{inner}cid {entry.cid}"
    if entry.cid in shown:
        yield f"{inner}(its lineage is shown above)"
        return
    shown.add(entry.cid)
    if isinstance(document, Import):
        yield f"{inner}imported from {entry.origin or entry.name} by {document.account} at {document.at[:19]} ({document.command})"
    elif isinstance(document, Execution):
        yield f"{inner}made by {document.task} ({document.distribution}) at {document.started[:19]}, {document.seconds:.1f} s"
        for tool in document.tools:
            yield f"{inner}  tool {tool.name} {tool.version}" + (f" ({tool.source})" if tool.source else "")
        for name, value in document.parameters.items():
            yield f"{inner}  {name} = {value}"
        for command in document.commands:
            yield f"{inner}  $ {shlex.join(command)}"
        for child in step.inputs:
            yield from _lines(child, inner + "  ", shown)
    else:
        yield f"{inner}how it came to be is not known here"
