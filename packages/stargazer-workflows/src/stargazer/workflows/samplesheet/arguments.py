"""What a sample sheet says of the arguments of a workflow: the samples, what they start from, and their sex."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stargazer.assets import InvalidAssetError
from stargazer.assets.keyvalues import list_text
from stargazer.workflows.arguments import convert
from stargazer.workflows.catalogue import Entry
from stargazer.workflows.samplesheet.sheet import SampleSheet

__all__ = ["samplesheet_arguments"]

TABLES = {"grch37": "GRCh37", "hg19": "GRCh37", "b37": "GRCh37", "hs37d5": "GRCh37",
          "grch38": "GRCh38", "hg38": "GRCh38"}  # fmt: skip
"""What `ploidy` calls the sex chromosomes of a build."""
MOST_NAMED = 20
STARTS = {"reads": "reads", "an alignment": "alignment"}


def samplesheet_arguments(
    workflow: Entry,
    sheet: SampleSheet,
    given: Mapping[str, Any],
    *,
    example: Callable[[Entry], str] | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """The arguments of a workflow that runs on a sample sheet, and notes of what was decided.

    `samples` are those of the sheet or, where they are given too, the ones chosen among them. A workflow of the
    germline leaves tumours out unless they are chosen. `start` is what the sheet has of the samples. Where `ploidy` is
    given, or the build is GRCh37 or GRCh38 and the sex of every sample is known, `sex` is that of the sheet.

    Args:
        given: the other arguments, as for `convert`.
        example: as for `convert`.

    Raises:
        InvalidAssetError: an argument that `convert` refuses, a sample that the sheet does not have, a sex that
            is given in both, or a workflow that takes no samples, or one only.
    """
    names = {parameter.name for parameter in workflow.parameters}
    key = "samples" if "samples" in names else "sample"
    if key not in names:
        raise InvalidAssetError(f"{workflow.name} takes no samples: run it without a sample sheet")
    arguments: dict[str, Any] = dict(given)
    notes: list[str] = []
    if key not in given:
        samples, notes = _all_samples(workflow, sheet)
        if key == "sample" and len(samples) > 1:
            raise InvalidAssetError(
                f"{workflow.name} takes one sample: give sample=, one of {_some(samples)}"
            )
        arguments[key] = list_text(samples)
    found = convert(workflow, arguments, example=example)
    samples = [found[key]] if key == "sample" else found[key]
    _check_chosen(sheet, samples)
    kinds = sheet.kinds(samples)
    if ("start" in names and "counts" in kinds) or ("counts" in names and kinds != {"counts"}):
        raise InvalidAssetError(
            f"{workflow.name} starts from {'counts' if 'counts' in names else 'reads or alignments'}, and the sample "
            f"sheet {str(sheet.path)!r} has {' and '.join(sorted(kinds))} of these samples: choose others, or another "
            "workflow"
        )
    chosen = {*samples} & {*sheet.tumours} if "germline" in workflow.name else set()
    if chosen:
        notes.append(
            f"{_some(sorted(chosen))}: status 1, a tumour: a germline workflow finds no somatic variants"
        )
    if "start" in names and "start" not in given:
        starts = {STARTS.get(kind, "auto") for kind in kinds}
        arguments["start"] = starts.pop() if len(starts) == 1 else "auto"
    if "sex" in names:
        said, more = _sex(sheet, samples, given, str(found.get("build", "")))
        arguments |= said
        notes += more
    return arguments, notes


def _all_samples(workflow: Entry, sheet: SampleSheet) -> tuple[list[str], list[str]]:
    tumours = dict.fromkeys(sheet.tumours if "germline" in workflow.name else ())
    samples = [sample for sample in sheet.samples if sample not in tumours]
    if not samples:
        raise InvalidAssetError(
            f"every sample of {str(sheet.path)!r} is a tumour (status 1), and {workflow.name} is for the germline: "
            f"to run it all the same, give samples={list_text(sheet.samples[:1])}"
        )
    left_out = f"left out, as tumours (status 1): {_some([*tumours])}; samples= calls one all the same"
    return samples, [left_out] if tumours else []


def _check_chosen(sheet: SampleSheet, samples: Sequence[str]) -> None:
    known = dict.fromkeys(sheet.samples)
    for sample in samples:
        if sample not in known:
            near = difflib.get_close_matches(sample, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {_some([*known])}"
            raise InvalidAssetError(f"no sample {sample!r} in the sample sheet {str(sheet.path)!r}; {hint}")


def _sex(
    sheet: SampleSheet, samples: Sequence[str], given: Mapping[str, Any], build: str
) -> tuple[dict[str, Any], list[str]]:
    """What the sheet says of sex and ploidy, and a note where something was decided."""
    sexes = sheet.sexes
    known = {sample: sexes[sample] for sample in samples if sample in sexes}
    if not known:
        return {}, []
    if "sex" in given:
        raise InvalidAssetError(
            f"sex= is given, and the sample sheet {str(sheet.path)!r} has it too: leave out one of them"
        )
    sex = {"sex": [list_text([f"{sample}:{letter}"]) for sample, letter in known.items()]}
    table = TABLES.get(build.lower())
    if "ploidy" in given:
        return (sex, []) if given["ploidy"] not in ("", "none", ["none"], None) else ({}, [])
    if table is None:
        return {}, ["the sex of the samples is not used: every contig has two copies unless ploidy= is given"]
    if unknown := [sample for sample in samples if sample not in known]:
        return {}, [
            f"the sex of {_some(unknown)} is not known, so every contig is called with two copies; with all known, "
            f"the sex chromosomes are called as ploidy={table} has them"
        ]
    return sex | {"ploidy": table}, [
        f"ploidy={table}, as the sex of every sample is known; ploidy=none calls every contig with two copies"
    ]


def _some(names: Sequence[str]) -> str:
    """Names for a message, not more than people read."""
    return ", ".join(names[:MOST_NAMED]) + (
        f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    )
