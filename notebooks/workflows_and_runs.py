# /// script
# requires-python = ">=3.11"
# dependencies = ["stargazer-workflows[notebook]>=0.1,<0.2"]
# ///
"""Tutorial: how a workflow is asked, run, watched, stopped and resumed, and what survives the end of the notebook."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Workflows and runs")

with app.setup:
    import asyncio
    import datetime

    import altair as alt
    import flyte
    import marimo as mo
    from stargazer.assets import Reference, StargazerError
    from stargazer.workflows import (
        calls_of,
        cancel_run,
        entries,
        find_run,
        resume_run,
        start_run,
        why_not,
    )
    from stargazer.workflows.demo import prepare
    from stargazer.workflows.notebook import (
        execution_place,
        explained,
        latest_run,
        progress,
        require_records,
        run_table,
        shown,
    )

    flyte.init_from_config()


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Workflows and runs

    A **workflow** goes from names, as of samples or a genome build, to results. It finds its files by what they are,
    and calls tasks. It computes nothing itself.

    A **run** is one call of a workflow that somebody asked for. It works in a process of its own, and goes on when this
    notebook is closed.
    """)
    return


@app.function(hide_code=True)
def timeline(run):
    """When each call of a task began and ended."""
    rows = []
    for event in calls_of(run):
        if event["kind"] != "waiting":
            end = datetime.datetime.fromisoformat(event["at"]).timestamp()
            rows.append(
                {
                    "task": event["task"].rpartition(".")[2],
                    "of": event.get("label", ""),
                    "start": end - event.get("seconds", 0.0),
                    "end": end,
                    "state": {"finished": "computed", "memo hit": "remembered", "failed": "ended"}.get(
                        event["kind"], "goes on"
                    ),
                }
            )
    if not rows:
        return mo.md("No task has begun yet.")
    zero = min(row["start"] for row in rows)
    rows = [row | {"start": row["start"] - zero, "end": row["end"] - zero} for row in rows]
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    states = alt.Scale(
        domain=["computed", "remembered", "goes on", "ended"],
        range=["#c06a1b", "#3a8f6b", "#2b6cb8", "#8a94a3"],
    )
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(cornerRadius=2, opacity=0.75)
        .encode(
            x=alt.X("start:Q", title="seconds"),
            x2="end:Q",
            y=alt.Y("task:N", title=None, sort=tasks),
            color=alt.Color("state:N", title=None, scale=states),
            tooltip=[
                "task:N",
                "of:N",
                "state:N",
                *(alt.Tooltip(f"{at}:Q", format=".2f") for at in ("start", "end")),
            ],
        )
        .properties(width="container", height=20 * len(tasks) + 10, title="Calls of its tasks")
    )


@app.cell(hide_code=True)
def _():
    execution_place()
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## What there is
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.ui.table(
        [
            {
                "workflow": entry.name,
                "does": entry.summary,
                "takes": ", ".join(parameter.name for parameter in entry.parameters),
            }
            for entry in entries("workflow")
        ],
        selection=None,
        wrapped_columns=["does", "takes"],
        column_widths={"workflow": 280, "does": 420, "takes": 360},
        label="Workflows",
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## A genome to work on

    `prepare_reference` makes what tools want beside a genome: an index, a dictionary, and an index for the aligner.
    """)
    return


@app.cell(hide_code=True)
def _():
    simulate = mo.ui.run_button(label="Simulate the demo's data")
    return (simulate,)


@app.cell(hide_code=True)
async def _(simulate):
    with explained():
        if simulate.value:
            with mo.status.spinner(title="Simulating a family and registering its reads"):
                await asyncio.to_thread(prepare)
        _builds = sorted({_one.build for _one in await Reference.all()})
    _usual = "stargazer-demo" if "stargazer-demo" in _builds else next(iter(_builds), None)
    build = mo.ui.dropdown(_builds, value=_usual, label="Build")
    _nothing = mo.callout(
        mo.vstack(
            [mo.md("Your store has no genome. `stargazer add FILE.fa build=NAME` adds one; or:"), simulate]
        ),
        kind="warn",
    )
    build if _builds else _nothing
    return (build,)


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Ask first

    What would it have to compute? Nothing is started by asking.
    """)
    return


