"""The chat of notebooks: marimo with rules for its model and the MCP server, below the settings of the user.

marimo has no place for settings that yield to the user's own: those of a project overrule them, and a file in the
folder replaces them. So this module is the program that `stargazer notebook` becomes, `python -m stargazer.mcp.chat
WORDS OF SERVE -- WORDS OF MARIMO`: it puts `marimo.toml`, which lies beside it, below what marimo reads from the user's
file, in this process alone. Nothing of the user's settings is copied or written.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marimo._config.config import MarimoConfig, PartialMarimoConfig
    from marimo._config.reader import ConfigReader

__all__ = ["CHOICES", "NEEDED", "marimo_command", "settings"]

CHOICES = ("read", "write", "off")
"""What the model may do with the store: look, also change and run, or there is neither server nor rules."""

NEEDED = ("httpx2", "openai", "pydantic_ai")
"""Packages with which marimo reaches a server and a provider of models; the extra `notebook` brings them."""

SERVER = "stargazer"
DIVIDER = "--"


def marimo_command(chat: str, roots: Sequence[Path]) -> list[str]:
    """The words that start marimo; those of marimo itself follow them.

    Args:
        chat: one of CHOICES.
        roots: folders whose files the server may read, and write to where it may write.
    """
    if chat == "off":
        return [sys.executable, "-m", "marimo"]
    allowed = [word for root in roots for word in ("--root", str(root))]
    return [
        sys.executable,
        "-m",
        __name__,
        *allowed,
        *(["--read-only"] if chat == "read" else []),
        DIVIDER,
    ]


def settings(words: Sequence[str]) -> dict[str, Any]:
    """What `marimo.toml` says, with the server of this installation, which is started by this Python.

    Args:
        words: of `stargazer serve`.
    """
    import tomllib

    read = tomllib.loads(resources.files("stargazer.mcp").joinpath("marimo.toml").read_text(encoding="utf-8"))
    # -P: a notebook's folder may have a module of any name
    command = {"command": sys.executable, "args": ["-P", "-m", "stargazer.mcp.cli", "serve", *words]}
    return {**read, "mcp": {"mcpServers": {SERVER: command}}}


def below_the_users(own: dict[str, Any]) -> None:
    """Let this process's marimo take these settings where neither the user nor the project says otherwise.

    Args:
        own: as `settings` gives them.
    """
    from marimo._config import manager
    from marimo._config.config import merge_default_config
    from marimo._config.resolver import merge_config_patches

    class Layered(manager.UserConfigStore):
        """The user's settings above our own; what is saved is the user's alone."""

        def __init__(self, project: Sequence[ConfigReader]):
            self.project = project

        def read(self) -> PartialMarimoConfig:
            user = super().read()
            below = _yielding(own, [user, *(each.read() for each in self.project)])
            return merge_config_patches([below, user])

        def save_config(self, config: MarimoConfig | PartialMarimoConfig) -> MarimoConfig:
            manager.UserConfigStore().save_config(_without(own, config))
            return merge_default_config(self.read())

    class Manager(manager.MarimoConfigManager):
        """The same, with the user's settings above our own."""

        def __init__(self, user: manager.UserConfigStore, *partials: ConfigReader):
            super().__init__(Layered(partials), *partials)

    vars(manager)["MarimoConfigManager"] = Manager


def _yielding(own: dict[str, Any], others: Sequence[Any]) -> Any:
    """Our settings without the server where others have one of its name: marimo would mix the two, key by key.

    Where somebody has switched AI off, there is nothing for a server to do.
    """
    named = any(SERVER in _table(other, "mcp", "mcpServers") for other in others)
    off = any(_table(other, "ai").get("enabled") is False for other in others)
    return {key: value for key, value in own.items() if key != "mcp" or not (named or off)}


def _without(own: dict[str, Any], config: Any) -> Any:
    """What marimo's page wants to save, without what it only has from us: it sends whole tables."""
    kept = dict(config)
    if _table(config, "ai").get("rules") == own["ai"]["rules"]:
        kept["ai"] = {key: value for key, value in config["ai"].items() if key != "rules"}
    servers = _table(config, "mcp", "mcpServers")
    if servers.get(SERVER) == own["mcp"]["mcpServers"][SERVER]:
        others = {name: server for name, server in servers.items() if name != SERVER}
        kept["mcp"] = {**config["mcp"], "mcpServers": others}
    return kept


def _table(config: Any, *keys: str) -> dict[str, Any]:
    """A table of a configuration; an empty one where there is none, or something else in its place."""
    for key in keys:
        config = config.get(key) if isinstance(config, dict) else None
    return config if isinstance(config, dict) else {}


def main(argv: Sequence[str]) -> None:
    """Become marimo.

    Args:
        argv: words of `stargazer serve`, a divider, words of marimo.
    """
    place = argv.index(DIVIDER)
    below_the_users(settings(argv[:place]))
    from marimo._cli.cli import main as marimo

    sys.argv = ["marimo", *argv[place + 1 :]]
    marimo(prog_name="marimo")


if __name__ == "__main__":
    main(sys.argv[1:])
