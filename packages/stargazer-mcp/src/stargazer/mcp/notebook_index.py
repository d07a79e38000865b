"""Which notebooks of a folder an app serves, and the page that lists them."""

from __future__ import annotations

import ast
import functools
from collections.abc import Collection, Iterator
from html import escape
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from attrs import frozen
from stargazer.mcp.gallery import notebooks

__all__ = ["NOTEBOOKS", "Listed", "address_of", "find_listed", "index_page", "list_notebooks", "page"]

NOTEBOOKS = "/notebooks"
"""Where notebooks are below the address of the server."""
LARGEST = 4 << 20  # bytes of a notebook that is read for its title
STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.7rem; margin-bottom: .25rem; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .5rem; }
ul { list-style: none; padding: 0; margin: 0; }
li { border: 1px solid color-mix(in srgb, currentColor 18%, transparent); border-radius: 8px; margin: .6rem 0; }
li > a, li > div { display: block; padding: .7rem 1rem; color: inherit; text-decoration: none; }
a:hover strong, a:focus strong { text-decoration: underline; }
strong { font-weight: 600; } p { margin: .3rem 0; } .said { opacity: .75; } .problem { color: #b3261e; }
code { font-size: .85em; opacity: .7; float: right; margin-left: 1rem; }
input, button { font: inherit; padding: .4rem .7rem; }
"""


@frozen
class Listed:
    """A notebook of a folder.

    Attributes:
        name: its path in the folder without `.py`, with `/`: what its address has.
        title: what it calls itself.
        description: what it says that it is for; "" where it does not.
        problem: why it cannot be served; "" where it can.
        is_ours: whether the gallery has one of this name.
    """

    name: str
    title: str
    description: str
    problem: str
    is_ours: bool

    @property
    def address(self) -> str:
        """Its path below the address of the server."""
        return address_of(self.name)


def address_of(name: str) -> str:
    """Where a notebook is, below the address of the server."""
    return f"{NOTEBOOKS}/{quote(name)}/"


def list_notebooks(folder: Path, only: Collection[str] = ()) -> list[Listed]:
    """The notebooks of a folder: those of the gallery in its order, then others by name.

    A file counts that makes a `marimo.App`. Names that begin with a dot or an underscore are left out, and so are links
    to other folders. Of folders below, only what the gallery has is listed.

    Args:
        only: names of those that are wanted, without `.py`; all if empty.
    """
    ours = [each.file for each in notebooks()]
    try:
        others = sorted(path.name for path in folder.glob("*.py") if path.name not in ours)
    except OSError:
        others = []
    found = (_listed(folder, file, file in ours) for file in (*ours, *others))
    return [each for each in found if each and (not only or each.name in only)]


def find_listed(folder: Path, name: str, only: Collection[str] = ()) -> Listed | None:
    """The one of `list_notebooks` that has this name; the others are not looked at."""
    file = f"{name}.py"
    is_ours = any(each.file == file for each in notebooks())
    if (only and name not in only) or ("/" in name and not is_ours):
        return None
    return _listed(folder, file, is_ours)


def _listed(folder: Path, file: str, is_ours: bool) -> Listed | None:
    path = folder / file
    try:
        state = path.stat()
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        return None
    if not inside or path.name[0] in "._" or state.st_size > LARGEST or not path.is_file():
        return None
    read = _read(path, state.st_mtime_ns, state.st_size)
    if read is None:
        return None
    title, description, problem = read
    stem = PurePosixPath(file).stem
    if "." in stem or "\\" in stem:
        problem = "a name with a dot or a backslash cannot be an address: rename it"
    elif not _is_text(stem):
        problem = "a name that is no text cannot be an address: rename it"
    shown = stem.encode("utf-8", "replace").decode()
    return Listed(file[: -len(".py")], title or shown, description, problem, is_ours)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return name.isprintable()


@functools.lru_cache(maxsize=1024)
def _read(path: Path, changed: int, size: int) -> tuple[str, str, str] | None:
    """Title, description and problem of a notebook as it is since then; None of another file. Nothing of it is run."""
    try:
        text = path.read_bytes()
    except OSError as error:
        return "", "", f"cannot be read: {error.strerror}"
    if b"marimo.App(" not in text:
        return None
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f"line {error.lineno}: " if isinstance(error, SyntaxError) and error.lineno else ""
        return "", "", f"{where}{getattr(error, 'msg', error)}"
    description = (ast.get_docstring(tree) or "").strip().split("\n\n")[0]
    return _title(tree), " ".join(description.split()), ""


def _title(tree: ast.Module) -> str:
    """What a notebook calls itself: the `app_title` of its App, else its first heading (`# `)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "App":
            for keyword in node.keywords:
                if keyword.arg == "app_title" and isinstance(keyword.value, ast.Constant):
                    return str(keyword.value.value or "")
    for cell in tree.body:
        if isinstance(cell, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(cell):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    for line in node.value.splitlines():
                        if line.strip().startswith("# "):
                            return line.strip()[2:].strip()
    return ""


def page(title: str, body: str) -> str:
    """A page of HTML that asks nobody for anything.

    Args:
        title: a text.
        body: HTML.
    """
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{body}</body></html>"
    )


def index_page(listed: Collection[Listed]) -> str:
    """The page that lists notebooks."""
    parts = [
        "<h1>Stargazer</h1><p class=said>Notebooks of this server. Their code is shown and cannot be changed here. "
        "What you start, add or delete in them is done as the user who runs this server, in one store for all.</p>"
    ]
    for heading, is_ours in (("Gallery", True), ("Notebooks of this folder", False)):
        chosen = [each for each in listed if each.is_ours is is_ours]
        if chosen:
            parts += [f"<h2>{heading}</h2><ul>", *_items(chosen), "</ul>"]
    if not listed:
        parts.append("<p>There is no notebook in the folder.</p>")
    return page("Stargazer", "".join(parts))


def _items(listed: Collection[Listed]) -> Iterator[str]:
    for each in listed:
        file = f"{each.name}.py".encode("utf-8", "replace").decode()
        text = f"<code>{escape(file)}</code><strong>{escape(each.title)}</strong>"
        text += f"<p class=said>{escape(each.description)}</p>" if each.description else ""
        if each.problem:
            yield f"<li><div>{text}<p class=problem>Not served: {escape(each.problem)}</p></div></li>"
        else:
            yield f'<li><a href="{escape(each.address)}">{text}</a></li>'
