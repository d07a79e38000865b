# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "altair>=5.5",
#     "flyte==2.12.*",
#     "marimo>=0.25,<0.26",
#     "stargazer-storage>=0.1,<0.2",
# ]
# ///
"""Tutorial: what an asset is, how files are added, found and fetched, and how one sees where they come from."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Assets and storage")

with app.setup:
    from pathlib import Path
    from tempfile import TemporaryDirectory

    import altair as alt
    import flyte
    import marimo as mo
    from stargazer.assets import REGISTRY, Reference, StargazerError, Variants, assemble
    from stargazer.storage import LocalStorageClient, add, amend, compute_cid, get_client
    from stargazer.storage.lineage import render, why

    flyte.init_from_config()


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Assets and storage

    An **asset** is a file that knows what it is: a reference genome, the reads of a sample, the variants of a family.
    You find it by what it is, never by a path.

    This notebook adds files to a store of its own, in a temporary folder that is removed in the end. Yours is only
    looked at.
    """)
    return


@app.function(hide_code=True)
def shown(output=None):
    """An output below the code of its cell, which the editor shows anyway."""
    return output if mo.app_meta().mode == "edit" else mo.show_code(output, position="above")


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## A file is named by its content

    Its name is a **CID**, a fingerprint of its bytes. Change a letter of the sequence, and see.
    """)
    return


@app.cell(hide_code=True)
def _():
    sequence = mo.ui.text("ACGTTGCAACGGATTACAGA", label="Sequence", full_width=True)
    sequence
    return (sequence,)


@app.cell
def _():
    folder = TemporaryDirectory(prefix="stargazer-tutorial-")
    files = Path(folder.name)
    tutorial = LocalStorageClient(files / "store")
    return files, tutorial


@app.cell
def _(files, sequence):
    (files / "typed.fa").write_text(f">chr1\n{sequence.value}\n")
    shown(mo.md(f"`{compute_cid(files / 'typed.fa')}`"))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    - The same bytes have the same CID on every machine, and are kept once.
    - What somebody hands you under a CID can be checked. So nobody has to be trusted.
    - A result under a CID is that result, also in ten years.

    ## Add files

    Here are a tiny genome, its index, and variants of two samples. `add` checks each file, copies it into the store,
    and writes down who added it, when, and from where. Without `client=` it goes into your own store.
    """)
    return


@app.cell(hide_code=True)
def _(files):
    fasta, fai, vcf = (files / _name for _name in ("tiny.fa", "tiny.fa.fai", "calls.vcf"))
    _calls = (
        "##fileformat=VCFv4.2\n##contig=<ID=chr1,length=20>\n"
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tNA12878\tNA12891\n"
        "chr1\t3\t.\tG\tA\t50\tPASS\t.\tGT\t0/1\t0/0\n"
    )
    for _path, _text in {
        fasta: ">chr1\nACGTTGCAACGGATTACAGA\n",
        fai: "chr1\t20\t6\t20\t21\n",
        vcf: _calls,
    }.items():
        _path.write_text(_text)
    return fai, fasta, vcf


@app.cell
async def _(fai, fasta, tutorial, vcf):
    genome = await add(fasta, build="tiny", client=tutorial)
    index = await add(fai, asset="reference_index", reference_cid=genome, client=tutorial)
    calls = await add(vcf, reference_cid=genome, caller="bcftools", client=tutorial)

    fields = mo.ui.table([_one.keyvalues for _one in (genome, index, calls)], selection=None)
    shown(fields)
    return calls, genome


@app.cell(hide_code=True)
def _():
    mo.md("""
    Each has a type, the fields of that type, and **links** to other files. The samples were read from the file itself.
    A field that the type does not have, or a value that it does not take, is refused:
    """)
    return


@app.cell
async def _(genome, tutorial, vcf):
    try:
        await add(vcf, reference_cid=genome, kind="guesses", client=tutorial)
    except StargazerError as error:
        refusal = str(error)

    shown(mo.callout(refusal, kind="danger"))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Find files

    By what they are. Filters are equalities, and all of them hold.
    """)
    return


@app.cell
async def _(calls, tutorial):
    # All that match; and exactly one, or an error.
    found = await assemble(asset="variants", sample="NA12878", client=tutorial)
    same = await Variants.one(sample="NA12891", caller="bcftools", client=tutorial)

    answer = mo.md(f"Both questions have the same answer: {found == [same] == [calls]}")
    shown(answer)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Fetch a file and what belongs beside it

    A link is of one of two kinds. A **companion** belongs beside its file, as an index beside its genome: it comes
    along, under the name that tools expect. What a file was **made from** stays where it is until you ask for it.
    """)
    return


