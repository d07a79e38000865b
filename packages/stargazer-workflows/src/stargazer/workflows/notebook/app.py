"""The notebook that calls: marimo, how it is run, and texts as it shows them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from html import escape
from importlib import import_module
from typing import Any

from stargazer.assets import ConfigurationError, StargazerError

__all__ = [
    "as_html",
    "explained",
    "html_page",
    "is_shown",
    "marimo",
    "of_the_extra",
    "plain",
    "plain_table",
    "shown",
    "stop",
    "tell",
]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What a page in a frame may load: nothing that is not in it."""


QUIET = "<style>.marimo-cell.stopped .output-area { display: none }</style>"
"""Hides what the editor writes below each cell that did not run because of the one that was stopped."""


def marimo() -> Any:
    """The module marimo.

    Raises:
        ConfigurationError: it is not installed.
    """
    with of_the_extra():
        import marimo
    return marimo


@contextmanager
def of_the_extra() -> Iterator[None]:
    """Say what installs a module that is imported within, where it is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"stargazer.workflows.notebook needs {error.name}, which is not installed: "
            "pip install 'stargazer-workflows[notebook]'"
        ) from error


def is_shown() -> bool:
    """Whether somebody looks at the cell that calls: in the editor or in an app; a script shows nothing."""
    return marimo().app_meta().mode in ("edit", "run")


def shown(output: Any = None) -> Any:
    """An output below the code of its cell, for cells whose code an app shows too; the editor shows it anyway."""
    mo = marimo()
    return output if mo.app_meta().mode == "edit" else mo.show_code(output, position="above")


def as_html(text: str) -> str:
    """A text, whose commands are between backticks, as HTML; what it holds of HTML itself is shown as it is written."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text)).replace("\n", "<br>")


def plain(text: str) -> Any:
    """An output of a text that may hold names of files and other foreign words: it is neither Markdown nor HTML."""
    return marimo().Html(f"<p>{as_html(text)}</p>" if text else "")


def plain_table(rows: Sequence[Mapping[str, Any]], **options: Any) -> Any:
    """A table of marimo's in which texts are no more than texts.

    By itself marimo draws the picture of an address in a cell, and so asks another machine for it. Its rows cannot be
    chosen and its columns have no summaries, where the options do not say something else.

    Args:
        rows: by column.
        options: of `mo.ui.table`.

    Returns:
        The element; its `value` has the rows that are chosen, as they were given.
    """
    texts = {
        column for row in rows for column, value in row.items() if isinstance(value, str) and "://" in value
    }
    usual = {"selection": None, "show_column_summaries": False, "show_data_types": False}
    formats = {**dict.fromkeys(texts, _broken), **(options.pop("format_mapping", None) or {})}
    return marimo().ui.table(list(rows), format_mapping=formats or None, **{**usual, **options})


def _broken(value: Any) -> Any:
    """An address as it is written, which nobody takes for one."""
    return value.replace("://", ":\u2060//") if isinstance(value, str) else value


def html_page(text: str, height: int = 600) -> Any:
    """An output of a page of HTML that somebody made: in a frame in which it runs nothing and asks nobody.

    Args:
        height: of the frame, in pixels.
    """
    page = f'<!doctype html><meta http-equiv=Content-Security-Policy content="{POLICY}">{text}'
    return marimo().Html(
        f'<iframe sandbox title="The page" srcdoc="{escape(page)}" width="100%" height="{height}"></iframe>'
    )


def stop(text: str, *, kind: str = "warn") -> None:
    """Stop the cell that calls, and those below it, with a text in its place; a script has it on stderr.

    Args:
        text: shown as `plain` shows it.
        kind: of marimo's call-outs.
    """
    mo = marimo()
    if not is_shown():
        tell(text)
    mo.stop(True, mo.Html(f"<div>{QUIET}{mo.callout(plain(text), kind=kind).text}</div>"))


@contextmanager
def explained() -> Iterator[None]:
    """Stop the cell with the text of a StargazerError that is raised within; a script has the error itself."""
    try:
        yield
    except StargazerError as error:
        if not is_shown():
            raise
        stop(error.explain(), kind="danger")


def tell(text: str) -> None:
    """Write a line to stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


with suppress(ImportError):
    # Flyte leaves pandas to be loaded by whoever uses it first. In an app two tabs are two threads, and altair would
    # see in one of them what the other has loaded half of. So it is loaded here, where threads wait for each other.
    getattr(import_module("pandas"), "Timestamp", None)
