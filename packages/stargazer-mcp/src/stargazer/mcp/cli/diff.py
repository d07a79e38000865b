"""`stargazer diff`: the first differences in how two files were made, and how their contents differ."""

from __future__ import annotations

from collections.abc import Sequence

from stargazer.mcp.cli.console import Parser, Words, print_json, print_text
from stargazer.mcp.cli.progress import working
from stargazer.mcp.cli.selection import existing, one_cid
from stargazer.storage import lineage

__all__ = ["diff"]


def diff(argv: Sequence[str]) -> None:
    """Show where the lineages of two files part, and how their contents differ."""
    parser = Parser(
        "diff",
        "A B [--no-contents] [--json]",
        "Where the ways of two files part: the first inputs, parameters, code, tools and platforms upstream that\n"
        "differ, not all that follows from them; then how the contents differ, of files whose bytes are here.\n"
        "A and B are CIDs, ids or files of this machine; CIDs of provenance documents compare two executions.",
        "  stargazer diff results/NA12878.variants.vcf.gz results2/NA12878.variants.vcf.gz",
        {"--no-contents": "compare only how they came to be", "--json": "print the differences as JSON"},
    )
    words = parser.sort(argv)
    if len(words.plain) != 2 or words.pairs:
        parser.error("say which two files: CIDs, ids or paths")

    store = existing()
    a, b = (one_cid(store, Words([word], {}, words.options)) for word in words.plain)
    with working("comparing"):
        difference = lineage.diff(store, a, b)
        both = difference.a.entry, difference.b.entry
        lines = [] if words.options.no_contents else lineage.contents(store, *both)
    if words.options.json:
        print_json(lineage.difference_as_json(difference, lines))
    else:
        print_text(lineage.render_difference(difference, lines))
