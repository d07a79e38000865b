"""The chat of notebooks as people see it: connected, asked, answered from the store; and with a server that fails."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .chat_endpoint import KEY, Endpoint, answer_of, endpoint, opened, settled_status
from .command import COMMAND
from .notebook_browser import Served, open_page, settled, started

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
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
    from playwright.sync_api import expect

    home = Path(os.environ["STARGAZER_HOME"])
    pictures = request.config.getoption("--pictures")
    command = [*COMMAND, "notebook", "experiment", "--folder", str(tmp_path / "mine"), "--no-browser"]
    with started(command, tmp_path, home=home, config=provider.config()) as served:
        address = served.address()
        assert settled_status(Served(address, served.process, served.log)) == {"stargazer": "connected"}
        with open_page(address, height=1000) as seen:
            page = seen.page
            settled(page)
            page.set_default_timeout(40_000)
            expect.set_options(timeout=40_000)
            look_into_the_panel(page, store["reference"]["cid"])
            if pictures:
                from .test_long_notebooks import keep_picture

                keep_picture(seen, Path(pictures) / PICTURE)
            seen.assert_well()
        assert KEY not in served.told()


def look_into_the_panel(page: Page, cid: str) -> None:
    """Open the chat, see that the server is connected, ask, and see the answer."""
    from playwright.sync_api import expect

    page.locator("[aria-label='Sidebar panels'] svg.lucide-bot").click()
    page.keyboard.press(
        "Escape"
    )  # a click of a program begins to drag the button, as one of a screen reader would
    page.locator("svg.lucide-plug.text-green-500:not([inert] *)").click()
    expect(page.get_by_text("MCP Server Status")).to_be_visible()
    expect(page.get_by_role("dialog")).to_contain_text(re.compile(r"stargazer\s*connected"))
    page.keyboard.press("Escape")
    asking = page.locator(".cm-placeholder", has_text="Ask anything")
    page.locator(".cm-content:not([inert] *)", has=asking).click()
    page.keyboard.insert_text("Which references are there?")
    page.keyboard.press("Enter")
    expect(page.locator("body")).to_contain_text("The store says: ")
    expect(page.locator("body")).to_contain_text(cid)
    expect(page.get_by_text("query_files").first).to_be_visible()


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