@app.cell
async def _(build):
    mo.stop(build.value is None)
    with explained():
        asked = await why_not("prepare_reference", build=build.value)

    told = [f"{asked.remembered} calls are remembered, {len(asked.misses)} would be computed first."]
    told += [f"{miss.task}: {miss.explain()}" for miss in asked.misses]
    shown(mo.plain_text("\n".join(told)))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Run it, and watch

    A run is started by the name of its workflow, in a process of its own. `progress` shows it and waits for its end.

    ```python
    run = latest_run("prepare_reference", build=build.value) or start_run("prepare_reference", build=build.value)
    done = await progress(run)
    ```

    `latest_run` finds the newest run with these arguments, also one that still goes on. So a notebook that is opened
    again finds what it started.
    """)
    return


@app.cell(hide_code=True)
def _():
    start = mo.ui.run_button(label="Run prepare_reference")
    start
    return (start,)


@app.cell
async def _(build, start):
    mo.stop(build.value is None)
    _run = None if start.value else latest_run("prepare_reference", build=build.value)
    _nobody_clicks = mo.app_meta().mode == "script" and (
        _run is None or _run.state not in ("running", "succeeded")
    )
    if start.value or _nobody_clicks:
        _run = start_run("prepare_reference", build=build.value)
    mo.stop(_run is None, mo.md("It was not run yet."))
    with explained():
        done = await progress(_run)
    return (done,)


@app.cell(hide_code=True)
def _(done):
    timeline(done)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    Its results have names. Each is in the store, whatever becomes of the record of the run.
    """)
    return


@app.cell
def _(done):
    results = [
        {"name": name, "type": file["asset"], "CID": file["cid"]}
        for name, file in done.results.items()
        if isinstance(file, dict)
    ]
    table = mo.ui.table(results, selection=None, column_widths={"CID": 560})
    shown(table)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    `start_run(..., outdir="results")` also copies them into a folder, under names that people read.

    ## Stop it, and go on

    The demo's family takes some seconds when everything is computed anew: time enough to stop it. What a run has
    finished is remembered, and *Resume* goes on from there.
    """)
    return


@app.cell(hide_code=True)
def _():
    anew = mo.ui.run_button(label="Run demo_trio anew")
    cancel = mo.ui.run_button(label="Cancel", kind="danger")
    resume = mo.ui.run_button(label="Resume")
    tick = mo.ui.refresh(default_interval="1s", label="Watching")
    mo.hstack([anew, cancel, resume], justify="start")
    return anew, cancel, resume, tick


@app.cell(hide_code=True)
def _(anew, build, cancel, resume, tick):
    mo.stop(not build.options)
    require_records(asset="r1", sample="demo-child")
    _trouble = ""
    if anew.value:
        start_run("demo_trio", refresh={"tasks": [], "below": False})
    trio = latest_run("demo_trio")
    mo.stop(trio is None, mo.md("It was not run yet."))
    try:
        if cancel.value:
            cancel_run(trio.id)
        if resume.value:
            resume_run(trio.id)
    except StargazerError as error:
        _trouble = str(error)
    trio = find_run(trio.id)
    _said = mo.md(
        f"**{trio.state}**: {trio.computed} calls computed, {trio.memo_hits} remembered, {trio.seconds:.1f} s, "
        f"attempt {trio.attempt}"
    )
    _parts = [
        _said,
        mo.callout(_trouble, kind="warn") if _trouble else None,
        tick if trio.state == "running" else None,
    ]
    mo.vstack([_part for _part in _parts if _part is not None])
    return (trio,)


@app.cell(hide_code=True)
def _(trio):
    timeline(trio)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## What survives

    | | when this notebook ends |
    |:--|:--|
    | a run that `start_run` started | goes on; the notebook finds it when it is opened again |
    | `await run(...)`, a task that a cell calls | ends, shown as lost; done again, it remembers what was finished |
    | results | are in the store |
    | what you typed and chose here | is gone |

    `run` works in the notebook's own process, and takes a workflow of a cell, too:

    ```python
    done = await run("prepare_reference", build="stargazer-demo")
    ```

    ## All runs

    Those of the command line (`stargazer run`), of agents, and of notebooks.
    """)
    return


@app.cell(hide_code=True)
def _():
    look = mo.ui.button(label="Look again")
    look
    return (look,)


@app.cell(hide_code=True)
def _(anew, cancel, look, resume, start):
    _pressed = (anew.value, cancel.value, look.value, resume.value, start.value)  # each runs this cell again
    all_runs = run_table()
    all_runs
    return


if __name__ == "__main__":
    app.run()
