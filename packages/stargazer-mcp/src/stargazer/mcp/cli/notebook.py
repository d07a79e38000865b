"""`stargazer notebook`: copies the gallery of notebooks to a folder and opens marimo on it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stargazer.mcp.cli.console import Parser, count, note, option, print_json, print_table

if TYPE_CHECKING:
    from stargazer.mcp.gallery import Copies

__all__ = ["notebook"]

EXTRA = "stargazer-mcp[notebook]"
NEEDED = ("marimo", "altair")
RUN_WHEN_OPENED = "_MARIMO_CONFIG_OVERLOAD_RUNTIME_AUTO_INSTANTIATE"
"""Whether marimo runs a notebook when it is opened; by itself it shows only code until somebody presses a button."""


def notebook(argv: Sequence[str]) -> None:
    """Open the notebook app."""
    parser = Parser(
        "notebook",
        "[NAME] [--folder FOLDER] [--port P] [--no-browser]\n"
        "       [--chat read|write|off] [--root DIR ...]\n       --list [--json]",
        "Copy the gallery of notebooks to a folder of yours and open marimo on it: on all of it, or on the notebook\n"
        "that is named. A notebook that you edited there stays as it is; the others are brought up to date.",
        "  stargazer notebook\n  stargazer notebook germline\n"
        "  stargazer notebook --folder ~/notebooks --no-browser --port 2718",
        {
            "--folder": option("FOLDER", "the folder of yours (default: stargazer-notebooks, here)"),
            "--port": option(
                "P", "the port of this machine that marimo listens at (default: one that is free)"
            ),
            "--no-browser": "open no browser: print the address only",
            "--chat": option(
                "read|write|off",
                "what the model of marimo's chat may do with the store: look (default), change and run, nothing",
            ),
            "--root": option(
                "DIR",
                "a folder whose files the chat's server may read; may be given again (default: the folder of yours)",
                action="append",
                default=[],
            ),
            "--list": "only list the notebooks there are",
            "--json": "print the list as JSON",
        },
    )
    words = parser.sort(argv)
    options = words.options
    if words.pairs or len(words.plain) > 1:
        parser.error("name one notebook")
    if options.port and not (options.port.isascii() and options.port.isdigit() and int(options.port) < 2**16):
        parser.error(f"--port: expected a number below 65536, got {options.port!r}")
    if options.json and not options.list:
        parser.error("--json is for --list")
    if options.list:
        parser.no_words(words, "--list lists all of them")
        _list(as_json=options.json)
        return
    from stargazer.mcp.chat import CHOICES
    from stargazer.mcp.gallery import FOLDER, copy_gallery, find_notebook

    chat = options.chat or CHOICES[0]
    if chat not in CHOICES:
        parser.error(f"--chat: expected {', '.join(CHOICES[:-1])} or {CHOICES[-1]}, got {chat!r}")
    if options.root and chat == "off":
        parser.error("--root is for the chat's server, which --chat off leaves out")
    for root in options.root:
        if not Path(root).expanduser().is_dir():
            parser.error(f"--root {root!r} is no folder")
    chosen = find_notebook(words.plain[0]) if words.plain else None
    _check_extra(chat)
    if options.port:
        _check_port(int(options.port))
    folder = Path(options.folder or FOLDER).expanduser().absolute()
    _tell(copy_gallery(folder, note))
    roots = [Path(root).expanduser().absolute() for root in options.root] or [folder]
    target = folder / chosen.file if chosen else folder
    _open(target, options.port, browser=not options.no_browser, chat=chat, roots=roots)


def _list(*, as_json: bool) -> None:
    from stargazer.mcp.gallery import notebooks

    if as_json:
        print_json([{"name": each.name, "file": each.file, "title": each.title} for each in notebooks()])
    else:
        print_table(["NOTEBOOK", "TITLE"], [[each.name, each.title] for each in notebooks()])


def _check_extra(chat: str) -> None:
    import importlib.util

    from stargazer.assets import ToolError
    from stargazer.mcp.chat import NEEDED as NEEDED_TO_CHAT

    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise ToolError(f"the notebook app needs {' and '.join(missing)}: pip install '{EXTRA}'")
    if chat != "off" and (
        missing := [name for name in NEEDED_TO_CHAT if importlib.util.find_spec(name) is None]
    ):
        raise ToolError(
            f"the chat of notebooks needs {' and '.join(missing)}: pip install '{EXTRA}', or leave it out with "
            "--chat off"
        )


def _check_port(port: int) -> None:
    """See that marimo can listen there; what it says itself is a number of the system.

    Raises:
        ConfigurationError: it cannot.
    """
    import socket

    from stargazer.assets import ConfigurationError

    with socket.socket() as tried:
        tried.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as servers do: one that has just ended is gone
        try:
            tried.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigurationError(
                f"--port {port}: nothing new can listen at this port of this machine ({error.strerror}): give "
                "another one, or leave --port out for one that is free"
            ) from error


def _tell(copies: Copies) -> None:
    """Say what became of the folder."""
    if copies.made:
        note(f"copied {count(len(copies.made), 'notebook')} to {str(copies.folder)!r}")
    if copies.updated:
        note(f"brought up to date: {', '.join(copies.updated)}")
    for file in copies.edited:
        note(
            f"{file} stays as you edited it; to have the gallery's new version beside it, rename yours and come again"
        )


def _open(target: Path, port: str | None, *, browser: bool, chat: str, roots: Sequence[Path]) -> None:
    """Become marimo, with its token; what it asks others about itself is left out."""
    from stargazer.mcp.chat import marimo_command

    os.environ.setdefault(RUN_WHEN_OPENED, "true")
    command = [*marimo_command(chat, roots), "edit", str(target), "--no-sandbox", "--skip-update-check"]
    command += ["--port", port] if port else []
    command += [] if browser else ["--headless"]
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.execv(sys.executable, command)
