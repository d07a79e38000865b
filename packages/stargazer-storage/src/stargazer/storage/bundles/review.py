"""What others wrote or sent in a bundle is looked at before it counts: provenance documents, then files.

Documents: one that is malformed is refused, and none may change a record that was here before. Files: as when they are
added, by their types and by the installed checks (`stargazer.storage.checks`).
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

from stargazer.assets import FormatError, asset_class, provenance
from stargazer.storage.additions import Addition
from stargazer.storage.bundles.manifest import BundleFile, Rules, refuse
from stargazer.storage.checks import Checked, checked_one_by_one
from stargazer.storage.cid import is_cid
from stargazer.storage.ledger.claims import ended_by, statements_of, time_of
from stargazer.storage.store import Store

__all__ = ["accepted", "check_arrived", "enders_first", "followed", "needed", "scrutinised"]

_RECORD = re.compile(r"[0-9a-f]{32}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
_LARGEST = 1 << 62  # bytes


# documents


def scrutinised(data: bytes) -> provenance.Document:
    """The document of bytes that somebody else gave.

    It has to be written as `provenance.dump` writes, so that an index which is made again finds it; to name files by
    CIDs and records by ids; and to say of files only what whoever adds one may say.

    Raises:
        FormatError: it is no provenance document, or not one to take; the message says what is wrong with it.
    """
    document = provenance.parse(data)
    body = json.loads(data)
    if json.dumps(body, sort_keys=True, separators=(",", ":")).encode("ascii") != data:
        raise FormatError("it is not written as provenance is: sorted keys, no spaces, ASCII")
    try:
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise FormatError("it holds text that is no Unicode (half of a surrogate pair)") from None
    refuse(_rules(document))
    return document


def accepted(store: Store, documents: Mapping[str, provenance.Document]) -> dict[str, provenance.Document]:
    """Those documents of a bundle that may take effect: none may change a record that was here before.

    An import or execution only adds. An amendment or retraction ends claims, so it counts only where all that it ends
    came in this very bundle and was not known here, and speaks of the same record. What an amendment makes of a record
    must not be one that is here, which would be superseded where the other is.

    Raises:
        FormatError: one ends what the bundle does not hold.
    """

    @functools.cache  # a document may claim as many records as there are documents that end one of its claims
    def claimed(cid: str) -> dict[str, str]:
        return {statement.id: statement.file.cid for statement in statements_of(cid, documents[cid])}

    taken: dict[str, provenance.Document] = {}
    for cid, document in documents.items():
        ended = ended_by(document)
        if missing := sorted({claimant for _, claimant in ended} - documents.keys()):
            raise FormatError(f"provenance {cid}: ends what {missing[0]} says, which is not in the bundle")
        files = {claimed(claimant)[record] for record, claimant in ended if record in claimed(claimant)}
        becomes = statements_of(cid, document) if isinstance(document, provenance.Amendment) else ()
        touches_others = (
            (isinstance(document, provenance.Amendment | provenance.Retraction) and files != {document.cid})
            or any(store.is_registered(claimant) for _, claimant in ended)
            or any(store.here(item.id) is not None for item in becomes)
        )
        if store.is_registered(cid) or not touches_others:
            taken[cid] = document
    return taken


def needed(documents: Mapping[str, provenance.Document], records: Iterable[str]) -> set[str]:
    """Those of these documents on which records rest, by CID; see `followed`."""
    claims: dict[str, list[str]] = defaultdict(list)
    makers: dict[str, list[str]] = defaultdict(list)
    endings: dict[str, list[str]] = defaultdict(list)
    for cid, document in documents.items():
        for _, claimant in ended_by(document):
            endings[claimant].append(cid)
        for statement in statements_of(cid, document):
            claims[statement.id].append(cid)
            makers[statement.file.cid].append(cid)
    first = [cid for record in records for cid in claims[record]]
    return set(followed(first, documents.get, endings.__getitem__, makers.__getitem__))


def followed(
    first: Iterable[str],
    read: Callable[[str], provenance.Document | None],
    endings: Callable[[str], Iterable[str]],
    makers: Callable[[str], Iterable[str]],
) -> dict[str, provenance.Document]:
    """Documents with those on which they rest: what ends or is ended by each, and those of the files that it read.

    Args:
        read: the document with a CID; None if it is not looked for.
        endings: those that end claims of a document.
        makers: those of a file; asked once for each.
    """
    found: dict[str, provenance.Document] = {}
    asked: set[str] = set()
    waiting = list(first)
    while waiting:
        cid = waiting.pop()
        if cid in found or (document := read(cid)) is None:
            continue
        found[cid] = document
        waiting += [*endings(cid), *(claimant for _, claimant in ended_by(document))]
        if isinstance(document, provenance.Execution):
            files = {entry.cid for entry in document.inputs} - asked
            asked |= files
            waiting += (maker for file in files for maker in makers(file))
    return found


def enders_first(documents: Mapping[str, provenance.Document]) -> list[str]:
    """The CIDs of documents, amendments and retractions before what they end.

    Written to a ledger in this order, a record that was ended is not there at any moment, whatever stops the writing.
    """
    sorter = TopologicalSorter[str](dict.fromkeys(documents, ()))
    for cid, document in documents.items():
        for _, claimant in ended_by(document):
            sorter.add(claimant, cid)
    return [cid for cid in sorter.static_order() if cid in documents]


def _rules(document: provenance.Document) -> Rules:
    """What keeps a document out."""
    created = getattr(document, "created_at", "")  # of an amendment
    for time in (time_of(document), created or time_of(document)):
        yield not _TIME.fullmatch(time), f"it was not done at a time in UTC: {time!r:.40}"
    statements = list(statements_of("", document))
    yield len({item.id for item in statements}) < len(statements), "it names a file twice"
    entries = [item.file for item in statements]
    if isinstance(document, provenance.Import):
        yield document.trusted, "it says whom to believe, which everybody says for himself"
    elif isinstance(document, provenance.Execution):
        entries += document.inputs
        roles = {entry.role for entry in document.outputs}
        yield len(roles) < len(document.outputs), "two of its results have the same role"
        words = [document.task, *(f"{tool.name}{tool.version}" for tool in document.tools)]
        is_odd = not "".join(words).isprintable()
        yield is_odd, "the name of its task or of a tool cannot be printed on a line"
    else:
        yield not _RECORD.fullmatch(document.record), f"{document.record!r} is no id of a record"
        for cid in filter(None, [getattr(document, "made_by", ""), *document.replaces]):
            yield not is_cid(cid), f"{cid!r} is no CID of a document"
    for entry in entries:
        title, made_by = repr(entry.name or entry.role or "a file"), entry.provenance_cid
        kind = entry.keyvalues.get("asset", "")
        reserved = entry.keyvalues.keys() & {"cid", "provenance_cid", "superseded"}
        yield not is_cid(entry.cid), f"{title} has no CID: {entry.cid!r}"
        yield not 0 <= entry.size < _LARGEST, f"{title} has an impossible size: {entry.size}"
        yield kind in ("", "provenance"), f"{title} has no type, or that of provenance"
        yield reserved, f"{title} has metadata of a reserved name: {', '.join(sorted(reserved))}"
        yield made_by and not is_cid(made_by), f"{title} names provenance by no CID: {made_by!r}"


# files


def check_arrived(
    store: Store, entries: Iterable[BundleFile], documents: Mapping[str, provenance.Document], folder: Path
) -> tuple[dict[str, Checked], dict[str, str]]:
    """What came of the checks of files whose bytes are here, and which are not of their type and why; both by name.

    They are compared with one another and with what this store has, as when they are added. What a task made is taken
    as being of its type, as the task's own store took it.

    Args:
        folder: of the store's work, for links to the files.
    """
    runs = {
        cid: document for cid, document in documents.items() if isinstance(document, provenance.Execution)
    }
    made = {item.id for cid, document in runs.items() for item in statements_of(cid, document)}
    additions: list[Addition] = []
    wrong: dict[str, str] = {}
    for entry in entries:
        path = store.objects.path(entry.cid)
        if path.exists():
            path, kind = _named(path, folder, entry.name), asset_class(entry.keyvalues["asset"])
            try:
                if kind.check is not None and entry.id not in made:
                    kind.check(path)
                asset = kind.from_keyvalues(entry.keyvalues, cid=entry.cid)
                additions.append(Addition(path, asset, name=entry.name))
            except FormatError as error:
                wrong[entry.name] = str(error)
    # query_here: this machine's records; no account is asked
    return {item.name: checked for item, checked in checked_one_by_one(additions, store.query_here)}, wrong


def _named(path: Path, folder: Path, name: str) -> Path:
    """An object under the name of its file, by which checks call it; as it is where links cannot be made."""
    with contextlib.suppress(OSError):
        named = Path(tempfile.mkdtemp(dir=folder), name)
        named.symlink_to(path.absolute())
        return named
    return path
