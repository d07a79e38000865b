"""`stargazer config`: prints the settings in force, where each comes from, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stargazer import storage
from stargazer.mcp.cli.console import Parser, note, print_json, print_table, print_text
from stargazer.mcp.configuration import described

__all__ = ["config"]


def config(argv: Sequence[str]) -> int:
    """Print the settings in force."""
    parser = Parser(
        "config",
        "[--json]",
        "What is set, and what follows: where files are kept, where tasks run, and why.\n"
        "A variable wins over config.toml, which wins over the default. Nothing is changed, made or sent.",
        "  stargazer config\n  STARGAZER_MODE=local stargazer config --json",
        {"--json": "print the same as JSON"},
    )
    words = parser.sort(argv)
    parser.no_words(words, "config takes no words: set a variable, or write to config.toml")
    answer = described(storage.Settings.load())
    if words.options.json:
        print_json(answer)
    else:
        _print(answer)
    if missing := answer["storage"]["missing"]:
        note(f"stargazer: error: {missing}")
        return 1
    return 0


def _print(answer: dict[str, Any]) -> None:
    storage, execution, paths = answer["storage"], answer["execution"], answer["paths"]
    where = (
        f"Pinata, {storage['visibility'] or 'private'} unless asked otherwise; {paths['store']} is its cache"
        if storage["kind"] == "pinata"
        else f"in {paths['store']}; nothing leaves this machine"
    )
    print_text(f"mode       {answer['mode']}: {answer['mode_reason']}")
    print_text(f"storage    {where} ({storage['reason']})")
    machine = f"Flyte at {execution['endpoint']}" if execution["endpoint"] else "on this machine"
    print_text(f"execution  {machine}\n")
    rows = [[item["name"], item["value"], item["variable"], item["origin"]] for item in answer["settings"]]
    print_table(["setting", "value", "variable", "from"], rows)
    print_text("")
    print_table(["path of", ""], [[name, path] for name, path in paths.items()])
