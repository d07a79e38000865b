"""What a claim says that its file is, and the sentence that it stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from stargazer.assets.keyvalues import composed
from stargazer.mcp.claims.numbers import NUMBERS, Written
from stargazer.mcp.claims.verdicts import Contradicted, Unverifiable
from stargazer.mcp.strict_json import shortened
from stargazer.storage import Store

__all__ = ["about_of", "check_statement"]

EXAMPLE = 'for example "about": {"sample": "NA12878", "build": "GRCh38"}'
WORD = re.compile(r"[\w][\w.+:@#-]*")
WORDS = 100  # of a statement, that are looked up


def about_of(claim: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]]:
    """What a statement says of its file, and the samples among that.

    Raises:
        Unverifiable: it is given in a way that says nothing.
    """
    about = claim.get("about", {})
    if not isinstance(about, Mapping):
        raise Unverifiable("about is an object", EXAMPLE)
    named = [about[key] for key in ("sample", "samples") if key in about]
    query = claim.get("query")
    if isinstance(query, Mapping) and "sample" in query:
        named.append(query["sample"])
    lists = [each if isinstance(each, list) else [each] for each in named]
    if any(not isinstance(name, str) or not name for names in lists for name in names):
        raise Unverifiable("a sample is named by text", EXAMPLE)
    if len({frozenset(names) for names in lists}) > 1:
        raise Contradicted("the claim names one sample in about, and another one beside it")
    return about, list(dict.fromkeys(map(composed, lists[0]))) if lists else []


def check_statement(store: Store, claim: Mapping[str, Any], samples: Sequence[str]) -> None:
    """See that the sentence of a claim, if it has one, gives its value, and names no sample that it is not about.

    Raises:
        Unverifiable: it does not give the value.
        Contradicted: it names another sample.
    """
    statement, value = claim.get("statement"), claim["value"]
    if statement is None:
        return
    if not isinstance(statement, str):
        raise Unverifiable("statement is a text: the sentence that is to be reported")
    if not _gives(statement, value):
        raise Unverifiable(
            f"the statement does not give the value {shortened(value)}",
            "write the value into the statement, or claim the value that is in it",
        )
    words = list(dict.fromkeys(word.rstrip(".:-") for word in WORD.findall(statement)))[:WORDS]
    for word in words:
        if (
            word not in samples
            and not word.isdecimal()
            and store.exists()
            and store.query_here({"sample": word})
        ):
            raise Contradicted(
                f"the statement names the sample {shortened(word)}, and the claim is not about it"
            )


def _gives(statement: str, value: Any) -> bool:
    """Whether a value is in a sentence; nothing can be said of those that are no text and no number."""
    written = Written.read(value)
    if written is None:
        return not isinstance(value, str) or value.lower() in statement.lower()
    if isinstance(value, str) and value in statement:
        return True
    found = [Written.read(match[0]) for match in NUMBERS.finditer(statement)]
    return any(each is not None and each.value == written.value for each in found)
