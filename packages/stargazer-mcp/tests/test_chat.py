"""The chat of notebooks: rules and server below the user's settings, and a question that reaches a real store."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from stargazer.mcp.chat import below_the_users, marimo_command, settings
from stargazer.mcp.cli import main

from .chat_endpoint import KEY, Endpoint, answer_of, endpoint, opened, settled_status

pytest.importorskip("marimo", reason="no marimo: hatch run test has it")
WORDS = ["--root", ".", "--read-only"]


class Desk:
    """A user's folder, with their settings of marimo, in this process."""

    def __init__(self, root: Path):
        self.folder, self.file = root / "here", root / "config" / "marimo" / "marimo.toml"
        self.folder.mkdir()
        self.file.parent.mkdir(parents=True)

    def resolved(self, user: str, save: dict[str, Any] | None = None) -> dict[str, Any]:
        """What marimo goes by, after it has saved something or not."""
        from marimo._config import manager

        self.file.write_text(user)
        if save:
            manager.get_default_config_manager(current_path=str(self.folder)).save_config(save)
        found = manager.get_default_config_manager(current_path=str(self.folder))
        return {"all": found.get_config(), "user": found.get_user_config()}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    from marimo._config import manager, utils

    found = Desk(tmp_path)
    monkeypatch.chdir(found.folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(manager, "MarimoConfigManager", manager.MarimoConfigManager)  # what it is afterwards
    below_the_users(settings(WORDS))
    utils.get_user_config_path.cache_clear()
    yield found
    utils.get_user_config_path.cache_clear()


def test_what_the_user_has_not_set_is_ours(desk: Desk) -> None:
    own = settings(WORDS)
    for found in desk.resolved(f'[ai.open_ai]\napi_key = "{KEY}"\n').values():
        assert found["ai"]["rules"] == own["ai"]["rules"]
        assert found["ai"]["mode"] == "ask"
        assert found["mcp"]["mcpServers"] == own["mcp"]["mcpServers"]
        assert found["ai"]["open_ai"]["api_key"]  # the user's, masked
    assert desk.file.read_text() == f'[ai.open_ai]\napi_key = "{KEY}"\n'
    assert list(desk.folder.iterdir()) == []


def test_what_the_user_has_set_wins(desk: Desk) -> None:
    user = (
        '[ai]\nrules = "In verse."\nmode = "agent"\n[mcp.mcpServers.stargazer]\nurl = "http://127.0.0.1:1/mcp"\n'
        '[mcp.mcpServers.other]\ncommand = "other"\n'
    )
    found = desk.resolved(user)["all"]
    assert (found["ai"]["rules"], found["ai"]["mode"]) == ("In verse.", "agent")
    assert found["mcp"]["mcpServers"] == {
        "stargazer": {"url": "http://127.0.0.1:1/mcp"}, "other": {"command": "other"},
    }  # fmt: skip


def test_a_server_of_the_project_is_not_mixed_with_ours(desk: Desk) -> None:
    (desk.folder / "pyproject.toml").write_text(
        '[tool.marimo.mcp.mcpServers.stargazer]\nurl = "http://lab/mcp"\n'
    )
    assert desk.resolved("")["all"]["mcp"]["mcpServers"] == {"stargazer": {"url": "http://lab/mcp"}}


def test_who_wants_no_ai_gets_no_server(desk: Desk) -> None:
    assert desk.resolved("[ai]\nenabled = false\n")["all"]["mcp"]["mcpServers"] == {}


def test_settings_that_are_no_toml_are_left_alone(desk: Desk) -> None:
    found = desk.resolved(f'[ai\napi_key = "{KEY}"\n')["all"]
    assert (found["ai"]["mode"], [*found["mcp"]["mcpServers"]]) == ("ask", ["stargazer"])
    assert desk.file.read_text() == f'[ai\napi_key = "{KEY}"\n'


def test_tables_that_are_none_are_the_users_too(desk: Desk) -> None:
    assert desk.resolved('mcp = "y"\n')["all"]["mcp"] == "y"


def test_what_is_saved_from_the_page_is_the_users_alone(desk: Desk) -> None:
    own = settings(WORDS)
    user = f'[ai.open_ai]\napi_key = "{KEY}"\n[mcp.mcpServers.other]\ncommand = "other"\n'
    sent = {
        "display": {"theme": "dark"},
        "ai": {"mode": "manual", "rules": own["ai"]["rules"]},
        "mcp": own["mcp"],
    }
    found = desk.resolved(user, save=sent)["all"]
    saved = tomllib.loads(desk.file.read_text())
    assert (saved["display"]["theme"], saved["ai"]["mode"]) == ("dark", "manual")
    assert "rules" not in saved["ai"]
    assert saved["ai"]["open_ai"]["api_key"] == KEY
    assert set(saved["mcp"]["mcpServers"]) == {"other"}
    assert found["ai"]["mode"] == "manual"
    assert set(found["mcp"]["mcpServers"]) == {"other", "stargazer"}  # it stays, whatever was saved


def test_the_words_that_start_marimo(tmp_path: Path) -> None:
    assert marimo_command("off", [tmp_path]) == [sys.executable, "-m", "marimo"]
    assert marimo_command("read", [tmp_path])[3:] == ["--root", str(tmp_path), "--read-only", "--"]
    assert "--read-only" not in marimo_command("write", [tmp_path])
    (server,) = settings(["--root", "x"])["mcp"]["mcpServers"].values()
    assert server["command"] == sys.executable
    assert server["args"][-3:] == ["serve", "--root", "x"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--chat", "always"], "--chat: expected read, write or off, got 'always'"),
        (["--root", "nowhere"], "--root 'nowhere' is no folder"),
        (["--chat", "off", "--root", "."], "--root is for the chat's server"),
    ],
)
def test_words_that_make_no_sense(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["notebook", *words])
    assert said in capsys.readouterr().err


