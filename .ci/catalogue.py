"""Write docs/catalogue.md: every workflow and task that there is, from the registry; `--check` only compares."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from inspect import getdoc
from pathlib import Path
from typing import Any

from stargazer.tasks import Library, Maven, OnPath, Tool, Wheel
from stargazer.tasks.execution import TASKS
from stargazer.tasks.execution.values import hints_of, named_tuple, result_type
from stargazer.workflows.catalogue import Entry, describe, describe_type, entries

PAGE = Path(__file__).resolve().parent.parent / "docs" / "catalogue.md"
COMMAND = "hatch run catalogue"
WIDTH = 120

GROUPS = {
    "Workflows": """germline_short_variant_discovery preprocess_sample prepare_reference scrna_clustering demo_trio
        demo_scrna""",
    "References": """check_reference check_for_gatk check_ploidy samtools_faidx sequence_dictionary select_contigs
        split_intervals split_contigs intervals_by_ploidy index_for_bwa_mem3 index_with_bwa_mem2 index_with_bwa
        check_aligner_index""",
    "Reads": """align_with_bwa_mem3 align_with_bwa fastq_to_sam merge_bam_alignment""",
    "Alignments": """check_alignment split_libraries sort_alignment sort_sam markdup mark_duplicates merge_lanes
        index_alignment validate_sam""",
    "Recalibration": """compress_known_sites index_feature_file base_recalibrator gather_bqsr_reports apply_bqsr""",
    "Calls": """call_variants haplotype_caller reblock_gvcf combine_gvcfs genomics_db_import genotype_gvcfs""",
    "Variants": """gather_variants merge_vcfs normalise_variants left_align_and_trim filter_variants
        variant_filtration select_variants index_variants""",
    "Metrics": """flagstat alignment_stats coverage_stats variant_stats collect_alignment_summary_metrics
        collect_insert_size_metrics collect_wgs_metrics collect_variant_calling_metrics""",
    "Single cells": """read_10x_h5 read_10x_mtx read_h5ad concat calculate_qc_metrics filter_cells scrublet
        normalize_total highly_variable_genes pca harmony_integrate neighbors umap leiden rank_genes_groups
        write_csv""",
    "Plots": """plot_qc plot_knee plot_highly_variable_genes plot_pca_variance_ratio plot_umap plot_markers""",
    "Reports": """summarise_germline germline_report compare_calls compare_clusters summarise_cells
        scrna_report""",
}
"""What they are about, and in which order: that of their use, a tool of samtools before its like of GATK."""

HEAD = f"""\
# Catalogue

<!-- Made by `{COMMAND}` from the registry: change docstrings and signatures, not this page. -->

