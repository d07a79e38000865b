"""One record on the assets page: what it is in words, a form to amend it, and what evicting or deleting it would mean.

Each of these finds out anew what the store has: another page, or the command, may have changed it since it was shown.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from stargazer.assets import AssetNotFoundError, IpFile, StargazerError, asset_class
from stargazer.assets.keyvalues import plain_list
from stargazer.storage import amend_records, get_client, retract, visibility
from stargazer.storage.lineage import stale
from stargazer.storage.maintenance import evict
from stargazer.workflows.notebook.app import marimo, plain
from stargazer.workflows.notebook.asset_table import OWN, pairs_of

__all__ = [
    "LARGEST",
    "amend_form",
    "amend_record",
    "delete_question",
    "delete_record",
    "download_button",
    "evict_question",
    "evict_record",
    "record_facts",
]

LARGEST = 100_000_000
"""Bytes of a file that a page gives: the browser and the kernel hold all of it, half as large again."""
OTHERS, LABEL = "_others", "keys of your own"
"""The field of the form for keys that are no field of the type; no field's name begins so."""


def record_facts(record: IpFile) -> list[dict[str, str]]:
    """What is known of a record, as rows of `what` and text that is foreign: show them in a table."""
    store = get_client().store
    others = [each for each in store.query({"cid": record.cid}) if each.id != record.id]
    said = {key: plain_list(value) for key, value in record.keyvalues.items() if key not in OWN}
    facts = [
        ("file", record.name),
        ("type", record.keyvalues.get("asset", "")),
        *said.items(),  # somebody's own keys may be called as what follows
        ("size", f"{record.size:,} bytes"),
        ("CID", record.cid),
        ("who can read it", visibility(store, record)),
        ("bytes", "on this machine" if record.path else "not on this machine: `stargazer get` brings them"),
        ("registered", f"{record.created_at[:19].replace('T', ' ')} UTC"),
        (
            "also registered as",
            ", ".join(f"{each.keyvalues.get('asset', '')} {each.name}" for each in others),
        ),
    ]
    return [{"what": what, "it is": text} for what, text in facts if text]


def amend_form(record: IpFile, on_change: Any) -> Any:
    """A form with a field for each one of the record's type, filled with what is said now; and one for own keys.

    Args:
        on_change: called with the texts by key when somebody submits; give them to `amend_record`.

    Raises:
        InvalidAssetError: no installed distribution declares the type.
    """
    mo, kind = marimo(), asset_class(record.keyvalues.get("asset", ""))
    # a label is Markdown: keys that are no fields are somebody's words, and stand in a text
    texts = {key: mo.ui.text(value=_shown(record, key), label=key, full_width=True) for key in kind.fields()}
    others = _others(record)
    if others or kind.free_keys:
        texts[OTHERS] = mo.ui.text(
            value=others, label=LABEL, placeholder="project=brca owner=me", full_width=True
        )
    layout = "".join(f"<div>{{{key}}}</div>" for key in texts)
    return (
        mo.Html(f"<div style='display: grid; grid-template-columns: 1fr 1fr; gap: 12px'>{layout}</div>")
        .batch(**texts)
        .form(submit_button_label="Amend", on_change=on_change)
    )


def amend_record(record: IpFile, texts: Mapping[str, str]) -> IpFile:
    """Change what is said of a record to what a form holds, checked as `stargazer amend` checks it.

    Args:
        texts: by key; an empty one takes the value away.

    Returns:
        The record as it is now: with another id, if anything changed.

    Raises:
        AssetNotFoundError: the store has it no more.
        InvalidAssetError, FormatError: what `amend_records` refuses.
        StorageError: the store cannot be written.
    """
    current = _current(record)
    wanted = {key: text.strip() for key, text in texts.items() if key != OTHERS}
    before, after = pairs_of(_others(current)), pairs_of(texts.get(OTHERS, ""), wanted)
    wanted |= after | dict.fromkeys(before.keys() - after.keys(), "")
    changed = {key: text for key, text in wanted.items() if text != _shown(current, key)}
    return amend_records(get_client().store, [current], changed)[0] if changed else current


