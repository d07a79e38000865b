"""What looks at notebooks sees what is wrong with one: errors in cells, broken pictures, requests to the outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from .notebook_browser import drawn, open_page, run_all, serve, settled

NOTEBOOK = """
import marimo

app = marimo.App()

@app.cell
def _():
    import marimo as mo
    return (mo,)

@app.cell
def _(mo):
    button = mo.ui.run_button(label="Press")
    button
    return (button,)

@app.cell
def _(button, mo):
    mo.md("pressed" if button.value else "not yet")
    return

@app.cell
def _(mo):
    mo.Html("<svg width='80' height='80'><rect width='80' height='80'/></svg>")
    return

@app.cell
def _(mo):
    mo.stop(True, mo.md("stopped"))
    after = 1
    return (after,)

@app.cell
def _(after):
    after
    return

@app.cell
def _(mo):
    WRONG
    return
"""


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    return tmp_path / "notebook.py"


@pytest.mark.long
@pytest.mark.browser
@pytest.mark.parametrize("mode", ["run", "edit"])
def test_a_notebook_that_is_well(notebook: Path, mode: str) -> None:
    notebook.write_text(NOTEBOOK.replace("WRONG", "1"))
    with serve(notebook, mode) as served, open_page(served.url) as opened:
        run_all(opened.page) if mode == "edit" else settled(opened.page)
        opened.page.get_by_role("button", name="Press").click()
        opened.page.get_by_text("pressed", exact=True).wait_for()
        assert drawn(opened.page) == [{"name": "svg", "width": 80, "height": 80}]
        opened.assert_well()


@pytest.mark.long
@pytest.mark.browser
@pytest.mark.parametrize("mode", ["run", "edit"])
def test_what_is_wrong_is_seen(notebook: Path, mode: str) -> None:
    address = "https://example.org/picture.png"
    notebook.write_text(NOTEBOOK.replace("WRONG", f"mo.Html('<img src={address}>')\n    raise ValueError"))
    with serve(notebook, mode) as served, open_page(served.url) as opened:
        run_all(opened.page) if mode == "edit" else settled(opened.page)
        assert [error for error in opened.errors if error.startswith("cell: ")]
    notebook.write_text(NOTEBOOK.replace("WRONG", f"mo.Html('<img src={address}>')"))
    with serve(notebook, mode) as served, open_page(served.url) as opened:
        run_all(opened.page) if mode == "edit" else settled(opened.page)
        with pytest.raises(AssertionError, match="all drawn"):
            drawn(opened.page, seconds=1)
        assert opened.outside == [address]
        assert opened.errors
