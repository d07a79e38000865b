"""Prints answers, tables and JSON on stdout, notes and errors on stderr; control characters are escaped."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stargazer.assets.addresses import hidden

if TYPE_CHECKING:
    from stargazer.assets import IpFile

__all__ = ["SHOWN", "count", "escaped", "explain", "fail", "forget_stdout", "human_size", "kept_traceback", "listing",
           "note", "plain_warnings", "print_files", "print_fitting", "print_json", "print_records", "print_table",
           "print_text", "say_more", "settle_streams"]  # fmt: skip

WIDTH = 120
"""Characters of a line where no terminal says how wide it is."""
NARROWEST = 20
SHOWN = 20
"""Things of one kind that people are shown."""
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def settle_streams() -> None:
    """Make every file name printable, also one that is no text in this locale; closed streams take everything."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (for the rest of the process)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def escaped(text: str, keep: str = "") -> str:
    """Text with control characters and line ends (those in `keep` aside) as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def fail(text: str) -> None:
    """An error, on stderr."""
    note(f"stargazer: error: {text}")


def note(text: str) -> None:
    """Something people should know, on stderr; of a URL in it neither user, password nor query."""
    try:
        sys.stderr.write(escaped(hidden(text), keep="\n\t") + "\n")
    except (
        OSError
    ):  # nobody reads it, or the disk that it goes to is full; else Python tries again when it ends
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Warnings within a `with` block are one line on stderr each, once, without the code that gave them."""
    with warnings.catch_warnings():  # whatever was said in an earlier block is said again
        warnings.showwarning = lambda message, *_, **__: note(f"stargazer: warning: {message}")
        yield


def print_text(text: str) -> None:
    """Lines of an answer, on stdout."""
    sys.stdout.write(escaped(text, keep="\n") + "\n")


def print_json(value: Any) -> None:
    """An answer for programs, on stdout."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, most: int | None = None) -> None:
    """Aligned columns, on stdout; columns in which no row has anything are left out.

    Args:
        most: rows that are shown; of more it is said how many.
    """
    shown = [[escaped(cell) for cell in row] for row in rows[:most]]
    used = [n for n in range(len(header)) if any(row[n] for row in shown)]
    lines = [[header[n] for n in used], *([row[n] for n in used] for row in shown)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(used))]
    for line in lines:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write(text.rstrip() + "\n")
    say_more(len(rows) - len(shown))


def say_more(number: int) -> None:
    """That so many are not shown, if there are any."""
    if number > 0:
        note(f"... and {number:,} more (--json lists all)")


def print_fitting(rows: Sequence[Mapping[str, str]], *, spared: Sequence[str], cut: str) -> None:
    """A table that fits the terminal (120 characters where there is none), if it can.

    Args:
        rows: cells by column.
        spared: columns that are left out, one after the other, where it does not fit with them.
        cut: the column that is cut where that is not enough.
    """
    width = shutil.get_terminal_size((WIDTH, 0)).columns if sys.stdout.isatty() else WIDTH
    rows = [{name: escaped(cell) for name, cell in row.items()} for row in rows]
    columns = [name for name in rows[0] if any(row[name] for row in rows)] if rows else []

    def over() -> int:
        cells = [max(len(name), *(len(row[name]) for row in rows)) for name in columns]
        return sum(cells) + 2 * (len(columns) - 1) - width

    for name in spared:
        if rows and over() > 0 and name in columns:
            columns.remove(name)
    if cut in columns and (more := over()) > 0:
        longest = max(NARROWEST, max(len(row[cut]) for row in rows) - more)
        rows = [{**row, cut: _shortened(row[cut], longest)} for row in rows]
    print_table(columns, [[row[name] for name in columns] for row in rows])


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def human_size(size: float) -> str:
    """Bytes as people say them: 1.2 GB."""
    for unit in UNITS:
        if size < 1000 or unit == UNITS[-1]:
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"


def count(number: int, what: str) -> str:
    """A number of things: 1 file, 2,000 files."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def print_records(records: Sequence[IpFile], dropped: Collection[str] = ()) -> None:
    """A table of records for people, as wide as the terminal; a CID is always whole.

    Args:
        dropped: the CIDs of evicted bytes.
    """
    from stargazer.mcp.records import fields_text

    rows = [
        {"TYPE": record.keyvalues.get("asset", "?"), "WHAT": fields_text(record.keyvalues), "NAME": record.name,
         "SIZE": human_size(record.size), "CREATED (UTC)": record.created_at[:19].replace("T", " "),
         "BYTES": "evicted" if record.cid in dropped else "", "CID": record.cid}
        for record in records
    ]  # fmt: skip
    print_fitting(rows, spared=("CREATED (UTC)", "NAME"), cut="WHAT")


def print_files(records: Sequence[IpFile]) -> None:
    """A table of what was just registered."""
    from stargazer.mcp.records import fields_text

    rows = [
        [record.keyvalues["asset"], fields_text(record.keyvalues), record.name, human_size(record.size), record.cid]
        for record in records
    ]  # fmt: skip
    print_table(["TYPE", "WHAT", "NAME", "SIZE", "CID"], rows)


def listing(records: Sequence[IpFile]) -> str:
    """A line for each record, with its id, for a message."""
    from stargazer.mcp.records import fields_text

    lines = [
        f"  {record.id} {record.keyvalues.get('asset', '?')} {fields_text(record.keyvalues)} "
        f"{record.name!r} {record.cid}"
        for record in records[:SHOWN]
    ]
    return "\n".join([*lines, *([f"  ... and {len(records) - SHOWN} more"] if len(records) > SHOWN else [])])


def explain(error: Exception) -> None:
    """Say what went wrong, in one text on stderr: what the file system refuses in the user's words, and of what nobody
    expected where its traceback is. With STARGAZER_DEBUG it is raised, unless stdout is to blame."""
    from stargazer.assets import StargazerError

    is_ours = isinstance(error, StargazerError)
    if isinstance(error, OSError) and not is_ours and error.filename is None and _in_output(error):
        forget_stdout()
        fail(f"the answer cannot be written: {error.strerror}")
    elif os.environ.get("STARGAZER_DEBUG"):
        raise error
    elif isinstance(error, StargazerError):
        fail(error.explain())
    elif isinstance(error, OSError):
        fail(_refused(error))
    else:
        fail(f"unexpected {type(error).__name__}: {error}{kept_traceback()}")


def forget_stdout() -> None:
    """Nobody reads any more: keep the interpreter's last flush from complaining."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _in_output(error: OSError) -> bool:
    """Whether it was stdout that could not be written: nothing else is, by these modules themselves."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    name = last.tb_frame.f_globals.get("__name__", "") if last is not None else ""
    return name in ("argparse", "stargazer.mcp.wire") or name.startswith("stargazer.mcp.cli")


def _refused(error: OSError) -> str:
    """What the file system refuses, in the user's words."""
    from stargazer.assets import StargazerError
    from stargazer.storage import Settings, refused

    try:
        place = str(Settings.load().home)
    except (OSError, StargazerError):
        place = "."
    return str(refused(error, place))


def kept_traceback() -> str:
    """Keep the traceback of the current exception, and say where."""
    import time
    import traceback

    from stargazer.assets import StargazerError
    from stargazer.storage import Settings

    try:
        folder = Settings.load().home / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}-traceback.txt"
        path.write_text(hidden(traceback.format_exc()), errors="backslashreplace")
    except (OSError, StargazerError):
        return " (STARGAZER_DEBUG=1 shows the traceback)"
    return f" (traceback: {path})"
