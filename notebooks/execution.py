# /// script
# requires-python = ">=3.11"
# dependencies = ["stargazer-workflows[notebook]>=0.1,<0.2"]
# ///
"""Tutorial: where tasks run, what decides it, how they share the cores of a machine, and what a cluster needs."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Execution")

with app.setup:
    import asyncio
    import os
    from datetime import datetime
    from importlib.metadata import version
    from pathlib import Path
    from tempfile import TemporaryDirectory

    import altair as alt
    import flyte
    import marimo as mo
    from stargazer.assets import Reference, use_client
    from stargazer.storage import LocalStorageClient, Settings
    from stargazer.tasks import AssetEnvironment, samtools_faidx
    from stargazer.tasks.execution import named_outputs, observe, refreshing
    from stargazer.workflows.demo import prepare
    from stargazer.workflows.notebook import execution_place, explained, shown

    flyte.init_from_config()


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Execution

    The same code runs on your laptop and on a cluster. The configuration decides where, never the code.
    Without any configuration everything runs on this machine.
    """)
    return


@app.cell(hide_code=True)
def _():
    place = execution_place()
    place
    return (place,)


@app.cell(hide_code=True)
def _(place):
    mo.stop(place.value is None)
    _settings = Settings.load()
    mo.ui.table(
        [
            {"setting": "mode", "value": _settings.mode, "why": _settings.mode_reason},
            *(
                {"setting": _name, "value": _settings.shown(_name), "why": _settings.origins[_name]}
                for _name in ("home", "local", "cores", "memory", "pinata_jwt")
            ),
        ],
        selection=None,
        wrapped_columns=["why"],
        show_column_summaries=False,
        label="What is in force; `stargazer config` prints it, too",
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    A project names its cluster in `.flyte/config.yaml`, in its folder or in the root of its git repository:

    ```yaml
    admin:
      endpoint: dns:///your-organisation.hosted.unionai.cloud
    task:
      project: flytesnacks
      domain: development
    ```

    | `STARGAZER_MODE` | no such file | the file is there |
    |---|---|---|
    | unset | this machine | the cluster |
    | `local` | this machine | this machine |
    | `cloud` | an error | the cluster |

    The control above sets the mode for this notebook. It offers the cluster where the project names one.

    ## Two ways to call

    The calls below compute the offsets of a genome's sequences, with `samtools faidx`.
    """)
    return


@app.cell(hide_code=True)
def _():
    simulate = mo.ui.run_button(label="Simulate the demo's data")
    return (simulate,)


@app.cell(hide_code=True)
async def _(place, simulate):
    mo.stop(place.value is None, mo.md("Choose above where tasks run."))
    if simulate.value:
        with mo.status.spinner(title="Simulating a family and registering its reads"), explained():
            await asyncio.to_thread(prepare)
    _known = {f"{_one.build} ({_one.cid[-6:]})": _one for _one in await Reference.all()}
    chosen = mo.ui.dropdown(_known, value=next(iter(_known), None), label="Genome")
    _nothing = mo.callout(
        mo.vstack(
            [mo.md("Your store has no genome. `stargazer add FILE.fa build=NAME` adds one; or:"), simulate]
        ),
        kind="warn",
    )
    chosen if _known else _nothing
    return (chosen,)


@app.cell(hide_code=True)
def _():
    mo.md("""
    **`await`** calls a task in this process, whatever the mode. Use it for what is small, and while you write a task.
    """)
    return


@app.cell
async def _(chosen):
    mo.stop(chosen.value is None)
    _events = []
    with observe(_events.append):
        awaited = await samtools_faidx(chosen.value)

    how = "Remembered" if _events[-1].kind == "memo hit" else "Computed"
    shown(mo.md(f"{how}: `{awaited.fai.cid}`"))
    return (awaited,)


@app.cell(hide_code=True)
def _():
    mo.md("""
    **`flyte.run`** calls it where the mode says. No code is sent to the cluster, which has the package in the same
    version: `copy_style="none"`. `wait` waits for the end, and `named_outputs` gives the results their names. The file
    is the same, wherever it was made. What was made before is remembered.
    """)
    return


@app.cell(hide_code=True)
def _(place):
    submit = mo.ui.run_button(label="Run it at the cluster")
    submit if place.value == "cloud" else None
    return (submit,)


@app.cell
async def _(awaited, chosen, place, submit):
    mo.stop(place.value == "cloud" and not (submit.value or mo.app_meta().mode == "script"))
    context = flyte.with_runcontext(copy_style="none", version=version("stargazer-tasks"))
    started = await context.run.aio(samtools_faidx, chosen.value)
    await started.wait.aio(quiet=True)
    if place.value == "cloud":
        await started.raise_for_status.aio()
    ran = named_outputs(samtools_faidx, await started.outputs.aio())

    _where = f"at the cluster, as {started.name}" if place.value == "cloud" else "on this machine"
    shown(mo.md(f"It ran {_where}: `{ran.fai.cid}`. The same file: {ran.fai.cid == awaited.fai.cid}"))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    | call | local mode | cloud mode |
    |---|---|---|
    | `await task(...)`, `await workflow(...)` | this kernel | this kernel |
    | `flyte.run(task, ...)` | this kernel | the cluster |
    | `run("workflow", ...)` | this kernel, recorded | the cluster, recorded |
    | `start_run("workflow", ...)` | a process of its own, recorded | the cluster, recorded by a process of its own |
    | a task that a cell defines | this kernel | this kernel: the cluster has packages alone |

    ## Slots

    All tasks of a machine share its cores and its memory, also those of other notebooks and users who share a home.
    A task holds what its environment asks for. What does not fit waits.

    Six calls of a task that does nothing for half a second:
    """)
    return


