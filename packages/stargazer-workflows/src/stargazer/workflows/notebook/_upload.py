"""A place in a notebook where files are chosen or dropped, looked at, and added to the store."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import secrets
from pathlib import Path
from typing import Any

from stargazer.assets import ConfigurationError, IpFile
from stargazer.storage import get_client
from stargazer.workflows.notebook.app import marimo
from stargazer.workflows.notebook.uploads import CHUNK, MOST_FILES, Uploads, type_forms

__all__ = ["upload"]

SCRIPT = Path(__file__).parent / "static" / "upload.js"
IDLE = 15 * 60.0
"""Seconds after which a file of which nothing more comes is given up."""
LOOK = 1.0
"""Seconds between two looks at whether the page is still there."""


def upload() -> Any:
    """An output where people choose or drop files, say what they are, and add them to the store.

        added = nb.upload()
        added                # in another cell, `added.value` has the records

    What the name and the header of a file tell is proposed and can be changed. A file is checked as `stargazer add`
    checks it. Bytes that were not added are removed when the cell runs again or the kernel ends.

    Returns:
        An element of marimo's; its value is the list of records that were added so far (`IpFile`), in their order.

    Raises:
        ConfigurationError: marimo or anywidget is not installed, or a setting is wrong.
    """
    marimo()  # says what is missing
    return _element_class()(_widget())


@functools.cache
def _widget_class() -> Any:
    """The widget: anywidget is imported when a notebook asks for it."""
    try:
        import anywidget
        import traitlets
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"nb.upload() needs {error.name}, which is not installed: pip install 'stargazer-workflows[notebook]'"
        ) from error

    class UploadWidget(anywidget.AnyWidget):  # type: ignore[misc, name-defined, unused-ignore]
        _esm = SCRIPT.read_text()
        shown = traitlets.Dict().tag(sync=True)  # for the page
        setup = traitlets.Dict().tag(sync=True)  # for the page, once
        seen = traitlets.Int(0).tag(
            sync=True
        )  # from the page: how many records it knows of, so that cells run

    return UploadWidget


def _widget() -> Any:
    """A widget with the files of its own page behind it."""
    mo = marimo()
    store = get_client().store
    is_edited = mo.app_meta().mode == "edit"
    public = ""
    if store.remote is not None:
        public = (
            "Public: send them to the public IPFS network, where everybody can read them, for ever. "
            "That cannot be undone."
        )
    widget = _widget_class()(
        setup={
            "id": secrets.token_hex(8),
            "chunk": CHUNK,
            "most": MOST_FILES,
            "types": type_forms(),
            "paths": is_edited,
            "public": public,
        }
    )

    def show() -> None:
        widget.shown = uploads.shown

    uploads = Uploads(store, widget.send, show, paths=is_edited)
    widget.uploads = uploads
    widget.on_msg(lambda _, content, buffers: uploads.receive(content, buffers))
    show()
    with contextlib.suppress(RuntimeError):  # no loop: a script, where nobody chooses a file
        widget.watch = asyncio.get_running_loop().create_task(_watch(widget, uploads))
    return widget


async def _watch(widget: Any, uploads: Uploads) -> None:
    """Remove what was not added when the cell runs again, or the kernel ends, which ends this."""
    idle, heard = 0.0, 0
    try:
        while not getattr(widget.comm, "_closed", False):
            await asyncio.sleep(LOOK)
            # counted here, where nothing is while a cell runs: its messages wait then
            idle, heard = (idle + LOOK if heard == uploads.heard else 0.0), uploads.heard
            if idle > IDLE:
                uploads.leave()
    finally:
        uploads.close()


@functools.cache
def _element_class() -> Any:
    mo = marimo()

    class UploadElement(mo.ui.anywidget):  # type: ignore[misc, name-defined, unused-ignore]
        """marimo's element of the widget, whose value is the records."""

        @property
        def value(self) -> list[IpFile]:
            """The records that were added so far."""
            return list(self.widget.uploads.records)

        @value.setter
        def value(self, value: Any) -> None:
            raise RuntimeError("the value of nb.upload() is what was added, and cannot be set")

    return UploadElement
