"""`stargazer doctor`: what is installed, set and found here, and what to do about the rest."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import attrs
from stargazer.mcp.cli.output import note, print_json, print_text
from stargazer.mcp.cli.words import Parser

__all__ = ["doctor"]

MARKS = {"ok": "ok      ", "optional": "optional", "low": "low     ", "broken": "BROKEN  "}


def doctor(argv: Sequence[str]) -> int:
    """Check this installation."""
    parser = Parser(
        "doctor",
        "[--json]",
        "Check this installation: Python, distributions, settings, the store, tools.\n"
        "Exit status 1 if something essential is broken; nothing is changed.",
        "  stargazer doctor\n  stargazer doctor --json",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    words = parser.sort(argv)
    if words.plain or words.pairs:
        parser.error("doctor takes no words")
    from stargazer.mcp.installation import examine

    findings = examine()
    broken = [finding for finding in findings if finding.state == "broken"]
    if words.options.json:
        print_json([attrs.asdict(finding) for finding in findings])
    else:
        for topic, group in itertools.groupby(findings, key=lambda finding: finding.topic):
            print_text(topic)
            for finding in group:
                print_text(f"  {MARKS[finding.state]}  {finding.name:20} {finding.text}")
                if finding.remedy:
                    print_text(f"              -> {finding.remedy}")
    if broken:
        note(
            f"stargazer: {len(broken)} thing{'s' * (len(broken) > 1)} broken: {', '.join(f.name for f in broken)}"
        )
        return 1
    return 0
