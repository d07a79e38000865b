"""The chat of notebooks: rules and server below the user's settings, and a question that reaches a real store."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from stargazer.mcp.chat import marimo_command, settings
from stargazer.mcp.cli import main

from .chat_endpoint import KEY, Endpoint, endpoint
from .notebook_browser import SECONDS, Served, started

pytest.importorskip("marimo", reason="no marimo: hatch run test has it")
NOTEBOOK = "import marimo\n\napp = marimo.App()\n\n@app.cell\ndef _():\n    1\n    return\n"
SHOWN = """
import json, os, sys
from pathlib import Path
from stargazer.mcp.chat import below_the_users, settings
below_the_users(settings(["--root", ".", "--read-only"]))
from marimo._config.manager import get_default_config_manager
manager = get_default_config_manager(current_path=os.getcwd())
if len(sys.argv) > 1:
    manager.save_config(json.loads(sys.argv[1]))
    manager = get_default_config_manager(current_path=os.getcwd())
print(json.dumps({"all": manager.get_config(), "user": manager.get_user_config()}))
"""


class Desk:
    """A user's folder, with their settings of marimo."""

    def __init__(self, root: Path):
        self.folder, self.file = root / "here", root / "config" / "marimo" / "marimo.toml"
        self.folder.mkdir()
        self.file.parent.mkdir(parents=True)
        self.env = {**os.environ, "HOME": str(root), "XDG_CONFIG_HOME": str(root / "config")}

    def resolved(self, user: str, save: dict[str, Any] | None = None) -> dict[str, Any]:
        """What marimo goes by, after it has saved something or not."""
        self.file.write_text(user)
        words = [json.dumps(save)] if save else []
        done = subprocess.run(
            [sys.executable, "-c", SHOWN, *words],
            cwd=self.folder, env=self.env, capture_output=True, text=True, check=True,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(done.stdout)
        assert KEY not in done.stdout + done.stderr
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_what_the_user_has_not_set_is_ours(desk: Desk) -> None:
    own = settings(["--root", ".", "--read-only"])
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
    own = settings(["--root", ".", "--read-only"])
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


@contextlib.contextmanager
def opened(
    folder: Path, home: Path, *, config: str = "", chat: str = "read", words: tuple[str, ...] = ()
) -> Iterator[Served]:
    """A notebook of this folder in the editor, with the chat."""
    notebook, token = folder / "notebook.py", secrets.token_urlsafe(16)
    notebook.write_text(NOTEBOOK)
    command = marimo_command(chat, [folder])
    command = [
        *command[:-1],
        *words,
        *command[-1:],
        "--yes",
        "edit",
        str(notebook),
        "--headless",
        "--no-sandbox",
    ]
    command += ["--skip-update-check", "--no-skew-protection", "--token-password", token]
    with started(command, folder, home=home, config=config) as served:
        yield Served(f"{served.url}/?access_token={token}", served.process, served.log)


def asked(served: Served, path: str, body: dict[str, Any] | None = None, session: str = "") -> str:
    """What marimo answers."""
    base, _, token = served.url.partition("/?")
    request = urllib.request.Request(
        f"{base}{path}?{token}",
        data=json.dumps(body).encode() if body is not None else None,
        headers={"Content-Type": "application/json", "Marimo-Session-Id": session},
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return str(answer.read().decode())


def settled_status(served: Served) -> dict[str, str]:
    """The servers of the chat, once none is on its way."""
    deadline = time.monotonic() + SECONDS
    while True:
        found: dict[str, str] = json.loads(asked(served, "/api/ai/mcp/status"))["servers"]
        if found and "pending" not in found.values():
            return found
        assert time.monotonic() < deadline, served.told()
        time.sleep(0.1)


def answer_of(served: Served, question: str) -> str:
    """What the chat's panel is told in answer to a question."""
    from websockets.sync.client import connect

    base, _, token = served.url.partition("/?")
    with connect(f"{base.replace('http', 'ws')}/ws?session_id=s_123456&{token}", max_size=None):
        message = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": question}]}
        return asked(served, "/api/ai/chat", {"includeOtherCode": "", "uiMessages": [message]}, "s_123456")


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


def test_a_server_that_cannot_start_leaves_the_notebook_alone(tmp_path: Path, provider: Endpoint) -> None:
    with opened(tmp_path, tmp_path / "home", config=provider.config(), words=("--http-port",)) as served:
        assert settled_status(served) == {"stargazer": "failed"}
        assert "There is no such tool." in answer_of(served, "Which references are there?")
