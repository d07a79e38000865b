"""`stargazer claims`: checks statements about files against the files, as agents have it done."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stargazer.assets import FormatError
from stargazer.mcp.cli.console import Parser, escaped, print_json, print_text
from stargazer.mcp.cli.progress import working
from stargazer.mcp.cli.selection import existing
from stargazer.mcp.strict_json import JsonError, parse, shortened

__all__ = ["claims"]


def claims(argv: Sequence[str]) -> int:
    """Check statements about files against the files."""
    parser = Parser(
        "claims",
        "FILE.json [--json]",
        "Check statements about files of the store against the files: each is confirmed, contradicted (with the true\n"
        "value) or unverifiable. FILE.json is a list of claims, or `-` for standard input; docs/claims.md says what a\n"
        "claim is. Exit status 1: one is not confirmed.",
        "  stargazer claims figures.json\n"
        '  echo \'[{"cid": "bafkrei...", "field": "sample", "value": "NA12878"}]\' | stargazer claims -',
        {"--json": "print the answer as JSON"},
    )
    words = parser.sort(argv)
    if len(words.plain) != 1 or words.pairs:
        parser.error("say which file has the claims")

    from stargazer.mcp.claims import check_claims

    store, claimed = existing(), _read(words.plain[0])
    with working("reading the files"):
        answer = check_claims(store, claimed)
    if words.options.json:
        print_json(answer)
    else:
        for result in answer["results"]:
            print_text(escaped(_line(result)))
    return 0 if answer["confirmed"] == len(answer["results"]) else 1


def _read(name: str) -> Any:
    """The claims of a file.

    Raises:
        FormatError: it is not there, or no JSON.
    """
    try:
        return parse(sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8"))
    except (JsonError, UnicodeDecodeError) as error:
        raise FormatError(f"{name!r} is no list of claims: {error}") from None
    except OSError as error:
        raise FormatError(f"{name!r} cannot be read: {error.strerror}") from None


def _line(result: dict[str, Any]) -> str:
    """What became of one claim, in a line."""
    asked = f"{result['asked']}: " if "asked" in result else ""
    words = [f"{result['claim']}: {result['verdict']}: {asked}{shortened(result['claimed'])}"]
    if result["verdict"] == "contradicted" and "found" in result:
        words.append(f"the file has {shortened(result['found'])}")
    near = f"near: {', '.join(result['near'])}" if "near" in result else ""
    words += filter(None, [result.get("why"), near, result.get("then")])
    return f"{'; '.join(words)} ({result['cid']!s})"
