"""The terminal: parses words of a command line, prints answers on stdout and notes and errors on stderr.

Options, `key=value` pairs, other words, times and sizes are parsed; control characters of what is printed are escaped.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn

from stargazer.assets.addresses import hidden

if TYPE_CHECKING:
    from stargazer.assets import IpFile

__all__ = ["KEY_VALUE", "SHOWN", "WIDTH", "Parser", "ParserFound", "Words", "count", "escaped", "explain", "fail",
           "forget_stdout", "human_size", "human_time", "kept_traceback", "listing", "note", "option",
           "plain_warnings", "print_files", "print_fitting", "print_json", "print_records", "print_table", "print_text",
           "refused_text", "say_more", "settle_streams", "status_line"]  # fmt: skip

WIDTH = 120
"""Characters of a line where no terminal says how wide it is."""
NARROWEST = 20
SHOWN = 20
"""Things of one kind that people are shown."""
TIMES = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
SIZES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
         "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}  # fmt: skip
KEY_VALUE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
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
        for erase in _status_lines:
            erase()
        sys.stderr.write(escaped(hidden(text), keep="\n\t") + "\n")
    except (
        OSError
    ):  # nobody reads it, or the disk that it goes to is full; else Python tries again when it ends
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


_status_lines: list[Callable[[], None]] = []


@contextlib.contextmanager
def status_line(erase: Callable[[], None]) -> Iterator[None]:
    """While a line of stderr tells what goes on, notes erase it first."""
    _status_lines.append(erase)
    try:
        yield
    finally:
        _status_lines.remove(erase)


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


def human_time(seconds: float) -> str:
    """Seconds as people say them: 1.2 s, 3 min 12 s, 2 h 5 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_of_hour = divmod(minutes, 60)
    if minutes < 2:
        return f"{seconds:.1f} s"
    return f"{hours} h {minutes_of_hour} min" if hours else f"{minutes} min {rest} s"


def count(number: int, what: str) -> str:
    """A number of things: 1 file, 2,000 files."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def print_records(records: Sequence[IpFile], dropped: Collection[str] = ()) -> None:
    """A table of records for people, as wide as the terminal; a CID is always whole.

    Args:
        dropped: the CIDs of evicted bytes.
    """
    from stargazer.assets.keyvalues import fields_text  # here: --help needs none of it

    rows = [
        {"TYPE": record.keyvalues.get("asset", "?"), "WHAT": fields_text(record.keyvalues), "NAME": record.name,
         "SIZE": human_size(record.size), "CREATED (UTC)": record.created_at[:19].replace("T", " "),
         "BYTES": "evicted" if record.cid in dropped else "", "CID": record.cid}
        for record in records
    ]  # fmt: skip
    print_fitting(rows, spared=("CREATED (UTC)", "NAME"), cut="WHAT")


def print_files(records: Sequence[IpFile], *, most: int | None = None) -> None:
    """A table of what was just registered; of more than `most` files it is said how many they are."""
    from stargazer.assets.keyvalues import fields_text  # here: --help needs none of it

    rows = [
        [record.keyvalues["asset"], fields_text(record.keyvalues), record.name, human_size(record.size), record.cid]
        for record in records
    ]  # fmt: skip
    print_table(["TYPE", "WHAT", "NAME", "SIZE", "CID"], rows, most=most)


def listing(records: Sequence[IpFile]) -> str:
    """A line for each record, with its id, for a message."""
    from stargazer.assets.keyvalues import fields_text  # here: --help needs none of it

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
        fail(refused_text(error))
    else:
        fail(f"unexpected {type(error).__name__}: {error}{kept_traceback()}")


def forget_stdout() -> None:
    """Nobody reads any more: keep the interpreter's last flush from complaining."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _in_output(error: OSError) -> bool:
    """Whether it was stdout that could not be written: nothing else is, by these modules themselves."""
    import traceback

    *_, (last, _) = traceback.walk_tb(error.__traceback__)
    name = last.f_globals.get("__name__", "")
    return name in ("argparse", "stargazer.mcp.wire") or name.startswith("stargazer.mcp.cli")


def refused_text(error: OSError) -> str:
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


def option(metavar: str, text: str, **more: Any) -> dict[str, Any]:
    """An option with a value: what the value is called, its help, and what else `add_argument` takes."""
    return {"metavar": metavar, "help": text, **more}


class Words(NamedTuple):
    """What a command line says.

    Attributes:
        plain: words that are no key=value: files, CIDs, names; every word after `--`.
        pairs: the values of each key, in the order given.
        options: what argparse made of the options.
    """

    plain: list[str]
    pairs: dict[str, list[str]]
    options: argparse.Namespace


