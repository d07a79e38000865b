"""What there is to choose from before a run: the samples of the store with what is wrong with them, builds, callers."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from textwrap import shorten
from typing import Any

from stargazer.assets import (
    R1,
    R2,
    Alignment,
    AnnData,
    Intervals,
    InvalidAssetError,
    KnownSites,
    Reference,
    StargazerError,
    TenxH5,
    TenxMtx,
)
from stargazer.tasks import read_ploidy
from stargazer.workflows.best_practices import chosen_caller
from stargazer.workflows.inputs import find_start, made_here, matrix_of
from stargazer.workflows.runs.record import Run, list_runs
from stargazer.workflows.runs.worker import start_run

__all__ = [
    "begin_run",
    "caller_choices",
    "cell_samples",
    "cells_refusal",
    "germline_refusal",
    "germline_samples",
    "reference_choices",
    "run_choices",
]

NO_SAMPLE = "Choose at least one sample."
TABLE = "GRCh38"
MOST_RUNS = 50
MOST_LETTERS = 80
"""Of the samples, and of the other arguments, of a run that is offered."""


async def germline_samples() -> list[dict[str, Any]]:
    """The samples with reads or with a registered alignment.

    Returns:
        Of each `sample`, what it `starts from`, and its `problem`: why a workflow would refuse it, or "".
    """
    names = {reads.sample for reads in await R1.all()} | {reads.sample for reads in await R2.all()}
    names |= {found.sample for found in await Alignment.all() if not await made_here(found)}
    return [await _described(name, _reads_of) for name in sorted(names)]


async def cell_samples() -> list[dict[str, Any]]:
    """The samples with counts of cells, as `germline_samples` has them."""
    names = {matrix.sample for matrix in await TenxH5.all()} | {
        matrix.sample for matrix in await TenxMtx.all()
    }
    names |= {cells.sample for cells in await AnnData.all() if cells.sample and not await made_here(cells)}
    return [await _described(name, _counts_of) for name in sorted(names)]


async def reference_choices() -> tuple[list[str], dict[str, list[str]]]:
    """The builds that have a reference, and of each the names of registered intervals."""
    builds = sorted({reference.build for reference in await Reference.all()})
    intervals = [found for found in await Intervals.all() if not await made_here(found)]
    return builds, {
        build: sorted({found.name for found in intervals if found.build in (None, build) and found.name})
        for build in builds
    }


async def caller_choices(build: str = "") -> tuple[dict[str, str], str]:
    """The callers that are installed, by what people choose; and what there is to say of the other, or of GATK's.

    Args:
        build: whose known sites GATK would use.
    """
    callers = {"bcftools (quick, no Java)": "bcftools"}
    if chosen_caller("auto")[0] != "gatk":
        return callers, "GATK is not installed: `pip install 'stargazer-mcp[gatk]'` adds it."
    known = [sites.name for sites in await KnownSites.all(build=build)] if build else []
    told = (
        f"With GATK, base qualities are recalibrated by {', '.join(map(str, known))}."
        if known
        else "With GATK, base qualities stay as they are: no known sites are registered for this build."
    )
    return {**callers, "GATK (best practices)": "gatk"}, told


def run_choices(*workflows: str, first: Run | None = None) -> dict[str, str]:
    """Recorded runs of these workflows, the newest first: id by what people choose.

    Args:
        first: a run that goes before all others.
    """
    runs = [run for run in list_runs() if run.kind == "workflow" and run.workflow in workflows][:MOST_RUNS]
    runs.sort(key=lambda run: first is None or run.id != first.id)
    return {_title(run): run.id for run in runs}


def begin_run(workflow: str, arguments: Mapping[str, Any]) -> Run:
    """Start a workflow in a process of its own; where one with these arguments goes on already, that is the run.

    Raises:
        InvalidAssetError: an argument that it does not take.
        StorageError: the run cannot be recorded or started.
    """
    from stargazer.workflows.notebook.tables import latest_run

    latest = latest_run(workflow, arguments)
    return latest if latest is not None and latest.state == "running" else start_run(workflow, arguments)


def germline_refusal(form: Mapping[str, Any]) -> str | None:
    """What cannot be in the form of germline variants, in a line; None if nothing is wrong.

    Whether the reference has a contig that Ploidy names, only the run sees.

    Args:
        form: by name, what was chosen and written.
    """
    samples = form["samples"]
    if not samples:
        return NO_SAMPLE
    ploidy, sexes = _words(form["ploidy"]), _words(form["sex"])
    contigs = dict.fromkeys(_contigs_of(ploidy), sys.maxsize)
    for item in ploidy:
        if not _is_read([item], [f"{name}:M" for name in samples], samples, contigs):
            return (
                f"Ploidy: expected GRCh38, GRCh37 or items such as chrM:1 and chrX:M:1 (contig, sex, copies up to 2), "
                f"got {item}"
            )
    if not _is_read(ploidy, [f"{name}:M" for name in samples] if ploidy else [], samples, contigs):
        return "Ploidy: two items contradict each other"
    for item in sexes:
        if not _is_read([TABLE], [item], samples, {}):
            return f"Sex: expected M or F of chosen samples, such as {samples[0]}:M, got {item}"
    if sexes and not ploidy:
        return "Sex: it changes nothing without Ploidy, such as GRCh38"
    if not _is_read(ploidy, sexes, samples, contigs):
        return f"Sex: Ploidy depends on it; write M or F of each sample once, such as {samples[0]}:M"
    return None


def cells_refusal(form: Mapping[str, Any]) -> str | None:
    """The same of the form of single cells."""
    if not form["samples"]:
        return NO_SAMPLE
    if form["min_genes"] is None:
        return "Genes of a cell, at least: a number is missing"
    try:
        resolutions = [float(word) for word in _words(form["resolutions"])]
    except ValueError:
        resolutions = []
    if not resolutions or not all(0 < resolution < math.inf for resolution in resolutions):
        return "Resolutions: expected numbers above zero with commas between them, such as 0.3,0.5,1"
    return None


def _words(text: str) -> list[str]:
    return [word for word in map(str.strip, text.split(",")) if word]


def _contigs_of(ploidy: list[str]) -> set[str]:
    """What would be the names of contigs in items of a ploidy."""
    return {
        found[1] for item in ploidy if (found := re.match(r"(.+?)[:=](\d+-\d+:)?([A-Za-z]+:)?\d+$", item))
    }


def _is_read(ploidy: list[str], sexes: list[str], samples: list[str], contigs: Mapping[str, int]) -> bool:
    try:
        read_ploidy(ploidy, sexes, samples, contigs)
    except InvalidAssetError:
        return False
    return True


async def _described(sample: str, look: Callable[[str], Awaitable[str]]) -> dict[str, Any]:
    try:
        return {"sample": sample, "starts from": await look(sample), "problem": ""}
    except StargazerError as error:
        return {"sample": sample, "starts from": "", "problem": error.explain()}


async def _reads_of(sample: str) -> str:
    found = await find_start(sample, "auto")
    if isinstance(found, Alignment):
        return f"an alignment to {found.build}" if found.build else "an alignment"
    return f"reads of {len(found)} lane{'s' if len(found) > 1 else ''}"


async def _counts_of(sample: str) -> str:
    matrix = await matrix_of(sample)
    if isinstance(matrix, AnnData):
        return f"an h5ad of {matrix.n_obs:,} cells" if matrix.n_obs is not None else "an h5ad"
    return "Cell Ranger's .h5" if isinstance(matrix, TenxH5) else "Cell Ranger's folder"


def _title(run: Run) -> str:
    """A run as people choose it: when, of what, and how; not its state, which changes while this stays."""
    given = {name: value for name, value in run.given.items() if value not in (None, "")}
    samples = _listed(given.pop("samples", "")) or run.workflow.replace("_", " ")
    rest = ", ".join(f"{name}={_listed(value)}" for name, value in given.items())
    parts = [f"{run.started[:19].replace('T', ' ')} UTC", samples, rest, run.id[-6:]]
    return " · ".join(shorten(part, MOST_LETTERS, placeholder=" ...") for part in parts if part)


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value).replace(",", ", ")
