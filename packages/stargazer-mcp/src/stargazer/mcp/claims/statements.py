"""What a claim says that its file is, and the sentence that it stands for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from stargazer.assets.keyvalues import composed
from stargazer.mcp.claims.conditions import Column, Condition
from stargazer.mcp.claims.numbers import Written
from stargazer.mcp.claims.verdicts import Contradicted, Unverifiable
from stargazer.mcp.strict_json import shortened
from stargazer.storage import Store

__all__ = ["about_of", "check_selection", "check_site", "check_statement", "numbers_in"]

EXAMPLE = 'for example "about": {"sample": "NA12878", "build": "GRCh38"}'
WORD = re.compile(r"[\w][\w.+:@#-]*")
LONGEST = 2_000  # characters of a statement
WORDS = 100  # of a statement, that are looked up
NUMBER = re.compile(
    r"(?<![\w.,:/|])(?<!\w[-\u2013])"
    r"([+-]?(?:\d{1,3}(?:[, \u00a0\u2009\u202f]\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d{1,3})?+)"
    r"(?:\s*(%|(?:per ?cent|hundred|dozen|thousand|million|billion|mio|bn|[kKM](?:bp?|B)?|G(?:bp?|B)|[xX])(?!\w)))?+"
    r"(?!\w|[/|]|[.,:]\d|[-\u2013]\d)"
)
"""A number that stands alone in a sentence, and the word after it that makes it another."""
SIZES = {"hundred": 100, "dozen": 12, "thousand": 10**3, "million": 10**6, "mio": 10**6, "billion": 10**9,
         "bn": 10**9, "k": 10**3, "m": 10**6, "g": 10**9}  # fmt: skip
COMPARED = re.compile(
    r"(?:(?:more|less|fewer|greater|higher|lower) than|at (?:least|most)|over|under|above|below|up to|nearly|almost"
    r"|[<>=]=|[<>\u2264\u2265\u00b1])\s*$",
    re.IGNORECASE,
)
"""What stands before a number that is no value, but a limit."""
BEFORE = 20  # characters of that
NEGATED = re.compile(
    r"(?<!\w)(?:not|no|none|never|neither|nor|without|cannot|lacks?|lacking|except|excluding|false|untrue|wrong|incorrect)(?!\w)|n['\u2019]t(?!\w)",
    re.IGNORECASE,
)


SPOKEN = {
    "FILTER": re.compile(r"(?<!\w)(?:pass(?:es|ed|ing)?|filter(?:s|ed|ing)?)(?!\w)", re.IGNORECASE),
    "TYPE": re.compile(
        r"(?<!\w)(?:snvs?|snps?|indels?|mnvs?|insertions?|deletions?|substitutions?|single[- ]nucleotide)(?!\w)",
        re.IGNORECASE,
    ),
    "ZYGOSITY": re.compile(r"(?<!\w)(?:hets?|heterozyg\w+|hom|hom_\w+|homozyg\w+)(?!\w)", re.IGNORECASE),
}
"""Words for columns of calls that a sentence hardly has for any other reason."""


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


def check_statement(store: Store, claim: Mapping[str, Any], samples: Sequence[str], *, percent: bool) -> None:
    """See that the sentence of a claim, if it has one, gives its value, and names its samples and no others.

    Args:
        percent: the figure is in percent.

    Raises:
        Unverifiable: it does not give the value, or not name a sample; or it denies something.
        Contradicted: it names another sample.
    """
    statement, value = claim.get("statement"), claim["value"]
    if statement is None:
        return
    if not isinstance(statement, str):
        raise Unverifiable("statement is a text: the sentence that is to be reported")
    if len(statement) > LONGEST:
        raise Unverifiable(
            f"a statement of {len(statement):,} characters", "give the one sentence that has the value"
        )
    if denial := NEGATED.search(_without(statement, value, *samples, "false" if value is False else None)):
        raise Unverifiable(
            f"the statement has the word {shortened(denial[0])}: a denial is not compared with a value",
            "state it positively, for example with the number that there are",
        )
    if not _gives(statement, value, percent=percent):
        raise Unverifiable(
            f"the statement does not give the value {shortened(value)}, with what follows its numbers (%, million)",
            "write the value into the statement, or claim the value that is in it",
        )
    words = list(dict.fromkeys(word.rstrip(".:-") for word in WORD.findall(statement)))[:WORDS]
    for word in words:
        if word not in samples and not word.isdecimal() and _is_sample(store, word):
            raise Contradicted(
                f"the statement names the sample {shortened(word)}, and the claim is not about it"
            )
    for name in samples:
        if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", composed(statement)):
            raise Unverifiable(
                f"the statement does not name the sample {shortened(name)}",
                "name each sample of about in the statement",
            )


def check_selection(
    statement: Any, conditions: Sequence[Condition], columns: Sequence[Column], *, calls: bool
) -> None:
    """See that the sentence of a claim speaks of the rows that its query selects.

    Args:
        conditions: of the query.
        columns: all that it looks at.
        calls: the rows are of variants.

    Raises:
        Unverifiable: it does not.
    """
    if not isinstance(statement, str):
        return
    names = {"ZYGOSITY" if column.name.endswith("GT") else column.name for column in columns}
    for name, words in SPOKEN.items() if calls else ():
        if (word := words.search(statement)) and name not in names:
            raise Unverifiable(
                f"the statement has the word {shortened(word[0])}, and the query does not look at {name}",
                f"add a condition on {name}, or leave the word out",
            )
    for condition in conditions:
        given = condition.value if isinstance(condition.value, list) else [condition.value]
        texts = [each for each in given if isinstance(each, str)]
        spoken = SPOKEN.get("ZYGOSITY" if condition.column.name.endswith("GT") else condition.column.name)
        if (calls and spoken and spoken.search(statement)) or condition.op not in ("=", "in"):
            continue
        if missing := [text for text in texts if not _has(statement, text) and not _on(statement, text)]:
            raise Unverifiable(
                f"the query selects {shortened(condition.column.name)} {shortened(missing[0])}, of which the statement "
                "says nothing",
                "write it into the statement",
            )


def check_site(statement: Any, contig: str, at: str) -> None:
    """See that the sentence of a claim about a genotype names the site.

    Raises:
        Unverifiable: it does not.
    """
    if not isinstance(statement, str):
        return
    plain = re.sub(r"(?<=\d),(?=\d)", "", statement)
    if not _has(plain, at) or not (
        _has(plain, contig) or _on(plain, contig) or _has(plain, f"{contig.removeprefix('chr')}:{at}")
    ):
        raise Unverifiable(
            "the statement does not name the site of the genotype",
            "write contig and position into it, as chr20:10,000,117",
        )


def _on(statement: str, contig: str) -> bool:
    return _has(statement, f"chromosome {contig.removeprefix('chr')}")


def _has(statement: str, text: str) -> bool:
    return bool(text) and bool(re.search(rf"(?<!\w){re.escape(text)}(?!\w)", statement, re.IGNORECASE))


def _is_sample(store: Store, word: str) -> bool:
    """Whether files of a store are said to be of that one sample."""
    asked = ({"sample": word}, {"samples": json.dumps([word], ensure_ascii=False)})
    return store.exists() and any(store.query_here(pairs) for pairs in asked)


def _without(statement: str, *parts: Any) -> str:
    for part in parts:
        if isinstance(part, str):
            statement = statement.replace(part, " ")
    return statement


def _gives(statement: str, value: Any, *, percent: bool) -> bool:
    """Whether a value is in a sentence; nothing can be said of those that are no text and no number."""
    written = Written.read(value)
    if written is None:
        if not isinstance(value, str):
            return True
        end = "" if value[-1:].islower() else r"(?!\w)"  # "het" is in "heterozygous"
        return bool(re.search(rf"(?<!\w){re.escape(value)}{end}", statement, re.IGNORECASE))
    written = written.of(percent=percent)
    return any(each == written.value for each in numbers_in(statement, percent=percent))


def numbers_in(statement: str, *, percent: bool) -> list[Decimal]:
    """The numbers of a sentence, in the unit of the figure: each with the word for its size or percentage after it."""
    found = []
    for match in NUMBER.finditer(statement):
        if COMPARED.search(statement, max(0, match.start() - BEFORE), match.start()):
            continue
        value = Decimal(re.sub(r"[^\d.eE+-]", "", match[1]))
        size = (match[2] or "").replace(" ", "")
        if size in ("%", "percent"):
            found.append(value if percent else value / 100)
        else:
            found.append(value * SIZES.get(size, SIZES.get(size[:1].lower(), 1)))
    return found