Every workflow and task that comes with Stargazer, as this version has them. A workflow is run by
[`stargazer run`](command-line.md#run) and explained in [workflows.md](workflows.md). A task is called from a workflow,
from Python ([tasks.md](tasks.md)) or by [Flyte's command](workflows.md#with-flytes-command).

A type such as `alignment` is an asset; its fields are in the
[README of stargazer-assets](../packages/stargazer-assets/README.md#the-catalogue). A parameter without a default has to
be given. Of a result with several parts each has a name. The last line of a task says what it holds of the machine
while it runs, and its [tools](#tools), with versions where Stargazer fixes them.
"""


def page() -> str:
    """The whole page."""
    known = {entry.name: entry for entry in _all()}
    placed = [name for names in GROUPS.values() for name in names.split()]
    if strange := sorted({*placed} ^ known.keys()):
        raise SystemExit(f"GROUPS of .ci/catalogue.py and the registry do not agree on {', '.join(strange)}")
    parts = [HEAD, _contents()]
    for title, names in GROUPS.items():
        parts += [f"## {title}\n", *("\n".join(_section(known[name])) for name in names.split())]
    return "\n".join([*parts, _tools()])


def _all() -> Iterator[Entry]:
    """What the registry lists, and the tasks of ours that workflows alone use."""
    listed = entries()
    yield from listed
    names = {entry.name for entry in listed}
    for code in TASKS.values():
        module = sys.modules[code.function.__module__]
        if (name := code.function.__name__) not in names:
            yield describe("task", getattr(module, name))


def _contents() -> str:
    rows = [
        f"| [{title}](#{title.lower().replace(' ', '-')}) | {_linked(names.split())} |"
        for title, names in GROUPS.items()
    ]
    return "\n".join(["| about | |", "|---|---|", *rows, ""])


def _linked(names: list[str]) -> str:
    return ", ".join(f"[{name}](#{name})" for name in names)


def _section(entry: Entry) -> Iterator[str]:
    yield f"### {entry.name}\n"
    yield _wrapped(" ".join([entry.summary, entry.text]).strip())
    if entry.parameters:
        yield "| parameter | type | default | |"
        yield "|---|---|---|---|"
        for given in entry.parameters:
            default = "" if given.required else f"`{_default(given.default)}`"
            cells = (f"`{given.name}`", describe_type(given.annotation), default, given.text)
            yield _row(*cells)
        yield ""
    yield from _result(entry)
    if entry.kind == "task":
        yield _wrapped(_runs_in(entry))


def _result(entry: Entry) -> Iterator[str]:
    wanted = result_type(entry.call.func)
    if (fields := named_tuple(wanted)) is None:
        yield "Result: none.\n" if wanted in (None, type(None)) else f"Result: {describe_type(wanted)}.\n"
        return
    yield _wrapped("Result: " + " ".join((getdoc(fields) or "").split()))
    for name, annotation in hints_of(fields).items():
        yield f"- `{name}`: {describe_type(annotation)}"
    yield ""


def _runs_in(entry: Entry) -> str:
    (code,) = [code for code in TASKS.values() if code.function is entry.call.func or _same(code, entry)]
    environment = code.name.partition(".")[0]
    tools = ", ".join(f"{tool.name}{_version(tool)}" for tool in code.tools)
    held = f"{code.cores} core{'s' * (code.cores > 1)}, {code.memory / 2**30:g} GiB"
    return f"Environment `{environment}` ({held}); tools: {tools or 'none'}."


def _same(code: Any, entry: Entry) -> bool:
    return (code.function.__module__, code.function.__name__) == (entry.module, entry.name)


def _version(tool: Tool | Library) -> str:
    """Of the first source that fixes one."""
    if isinstance(tool, Library):
        return ""
    pinned = [source for source in tool.sources if not isinstance(source, OnPath)]
    return f" {_engine(pinned[0])}" if pinned else ""


def _engine(source: Any) -> str:
    return str(getattr(source, "engine_version", None) or source.version)


def _tools() -> str:
    tools = {tool.name: tool for code in TASKS.values() for tool in code.tools}
    lines = ["## Tools\n", _wrapped("Sources are tried in this order; `STARGAZER_TOOLS` changes it, and `stargazer "
             "doctor` says what was found ([tasks.md](tasks.md#tools-and-where-they-come-from))."),
             "| tool | sources |", "|---|---|"]  # fmt: skip
    for name, tool in sorted(tools.items()):
        if isinstance(tool, Library):
            lines.append(_row(name, f"the Python package {tool.distribution or name}"))
        else:
            lines.append(_row(name, "; ".join(map(_source, tool.sources))))
    return "\n".join([*lines, ""])


def _source(source: Any) -> str:
    match source:
        case Wheel():
            called = f", which calls itself {source.engine_version}" if source.engine_version else ""
            return f"wheel `{source.requirement}`{called}"
        case Maven():
            jars = len(source.locked.jars)
            return (f"Maven `{source.locked.tool.coordinates}`, {jars} jars of {source.locked.size / 1e6:.0f} MB, "
                    f"on wheel `{source.requirement}`; it is version {source.version}")  # fmt: skip
        case OnPath():
            least = f", {source.minimum} or newer" if source.minimum else ""
            return f"`{source.executable}` on PATH{least}"
    raise TypeError(f"{source!r} is a kind of source that .ci/catalogue.py does not know")


def _default(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _row(*cells: str) -> str:
    return "|" + "".join(f" {cell} |".replace("  ", " ") for cell in (c.replace("|", "\\|") for c in cells))


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"


def main(words: list[str]) -> int:
    """Write the page, or say whether it is as it would be written."""
    text = page()
    if words == ["--check"]:
        same = PAGE.is_file() and PAGE.read_text() == text
        print(f"docs/{PAGE.name} is {'up to date' if same else f'stale: {COMMAND}'}")
        return 0 if same else 1
    PAGE.write_text(text)
    print(f"docs/{PAGE.name}: {len(text.splitlines())} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