def evict_question(record: IpFile) -> tuple[str, bool]:
    """What evicting the bytes of a record would do, or why it cannot be, as a text; and whether it can be.

    Raises:
        AssetNotFoundError: the store has it no more.
        StorageError: it is of another format.
    """
    current = _current(record)
    report = evict(get_client().store, [current], dry_run=True)
    for refused in report.refused:
        forced = f" `stargazer evict --force {current.cid}` drops it all the same, and it is lost here."
        return (
            f"{_named(current)} cannot be evicted: {refused.why}.{forced if refused.forcible else ''}",
            False,
        )
    for found in report.evicted:
        return (
            f"Drop the bytes of {_named(current)} here? That frees {found.size:,} bytes; its record stays. "
            f"To have it again: {found.again}. {_depends(current)}"
        ), True
    return f"The bytes of {_named(current)} are not on this machine.", False


def evict_record(record: IpFile) -> str:
    """Drop the bytes of a record, as `stargazer evict` does; returns what happened.

    Raises:
        AssetNotFoundError: the store has it no more.
        StorageError: its bytes could not be had again, or the store cannot be written.
    """
    current = _current(record)
    report = evict(get_client().store, [current])
    if report.refused:
        return f"Nothing was dropped: {_named(current)}: {report.refused[0].why}."
    return f"Freed {report.freed:,} bytes of {_named(current)}; its record stays."


def delete_question(record: IpFile) -> tuple[str, bool]:
    """What taking back a registration would do, or why it cannot be, as a text; and whether it can be.

    Raises:
        AssetNotFoundError: the store has it no more.
    """
    current = _current(record)
    if current.keyvalues.get("asset") == "provenance":
        return f"{_named(current)} is provenance: it stays, for it says how files came to be.", False
    return (
        f"Take back the registration of {_named(current)}? Its bytes and other records of them stay; "
        f"`stargazer gc` frees bytes that nothing refers to. {_depends(current)}"
    ), True


def delete_record(record: IpFile) -> str:
    """Take back a registration, as `stargazer rm` does; returns what happened.

    Raises:
        AssetNotFoundError: the store has it no more.
        InvalidAssetError: it is provenance.
        StorageError: the store cannot be written.
    """
    current = _current(record)
    retract(get_client().store, current)
    return f"Took back the registration of {_named(current)}; its bytes and other records stay."


def download_button(record: IpFile) -> Any:
    """A button that gives the file to the browser; of a large one, the command that copies it."""
    if record.size > LARGEST:
        return plain(
            f"It is too large for a page ({record.size:,} bytes; at most {LARGEST:,}). "
            f"`stargazer get {record.cid} --to FOLDER` copies it to a folder."
        )

    async def read() -> bytes:
        found = await get_client().download_file(record)
        assert found.path is not None
        return found.path.read_bytes()

    name = record.name.rpartition("/")[2] or record.cid
    return marimo().download(read, filename=name, mimetype="application/octet-stream", label="Download")


def _current(record: IpFile) -> IpFile:
    """The record as the store has it now.

    Raises:
        AssetNotFoundError: it has it no more.
    """
    if (found := get_client().store.get(record.id)) is None:
        raise AssetNotFoundError(
            f"{record.name!r} is not in the store as it was shown: somebody amended or deleted it meanwhile"
        )
    return found


def _shown(record: IpFile, key: str) -> str:
    return plain_list(record.keyvalues.get(key, ""))


def _others(record: IpFile) -> str:
    """What is said of a record under keys that are no fields of its type, as words."""
    fields = asset_class(record.keyvalues.get("asset", "")).fields()
    return shlex.join(
        f"{key}={value}" for key, value in record.keyvalues.items() if key not in fields and key not in OWN
    )


def _named(record: IpFile) -> str:
    return f"{record.name!r} ({record.keyvalues.get('asset', 'file')})"


def _depends(record: IpFile) -> str:
    """What hangs on a file."""
    try:
        runs = stale(get_client().store, record.cid).runs
    except StargazerError:
        runs = []
    made = len({cid for run in runs for cid in run.outputs})
    if not made:
        return "Nothing was computed from it."
    files = "1 file that was" if made == 1 else f"{made:,} files that were"
    return f"The {files} computed from it, directly or in steps, {'stays' if made == 1 else 'stay'}."
