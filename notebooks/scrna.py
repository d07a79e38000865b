# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "stargazer-workflows[notebook,scrna]>=0.1,<0.2",
# ]
# ///
"""Clusters single cells of samples of the store, and looks at clusters, genes and quality."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Single cells")


@app.cell(hide_code=True)
def title(mo):
    mo.md("""
    # Single cells

    Choose samples, cluster their cells, and look at clusters, genes and quality.
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
    from stargazer import assets
    from stargazer.workflows import notebook as nb
    from stargazer.workflows.demo import prepare

    flyte.init_from_config()
    p_values = {"adjusted p": lambda p: "" if p is None else f"{p:.1e}" if p else "below 1e-300"}
    return alt, assets, asyncio, mo, nb, p_values, prepare


@app.cell(hide_code=True)
def place(nb):
    place = nb.execution_place()
    place
    return


@app.cell(hide_code=True)
def about_samples(mo):
    mo.md("""
    ## Samples

    Counts of your own are added with `stargazer add filtered_feature_bc_matrix.h5 sample=NAME`: Cell Ranger's file or
    folder, or an h5ad. Or try it on simulated cells: two samples of five types, with doublets and damaged cells.
    """)
    return


@app.cell(hide_code=True)
def simulation(mo):
    simulate = mo.ui.run_button(label="Simulate the demo's cells")
    simulate
    return (simulate,)


@app.cell(hide_code=True)
async def samples(asyncio, mo, nb, prepare, simulate):
    if simulate.value:
        with mo.status.spinner(title="Simulating cells and registering their counts"), nb.explained():
            await asyncio.to_thread(prepare, "scrna")
    with nb.explained():
        found = await nb.cell_samples()
    if not found:
        nb.stop(
            "The store has no counts of cells. `stargazer add filtered_feature_bc_matrix.h5 sample=NAME` adds some; "
            "the button above, or `stargazer demo scrna`, simulates some."
        )
    nb.plain_table(found, page_size=5, show_download=False, wrapped_columns=["problem"])
    return (found,)


@app.cell(hide_code=True)
def form(found, mo, nb):
    usable = [sample["sample"] for sample in found if not sample["problem"]]
    if not usable:
        nb.stop(
            "No sample can be clustered as it is:\n\n"
            + "\n\n".join(sample["problem"] for sample in found[:5])
        )
    demo = [name for name in usable if name.startswith("demo-")]
    form = (
        mo.md("""
    {samples}

    {min_genes} {max_pct_mt} {nmads}

    {doublets} {resolutions} {integrate}
    """)
        .batch(
            samples=mo.ui.multiselect(usable, value=demo or usable[:1], label="Samples", full_width=True),
            min_genes=mo.ui.number(0, 10_000, value=100, label="Genes of a cell, at least"),
            max_pct_mt=mo.ui.number(0, 100, value=100, label="Mitochondrial counts (%), at most"),
            nmads=mo.ui.number(0.5, 20, step=0.5, value=5, label="Deviations from the median, at most"),
            doublets=mo.ui.dropdown(["remove", "mark", "none"], value="remove", label="Doublets"),
            resolutions=mo.ui.text("0.3,0.5,1", label="Resolutions"),
            integrate=mo.ui.dropdown(
                ["auto", "harmony", "none"], value="auto", label="Bring samples together"
            ),
        )
        .form(
            submit_button_label="Cluster cells",
            validate=nb.cells_refusal,
        )
    )
    form
    return (form,)


