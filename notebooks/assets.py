# /// script
# requires-python = ">=3.11"
# dependencies = ["stargazer-workflows[notebook]>=0.1,<0.2"]
# ///
"""The assets page: what the store has; add, amend, download, evict and delete files, and see how each came to be."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="full", app_title="Assets")

with app.setup:
    import marimo as mo
    from stargazer.assets import StargazerError
    from stargazer.storage import get_client
    from stargazer.storage.lineage import render, why
    from stargazer.workflows import amended_notices
    from stargazer.workflows.notebook import (
        amend_form,
        amend_record,
        asset_table,
        delete_question,
        delete_record,
        download_button,
        evict_question,
        evict_record,
        explained,
        lineage_graph,
        plain,
        plain_table,
        record_facts,
        stop,
        upload,
    )


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Assets

    The files of your store. Filter them, choose one to see what it is, and correct, download, evict or delete it.
    """)
    return


@app.cell(hide_code=True)
def _():
    with explained():
        added = upload()
    mo.accordion({"Add files": added})
    return (added,)


@app.cell(hide_code=True)
def _():
    get_told, set_told = mo.state(("", "neutral"))
    get_asked, set_asked = mo.state(("", ""))
    seen = {"added": 0}
    return get_asked, get_told, seen, set_asked, set_told


@app.cell(hide_code=True)
def _():
    with explained():
        table = asset_table()
    look = mo.ui.button(label="Look again", on_change=lambda _: table.refresh())
    mo.vstack([mo.md("## Files"), table, look])
    return (table,)


@app.cell(hide_code=True)
def _(added, seen, table):
    # the cell runs at each choice too, which is to stay
    if len(added.value) > seen["added"]:
        table.refresh([added.value[-1].id])
    seen["added"] = len(added.value)
    return


@app.cell(hide_code=True)
def _(get_told):
    _text, _kind = get_told()
    mo.callout(plain(_text), kind=_kind) if _text else None
    return


@app.cell(hide_code=True)
def _(get_told, table):
    get_told()  # an action may have changed the record
    with explained():
        _records, _missing = table.records(), table.missing()
    if _missing and not _records:
        stop(
            "The file that was chosen is not in the store any more: somebody amended or deleted it. Choose another."
        )
    if not _records:
        stop("Choose a file in the table to see what it is.", kind="neutral")
    record = _records[0]
    return (record,)


@app.cell(hide_code=True)
def _(record, set_told, table):
    def told(text, kind="success", chosen=None):
        """Say what happened, and show the files as they are now."""
        table.refresh(chosen)
        set_told((text, kind))

    def done(action, *arguments):
        """What an action returns; what it refuses is said, and None returned."""
        try:
            return action(record, *arguments)
        except StargazerError as error:
            told(error.explain(), "danger")

    return done, told


@app.cell(hide_code=True)
def _(record):
    with explained():
        _facts = record_facts(record)
    mo.vstack(
        [
            mo.md("## What it is"),
            plain_table(
                _facts,
                show_search=False,
                show_download=False,
                page_size=25,
                column_widths={"it is": 840},
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _(done, record, set_asked, told):
    def _amend(texts):
        if texts is None or (amended := done(amend_record, texts)) is None:
            return
        try:
            _notes = amended_notices(get_client().store, [amended])
        except StargazerError as error:  # it is amended all the same
            _notes = [error.explain()]
        _said = "Nothing was changed." if amended.id == record.id else f"Amended {amended.name!r}."
        told("\n".join([_said, *_notes]), "warn" if _notes else "success", [amended.id])

    try:
        form = amend_form(record, _amend)
    except StargazerError as error:
        form = plain(error.explain())
    download = download_button(record)
    evict_button = mo.ui.button(label="Evict ...", on_change=lambda _: set_asked(("evict", record.id)))
    delete_button = mo.ui.button(label="Delete ...", on_change=lambda _: set_asked(("delete", record.id)))
    mo.vstack(
        [
            mo.md("## What to do with it"),
            mo.hstack([download, evict_button, delete_button], justify="start"),
            mo.accordion({"Amend what is said of it": form}),
        ]
    )
    return


@app.cell(hide_code=True)
def _(done, get_asked, record, set_asked, told):
    _what, _id = get_asked()
    mo.stop(_id != record.id)
    _question, _act, _yes = {
        "evict": (evict_question, evict_record, "Yes, evict it"),
        "delete": (delete_question, delete_record, "Yes, delete it"),
    }[_what]

    def _agreed(_):
        set_asked(("", ""))
        if (_said := done(_act)) is not None:
            told(_said, chosen=[] if _what == "delete" else None)

    try:
        _text, _can = _question(record)
    except StargazerError as error:
        _text, _can = error.explain(), False
    yes = mo.ui.button(label=_yes, kind="danger", on_change=_agreed)
    no = mo.ui.button(label="No, keep it" if _can else "Close", on_change=lambda _: set_asked(("", "")))
    mo.callout(
        mo.vstack([plain(_text), mo.hstack([yes, no] if _can else [no], justify="start")]),
        kind="warn",
    )
    return


@app.cell(hide_code=True)
def _(record):
    try:
        _words = mo.plain_text(render(why(get_client().store, record.cid)))
        _drawn = lineage_graph(record.cid)
    except StargazerError as error:
        _words, _drawn = plain(error.explain()), plain("It cannot be drawn.")
    mo.vstack(
        [
            mo.md("## How it came to be"),
            _drawn,
            mo.accordion({"In words (`stargazer why`)": _words}),
        ]
    )
    return


if __name__ == "__main__":
    app.run()
