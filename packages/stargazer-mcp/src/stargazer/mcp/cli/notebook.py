"""`stargazer notebook`: copies the gallery of notebooks to a folder and opens marimo on it, or serves it as apps."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from stargazer.mcp.cli.console import Parser, count, note, option, print_json, print_table, print_text

if TYPE_CHECKING:
    import argparse
    import socket

    from stargazer.mcp.gallery import Copies, Notebook

__all__ = ["notebook"]

EXTRA = "stargazer-mcp[notebook]"
NEEDED = ("marimo", "altair")
HOST, PORT = "127.0.0.1", 8080
TOKEN = "STARGAZER_NOTEBOOK_TOKEN"
RUN_WHEN_OPENED = "_MARIMO_CONFIG_OVERLOAD_RUNTIME_AUTO_INSTANTIATE"
"""Whether marimo runs a notebook when it is opened; by itself it shows only code until somebody presses a button."""


def notebook(argv: Sequence[str]) -> int:
    """Open the notebook app."""
    parser = Parser(
        "notebook",
        "[NAME] [--app] [--folder FOLDER] [--host H] [--port P] [--token-file F] [--no-browser]\n"
        "       [--chat read|write|off] [--root DIR ...]\n       --list [--json]",
        "Copy the gallery of notebooks to a folder of yours and open marimo on it: on all of it, or on the notebook\n"
        "that is named. A notebook that you edited there stays as it is; the others are brought up to date.\n"
        "With --app, serve them for people who use them and do not change them: their code is shown, each page has a\n"
        "session of its own, and / lists them.\n"
        f"Both ask for a token: one made up anew, or that of --token-file or the variable {TOKEN}.",
        "  stargazer notebook\n  stargazer notebook germline\n"
        "  stargazer notebook --folder ~/notebooks --no-browser --port 2718\n"
        "  stargazer notebook --app --host 0.0.0.0 --token-file /run/secrets/token --no-browser",
        {
            "--app": "serve the notebooks as apps: who opens one cannot change its code",
            "--folder": option("FOLDER", "the folder of yours (default: stargazer-notebooks, here)"),
            "--host": option("H", f"the address to listen at (default: {HOST}, for this machine alone)"),
            "--port": option("P", f"its port (default: {PORT}, or one that is free where that is taken)"),
            "--token-file": option("F", "a file with the token that is asked for"),
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
        return 0
    from stargazer.mcp.chat import CHOICES, marimo_command
    from stargazer.mcp.gallery import FOLDER, copy_gallery, find_notebook

    if options.app and (options.chat or options.root):
        parser.error("--chat and --root are for those who edit: an app has no chat")
    chat = "off" if options.app else options.chat or CHOICES[0]
    if chat not in CHOICES:
        parser.error(f"--chat: expected {', '.join(CHOICES[:-1])} or {CHOICES[-1]}, got {chat!r}")
    if options.root and chat == "off":
        parser.error("--root is for the chat's server, which --chat off leaves out")
    for root in options.root:
        if not Path(root).expanduser().is_dir():
            parser.error(f"--root {root!r} is no folder")
    is_from_environment = TOKEN in os.environ
    token = _token(parser, options)
    if token and options.app and is_from_environment:  # others can read what a program was started with
        command = [sys.executable, "-P", "-m", "stargazer.mcp.cli", "notebook", *argv]
        os.execv(sys.executable, [*command, "--token-file", _readable(token)])
    chosen = find_notebook(words.plain[0]) if words.plain else None
    _check_extra(chat)
    listener = _listener(options)
    folder = Path(options.folder or FOLDER).expanduser().absolute()
    _tell(copy_gallery(folder, note))
    if not options.app:
        roots = [Path(root).expanduser().absolute() for root in options.root] or [folder]
        _edit(
            folder / chosen.file if chosen else folder, listener, token, marimo_command(chat, roots), options
        )
    return _serve(folder, chosen, listener, token, options)


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


def _token(parser: Parser, options: argparse.Namespace) -> str | None:
    """The token that is given; None where none is, and one has to be made up."""
    from stargazer.mcp.token_text import check_token

    given = os.environ.pop(TOKEN, None)  # notebooks have no use for it
    if options.token_file and given is not None:
        parser.error(f"give one of --token-file and {TOKEN}, not both: `unset {TOKEN}`")
    source = TOKEN
    if options.token_file:
        path = Path(options.token_file).expanduser()
        source = repr(str(path))
        given = path.read_text(errors="replace")
        if path.is_file() and path.stat().st_mode & 0o077:
            note(f"stargazer: warning: others of this machine may read {source}: chmod 600")
    if given is None:
        return None
    check_token(given.strip(), source)
    return given.strip()


def _listener(options: argparse.Namespace) -> socket.socket:
    """A socket at the address that is asked for; where no port was named, at a free one if ours is taken.

    Raises:
        ConfigurationError: nothing new can listen there.
    """
    from stargazer.assets import ConfigurationError
    from stargazer.mcp.listener import bound

    host = options.host or HOST
    if options.port:
        try:
            return bound(host, int(options.port))
        except ConfigurationError as error:
            raise ConfigurationError(
                f"{error}: give another --port, or leave it out for {PORT} or one that is free"
            ) from None
    try:
        return bound(host, PORT)
    except ConfigurationError:
        free = bound(host, 0)
        note(f"port {PORT} is taken; listening at port {free.getsockname()[1]} instead")
        return free


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


def _edit(
    target: Path,
    listener: socket.socket,
    token: str | None,
    marimo: Sequence[str],
    options: argparse.Namespace,
) -> NoReturn:
    """Become marimo, with its token; what it asks others about itself is left out.

    Args:
        marimo: the words that start it.
    """
    host, port = options.host or HOST, listener.getsockname()[1]
    listener.close()
    os.environ.setdefault(RUN_WHEN_OPENED, "true")
    words = [str(target), "--no-sandbox", "--skip-update-check", "--host", host, "--port", str(port)]
    words += ["--headless"] if options.no_browser else []
    quiet = []
    if token is not None:
        words += ["--token-password-file", _readable(token)]
        # else it prints the token; and Ctrl-C would ask something that nobody sees
        quiet = ["--quiet", "--yes"]
        _say_address(host, port, None)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.execv(sys.executable, [*marimo, *quiet, "edit", *words])


def _readable(token: str) -> str:
    """A file that the program that this one becomes reads the token from, once: no file of any disk."""
    reading, writing = os.pipe()
    os.write(writing, token.encode())
    os.close(writing)
    os.set_inheritable(reading, True)
    return f"/dev/fd/{reading}"


def _serve(
    folder: Path,
    chosen: Notebook | None,
    listener: socket.socket,
    token: str | None,
    options: argparse.Namespace,
) -> int:
    """Serve notebooks as apps until a signal comes."""
    import secrets
    import threading
    import webbrowser

    from stargazer.mcp.notebook_app import serve_app
    from stargazer.mcp.notebook_guard import Tickets
    from stargazer.mcp.notebook_index import address_of

    name = chosen.file.removesuffix(".py") if chosen else ""
    password = token or secrets.token_urlsafe(16)
    tickets = Tickets(password)
    path = address_of(name) if name else "/"
    port = listener.getsockname()[1]

    def ready() -> None:
        host = options.host or HOST
        _say_address(host, port, None if token else password, path)
        if not options.no_browser:  # some wait until they are closed
            url = _address(host, port, tickets.make_once(), path)
            threading.Thread(target=webbrowser.open, args=[url], daemon=True).start()

    try:
        serve_app(folder, tickets, listener, [name] if name else [], ready)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


def _say_address(host: str, port: int, token: str | None, path: str = "/") -> None:
    """Print where to go: with the token that was made up, or that the one that was given is asked for."""
    print_text(_address(host, port, token, path))
    if token is None:
        note("it asks for the token that you gave")
    sys.stdout.flush()


def _address(host: str, port: int, token: str | None, path: str) -> str:
    shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{shown}:{port}{path}" + (f"?access_token={token}" if token else "")
