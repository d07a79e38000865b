# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "stargazer-workflows[notebook]>=0.1,<0.2",
# ]
# ///
"""Calls germline variants of samples of the store, and looks at the calls."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Germline variants")


@app.cell(hide_code=True)
def title(mo):
    mo.md("""
    # Germline variants

    Choose samples, call their SNVs and indels together, and look at the calls.
    The run has a process of its own: it goes on when this page is closed, and is found when it is opened again.
    What was computed before is not computed again.
    """)
    return


@app.cell(hide_code=True)
def imports():
    import asyncio

    import altair as alt
    import flyte
    import marimo as mo
    from stargazer.workflows import notebook as nb
    from stargazer.workflows.demo import prepare

    flyte.init_from_config()
    return alt, asyncio, mo, nb, prepare


@app.cell(hide_code=True)
def place(nb):
    place = nb.execution_place()
    place
    return


@app.cell(hide_code=True)
def about_samples(mo):
    mo.md("""
    ## Samples

    Reads or alignments of your own are added with `stargazer add`, many of them with a sample sheet.
    Or try it on a simulated family of three: father, mother and child.
    """)
    return


@app.cell(hide_code=True)
def simulation(mo):
    simulate = mo.ui.run_button(label="Simulate the demo's trio")
    simulate
    return (simulate,)


@app.cell(hide_code=True)
async def samples(asyncio, mo, nb, prepare, simulate):
    if simulate.value:
        with mo.status.spinner(title="Simulating a family and registering its reads"), nb.explained():
            await asyncio.to_thread(prepare, "trio")
    with nb.explained():
        found = await nb.germline_samples()
        builds, intervals = await nb.reference_choices()
    if not found:
        nb.stop(
            "The store has no reads and no alignments. `stargazer add R1.fq.gz R2.fq.gz sample=NAME` adds reads; "
            "the button above, or `stargazer demo`, simulates some."
        )
    if not builds:
        nb.stop(
            "The store has samples and no reference. `stargazer add REFERENCE.fa build=GRCh38` adds one; "
            "its build is a name that you choose."
        )
    nb.plain_table(found, page_size=5, show_download=False, wrapped_columns=["problem"])
    return builds, found, intervals


@app.cell(hide_code=True)
def chosen_build(builds, mo):
    build = mo.ui.dropdown(builds, value=builds[-1], label="Reference build")
    build
    return (build,)


@app.cell(hide_code=True)
async def form(build, found, intervals, mo, nb):
    usable = [sample["sample"] for sample in found if not sample["problem"]]
    if not usable:
        nb.stop(
            "No sample can be called as it is:\n\n" + "\n\n".join(sample["problem"] for sample in found[:5])
        )
    callers, about_callers = await nb.caller_choices(build.value)
    is_demo = build.value == "stargazer-demo"
    first = [name for name in usable if name.startswith("demo-") == is_demo]
    form = (
        mo.md("""
    {samples}

    {caller} {start} {intervals}

    {ploidy} {sex}
    """)
        .batch(
            samples=mo.ui.multiselect(
                usable, value=first if is_demo else first[:1], label="Samples", full_width=True
            ),
            caller=mo.ui.dropdown(callers, value=next(iter(callers)), label="Caller"),
            start=mo.ui.dropdown(["auto", "reads", "alignment"], value="auto", label="Start from"),
            intervals=mo.ui.dropdown(
                {"everywhere": "", **{name: name for name in intervals[build.value]}},
                value="everywhere",
                label="Call in",
            ),
            ploidy=mo.ui.text(label="Ploidy", placeholder="GRCh38, or chrM:1"),
            sex=mo.ui.text(label="Sex", placeholder="NA12891:M,NA12892:F"),
        )
        .form(
            submit_button_label="Call variants",
            validate=nb.germline_refusal,
        )
    )
    mo.vstack([form, nb.plain(about_callers)])
    return (form,)


@app.cell(hide_code=True)
def runs(build, form, mo, nb):
    workflows = ("germline_short_variant_discovery", "demo_trio")
    asked = {name: value for name, value in (form.value or {}).items() if value}
    in_script = mo.app_meta().mode == "script"
    if in_script and not nb.run_choices(*workflows):  # nobody clicks there
        asked = {name: value for name, value in form.element.value.items() if value}
    chosen, cancel, resume, tick = nb.run_controls(
        *workflows,
        asked={"build": build.value, **asked} if asked else {},
        nothing="Nothing was run yet: choose samples above, and press Call variants.",
    )
    mo.vstack([mo.md("## The run"), chosen])
    return cancel, chosen, resume, tick


@app.cell(hide_code=True)
async def progress(cancel, chosen, mo, nb, resume, tick):
    run = await nb.watched(chosen.value, cancel, resume, tick)
    mo.md(
        f"Run `{run.id}` succeeded in {run.seconds:.1f} s: {run.computed} tasks were computed, "
        f"{run.memo_hits} remembered. `stargazer runs show {run.id}` lists them."
    )
    return (run,)


@app.cell(hide_code=True)
async def results(nb, run):
    with nb.explained():
        calls_file, report = await nb.open_result(run, "variants"), await nb.open_result(run, "report")
        summary = nb.read_summary(await nb.open_result(run, "summary"))
    return calls_file, report, summary


@app.cell(hide_code=True)
def overview(alt, mo, nb, run, summary):
    figures = nb.sample_figures(summary)
    passing, filtered = summary["variants"]["pass"], summary["variants"]["filtered"]
    coverage = (
        alt.Chart(alt.InlineData(values=nb.coverage_rows(summary)), height=220, width=860)
        .mark_line()
        .encode(
            x=alt.X("depth:Q", title="depth"),
            y=alt.Y("share:Q", title="bases (%)"),
            color=alt.Color("sample:N", title=None, legend=alt.Legend(orient="top")),
        )
    )
    mo.vstack(
        [
            mo.md("## In figures"),
            mo.hstack(
                [
                    mo.stat(f"{passing['snvs']:,}", label="SNVs that pass", bordered=True),
                    mo.stat(f"{passing['indels']:,}", label="indels that pass", bordered=True),
                    mo.stat(f"{filtered['records']:,}", label="filtered calls", bordered=True),
                    mo.stat(
                        f"{passing['ts_tv']:.2f}" if passing["snvs"] else "–", label="Ti/Tv", bordered=True
                    ),
                    mo.stat(summary["run"]["caller"], label="caller", bordered=True),
                ],
                widths="equal",
            ),
            nb.plain_table(figures, page_size=10, column_widths=dict.fromkeys(figures[0], 95)),
            coverage,
            nb.run_notes(run),
        ]
    )
    return


@app.cell(hide_code=True)
def filters(calls_file, mo, nb, summary):
    with nb.explained():
        contigs = nb.contig_names(calls_file.path)
    filters = mo.md("""
    {contig} {region} {sample}

    {types} {genotypes}

    {least_quality} {only_passing}
    """).batch(
        contig=mo.ui.dropdown(
            {"all": "", **{name: name for name in contigs}}, value="all", label="Contig", searchable=True
        ),
        region=mo.ui.text(
            label="or a region", placeholder=f"{contigs[0] if contigs else 'chr17'}:1,000-9,000"
        ),
        sample=mo.ui.dropdown(
            {"any": "", **{name: name for name in summary["samples"]}}, value="any", label="Sample"
        ),
        least_quality=mo.ui.number(0, 10_000, value=0, label="Quality at least"),
        only_passing=mo.ui.checkbox(label="Only calls that pass"),
        types=mo.ui.multiselect(nb.TYPES, value=nb.TYPES, label="Types"),
        genotypes=mo.ui.multiselect(nb.GENOTYPES, value=nb.GENOTYPES[:2], label="Genotypes"),
    )
    mo.vstack([mo.md("## Calls"), filters])
    return (filters,)


@app.cell(hide_code=True)
def calls(calls_file, filters, mo, nb):
    with nb.explained():
        _asked = {**filters.value, "least_quality": filters.value["least_quality"] or 0}
        calls = nb.read_calls(calls_file.path, **_asked)
    table = nb.plain_table(
        calls.rows,
        selection="multi",
        page_size=10,
        format_mapping={"position": "{}".format},
        label=f"{len(calls.rows):,} of {calls.read:,} calls fit. Choose some to see the reads of each sample.",
    )
    mo.vstack([nb.plain(calls.limit), table])
    return calls, table


@app.cell(hide_code=True)
def details(calls, mo, nb, table):
    places = {(row["contig"], row["position"], row["ref"], row["alt"]) for row in table.value}
    details = [
        row for row in calls.genotypes if (row["contig"], row["position"], row["ref"], row["alt"]) in places
    ]
    mo.vstack(
        [
            mo.md("### Samples that have the chosen calls"),
            nb.plain_table(details, page_size=10, hidden_columns=["type", "quality", "filter"]),
        ]
    ) if details else None
    return


@app.cell(hide_code=True)
def reads_shown(mo, run):
    by_sample = {file["keyvalues"]["sample"]: file for file in run.results["alignments"]}
    here = [sample for sample, file in by_sample.items() if file.get("path")]
    reads_shown = mo.ui.multiselect(
        {sample: file["cid"] for sample, file in by_sample.items()}, value=here[:3], label="Reads of"
    )
    about_browser = (
        "Calls and reads over the reference. It moves to the first call that is chosen in the table above."
    )
    mo.vstack([mo.md(f"## Genome browser\n\n{about_browser}"), reads_shown])
    return (reads_shown,)


@app.cell(hide_code=True)
async def browser(calls_file, nb, reads_shown):
    with nb.explained():
        browser = await nb.genome_browser(calls_file.reference_cid, calls_file, *reads_shown.value)
    browser
    return (browser,)


@app.cell(hide_code=True)
def moved(browser, calls, nb, table):
    chosen_call = next(iter(table.value or calls.rows), None)
    with nb.explained():
        browser.locus = nb.call_locus(chosen_call) if chosen_call else ""
    return


@app.cell(hide_code=True)
def looked_at(browser, calls, mo, nb):
    seen = nb.calls_in_region(calls.rows, browser.region)
    mo.vstack(
        [
            nb.plain(f"{len(seen):,} of these calls lie in {browser.region}"),
            nb.plain_table(seen, page_size=5),
        ]
    ) if seen else nb.plain("No call that fits the filters lies in the region that is shown.")
    return


@app.cell(hide_code=True)
def depth_and_balance(alt, calls, mo, nb):
    if not calls.genotypes:
        nb.stop("No genotype fits the filters: there is nothing to draw.", kind="info")
    most_points = 4_000
    step = 1 + len(calls.genotypes) // most_points
    left_out = f" Of {len(calls.genotypes):,} genotypes every {step}th is drawn." if step > 1 else ""
    brush = alt.selection_interval(name="part")
    cloud = mo.ui.altair_chart(
        alt.Chart(alt.InlineData(values=calls.genotypes[::step]), height=300, width="container")
        .mark_circle(size=28, opacity=0.6)
        .encode(
            x=alt.X("depth:Q", title="reads at the call"),
            y=alt.Y("allele_balance:Q", title="allele balance").scale(domain=[0, 1]),
            color=alt.Color("genotype:N", title=None, legend=alt.Legend(orient="top")),
            tooltip=[
                "contig:N",
                "position:Q",
                "ref:N",
                "alt:N",
                "sample:N",
                "GT:N",
                "depth:Q",
                "allele_balance:Q",
            ],
        )
        .add_params(brush)
    )
    mo.vstack(
        [
            mo.md(
                "## Plots\n\nAll of them show the calls that fit the filters. "
                f"Allele balance is the share of reads with the alternative allele. "
                f"Draw a rectangle in the first plot to see whose genotypes lie in it.{left_out}"
            ),
            cloud,
        ]
    )
    return (cloud,)


@app.cell(hide_code=True)
def inside(calls, cloud, nb):
    part = cloud.selections.get("part", {})
    inside = [
        row
        for row in calls.genotypes
        if part
        and all(
            row[figure] is not None and min(part[figure]) <= row[figure] <= max(part[figure])
            for figure in ("depth", "allele_balance")
            if figure in part
        )
    ]
    nb.plain_table(
        inside,
        page_size=5,
        hidden_columns=["type", "quality", "filter"],
        label=f"{len(inside):,} genotypes in the rectangle",
    ) if part else None
    return


@app.cell(hide_code=True)
def distributions(alt, calls, mo, nb):
    mo.stop(not calls.rows)
    top = alt.Legend(orient="top")

    def histogram(rows, figure, by, label, most=None):
        return (
            alt.Chart(alt.InlineData(values=nb.binned(rows, figure, by, most=most)), height=220, width=430)
            .mark_bar()
            .encode(
                x=alt.X("low:Q", bin="binned", title=label),
                x2="high:Q",
                y=alt.Y("sum(rows):Q", title="calls"),
                color=alt.Color(f"{by}:N", title=None, legend=top),
                tooltip=[f"{by}:N", "low:Q", "high:Q", "sum(rows):Q"],
            )
        )

    histograms = [histogram(calls.rows, "quality", "type", "quality (QUAL)")]
    if calls.genotypes:
        histograms.append(histogram(calls.genotypes, "depth", "sample", "reads at the call"))
    by_contig = nb.contig_counts(calls.rows)
    types = [
        {"contig": row["contig"], "type": kind, "calls": row[kind]}
        for row in by_contig[:20]
        for kind in nb.TYPES
        if row.get(kind)
    ]
    contigs_of_calls = (
        alt.Chart(alt.InlineData(values=types), width=500, height=270, autosize="fit")
        .mark_bar()
        .encode(
            y=alt.Y("contig:N", title=None, sort=None),
            x=alt.X("calls:Q"),
            color=alt.Color("type:N", title=None, legend=top),
            tooltip=["contig:N", "type:N", "calls:Q"],
        )
    )
    balance = [histogram(calls.genotypes, "allele_balance", "genotype", "allele balance", 1.0)]
    mo.vstack(
        [
            mo.hstack(histograms, justify="start"),
            mo.hstack([*(balance if calls.genotypes else []), contigs_of_calls], justify="start"),
            nb.plain_table(by_contig, page_size=6, label="Calls by contig"),
        ]
    )
    return


@app.cell(hide_code=True)
def origin(calls_file, mo, nb):
    mo.vstack([mo.md("## How the calls were made"), nb.lineage_graph(calls_file.cid)])
    return


@app.cell(hide_code=True)
def report_of_the_run(mo, nb, report, run):
    page = report.path.read_text()
    mo.vstack(
        [
            mo.md("## The report, and what next"),
            mo.accordion({"The report of the run": nb.html_page(page, height=700)}, lazy=True),
            mo.download(page.encode(), filename=report.path.name, label="Download the report"),
            mo.md(f"""
    - `stargazer why {run.results["variants"]["cid"]}` tells the way from the reads to the calls.
    - `stargazer runs show {run.id}` shows the run, and `stargazer get CID` copies a file out.
    - Another sample is added with `stargazer add`, and called together with these: what was aligned stays.
    - The notebook `results.py` compares two results.
    """),
        ]
    )
    return


if __name__ == "__main__":
    app.run()
