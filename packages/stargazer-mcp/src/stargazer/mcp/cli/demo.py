"""`stargazer demo`: simulates a family, or single cells, analyses them and compares the results with the truth."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stargazer.assets import StorageError
from stargazer.mcp.cli.console import Parser, note, option, print_json, print_table, print_text
from stargazer.mcp.cli.outcome import carried_out

if TYPE_CHECKING:
    from stargazer.workflows.demo import Demo

__all__ = ["demo"]

ABOUT = {"trio": "a father, a mother and a child", "scrna": "the cells of two samples"}
FILES = {
    "trio": {"variants": "demo.vcf.gz", "variants_index": "demo.vcf.gz.tbi", "report": "report.html"},
    "scrna": {
        "cells": "cells.h5ad",
        "table": "cells.csv",
        "markers": "markers.csv",
        "report": "scrna_report.html",
    },
}
"""The results that are copied, and their names."""


def demo(argv: Sequence[str]) -> int:
    """Run a demo and show what came of it."""
    parser = Parser(
        "demo",
        "[scrna] [--outdir DIR] [--refresh] [--json]",
        "Simulate a family of three with known variants, register its reads, call the variants,\n"
        "compare with the truth. The second time nothing is computed.\n"
        "With the word scrna: simulate cells of known types, cluster them, and compare.",
        "  stargazer demo\n  stargazer demo --outdir my-first-run\n  stargazer demo scrna",
        {
            "--outdir": option(
                "DIR",
                "where copies of the results and the report go; stargazer-demo by default",
                type=Path,
                default=Path("stargazer-demo"),
            ),
            "--refresh": "compute everything anew",
            "--json": "print the results as JSON",
        },
    )
    words = parser.sort(argv)
    which = "scrna" if words.plain[:1] == ["scrna"] else "trio"
    parser.no_words(words._replace(plain=words.plain[which == "scrna" :]), "the demo takes no word but scrna")
    import asyncio

    from stargazer.workflows import start_run
    from stargazer.workflows.demo import DEMOS, found_by, is_simulated, prepare

    about = ABOUT[which]
    if is_simulated(which):
        note(f"{about} were simulated before")
    else:
        note(f"simulating {about}, and registering their files ...")
    prepare(which)
    refresh = {"tasks": [], "below": False} if words.options.refresh else None
    run, status = carried_out(start_run(DEMOS[which], refresh=refresh))
    if status:
        return status
    done = asyncio.run(found_by(run))
    files = _export(done, words.options.outdir, FILES[which])
    if words.options.json:
        print_json({**done.run.as_dict(), "comparison": done.comparison, "summary": done.summary,
                    "times": done.times, "files": {name: str(path) for name, path in files.items()}})  # fmt: skip
    elif which == "scrna":
        _show_cells(done, files)
    else:
        _show(done, files)
    return 0


def _export(done: Demo, folder: Path, names: Mapping[str, str]) -> dict[str, Path]:
    """Copies of results, under names people read."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made = {}
        for result, name in names.items():
            made[result] = folder / name
            shutil.copyfile(done.run.results[result]["path"], made[result])
    except OSError as error:
        raise StorageError(f"cannot write the results to {str(folder)!r}: {error.strerror}; "
                           "choose another folder with --outdir") from error  # fmt: skip
    return made


def _show(done: Demo, files: dict[str, Path]) -> None:
    total, inheritance = done.comparison["comparison"]["total"], done.comparison["inheritance"]
    calls = done.summary["variants"]["pass"]
    rows = [["SNV", *_score(total["snv"])], ["indel", *_score(total["indel"])]]
    print_text("\nCalls against the truth, on confident sites, all three samples")
    print_table(["", "truth", "called", "missed", "false", "precision", "recall", "F1"], rows)
    print_text(
        f"\n{calls['snvs']} SNVs and {calls['indels']} indels pass; {inheritance['violations']} Mendelian violations "
        f"in {inheritance['sites']} sites\n"
    )
    print_table(
        ["sample", "reads", "mapped", "duplicates", "mean coverage"],
        [
            [name, f"{found['reads']:,}", f"{found['mapped']:.2%}", f"{found['duplicates']:.2%}",
             f"{found['mean_coverage_of_reference']:.1f}x"]
            for name, found in done.summary["samples"].items()
        ],
    )  # fmt: skip
    command = _command()
    _show_end(
        done,
        files,
        "variants",
        "demo",
        [
            f"{command} add REFERENCE.fa build=BUILD",
            f"{command} add reads_R1.fq.gz reads_R2.fq.gz sample=NAME lane=L001",
            f"{command} run germline_short_variant_discovery samples=NAME build=BUILD --outdir results",
        ],
    )


def _show_cells(done: Demo, files: dict[str, Path]) -> None:
    found = done.comparison
    clusters = sorted({cluster for counts in found["types"].values() for cluster in counts}, key=int)
    print_text("\nTrue types of the cells, and the clusters they are in")
    print_table(
        ["type", *(f"cluster {cluster}" for cluster in clusters)],
        [
            [name, *(f"{counts.get(cluster, 0):,}" for cluster in clusters)]
            for name, counts in found["types"].items()
        ],
    )
    for kind in ("doublets", "damaged"):
        what = "doublets" if kind == "doublets" else "damaged cells"
        print_text(f"{found[kind]['left']} of {found[kind]['true']} simulated {what} are left among them")
    print_text(f"adjusted Rand index of clusters and types: {found['ari']['leiden']:.3f}\n")
    command = _command()
    _show_end(
        done,
        files,
        "cells",
        "demo scrna",
        [
            f"{command} add filtered_feature_bc_matrix.h5 sample=NAME",
            f"{command} run scrna_clustering samples=NAME --outdir results",
        ],
    )


def _show_end(done: Demo, files: dict[str, Path], result: str, demo: str, next_steps: list[str]) -> None:
    """How long each step took, where the files are, and what to try next."""
    times = [[task.rpartition(".")[2], f"{seconds:.1f} s"] for task, seconds in done.times.items()]
    print_text("")
    print_table(["step", "time"], times)
    run, command = done.run, _command()
    print_text(
        f"\n{run.computed} tasks computed, {run.memo_hits} remembered, {run.seconds:.1f} s (run {run.id})"
    )
    name = "calls" if result == "variants" else result
    print_text(f"report  {files['report']}\n{name}   {files[result]}")
    steps = [
        f"open {files['report']} in a browser",
        f"{command} why {run.results[result]['cid']}",
        *([f"{command} {demo}      (the second time, nothing is computed)"] if run.computed else []),
        *next_steps,
    ]
    print_text("\nWhat next:\n" + "\n".join(f"  {step}" for step in steps))


def _score(score: dict[str, Any]) -> list[str]:
    shares = [score["precision"], score["recall"], score["f1"]]
    return [str(score["truth"]), str(score["calls"]), str(score["fn"]), str(score["fp"]),
            *("-" if share is None else f"{share:.4f}" for share in shares)]  # fmt: skip


def _command() -> str:
    """How the user calls this command: through hatch in its environment, by name elsewhere."""
    return "hatch run stargazer" if "HATCH_ENV_ACTIVE" in os.environ else "stargazer"