@app.cell(hide_code=True)
def _():
    folder = TemporaryDirectory(prefix="stargazer-tutorial-")
    tutorial = LocalStorageClient(Path(folder.name, "store"))
    cores = Settings.load(os.environ | {"STARGAZER_MODE": "local"}).cores  # also where the mode cannot be
    each = mo.ui.slider(
        1, max(2, cores), value=1, label=f"Cores for each call, of {cores}", show_value=True, debounce=True
    )
    each
    return cores, each, tutorial


@app.cell
def _(each):
    slots_env = AssetEnvironment(name="slots", resources=flyte.Resources(cpu=each.value, memory="64Mi"))

    @slots_env.task
    async def wait_a_moment(number: int) -> int:
        """Hold the cores for half a second."""
        await asyncio.sleep(0.5)
        return number

    shown()
    return (wait_a_moment,)


@app.cell
async def _(place, tutorial, wait_a_moment):
    mo.stop(place.value is None)
    events = []
    with use_client(tutorial), observe(events.append), refreshing():
        await asyncio.gather(*(wait_a_moment(number) for number in range(1, 7)))

    shown()
    return (events,)


@app.cell(hide_code=True)
def _(cores, each, events):
    _ends = {_event.call: _event for _event in events if _event.kind == "finished"}
    _asked = {_event.call: _event.at for _event in reversed(events) if _event.kind == "waiting"}
    _began = {_event.call: _event.at for _event in events if _event.kind == "started"}
    _rows = [
        {"call": _number, "from": _from, "to": _to, "state": _state}
        for _number, _call in enumerate(sorted(_ends), 1)
        for _state, _from, _to in (
            ("waits", _asked[_call], _began[_call]),
            ("runs", _began[_call], _ends[_call].at),
        )
    ]
    _chart = mo.ui.altair_chart(
        alt.Chart(alt.Data(values=_rows))
        .mark_bar()
        .encode(
            x=alt.X("from:T", title="time", axis=alt.Axis(format="%S.%L")),
            x2="to:T",
            y=alt.Y("call:O", title="call"),
            color=alt.Color(
                "state:N", scale=alt.Scale(domain=["waits", "runs"], range=["#d5dbe3", "#2b6cb8"]), title=None
            ),
        )
        .properties(width=560, height=180),
        chart_selection=False,
        legend_selection=False,
    )
    _first = datetime.fromisoformat(min(_asked.values()))
    _last = datetime.fromisoformat(max(_event.at for _event in _ends.values()))
    _took = f"{(_last - _first).total_seconds():.1f} s"
    mo.vstack([_chart, mo.md(f"Six calls, with {each.value} of {cores} cores each, took {_took}.")])
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Stopping

    Who stops waiting for a call cancels it. Its tools end, its workspace is removed, and nothing half done is
    registered. Marimo's interrupt button does the same to the cell that runs.
    """)
    return


@app.cell
def _():
    stopping_env = AssetEnvironment(name="stopping")

    @stopping_env.task
    async def wait_an_hour(number: int) -> int:
        """Would take long."""
        await asyncio.sleep(3600)
        return number

    shown()
    return (wait_an_hour,)


@app.cell
async def _(place, tutorial, wait_an_hour):
    mo.stop(place.value is None)
    told = "It has ended."
    with use_client(tutorial):
        try:
            await asyncio.wait_for(wait_an_hour(1), timeout=1)
        except TimeoutError:
            told = "It was stopped after a second."

    shown(mo.md(told))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    A run of `start_run` is stopped by `cancel_run(run.id)`, or by `stargazer runs cancel` in a terminal. In cloud mode
    the cluster is told to stop, too. What was finished is kept, and `resume_run` goes on from there.

    ## What a cluster needs

    - An endpoint in `.flyte/config.yaml`, of Flyte 2 or Union.
    - `PINATA_JWT` here: files go through an account at Pinata, which all machines reach.
    - The same token as a secret of the cluster, named `PINATA_JWT`. Each task asks for it.
    - An image in which the distributions are installed, in the versions that you have here. Workflows are sent by their
      names, not as code. So a task that you wrote in a cell is promoted to a package first.
    - Distributions that were installed as wheels here. Flyte does not find the tasks of an editable installation.

    This is tried against a stand-in for a cluster, on one machine. Nobody has tried it on a real one yet.

    Next: `germline.py`, `scrna.py`.
    """)
    return


if __name__ == "__main__":
    app.run()
