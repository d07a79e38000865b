"""Simulates and registers the data of the demos, runs their workflows, and collects what `stargazer demo` shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from stargazer.assets import (
    R1,
    R2,
    Intervals,
    IpFile,
    QcReport,
    Reference,
    Table,
    TenxMtx,
    Variants,
    VariantsIndex,
)
from stargazer.storage import Addition, Settings, get_client, packed
from stargazer.workflows.demo.bundle import BUNDLE, make_files
from stargazer.workflows.demo.names import BUILD, CELL_TYPES, CONFIDENT, MANIFEST

if TYPE_CHECKING:
    from stargazer.workflows.runs.record import Run

__all__ = ["DEMOS", "Demo", "found_by", "is_simulated", "prepare"]

DEMOS = {"trio": "demo_trio", "scrna": "demo_scrna"}
"""The workflow of each demo."""


@attrs.frozen
class Demo:
    """What the demo found.

    Attributes:
        run: its record, with results and times.
        comparison: how results compare with the truth (`demo.compare.write_comparison`,
            `demo.clusters.write_cluster_comparison`).
        summary: of the run.
        times: seconds of every kind of task that led to the summary, summed, in the order they first started.
    """

    run: Run
    comparison: dict[str, Any]
    summary: dict[str, Any]
    times: dict[str, float]


def is_simulated(demo: str = "trio") -> bool:
    """Whether a demo's data are on this machine already."""
    return (_folder(demo) / MANIFEST).is_file()


def _folder(demo: str) -> Path:
    return Settings.load().home / "demo" / demo


def prepare(demo: str = "trio") -> None:
    """Simulate the data of a demo, unless they are there already, and register them."""
    store = get_client().store  # first, for it refuses settings that cannot be used
    additions, origin = _cells() if demo == "scrna" else _trio()
    additions = [attrs.evolve(item, origin=f"{item.path.name}, {origin}") for item in additions]
    with packed(additions, store) as files:
        store.add(files, command="demo")


def _trio() -> tuple[list[Addition], str]:
    """The files of the trio, and where they are from."""
    made = make_files(_folder("trio"))
    reference = Reference(build=BUILD)
    truth = Variants(samples=[item["sample"] for item in made["samples"]], reference_cid=reference, kind="truth",
                     normalised=True)  # fmt: skip
    additions = [
        Addition(Path(made["reference"]), reference),
        Addition(Path(made["truth"]), truth),
        Addition(Path(made["truth_index"]), VariantsIndex(variants_cid=truth)),
        Addition(Path(made["confident"]), Intervals(name=CONFIDENT, build=BUILD, reference_cid=reference)),
    ]
    for item in made["samples"]:
        for lane in item["lanes"]:
            named = {"sample": item["sample"], "library": f"{item['sample']}-1", "lane": lane["lane"]}
            r1 = R1(**named)
            additions += [Addition(Path(lane["r1"]), r1), Addition(Path(lane["r2"]), R2(**named, r1_cid=r1))]
    return additions, BUNDLE.origin


def _cells() -> tuple[list[Addition], str]:
    """The counts of the cells and their true types, and where they are from."""
    from stargazer.workflows.demo.cells import SEED, simulate_cells

    made = simulate_cells(str(_folder("scrna")), SEED)
    additions = [Addition(Path(item["folder"]), TenxMtx(sample=item["sample"])) for item in made["samples"]]
    additions.append(Addition(Path(made["truth"]), Table(kind=CELL_TYPES)))
    return additions, f"simulated by stargazer demo scrna, seed {SEED}"


async def found_by(run: Run) -> Demo:
    """What a run of a demo's workflow found; the bytes of its results are here then."""
    from stargazer.workflows.report import lineage_steps

    client = get_client()
    for result in run.results.values():
        if isinstance(result, dict):  # a single file: what was evicted is computed again
            result["path"] = str((await client.download_file(IpFile(cid=result["cid"]))).path)
    times: dict[str, float] = {}
    for step in await lineage_steps(QcReport(kind="summary", cid=run.results["summary"]["cid"])):
        times[step["task"]] = times.get(step["task"], 0.0) + step["seconds"]
    return Demo(run, _read(run, "comparison"), _read(run, "summary"), times)


def _read(run: Run, result: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(run.results[result]["path"]).read_text())
    return content
