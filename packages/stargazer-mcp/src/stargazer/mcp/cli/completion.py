"""`stargazer completion`: prints what completes words in bash, zsh and fish, and answers what may come next."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from stargazer.mcp.cli.console import Parser, ParserFound, escaped
from stargazer.mcp.cli.offers import SOURCES, Line, Offer, actions_of

__all__ = ["completion", "offered", "parser_of"]

SHELLS = {"bash": "stargazer.bash", "zsh": "stargazer.zsh", "fish": "stargazer.fish"}
TAKES: dict[str, tuple[str, ...]] = {
    "demo": ("scrna",),
    "notebook": ("notebooks",),
    "add": ("fields", "files"),
    "samplesheet": ("folders",),
    "query": ("pairs",),
    "get": ("pairs", "cids", "files"),
    "amend": ("fields", "cids", "files"),
    "rm": ("pairs", "cids"),
    "why": ("pairs", "cids", "files"),
    "diff": ("cids", "files"),
    "stale": ("pairs", "tasks", "cids", "files"),
    "claims": ("files",),
    "supersede": ("cids", "files"),
    "run": ("workflows", "arguments"),
    "runs": ("actions",),
    **dict.fromkeys(
        (f"runs {action}" for action in ("show", "logs", "watch", "cancel", "resume", "rm")), ("runs",)
    ),
    "promote-task": ("files",),
    "push": ("pairs", "cids"),
    "pull": ("pairs", "cids"),
    "verify": ("pairs", "cids"),
    "evict": ("pairs", "cids"),
    "replay": ("bundles", "files"),
    "bundle": ("actions",),
    "bundle make": ("pairs", "cids"),
    **dict.fromkeys((f"bundle {action}" for action in ("show", "fetch", "verify")), ("bundles", "files")),
    "install": ("tools",),
    "completion": tuple(SHELLS),
    "mcp": ("clients",),
}
"""What words of a verb, or of one of its actions, may be: what a function of `SOURCES` offers, or the word itself."""
STANDS_FOR = {"SHEET": "files", "DIR": "folders", "FOLDER": "folders", "TASK": "tasks", "RUN": "runs",
              "key=value": "pairs"}  # fmt: skip
"""The same by what the value of an option is called."""
PLAIN = re.compile(r"[\w.:+@%/,=-]+")
"""Words that no shell takes for something else; others are not offered."""
ABOUT = 70  # characters of what is said beside a word


def completion(argv: Sequence[str]) -> int | None:
    """Print the script of a shell, or what may come next."""
    parser = Parser(
        "completion",
        "bash | zsh | fish",
        "Print what has a shell complete verbs, options, workflows and their arguments, runs, keys and values.\n"
        "It asks this command while you write, which changes and sends nothing.",
        "  source <(stargazer completion bash)      # in ~/.bashrc\n"
        "  source <(stargazer completion zsh)       # in ~/.zshrc, after compinit\n"
        "  stargazer completion fish > ~/.config/fish/completions/stargazer.fish",
        {"--offer": {"action": "store_true", "help": argparse.SUPPRESS}},
    )
    words = parser.sort(argv)
    if words.options.offer:
        for word, about in offered(words.plain):
            sys.stdout.write(f"{word}\t{escaped(about)[:ABOUT]}\n")
        return None
    if len(words.plain) != 1 or words.plain[0] not in SHELLS or words.pairs:
        parser.error(f"say for which shell: {', '.join(SHELLS)}")
    sys.stdout.write((Path(__file__).parent / "shells" / SHELLS[words.plain[0]]).read_text())
    return None


def offered(words: Sequence[str]) -> list[Offer]:
    """What may come next.

    Args:
        words: those after the command, with what there is of the one that is being written, which may be empty.
    """
    from stargazer.mcp.cli import VERBS

    *before, current = words or [""]
    found: Iterable[Offer] = ()
    if not before:
        found = [*VERBS.items(), ("--help", ""), ("--version", "")]
    elif before[0] in VERBS:
        found = _of_verb(before[0], before[1:], current)
    begins = [(word, about) for word, about in found if word.startswith((":", current))]
    return [(word, about) for word, about in dict(begins).items() if PLAIN.fullmatch(word)]


def _of_verb(verb: str, before: Sequence[str], current: str) -> Iterator[Offer]:
    if "--" in before:
        yield ":files", ""
        return
    parser = parser_of(verb)
    flags = {flag: action for action in parser.flags for flag in action.option_strings} if parser else {}
    line, awaited = Line(verb, [], current), None
    for word in before:
        if awaited is not None:
            awaited = None
        elif word in flags:
            awaited = flags[word] if flags[word].nargs != 0 else None
        elif not word.startswith("-"):
            line.plain.append(word)
    name, is_value, value = current.partition("=")
    if awaited is not None:
        yield from _values_of(awaited, line)
    elif is_value and name in flags:
        for word, about in _values_of(flags[name], line._replace(current=value)):
            yield (word if word.startswith(":") else f"{name}={word}"), about
    elif current.startswith("-"):
        yield from _options(verb, line, {flag for flag in flags if flag not in before}, flags)
    else:
        of = f"{verb} {line.plain[0]}" if line.plain and actions_of(verb) else verb
        for source in TAKES.get(of, ()):
            yield from SOURCES[source](line) if source in SOURCES else ([] if line.plain else [(source, "")])


def parser_of(verb: str) -> Parser | None:
    """What the words of a verb are read with."""
    from stargazer.mcp.cli import verb_function

    Parser.asked = True
    try:
        verb_function(verb)([])
    except ParserFound as found:
        return found.parser
    finally:
        Parser.asked = False
    return None


def _options(
    verb: str, line: Line, left: Iterable[str], flags: Mapping[str, argparse.Action]
) -> Iterator[Offer]:
    """The options that were not given yet; of a verb with actions, those of the action."""
    actions = actions_of(verb)
    taken = actions.get(line.plain[0] if line.plain else "", (None, None))[1] if actions else None
    for flag in flags:
        action = flags[flag]
        is_taken = taken is None or action.dest in taken or action.dest in ("help", "json")
        if flag in left and is_taken and action.help != argparse.SUPPRESS:
            yield flag, action.help or ""


def _values_of(action: argparse.Action, line: Line) -> Iterable[Offer]:
    """What the value of an option may be."""
    if action.choices is not None:
        return [(str(choice), "") for choice in action.choices]
    source = STANDS_FOR.get(str(action.metavar))
    return SOURCES[source](line._replace(plain=[])) if source else ()
