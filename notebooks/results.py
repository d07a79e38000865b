# /// script
# requires-python = ">=3.11"
# dependencies = ["stargazer-mcp[notebook]>=0.1,<0.2", "stargazer-workflows[notebook]>=0.1,<0.2"]
# ///
"""The results explorer: choose a file, and see what it is, what it holds, how it came to be, and what depends on it."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Results")

with app.setup:
    from collections import Counter
    from html import escape

    import altair as alt
    import flyte
    import marimo as mo
    from stargazer.assets import StargazerError, assemble
    from stargazer.mcp.previews.preview import preview
    from stargazer.storage import get_client, is_cid
    from stargazer.storage.lineage import contents, diff, executions_of, render, render_difference, stale, why
    from stargazer.workflows.notebook import (
        explained,
        html_page,
        lineage_files,
        lineage_graph,
        plain,
        plain_table,
        stop,
    )

    flyte.init_from_config()


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Results

    Choose a file of your store. You see what it is, what it holds, how it came to be, and what was made from it.
    """)
    return


@app.cell(hide_code=True)
def _():
    look = mo.ui.button(label="Look again")
    return (look,)


@app.cell(hide_code=True)
async def _(look):
    _pressed = look.value
    try:
        files = [_one for _one in reversed(await assemble()) if _one.asset_key != "provenance"]
        _empty = "Your store is empty. `stargazer demo` fills it with simulated data."
        _problem = "" if files else _empty
    except StargazerError as error:
        files, _problem = [], error.explain()
    _types = Counter(_one.asset_key for _one in files)
    kind = mo.ui.dropdown({f"{_type} ({_types[_type]})": _type for _type in sorted(_types)}, label="Type")
    sample = mo.ui.text(label="Sample", placeholder="any")
    _controls = mo.hstack([kind, sample, look], justify="start", gap=2)
    mo.callout(mo.vstack([plain(_problem), look]), kind="warn") if _problem else _controls
    return files, kind, sample


@app.cell(hide_code=True)
def _():
    get_wanted, set_wanted = mo.state("")
    return get_wanted, set_wanted


@app.cell(hide_code=True)
def _(files, kind, sample, set_wanted):
    def _is_of(file, name):
        return not name or name in (getattr(file, "sample", None), *getattr(file, "samples", []))

    shown = [
        _one for _one in files if kind.value in (None, _one.asset_key) and _is_of(_one, sample.value.strip())
    ]
    table = plain_table(
        [
            {
                "type": _one.asset_key,
                "file": _one.record.name,
                "fields": ", ".join(
                    f"{key}={value}"
                    for key, value in _one.keyvalues.items()
                    if key != "asset" and not key.endswith("_cid")
                ),
                "bytes": _one.record.size,
                "since": str(_one.record.created_at)[:16].replace("T", " "),
                "CID": _one.cid,
            }
            for _one in shown
        ],
        selection="single",
        initial_selection=[0] if shown else None,
        page_size=8,
        label="Files, the newest first",
        on_change=lambda _: set_wanted(""),
    )
    table if files else None
    return (table,)


@app.cell(hide_code=True)
def _(get_wanted):
    typed = mo.ui.text(
        value=get_wanted(), label="Or a CID", placeholder="bafkrei... or bafybei...", full_width=True
    )
    typed
    return (typed,)


@app.cell(hide_code=True)
def _(table, typed):
    cid = typed.value.strip() or next((row["CID"] for row in table.value), "")
    if not cid:
        stop("Nothing is chosen.", kind="neutral")
    _refusal = f"{cid!r} is no CID: letters are missing, or one is wrong. `stargazer query` lists those that there are."
    if not is_cid(cid):
        stop(_refusal, kind="danger")
    store = get_client().store
    records = store.query({"cid": cid})
    with explained():
        lineage = why(store, cid)
    _title = f"{lineage.entry.keyvalues.get('asset', 'file')} {lineage.entry.name}"
    mo.Html(
        f"<span class='markdown prose dark:prose-invert'><h2>{escape(_title)}</h2><code>{cid}</code></span>"
    )  # others may have named the file
    return cid, lineage, records, store


