"""The files that a run has ended in, opened where a notebook needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stargazer import storage
from stargazer.assets import Asset, AssetNotFoundError
from stargazer.workflows.runs.here import records_of

if TYPE_CHECKING:
    from stargazer.workflows.runs.record import Run

__all__ = ["open_result", "open_results"]


async def open_result(run: Run, name: str) -> Asset:
    """A result of a run that is one file: its bytes are here, with its companions beside them.

    Args:
        name: of the result, as "variants".

    Raises:
        AssetNotFoundError: the run has no such result, or its record was removed from the store since.
        StorageError, IntegrityError: its bytes cannot be had.
    """
    if not isinstance(found := run.results.get(name), dict):
        raise AssetNotFoundError(
            f"run {run.id} has no result {name!r} that is one file; it has {_names(run)}"
        )
    return await _opened(run, name, found)


async def open_results(run: Run, name: str) -> list[Asset]:
    """The files of a result of a run that is a list of them, as `open_result` gives one.

    Args:
        name: of the result, as "plots".

    Raises:
        AssetNotFoundError: the run has no such result, or a record was removed from the store since.
        StorageError, IntegrityError: bytes cannot be had.
    """
    if not isinstance(found := run.results.get(name), list):
        raise AssetNotFoundError(f"run {run.id} has no result {name!r} that is a list; it has {_names(run)}")
    return [await _opened(run, name, file) for file in found]


async def _opened(run: Run, name: str, file: dict[str, Any]) -> Asset:
    records = records_of(storage.get_client().store, {name: file})
    if not records:
        raise AssetNotFoundError(
            f"{name} of run {run.id} is not in the store any more ({file['cid']}): run {run.workflow} again"
        )
    return await Asset.from_record(records[0]).fetch()


def _names(run: Run) -> str:
    return ", ".join(run.results) or "none"