def test_without_the_extra_it_says_what_brings_it_or_leaves_it_out(tmp_path: Path) -> None:
    blocked = (
        "import sys, importlib.util as u; find = u.find_spec;"
        "u.find_spec = lambda name, *rest: None if name in ('openai', 'pydantic_ai') else find(name, *rest);"
        "from stargazer.mcp.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", blocked, "notebook", "--folder", tmp_path / "new"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert (
        "openai and pydantic_ai: pip install 'stargazer-mcp[notebook]', or leave it out with --chat off"
        in done.stderr
    )
    assert not (tmp_path / "new").exists()


@pytest.fixture
def provider() -> Iterator[Endpoint]:
    with endpoint() as served:
        yield served


def test_a_question_reaches_the_store_and_its_answer_the_chat(
    store: dict[str, dict[str, Any]], provider: Endpoint, tmp_path: Path
) -> None:
    home = Path(os.environ["STARGAZER_HOME"])
    folder = tmp_path / "notebooks"
    folder.mkdir()
    with opened(folder, home, config=provider.config()) as served:
        assert settled_status(served) == {"stargazer": "connected"}
        told = answer_of(served, "Which references are there?")
        log = served.told()
    rules = tomllib.loads(resources.files("stargazer.mcp").joinpath("marimo.toml").read_text())["ai"]["rules"]
    assert rules.strip() in provider.system()
    offered = provider.offered()
    assert "mcp_stargazer_query_files" in offered
    assert not [name for name in offered if "upload_file" in name]  # it only reads
    assert store["reference"]["cid"] in provider.answers()[0]
    assert store["reference"]["cid"] in told
    assert provider.keys == [f"Bearer {KEY}"] * 2
    assert KEY not in log
    assert KEY not in told
    assert {*os.listdir(folder)} - {"__marimo__"} == {"notebook.py"}
