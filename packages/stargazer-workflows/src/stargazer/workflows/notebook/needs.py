"""What a cell needs: an extra that is installed, records that are registered; else it stops and says how to get it."""

from __future__ import annotations

import re
from importlib import metadata
from typing import Any

from stargazer.assets import AssetNotFoundError, InvalidAssetError, Query
from stargazer.storage import get_client
from stargazer.workflows.notebook.app import stop

__all__ = ["require_extra", "require_records"]

DISTRIBUTION = "stargazer-tasks"
"""Declares what each extra installs."""

MOST_NAMES = 3
"""Of missing packages that are said."""


def require_extra(extra: str) -> None:
    """Stop the cell where something that an extra installs is missing, and say which command adds it.

    Args:
        extra: `scrna`, `gatk`.

    Raises:
        InvalidAssetError: there is no such extra.
    """
    if missing := _missing(extra):
        are = "is" if len(missing) == 1 else "are"
        names = ", ".join(missing[:MOST_NAMES])
        more = f" and {len(missing) - MOST_NAMES} more" if len(missing) > MOST_NAMES else ""
        stop(
            f"This part needs {names}{more}, which {are} not installed here: `pip install "
            f"'stargazer-mcp[{extra}]'` adds what is missing. Restart the kernel then. The rest works without."
        )


def _missing(extra: str) -> list[str]:
    """What the extra installs and is not here, as pip calls it."""
    lines = metadata.requires(DISTRIBUTION) or []
    known = metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
    if extra not in known:
        raise InvalidAssetError(f"no extra {extra!r}; known: {', '.join(sorted(known))}")
    wanted = [line for line in lines if re.search(rf"extra == ['\"]{re.escape(extra)}['\"]", line)]
    missing: dict[str, None] = {}
    for line in wanted:
        name = re.split(r"[^\w.-]", line)[0]
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            missing[name] = None
    return list(missing)


def require_records(**filters: Any) -> None:
    """Stop the cell where no record is registered that the filters select, and say what adds it.

        require_records(asset="reference", build="GRCh38")

    Args:
        filters: as those of `assemble`.

    Raises:
        InvalidAssetError: an unknown type or filter.
    """
    asset = filters.pop("asset", None)
    query, store = Query(asset, filters), get_client().store
    try:
        if query.select(record for pairs in query.asked for record in store.query(pairs)):
            return
    except AssetNotFoundError:
        pass
    named = {"asset": asset, **filters}
    wanted = " ".join(
        f"{name}={','.join(map(str, value)) if isinstance(value, list | tuple) else value}"
        for name, value in named.items()
        if value is not None
    )
    stop(
        f"This part needs files that are not registered: `{wanted}`. `stargazer add FILE {wanted}` registers one; "
        "`stargazer demo` simulates data and registers them. Then run this cell again."
    )