@app.cell(hide_code=True)
def _(cid, records, store):
    def _row(record):
        return [
            {"field": key, "value": str(value)}
            for key, value in record.keyvalues.items()
            if key != "provenance_cid"
        ] + [
            {"field": "bytes", "value": f"{record.size:,}"},
            {"field": "registered", "value": str(record.created_at)[:19].replace("T", " ")},
            {"field": "here", "value": "yes" if store.is_here(cid) else "no, `stargazer get` brings it"},
        ]

    _several = f"These bytes are registered {len(records)} times, as:" if len(records) > 1 else ""
    _tables = [
        plain_table(
            _row(_record),
            show_search=False,
            page_size=15,
            show_download=False,
            column_widths={"value": 840},
        )
        for _record in records
    ]
    mo.vstack([mo.md("### What it is"), mo.md(_several), *_tables])
    return


@app.cell(hide_code=True)
def _(cid, store):
    _shown = mo.md("Its bytes are not on this machine: `stargazer get` brings them, or computes them again.")
    if store.is_here(cid):
        try:
            _path = store.read_here(cid)
            _held = preview(_path)
            if _held["kind"] == "png":
                _shown = mo.image(_path.read_bytes())
            elif _held["kind"] == "html" and _path.stat().st_size < 5_000_000:
                _shown = html_page(_path.read_text(errors="replace"))
            elif _held["kind"] == "text":
                _shown = mo.plain_text("\n".join(_held["lines"])).style(overflow="auto")
            else:
                _shown = mo.json(_held.get("value", _held)).style(max_height="400px", overflow="auto")
        except StargazerError as error:
            _shown = mo.callout(plain(error.explain()), kind="danger")
    mo.vstack([mo.md("### What it holds"), _shown])
    return


@app.cell(hide_code=True)
def _(cid, lineage, set_wanted):
    sources = plain_table(
        lineage_files(cid),
        selection="single",
        page_size=8,
        label="The files it was made from: choose one to look at it",
        on_change=lambda rows: set_wanted(rows[0]["CID"]) if rows else None,
    )
    mo.vstack(
        [
            mo.md("### How it came to be"),
            lineage_graph(cid),
            *([sources] if sources.data else []),
            mo.accordion({"In words (`stargazer why`)": mo.plain_text(render(lineage))}),
        ]
    )
    return


@app.cell(hide_code=True)
def _(cid, store):
    _seconds = [
        {"task": _made.task.rpartition(".")[2], "seconds": _made.seconds}
        for _made in executions_of(store, [cid]).values()
    ]
    mo.stop(not _seconds)
    alt.Chart(alt.Data(values=_seconds)).mark_bar(color="#2b6cb8").encode(
        x=alt.X("sum(seconds):Q", title="seconds, all calls together"),
        y=alt.Y("task:N", sort="-x", title=None),
        tooltip=["task:N", "count():Q", alt.Tooltip("sum(seconds):Q", format=".2f")],
    ).properties(
        width="container",
        height=20 * len({_one["task"] for _one in _seconds}) + 10,
        title="What computing it took",
    )
    return


@app.cell(hide_code=True)
def _(cid, store):
    try:
        _runs = stale(store, cid).runs
    except StargazerError:
        _runs = []
    _rows = [
        {"task": _run.task, "at": _run.at[:19].replace("T", " "), "made": output}
        for _run in _runs
        for output in _run.outputs
    ]
    _shown = plain_table(_rows, page_size=5) if _rows else mo.md("Nothing was made from it.")
    mo.vstack([mo.md("### What depends on it"), _shown])
    return


@app.cell(hide_code=True)
def _(cid, files):
    _like = {
        f"{_one.record.name} {_one.record.created_at[:16]} ...{_one.cid[-9:]}": _one.cid
        for _one in files
        if _one.cid != cid and _one.asset_key in {each.asset_key for each in files if each.cid == cid}
    }
    other = mo.ui.dropdown(_like, label="Compare with", searchable=True)
    mo.vstack([mo.md("### How it differs from another one"), other])
    return (other,)


@app.cell(hide_code=True)
def _(cid, other, store):
    mo.stop(other.value is None)
    try:
        _difference = diff(store, cid, other.value)
        _told = mo.plain_text(
            render_difference(_difference, contents(store, _difference.a.entry, _difference.b.entry))
        )
    except StargazerError as error:
        _told = mo.callout(plain(error.explain()), kind="danger")
    _told
    return


if __name__ == "__main__":
    app.run()
