# /// script
# requires-python = ">=3.11"
# dependencies = ["stargazer-workflows[notebook]>=0.1,<0.2"]
# ///
"""A place to write a task: one that works, files to try it on, and how it becomes part of a package."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Experiment")

with app.setup:
    import csv
    from collections import Counter
    from inspect import getsource
    from pathlib import Path
    from tempfile import TemporaryDirectory

    import altair as alt
    import flyte
    import marimo as mo
    from stargazer.assets import Table, Variants
    from stargazer.storage import add, get_client
    from stargazer.storage.lineage import render, why
    from stargazer.tasks import bcftools, expect, htslib_env, workspace
    from stargazer.tasks.execution import observe
    from stargazer.workflows.notebook import execution_place, explained

    flyte.init_from_config()


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Experiment

    A task is one operation on files. Write yours here, try it on your files, and promote it once it does what you want.
    The one below works: change it bit by bit.
    """)
    return


@app.cell(hide_code=True)
def _():
    execution_place()
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## The task

    It counts the records of a VCF file. It says what it takes and what it gives; its files are on disk when it starts,
    and it writes into `workspace()`.
    """)
    return


@app.function
@htslib_env.task(tools=[bcftools])
async def count_records(variants: Variants) -> Table:
    """Numbers of records by contig and type of variant (`bcftools query`).

    Args:
        variants: the calls to count, as VCF or BCF.

    Returns:
        Columns contig, type (of a record with several alleles all of them, as INDEL,SNP) and records.
    """
    types = await bcftools("query", "-f", '%CHROM,"%TYPE"\n', variants.path).text()
    counts = Counter(types.splitlines())
    table = workspace() / "record_counts.csv"
    table.write_text("contig,type,records\n" + "".join(f"{key},{counts[key]}\n" for key in counts))
    return Table(path=expect(table, by="bcftools query"), kind="record_counts", sample=variants.only_sample)


@app.cell(hide_code=True)
def _():
    # An app hides the code of its cells.
    mo.md(f"```python\n{getsource(count_records)}```") if mo.app_meta().mode == "run" else None
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## A file to try it on
    """)
    return


@app.cell(hide_code=True)
def _():
    add_example = mo.ui.run_button(label="Add a small VCF")
    return (add_example,)


@app.cell(hide_code=True)
async def _(add_example):
    with explained():
        if add_example.value:
            with TemporaryDirectory() as _folder:
                _vcf = Path(_folder, "example.vcf")
                _vcf.write_text(
                    "##fileformat=VCFv4.2\n##contig=<ID=chr1>\n##contig=<ID=chr2>\n"
                    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
                    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\texample\n"
                    "chr1\t100\t.\tA\tG\t50\tPASS\t.\tGT\t0/1\n"
                    "chr1\t200\t.\tC\tCAT\t50\tPASS\t.\tGT\t1/1\n"
                    "chr2\t100\t.\tT\tC\t50\tPASS\t.\tGT\t0/1\n"
                )
                await add(_vcf, build="example")
        _found = await Variants.all()
    _labels = {
        f"{number}. {_one.caller or _one.kind} of {', '.join(_one.samples) or 'no sample'}": _one
        for number, _one in enumerate(_found, 1)
    }
    choice = mo.ui.dropdown(_labels, value=next(reversed(_labels), None), label="Variants")
    _nothing = mo.callout(
        mo.vstack(
            [
                mo.md("Your store has no variants. `stargazer demo` makes some; or:"),
                add_example,
            ]
        ),
        kind="warn",
    )
    choice if _found else _nothing
    return (choice,)


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Its result

    Run the next cell again: nothing is computed, the result is remembered. Change the task, and it is computed again.
    """)
    return


@app.cell
async def _(choice):
    mo.stop(choice.value is None)
    events = []
    with observe(events.append):
        result = await (await count_records(choice.value)).fetch()
    rows = list(csv.DictReader(result.path.open()))
    alt.Chart(alt.Data(values=rows)).mark_bar().encode(
        x="records:Q", y="contig:N", color="type:N", tooltip=["contig:N", "type:N", "records:Q"]
    ).properties(width="container", height=110)
    return events, result


@app.cell(hide_code=True)
def _(events):
    mo.md(f"This time it was **{'remembered' if events[-1].kind == 'memo hit' else 'computed'}**.")
    return


@app.cell(hide_code=True)
def _(result):
    mo.accordion({"How it came to be": mo.plain_text(render(why(get_client().store, result.cid)))})
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Make it part of a package

    In a clone of Stargazer, and from its top folder:

    ```
    hatch run test:stargazer promote-task notebooks/scratch/experiment.py::count_records --to tasks/records.py --dry-run
    ```

    shows what would be written: the task in its module, and a test that expects the result above. Without `--dry-run`
    it is written.
    """)
    return


if __name__ == "__main__":
    app.run()
