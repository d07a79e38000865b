"""The chat of notebooks as people see it: connected, asked, answered from the store; and with a server that fails."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .chat_endpoint import KEY, Endpoint, answer_of, endpoint, opened, settled_status
from .command import COMMAND
from .notebook_browser import Served, open_page, settled, started

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[3]
PICTURE = "notebook-chat.png"


@pytest.fixture
def provider() -> Iterator[Endpoint]:
    with endpoint() as served:
        yield served


@pytest.mark.browser
@pytest.mark.skipif(not (ROOT / "notebooks").exists(), reason="the notebooks are in no distribution")
def test_a_question_in_the_panel(
    store: dict[str, dict[str, Any]], provider: Endpoint, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    home = Path(os.environ["STARGAZER_HOME"])
    command = [*COMMAND, "notebook", "experiment", "--folder", str(tmp_path / "mine"), "--no-browser"]
    with started(command, tmp_path, home=home, config=provider.config()) as served:
        address = served.address()
        assert settled_status(Served(address, served.process, served.log)) == {"stargazer": "connected"}
        with open_page(address, height=1000) as seen:
            page = seen.page
            settled(page)
            page.screenshot(path=tmp_path / "a.png")
            page.get_by_role("button", name=re.compile("chat|AI", re.I)).first.click()
            page.screenshot(path=tmp_path / "b.png")
            print(page.content())
    assert KEY not in served.told()


def test_a_server_that_may_write_is_one_that_was_asked_for(
    store: dict[str, dict[str, Any]], provider: Endpoint, tmp_path: Path
) -> None:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    home = Path(os.environ["STARGAZER_HOME"])
    with opened(folder, home, config=provider.config(), chat="write") as served:
        assert settled_status(served) == {"stargazer": "connected"}
        answer_of(served, "Which references are there?")
    assert "mcp_stargazer_upload_file" in provider.offered()


def test_a_server_that_cannot_start_leaves_the_notebook_alone(tmp_path: Path, provider: Endpoint) -> None:
    with opened(tmp_path, tmp_path / "home", config=provider.config(), words=("--http-port",)) as served:
        assert settled_status(served) == {"stargazer": "failed"}
        assert "There is no such tool." in answer_of(served, "Which references are there?")
