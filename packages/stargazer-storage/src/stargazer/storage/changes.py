"""Changes of records: amended, retracted, superseded or reinstated, and executions of others that are trusted.

Each is written down as a provenance document, from which the index can be made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs
from stargazer.assets import AssetNotFoundError, InvalidAssetError, IpFile, asset_class, record_id
from stargazer.assets.addresses import hidden
from stargazer.assets.provenance import Amendment, Import, Retraction, Supersession
from stargazer.storage.additions import check_metadata, keyvalues_of, refuse_secrets
from stargazer.storage.ledger import claims, memo
from stargazer.storage.ledger.documents import account, now
from stargazer.storage.store import Store

__all__ = ["amend", "reinstate", "retract", "supersede", "trust"]


def amend(store: Store, record: IpFile, keyvalues: Mapping[str, str | None]) -> IpFile:
    """Merge metadata into one record (None removes a key).

    The record's id follows from its metadata, so the amended one has another.

    Raises:
        AssetNotFoundError: no such record.
        InvalidAssetError: metadata that its type does not take, or that the store sets itself.
    """
    current = _file_record(store, record)
    made_by = current.keyvalues.get("provenance_cid", "")
    if keyvalues.get("provenance_cid", made_by) != made_by:
        raise InvalidAssetError("provenance_cid says how a file was made: it is set by the store alone")
    merged = {**current.keyvalues, **keyvalues}
    changed = {key: value for key, value in merged.items() if value is not None}
    asset = asset_class(changed.get("asset", "")).from_keyvalues(changed, cid=current.cid)
    check_metadata([asset])
    pairs = keyvalues_of(asset)
    refuse_secrets({key: value for key, value in pairs.items() if value != current.keyvalues.get(key)})
    id = record_id(current.cid, pairs)
    if id == current.id:
        return current
    document = Amendment(
        record=current.id,
        made_by=made_by,
        cid=current.cid,
        keyvalues=pairs,
        name=current.name,
        size=current.size,
        created_at=current.created_at,
        account=account(),
        at=now(),
    )
    return store.with_network(_change(store, document)[id])


def retract(store: Store, record: IpFile) -> None:
    """Remove one record; its bytes and other records stay.

    Raises:
        AssetNotFoundError: no such record.
        InvalidAssetError: the record of a provenance document, which stays with what it speaks of.
    """
    current = _file_record(store, record)
    made_by = current.keyvalues.get("provenance_cid", "")
    _change(
        store, Retraction(record=current.id, made_by=made_by, cid=current.cid, account=account(), at=now())
    )


def supersede(store: Store, old: IpFile, new: IpFile, reason: str = "") -> None:
    """Let one record take the place of another: searches pass the old one over.

    Nothing is removed, and whatever was computed from the old one stays (see `stale`). Of a record that was
    superseded before, this holds instead.

    Raises:
        AssetNotFoundError: no such record.
        InvalidAssetError: the same record, another type, provenance, or a new one that is superseded itself.
    """
    before, after = store.existing(old), store.existing(new)
    kinds = [record.keyvalues.get("asset", "") for record in (before, after)]
    if "provenance" in kinds:
        raise InvalidAssetError("provenance is not superseded: it says how files came to be")
    if before.id == after.id:
        raise InvalidAssetError(f"the record {before.id!r} cannot take its own place: name two records")
    if kinds[0] != kinds[1]:
        raise InvalidAssetError(f"{kinds[1]!r} cannot take the place of {kinds[0]!r}: name two of a type")
    if instead := claims.successor_of(store.index, after.id):
        raise InvalidAssetError(f"the record {after.id!r} is superseded itself, by {instead!r}: name that")
    _supersede(store, before, after, reason)


def reinstate(store: Store, record: IpFile, reason: str = "") -> None:
    """Let a record that is superseded count again.

    Raises:
        AssetNotFoundError: no such record.
        InvalidAssetError: it is not superseded.
    """
    current = store.existing(record)
    if not claims.successor_of(store.index, current.id):
        raise InvalidAssetError(f"the record {current.id!r} is not superseded")
    _supersede(store, current, None, reason)


def trust(store: Store, cids: Iterable[str], command: str = "trust") -> list[str]:
    """Let the memo answer with executions that others did.

    Args:
        cids: of executions that are known here; those that are trusted already are passed over.

    Returns:
        Those of them that were not trusted before.

    Raises:
        AssetNotFoundError: one of them is not known here.
    """
    new = []
    for cid in dict.fromkeys(cids):
        if not memo.is_execution(store.index, cid):
            raise AssetNotFoundError(f"no execution {cid!r} is known in the store {str(store.root)!r}")
        new += [] if store.is_trusted(cid) else [cid]
    if new:
        document = Import(files=[], command=command, trusted=new, account=account(), at=now())
        with store.arriving() as arrived:
            store.apply(store.write_document(document, arrived), document)
    return new


def _file_record(store: Store, record: IpFile) -> IpFile:
    """The record of a file as it is now; one of a provenance document is refused."""
    current = store.existing(record)
    if current.keyvalues.get("asset") == "provenance":
        raise InvalidAssetError(
            f"{current.cid} is provenance: it stays as it is, for it says how files came to be"
        )
    return current


def _change(store: Store, document: Amendment | Retraction) -> dict[str, IpFile]:
    """Write a document down that ends whatever says now that there is its record, and let it take effect."""
    with store.arriving() as arrived:
        while True:
            document = attrs.evolve(document, replaces=store.claims.on(document.record))
            written = store.write_document(document, arrived)
            with store.index.transaction():
                if store.here(document.record) is None:
                    raise store.no_record(document.record)
                if document.replaces == store.claims.on(document.record):
                    records = store.apply(written, document)
                    break
    store.send_now()
    return records


def _supersede(store: Store, old: IpFile, new: IpFile | None, reason: str) -> None:
    with store.arriving() as arrived, store.index.transaction():
        document = Supersession(
            record=old.id,
            cid=old.cid,
            successor=new.id if new else "",
            successor_cid=new.cid if new else "",
            reason=hidden(reason),
            replaces=claims.supersessions_of(store.index, old.id),
            account=account(),
            at=now(),
        )
        store.apply(store.write_document(document, arrived), document)
    store.send_now()
