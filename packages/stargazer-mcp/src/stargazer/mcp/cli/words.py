"""Parses the command lines of verbs: options, `key=value` pairs, other words, and times and sizes in them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from stargazer.mcp.cli.console import escaped, note

__all__ = ["Parser", "Words", "option"]

TIMES = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
SIZES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
         "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}  # fmt: skip
KEY_VALUE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)


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


class Parser(argparse.ArgumentParser):
    """argparse for one verb, whose words are sorted into plain ones and key=value pairs.

    Args:
        verb: the verb.
        usage: what follows it.
        description: what it does.
        examples: command lines.
        options: the help of each flag, or what `option` gives; two spellings of one are parted by a space.
        add_help: with --help.
    """

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
        for names, taken in (options or {}).items():
            flag = {"action": "store_true", "help": taken}
            self.add_argument(*names.split(), **(flag if isinstance(taken, str) else taken))

    def sort(self, argv: Sequence[str]) -> Words:
        """The words of a command line; a word is a pair when it begins with an identifier and `=`."""
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
        note(
            f"usage: {self.usage}\nstargazer: error: {escaped(message)} (`{self.prog} --help` shows examples)"
        )
        raise SystemExit(2)