class ParserFound(Exception):
    """The parser of a verb, where that is all that is asked of the verb.

    Attributes:
        parser: what its words are read with.
    """

    def __init__(self, parser: Parser):
        super().__init__(parser.prog)
        self.parser = parser


class Parser(argparse.ArgumentParser):
    """argparse for one verb, whose words are sorted into plain ones and key=value pairs.

    Attributes:
        asked: whether a verb is called for its parser alone, which then raises `ParserFound` instead of sorting words.
        flags: its options, but for a --help that is argparse's own.

    Args:
        verb: the verb.
        usage: what follows it.
        description: what it does.
        examples: command lines.
        options: the help of each flag, or what `option` gives; two spellings of one are parted by a space.
        add_help: with --help.
    """

    asked: ClassVar[bool] = False

    def __init__(
        self,
        verb: str,
        usage: str,
        description: str,
        examples: str,
        options: Mapping[str, str | dict[str, Any]] | None = None,
        *,
        add_help: bool = True,
    ):
        super().__init__(
            prog=f"stargazer {verb}",
            usage=f"stargazer {verb} {usage}",
            description=description,
            epilog=f"for example:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            add_help=add_help,
        )
        self.add_argument("words", nargs="*", help=argparse.SUPPRESS)
        self.flags: list[argparse.Action] = []
        for names, taken in (options or {}).items():
            flag = {"action": "store_true", "help": taken}
            self.flags.append(
                self.add_argument(*names.split(), **(flag if isinstance(taken, str) else taken))
            )

    def sort(self, argv: Sequence[str]) -> Words:
        """The words of a command line; a word is a pair when it begins with an identifier and `=`."""
        if Parser.asked:
            raise ParserFound(self)
        argv = list(argv)
        cut = argv.index("--") if "--" in argv else len(argv)
        options = self.parse_intermixed_args(argv[:cut])
        plain: list[str] = []
        pairs: dict[str, list[str]] = {}
        for word in options.words:
            if match := KEY_VALUE.fullmatch(word):
                pairs.setdefault(match[1], []).append(match[2])
            else:
                plain.append(word)
        return Words(plain + argv[cut + 1 :], pairs, options)

    def single(self, words: Words) -> dict[str, str]:
        """The pairs, where a key given twice is a mistake."""
        for key, values in words.pairs.items():
            if len(values) > 1:
                self.error(f"{key} is given {len(values)} times")
        return {key: values[0] for key, values in words.pairs.items()}

    def one_way(self, words: Words, question: str = "") -> None:
        """Refuse CIDs beside filters: whether both should hold is not said. With a question, refuse no words too."""
        if question and not words.plain and not words.pairs:
            self.error(question)
        if words.plain and words.pairs:
            self.error("give CIDs or key=value, not both")

    def only(self, words: Words, options: Collection[str], of: str) -> None:
        """Refuse options that an action does not take; every one takes --json.

        Args:
            options: those that it takes, by their names in `words.options`.
            of: the verb with the action.
        """
        given = {
            name for name, value in vars(words.options).items() if value and name not in ("words", "json")
        }
        for name in sorted(given - set(options)):
            self.error(f"--{name.replace('_', '-')} is not for `{of}`")

    def no_words(self, words: Words, problem: str = "") -> None:
        """Refuse words that are no options, with a text that says so."""
        for word in [*words.plain, *(f"{key}=..." for key in words.pairs)]:
            self.error(problem or f"{word!r} is not expected here")

    def parse_seconds(self, option: str, text: str) -> float:
        """Seconds of a time like 30m, 12h, 14d or 2w; 0 alone is none."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", text.strip())
        if match is None or (not match[2] and float(match[1]) != 0):
            self.error(f"{option}: expected a time like 30m, 12h, 14d or 2w, got {text!r}")
        return float(match[1]) * TIMES[match[2] or "s"]

    def parse_bytes(self, option: str, text: str) -> int:
        """Bytes of a size like 500MB or 2GiB."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
        if match is None or match[2].upper() not in SIZES:
            self.error(f"{option}: expected a size like 500MB or 2GB, got {text!r}")
        return int(float(match[1]) * SIZES[match[2].upper()])

    def error(self, message: str) -> NoReturn:
        """Usage and what is wrong with the command line, on stderr; exit status 2."""
        kind, _, unknown = message.partition("unrecognized arguments: ")
        if not kind and unknown.startswith("-"):
            import difflib

            flags = [flag for action in self.flags for flag in action.option_strings]
            near = difflib.get_close_matches(unknown.split()[0], flags, n=1)
            message += f": did you mean {near[0]}?" if near else ""
        note(
            f"usage: {self.usage}\nstargazer: error: {escaped(message)} (`{self.prog} --help` shows examples)"
        )
        raise SystemExit(2)
