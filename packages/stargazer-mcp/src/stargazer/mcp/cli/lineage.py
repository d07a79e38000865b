"""`stargazer why`: how a file came to be, back to what was imported."""

from __future__ import annotations

from collections.abc import Sequence

from stargazer.mcp.cli.finding import existing, one_cid
from stargazer.mcp.cli.output import print_json, print_text
from stargazer.mcp.cli.words import Parser

__all__ = ["why"]


def why(argv: Sequence[str]) -> int:
    """Show how a file came to be."""
    parser = Parser(
        "why",
        "CID|ID|FILE|key=value ... [--latest] [--json]",
        "How a file came to be: tasks, commands and versions, back to what was imported.\n"
        "A file of this machine is found by what it holds, whatever it is called; the CID of a provenance\n"
        "document shows that very execution.",
        "  stargazer why results/NA12878.variants.vcf.gz\n  stargazer why asset=variants samples=NA12878",
    )
    parser.add_argument("--json", action="store_true", help="print the lineage as JSON")
    parser.add_argument("--latest", action="store_true", help="of several that match, the newest")
    words = parser.sort(argv)
    if len(words.plain) + bool(words.pairs) != 1:
        parser.error("say which file: a CID, a path, or key=value")
    from stargazer.storage import lineage

    store = existing()
    step = lineage.why(store, one_cid(store, words))
    if words.options.json:
        print_json(lineage.as_json(step))
    else:
        print_text(lineage.render(step))
    return 0
