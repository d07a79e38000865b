"""The table of a store's records: the kernel filters and sorts them, and only a page of rows leaves it."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

from stargazer.assets import InvalidAssetError, IpFile, StargazerError
from stargazer.assets.keyvalues import fields_text
from stargazer.storage import Order, Store, find_page, get_client, type_counts, visibility
from stargazer.workflows.notebook.app import marimo

__all__ = ["OWN", "asset_table", "page_of", "pairs_of", "words_of"]

STATIC = Path(__file__).parent / "static"
ROWS, MOST_ROWS = 15, 200
SUGGESTED = 50
"""Samples and builds that are offered while somebody types."""
LONGEST = 300
"""Characters of a cell."""
ORDERS = ("created_at", "name", "size")


def asset_table(rows: int = ROWS) -> Any:
    """A table of the records of the store, the newest first, in which people filter, sort, turn pages and choose.

        table = asset_table()
        table.records()   # those that are chosen, as the store has them now
        table.missing()   # ids that were chosen and are in the store no more

    A page is asked of the store when it is shown: of 100,000 records no more than its rows are read. Counts are exact.
    Cells that name the table run again when something is chosen, not when pages are turned.

    Args:
        rows: of a page.

    Returns:
        An element of marimo. `table.refresh()` reads the page anew, `table.refresh([id])` chooses as well.
    """
    return marimo().ui.anywidget(_widget()(rows=min(rows, MOST_ROWS)))


def words_of(text: str) -> dict[str, list[str]]:
    """Filters as people write them for `stargazer query`: `key=value` words; a key given twice means either value.

    Raises:
        InvalidAssetError: a word that is none, or a quotation that does not end.
    """
    filters: dict[str, list[str]] = {}
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InvalidAssetError(f"{text!r}: {error}: write a value with spaces as key='a value'") from None
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise InvalidAssetError(f"{word!r} is no key=value")
        filters.setdefault(key, []).append(value)
    return filters


OWN = ("asset", "provenance_cid")
"""Keys that are said by the type that is chosen, and by the store."""


def pairs_of(text: str, taken: Collection[str] = ()) -> dict[str, str]:
    """Metadata as people write it for `stargazer add`: `key=value` words, each key once.

    Args:
        taken: keys that are said elsewhere, beside those of the store (`OWN`).

    Raises:
        InvalidAssetError: a word that is none, or a key that is said more than once.
    """
    pairs = {}
    for key, values in words_of(text).items():
        if len(values) > 1 or key in taken or key in OWN:
            raise InvalidAssetError(f"{key} is said more than once: say it once")
        pairs[key] = values[0]
    return pairs


def page_of(store: Store, asked: Mapping[str, Any]) -> dict[str, Any]:
    """A page of the table, as its browser shows it.

    Args:
        asked: by the browser: type, sample, build, network (`public` or `private`), words, order, descending, offset,
            limit; `choices` is false where only the page is turned.

    Returns:
        total, rows, the offset of the first (a page that is no more is the last one), and as choices: counts by type,
        samples and builds. Or what is wrong, under `error`.
    """
    try:
        return _page(store, asked)
    except StargazerError as error:
        told = error.explain()
    except Exception as error:  # of a message's handler nobody would see it
        told = f"the store cannot be read: {error!r}"
    return {"error": told, "total": 0, "rows": [], "offset": 0}


def _page(store: Store, asked: Mapping[str, Any]) -> dict[str, Any]:
    filters = words_of(_text(asked, "words"))
    for key, name in (("type", "asset"), ("sample", "sample"), ("build", "build")):
        if value := _text(asked, key).strip():
            if name in filters:
                raise InvalidAssetError(f"{name} is said twice: once among the words, once beside them")
            filters[name] = [value]
    limit = max(1, min(int(asked.get("limit") or ROWS), MOST_ROWS))
    offset = max(0, int(asked.get("offset") or 0))
    order = cast(Order, asked["order"] if asked.get("order") in ORDERS else "created_at")
    public = {"public": True, "private": False}.get(_text(asked, "network"))
    found = functools.partial(
        find_page,
        store,
        filters,
        limit,
        order=order,
        descending=bool(asked.get("descending", True)),
        public=public,
    )
    total, records = found(offset)
    if offset and not records:  # there are fewer than there were
        offset = max(0, total - 1) // limit * limit
        total, records = found(offset)
    page = {"total": total, "offset": offset, "rows": [_row(store, record) for record in records]}
    if not asked.get("choices", True):
        return page
    there = store.exists()
    return {
        **page,
        "types": type_counts(store),
        "samples": sorted({*_known(store, "sample", asked), *_known(store, "samples", asked)})
        if there
        else [],
        "builds": _known(store, "build", asked) if there else [],
    }


def _text(asked: Mapping[str, Any], key: str) -> str:
    return str(asked.get(key) or "")


def _known(store: Store, key: str, asked: Mapping[str, Any]) -> list[str]:
    """Values to choose from that begin with what was typed."""
    begins = _text(asked, key.removesuffix("s") if key == "samples" else key)
    return [value for value in store.values(key, begins, SUGGESTED) if not value.startswith("[")]


def _row(store: Store, record: IpFile) -> dict[str, Any]:
    said = fields_text(record.keyvalues)
    return {
        "id": record.id,
        "name": record.name[:LONGEST],
        "type": record.keyvalues.get("asset", ""),
        "fields": said if len(said) <= LONGEST else f"{said[:LONGEST]}...",
        "size": record.size,
        "at": record.created_at[:16].replace("T", " "),
        "network": visibility(store, record),
        "here": record.path is not None,
        "cid": record.cid,
    }


@functools.cache
def _widget() -> Any:
    """The class of the table: anywidget takes half a second to import."""
    import anywidget
    import traitlets

    class AssetTable(anywidget.AnyWidget):
        """The browser asks for pages by messages, which run no cell; what it chooses is a trait, which does."""

        _esm = (STATIC / "asset_table.js").read_text()
        _css = (STATIC / "asset_table.css").read_text()
        rows = traitlets.Int(ROWS).tag(sync=True)
        chosen = traitlets.List(traitlets.Unicode()).tag(sync=True)
        """Ids of records, set by the browser."""
        news = traitlets.Dict().tag(sync=True)
        """That the page is to be read anew, and what is chosen then: set here."""

        def __init__(self, **traits: Any) -> None:
            super().__init__(**traits)
            self.on_msg(self._answer)

        def records(self) -> list[IpFile]:
            """The records that are chosen, as they are now."""
            store = get_client().store
            return [record for id in self.chosen if (record := store.get(id)) is not None]

        def missing(self) -> list[str]:
            """The ids that are chosen and that the store has no more."""
            store = get_client().store
            return [id for id in self.chosen if store.get(id) is None]

        def refresh(self, chosen: list[str] | None = None) -> None:
            """Read the page anew.

            Args:
                chosen: ids of the records to choose, of the newest kind; by default what is chosen stays.
            """
            if chosen is not None:
                self.chosen = chosen
            self.news = {"turn": self.news.get("turn", 0) + 1, "chosen": list(self.chosen)}

        def _answer(self, _: Any, asked: Any, __: Any) -> None:
            if isinstance(asked, dict):
                try:
                    page = page_of(get_client().store, asked)
                except StargazerError as error:  # a setting that is wrong
                    page = {"total": 0, "rows": [], "offset": 0, "error": error.explain()}
                self.send({**page, "number": asked.get("number")})

    return AssetTable