@app.cell
async def _(genome, tutorial):
    fetched = await genome.fetch(client=tutorial)

    names = sorted(path.name for path in fetched.path.parent.iterdir())
    shown(mo.md(", ".join(names)))
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Amend, and see where a file comes from

    What is said of a file can be completed and put right; its bytes cannot be changed. All of it is written down.
    """)
    return


@app.cell
async def _(calls, tutorial):
    known = await Reference.one(cid=calls.reference_cid, latest=True, client=tutorial)
    amended = amend(tutorial.store, known.record, {"species": "Homo sapiens"})
    lineage = why(tutorial.store, amended.cid)

    shown(mo.plain_text(render(lineage)))
    return (lineage,)


@app.cell(hide_code=True)
def _():
    mo.md("""
    Of a file that tasks made, the same goes back to everything that was imported: see the next notebook, `tasks.py`.

    ## Private and public

    Without an account at Pinata nothing leaves this machine. With one, files go to the private network of the account.
    Only `--public`, or `add(..., public=True)`, makes a file public, and that cannot be taken back. Provenance stays
    private.

    ## Look around

    In your own store or in this notebook's: choose a type, or type a sample.
    """)
    return


@app.cell(hide_code=True)
def _(lineage, tutorial):
    mo.stop(not lineage)  # of the cell that adds the last to the store of this notebook
    stores = {"this notebook's": tutorial}
    try:
        if get_client().store.query({}):
            stores = {"yours": get_client(), **stores}
        _note = (
            mo.md("Yours is empty: `stargazer demo` fills it with simulated data.")
            if len(stores) == 1
            else ""
        )
    except StargazerError as error:
        _note = str(error)
    which = mo.ui.radio(stores, value=next(iter(stores)), label="Store", inline=True)
    mo.vstack([which, mo.callout(_note)]) if _note else which
    return (which,)


@app.cell(hide_code=True)
def _(which):
    _records = which.value.store.query({})
    _types = sorted({_record.keyvalues.get("asset", "") for _record in _records} & REGISTRY.keys())
    type_choice = mo.ui.dropdown(_types, label="Type")
    sample = mo.ui.text(label="Sample", placeholder="any")
    mo.hstack([type_choice, sample], justify="start", gap=2)
    return sample, type_choice


@app.cell(hide_code=True)
async def _(sample, type_choice, which):
    _filters = {"sample": sample.value.strip()} if sample.value.strip() else {}
    _problem = ""
    try:
        matches = await assemble(asset=type_choice.value, client=which.value, **_filters)
        if type_choice.value is None:
            matches = [_one for _one in matches if _one.asset_key != "provenance"]
    except StargazerError as error:
        matches, _problem = [], str(error)
    _rows = [
        {
            "type": asset.asset_key,
            "file": asset.record.name,
            "fields": ", ".join(
                f"{key}={value}"
                for key, value in asset.keyvalues.items()
                if key != "asset" and not key.endswith("_cid")
            ),
            "bytes": asset.record.size,
            "CID": asset.cid,
        }
        for asset in matches
    ]
    _text = {column: lambda text: text.replace("://", ":\u2060//") for column in ("file", "fields")}
    _table = mo.ui.table(  # which fetches the pictures of addresses
        _rows, selection=None, page_size=8, label="Files", format_mapping=_text
    )
    _nothing = mo.callout(_problem or "No file matches.", kind="warn")
    _table if _rows else _nothing
    return (matches,)


@app.cell(hide_code=True)
def _(matches):
    mo.stop(not matches)
    _types = {asset.asset_key for asset in matches}
    alt.Chart(
        alt.Data(values=[{"type": asset.asset_key, "size": asset.record.size / 1e6} for asset in matches])
    ).mark_bar(color="#2b6cb8").encode(
        x=alt.X("count():Q", title="files"),
        y=alt.Y("type:N", sort="-x", title=None),
        tooltip=[
            alt.Tooltip("type:N"),
            alt.Tooltip("count():Q", title="files"),
            alt.Tooltip("sum(size):Q", title="MB", format=".3f"),
        ],
    ).properties(width="container", height=20 * len(_types) + 10, title="Files by type")
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    On the command line: `stargazer query asset=variants sample=NA12878`, `stargazer add FILE`, `stargazer get CID`,
    `stargazer amend`, `stargazer why CID`. Next: `tasks.py`.
    """)
    return


if __name__ == "__main__":
    app.run()
