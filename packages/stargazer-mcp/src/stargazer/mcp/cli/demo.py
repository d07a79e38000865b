"""`stargazer demo`: simulates a family, calls its variants and compares them with the truth."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stargazer.assets import StorageError
from stargazer.mcp.cli.console import Parser, note, option, print_json, print_table, print_text
from stargazer.mcp.cli.progress import supervise

if TYPE_CHECKING:
    from stargazer.workflows.demo import Demo

__all__ = ["demo"]


def demo(argv: Sequence[str]) -> None:
    """Run the demo and show what came of it."""
    parser = Parser(
        "demo",
        "[--outdir DIR] [--refresh] [--json]",
        "Simulate a family of three with known variants, register its reads, call the variants,\n"
        "compare with the truth. The second time nothing is computed.",
        "  stargazer demo\n  stargazer demo --outdir my-first-run",
        {
            "--outdir": option(
                "DIR",
                "where copies of the calls and the report go; stargazer-demo by default",
                type=Path,
                default=Path("stargazer-demo"),
            ),
            "--refresh": "compute everything anew",
            "--json": "print the results as JSON",
        },
    )
    words = parser.sort(argv)
    parser.no_words(words, "the demo takes no arguments")
    from stargazer.tasks.execution import Refresh
    from stargazer.workflows.demo import is_simulated, prepare, run_demo

    if is_simulated():
        note("the father, the mother and the child were simulated before")
    else:
        note("simulating a father, a mother and a child, and registering their reads ...")
    prepare()
    refresh = Refresh() if words.options.refresh else None
    done = supervise("demo", lambda: run_demo(refresh=refresh))
    files = _export(done, words.options.outdir)
    if words.options.json:
        print_json({**done.run.as_dict(), "comparison": done.comparison, "summary": done.summary,
                    "times": done.times, "files": {name: str(path) for name, path in files.items()}})  # fmt: skip
    else:
        _show(done, files)


def _export(done: Demo, folder: Path) -> dict[str, Path]:
    """Copies of the calls and the report, under names people read."""
    names = {"variants": "demo.vcf.gz", "variants_index": "demo.vcf.gz.tbi", "report": "report.html"}
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
    print_text("")
    times = [[task.rpartition(".")[2], f"{seconds:.1f} s"] for task, seconds in done.times.items()]
    print_table(["step", "time"], times)
    run, command = done.run, _command()
    print_text(
        f"\n{run.computed} tasks computed, {run.memo_hits} remembered, {run.seconds:.1f} s (run {run.id})"
    )
    print_text(f"report  {files['report']}\ncalls   {files['variants']}")
    next_steps = [
        f"open {files['report']} in a browser",
        f"{command} why {run.results['variants']['cid']}",
        *([f"{command} demo      (the second time, nothing is computed)"] if run.computed else []),
        f"{command} add REFERENCE.fa build=BUILD",
        f"{command} add reads_R1.fq.gz reads_R2.fq.gz sample=NAME lane=L001",
        f"{command} run germline_short_variant_discovery samples=NAME build=BUILD --outdir results",
    ]
    print_text("\nWhat next:\n" + "\n".join(f"  {step}" for step in next_steps))


def _score(score: dict[str, Any]) -> list[str]:
    shares = [score["precision"], score["recall"], score["f1"]]
    return [str(score["truth"]), str(score["calls"]), str(score["fn"]), str(score["fp"]),
            *("-" if share is None else f"{share:.4f}" for share in shares)]  # fmt: skip


def _command() -> str:
    """How the user calls this command: through hatch in its environment, by name elsewhere."""
    return "hatch run stargazer" if "HATCH_ENV_ACTIVE" in os.environ else "stargazer"
