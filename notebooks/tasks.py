# /// script
# requires-python = ">=3.11"
# dependencies = ["stargazer-workflows[notebook]>=0.1,<0.2"]
# ///
"""Tutorial: what a task is, what it runs, why a second call computes nothing, and what is written down about it."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Tasks")

with app.setup:
    import random
    from pathlib import Path
    from tempfile import TemporaryDirectory

    import altair as alt
    import flyte
    import marimo as mo
    from stargazer.assets import StargazerError, Variants, use_client
    from stargazer.storage import LocalStorageClient, add
    from stargazer.storage.lineage import as_mermaid, why
    from stargazer.tasks import AssetEnvironment, bcftools, expect, workspace
    from stargazer.tasks.execution import NotRemembered, asking_why, observe, refreshing
    from stargazer.workflows import entries
    from stargazer.workflows.notebook import execution_place, shown

    flyte.init_from_config()


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Tasks

    A **task** is one operation on files: align, sort, call, filter. It takes assets and values, and gives assets.
    The rest is done for it: finding out whether it was done before, waiting for a free core, laying out its files,
    registering what it made, and writing down how.

    What is computed here goes into a store of this notebook, in a temporary folder. Yours is left alone.
    """)
    return


@app.cell(hide_code=True)
def _():
    execution_place()
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Write one

    This task keeps the variants that are called well enough, with `bcftools` from a Python wheel. `lab_env` names its
    tools and what it needs of the machine.
    """)
    return


@app.cell
def _():
    lab_env = AssetEnvironment(name="lab", tools=[bcftools], resources=flyte.Resources(cpu=1, memory="512Mi"))

    @lab_env.task
    async def keep_good(variants: Variants, minimum: int) -> Variants:
        """Variants of at least this quality (`bcftools view`)."""
        kept = workspace() / "kept.vcf.gz"
        await bcftools("view", "--no-version", "-Oz", "-i", f"QUAL>={minimum}", "-o", kept, variants.path)
        return Variants(path=expect(kept, by="bcftools view"), samples=variants.samples, filtered=True)

    shown()
    return (keep_good,)


@app.cell(hide_code=True)
def _():
    mo.md("""
    - `variants.path` is on disk when the task starts. What it writes goes into `workspace()`, a folder of this call.
    - A command is a list of words, and no shell is in between.
    - `expect` makes a missing or empty result an error.
    - `--no-version` keeps the date out of the header: the same input gives the same bytes, and so the same CID.

    ## Call it

    400 simulated variants, and two calls with the same quality. Move the slider, also back to where it was.
    """)
    return


@app.cell(hide_code=True)
async def _():
    folder = TemporaryDirectory(prefix="stargazer-tutorial-")
    tutorial = LocalStorageClient(Path(folder.name, "store"))
    _draw = random.Random(1)
    qualities = [round(_draw.triangular(0, 100, 45)) for _ in range(400)]
    _path = Path(folder.name, "simulated.vcf")
    _path.write_text(
        "##fileformat=VCFv4.2\n##contig=<ID=chr1,length=50000>\n"
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tsimulated\n"
        + "".join(
            f"chr1\t{number * 100}\t.\tA\tG\t{quality}\t.\t.\tGT\t0/1\n"
            for number, quality in enumerate(qualities, 1)
        )
    )
    simulated = await add(_path, client=tutorial)
    history = []
    return history, qualities, simulated, tutorial


@app.cell(hide_code=True)
def _():
    minimum = mo.ui.slider(0, 90, 10, value=30, label="Minimum quality", show_value=True, full_width=True)
    minimum
    return (minimum,)


@app.cell
async def _(keep_good, minimum, simulated, tutorial):
    events = []
    with use_client(tutorial), observe(events.append):
        good = await keep_good(simulated, minimum.value)
        again = await keep_good(simulated, minimum.value)

    shown(mo.md(f"The same file twice: {good == again}. Its CID: `{good.cid}`"))
    return events, good


@app.cell(hide_code=True)
def _(events, history, minimum, qualities):
    for _event in events:
        if _event.kind in ("finished", "memo hit"):
            history.append(
                {
                    "call": len(history) + 1,
                    "quality": minimum.value,
                    "what": "computed" if _event.kind == "finished" else "remembered",
                    "ms": _event.seconds * 1000,
                }
            )
    _kept = (
        alt.Chart(
            alt.Data(
                values=[
                    {"quality": quality, "what": "kept" if quality >= minimum.value else "left out"}
                    for quality in qualities
                ]
            )
        )
        .mark_bar()
        .encode(
            x=alt.X("quality:Q", bin=alt.Bin(step=5), title="quality"),
            y=alt.Y("count():Q", title="variants"),
            color=alt.Color("what:N", title=None, scale=alt.Scale(range=["#2b6cb8", "#c9d1db"])),
        )
        .properties(width=310, height=200, title="What the task keeps")
    )
    _calls = (
        alt.Chart(alt.Data(values=history[-24:]))
        .mark_bar()
        .encode(
            x=alt.X("call:O", title="call of the task", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("ms:Q", title="milliseconds"),
            color=alt.Color(
                "what:N",
                title=None,
                scale=alt.Scale(domain=["computed", "remembered"], range=["#c06a1b", "#3a8f6b"]),
            ),
            tooltip=["call:O", "quality:Q", "what:N", alt.Tooltip("ms:Q", format=".1f")],
        )
        .properties(width=310, height=200, title="Computed once, then remembered")
    )
    alt.hconcat(_kept, _calls, spacing=24).resolve_scale(color="independent")
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    A call is remembered by what it depends on: the code of the task and of what it uses, the content of its inputs, its
    values, and the versions of its tools. Time, file names, the number of cores and comments do not matter.

    In the editor, change the task above, say `>=` to `>`, and run it: it is computed again. Add a comment: it is not.

    ## Ask why it would be computed
    """)
    return


