"""The one spelling of every verb: options, `key=value` words, and everything else."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

import attrs
from stargazer.mcp.cli.output import escaped, note

__all__ = ["Parser", "Words", "single"]

KEY_VALUE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)


@attrs.frozen
class Words:
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
    """argparse for one verb, whose words are sorted into plain ones and key=value pairs."""

    def __init__(self, verb: str, usage: str, description: str, examples: str, **options: Any):
        super().__init__(
            prog=f"stargazer {verb}",
            usage=f"stargazer {verb} {usage}",
            description=description,
            epilog=f"for example:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            **options,
        )
        self.add_argument("words", nargs="*", help=argparse.SUPPRESS)

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

    def error(self, message: str) -> NoReturn:
        """Usage and what is wrong with the command line, on stderr; exit status 2."""
        note(
            f"usage: {self.usage}\nstargazer: error: {escaped(message)} (`{self.prog} --help` shows examples)"
        )
        raise SystemExit(2)


def single(words: Words, parser: Parser) -> dict[str, str]:
    """The pairs, where a key given twice is a mistake."""
    for key, values in words.pairs.items():
        if len(values) > 1:
            parser.error(f"{key} is given {len(values)} times")
    return {key: values[0] for key, values in words.pairs.items()}