@app.cell(hide_code=True)
def runs(form, mo, nb):
    workflows = ("scrna_clustering", "demo_scrna")
    asked = dict(form.value or {})
    if mo.app_meta().mode == "script" and not nb.run_choices(*workflows):  # nobody clicks there
        asked = dict(form.element.value)
    if asked.get("max_pct_mt") == 100:
        del asked["max_pct_mt"]
    if asked:
        asked["resolutions"] = f"[{asked['resolutions']}]"
        nb.require_extra("scrna")
    chosen, cancel, resume, tick = nb.run_controls(
        *workflows,
        asked=asked,
        nothing="Nothing was run yet: choose samples above, and press Cluster cells.",
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
        cells_file, markers = await nb.open_result(run, "cells"), await nb.open_result(run, "markers")
        report, plots = await nb.open_result(run, "report"), await nb.open_results(run, "plots")
        summary = nb.read_summary(await nb.open_result(run, "summary"))
    pictures = {plot.kind: plot.path.read_bytes() for plot in plots}
    return cells_file, markers, pictures, plots, report, summary


@app.cell(hide_code=True)
def overview(mo, nb, run, summary):
    leiden = summary["clusters"]
    read = sum(sample["cells_before"] for sample in summary["samples"].values())
    stable = "–" if leiden["ari_mean"] is None else f"{leiden['ari_mean']:.2f}"
    mo.vstack(
        [
            mo.md("## In figures"),
            mo.hstack(
                [
                    mo.stat(f"{summary['cells']:,}", label=f"cells, of {read:,}", bordered=True),
                    mo.stat(f"{summary['genes']:,}", label="genes", bordered=True),
                    mo.stat(str(len(leiden["by_name"])), label="clusters", bordered=True),
                    mo.stat(stable, label="agreement of seeds (ARI)", bordered=True),
                ],
                widths="equal",
            ),
            nb.plain_table(
                [
                    {
                        "sample": name,
                        "cells read": sample["cells_before"],
                        "after filters": sample["cells_after"],
                        "in the end": sample["cells"],
                        "genes of a cell": sample["medians"].get("n_genes_by_counts"),
                        "counts of a cell": sample["medians"].get("total_counts"),
                        "mitochondrial %": round(sample["medians"].get("pct_counts_mt") or 0.0, 2),
                    }
                    for name, sample in summary["samples"].items()
                ],
                page_size=10,
            ),
            nb.run_notes(run),
        ]
    )
    return


@app.cell(hide_code=True)
def opened(cells_file, nb):
    nb.require_extra("scrna")
    with nb.explained():
        cells = nb.open_cells(cells_file.path)
    return (cells,)


@app.cell(hide_code=True)
def colours(cells, markers, mo, nb):
    first = nb.markers_of(markers.path, most=3)
    colour = mo.ui.dropdown(
        {
            **{name: name for name in cells.groups},
            **{nb.QC_FIGURES[name]: name for name in cells.figures},
            **{f"{row['gene']} (cluster {row['cluster']})": row["gene"] for row in first},
        },
        value=cells.groups[0] if cells.groups else None,
        label="Colour by",
        searchable=True,
    )
    gene = mo.ui.text(label="or a gene", placeholder="CD3E, or empty")
    mo.vstack([mo.md("## Cells"), mo.hstack([colour, gene], justify="start")])
    return colour, gene


@app.cell(hide_code=True)
def chart(alt, cells, colour, gene, mo, nb):
    if cells.umap is None:
        nb.stop(
            "These cells have no UMAP (obsm/X_umap): cluster their sample, and choose that run.", kind="info"
        )
    name = gene.value.strip() or colour.value
    if not name:
        nb.stop("These cells have no clusters and no figures: give a gene.", kind="info")
    with nb.explained():
        points = cells.points(name)
    kind, value = "Q", alt.Color("value:Q", title=name).scale(scheme="viridis")
    if points and isinstance(points[0]["value"], str):
        groups = sorted({point["value"] for point in points}, key=lambda group: (len(group), group))
        kind, value = (
            "N",
            alt.Color("value:N", title=name).scale(domain=groups, range=nb.COLOURS),
        )
    umap = mo.ui.altair_chart(
        alt.Chart(alt.InlineData(values=points), width=760, height=520)
        .mark_circle(size=18, opacity=0.8)
        .encode(
            x=alt.X("umap_1:Q", title="UMAP 1"),
            y=alt.Y("umap_2:Q", title="UMAP 2"),
            color=value,
            tooltip=["cell:N", alt.Tooltip(f"value:{kind}", title=name)],
        )
        .add_params(alt.selection_interval(name="part"))
    )
    shown = [mo.md("Draw a rectangle to see which cells lie in it."), umap]
    if len(points) < len(cells.table):
        shown = [
            mo.md(
                f"The picture has all {len(cells.table):,} cells, the chart below it {len(points):,} of "
                "them, drawn at random."
            ),
            nb.draw_umap(cells, name),
            *shown,
        ]
    mo.vstack(shown)
    return (umap,)


@app.cell(hide_code=True)
def inside(cells, markers, mo, nb, p_values, umap):
    part = umap.selections.get("part", {})
    inside = cells.within(part)
    clusters = cells.values(cells.groups[0]) if cells.groups else ["all cells"] * len(inside)
    counts = nb.cluster_counts(clusters, inside)
    mo.vstack(
        [
            mo.md(f"### {sum(inside):,} cells in the rectangle"),
            nb.plain_table(counts, page_size=10, label="By cluster"),
            nb.plain_table(
                nb.markers_of(markers.path, {row["cluster"] for row in counts}, most=5),
                page_size=10,
                format_mapping=p_values,
                label="The first marker genes of these clusters",
            ),
        ]
    ) if part else None
    return


@app.cell(hide_code=True)
def clusters_to_show(mo, summary):
    names = list(summary["clusters"]["by_name"])
    of_clusters = mo.ui.multiselect(names, value=names, label="Clusters")
    most = mo.ui.number(1, 100, value=10, label="Genes of each")
    mo.vstack([mo.md("## Marker genes"), mo.hstack([of_clusters, most], justify="start")])
    return most, of_clusters


@app.cell(hide_code=True)
def marker_table(markers, mo, most, nb, of_clusters, p_values, pictures):
    mo.vstack(
        [
            nb.plain_table(
                nb.markers_of(markers.path, of_clusters.value, most=most.value or 1),
                page_size=10,
                format_mapping=p_values,
                label="p-values are of the same cells that made the clusters: they rank genes, and test nothing.",
            ),
            mo.image(pictures["dotplot"], width=900),
        ]
    )
    return


@app.cell(hide_code=True)
async def before_filters(assets, cells, mo, nb, plots):
    violins = [plot for plot in plots if plot.kind == "violin"]
    with nb.explained():
        measured = [
            cells_of_plot
            for violin in violins
            for cells_of_plot in await assets.AnnData.all(
                cid=violin.anndata_cid, stage="calculate_qc_metrics"
            )
        ]
        if not measured:
            nb.stop("The cells as they were before the filters are not in the store any more.", kind="info")
        before = nb.open_cells((await measured[0].fetch()).path).table
    quality = nb.qc_histograms(before, cells.table.index)
    samples_of_cells = sorted({row["sample"] for row in quality})
    sample = mo.ui.dropdown(["all", *samples_of_cells], value="all", label="Cells of")
    mo.vstack([mo.md("## Quality before and after the filters"), sample])
    return quality, sample


@app.cell(hide_code=True)
def quality_of_cells(alt, mo, pictures, quality, sample):
    def histogram(figure):
        rows = [row for row in quality if row["figure"] == figure and sample.value in ("all", row["sample"])]
        return (
            alt.Chart(alt.InlineData(values=rows), width=250, height=200)
            .mark_bar()
            .encode(
                x=alt.X("low:Q", bin="binned", title=figure),
                x2="high:Q",
                y=alt.Y("sum(cells):Q", title="cells"),
                color=alt.Color("stage:N", title=None, legend=alt.Legend(orient="top")).scale(
                    domain=["kept", "removed"], range=["#4c78a8", "#e45756"]
                ),
                tooltip=["stage:N", "low:Q", "high:Q", "sum(cells):Q"],
            )
        )

    figures = dict.fromkeys(row["figure"] for row in quality)
    mo.vstack(
        [
            mo.hstack([histogram(figure) for figure in figures], justify="start"),
            mo.md("The same by sample, with the thresholds:"),
            mo.image(pictures["violin"], width=900),
        ]
    )
    return


@app.cell(hide_code=True)
def other_pictures(mo, pictures):
    mo.vstack(
        [
            mo.md("## Other pictures of the run"),
            mo.accordion(
                {
                    kind.replace("_", " "): mo.image(picture, width=760)
                    for kind, picture in pictures.items()
                    if kind not in ("dotplot", "violin")
                },
                lazy=True,
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def origin(cells_file, mo, nb):
    mo.vstack([mo.md("## How the clusters were made"), nb.lineage_graph(cells_file.cid)])
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
    - `stargazer why {run.results["cells"]["cid"]}` tells the way from the counts to the clusters.
    - `stargazer get {run.results["cells"]["cid"]}` copies the h5ad out: it goes on in scanpy.
    - Where clusters depend on the seed, try another resolution: only the last steps are computed again.
    - The notebook `results.py` compares two results.
    """),
        ]
    )
    return


if __name__ == "__main__":
    app.run()