@app.cell
async def _(good, keep_good, minimum, simulated, tutorial):
    with use_client(tutorial), asking_why() as misses:
        try:
            await keep_good(simulated, minimum.value + 1)
        except NotRemembered:
            reason = misses[0].explain().splitlines()[0]

    answer = mo.callout(f"It would not be ...{good.cid[-9:]}, because of {reason}.", kind="info")
    shown(answer)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Compute it anew

    Whatever is remembered. The same bytes come out, so nothing after it has to be computed again.
    """)
    return


@app.cell
async def _(good, keep_good, minimum, simulated, tutorial):
    with use_client(tutorial), refreshing():
        anew = await keep_good(simulated, minimum.value)

    shown(mo.md(f"The same CID: {anew.cid == good.cid}"))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## What is written down

    Each execution leaves a document: which files, values, code, tools and commands, when, where, and for how long.
    """)
    return


@app.cell
def _(good, tutorial):
    made = tutorial.store.document(good.provenance_cid)
    told = {
        "task": made.task,
        "values": made.parameters,
        "tools": [f"{tool.name} {tool.version} ({tool.source})" for tool in made.tools],
        "commands": [" ".join(command) for command in made.commands],
        "seconds": round(made.seconds, 3),
    }

    shown(mo.json(told))
    return


@app.cell(hide_code=True)
def _(good, tutorial):
    mo.mermaid(as_mermaid(why(tutorial.store, good.cid)))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## What is refused

    Types are checked before anything starts.
    """)
    return


@app.cell
async def _(keep_good, simulated, tutorial):
    try:
        with use_client(tutorial):
            await keep_good(simulated, "thirty")
    except StargazerError as error:
        refusal = str(error)

    shown(mo.callout(refusal, kind="danger"))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Tasks that are there already

    `from stargazer.tasks import ...` brings any of these. Each is called as the one above.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.ui.table(
        [
            {
                "task": entry.name,
                "does": entry.summary,
                "takes": ", ".join(parameter.name for parameter in entry.parameters),
            }
            for entry in entries("task")
        ],
        selection=None,
        page_size=8,
        column_widths={"task": 240, "does": 520, "takes": 300},
        label="Tasks",
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    A task of yours begins in `scratch/experiment.py`. What calls several tasks is a workflow: `workflows_and_runs.py`.
    """)
    return


if __name__ == "__main__":
    app.run()
