"""How a report's page shows what led to it: when tasks ran, what they took, and which files became which."""

from __future__ import annotations

import datetime
import itertools
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from stargazer.assets.provenance import Entry, Execution
from stargazer.workflows.report import methods
from stargazer.workflows.report.graph import graph
from stargazer.workflows.report.lineage import LISTED, _steps
from stargazer.workflows.report.origins import BESIDE, MOST
from stargazer.workflows.report.timeline import timeline

BEGAN = datetime.datetime(2026, 1, 5, 9, tzinfo=datetime.UTC)
DAY = 86_400.0


class Cohort:
    """The executions of a cohort, as if each had begun when what it reads was there."""

    def __init__(self) -> None:
        self.executions: dict[str, Execution] = {}
        self._made: dict[str, tuple[str, float]] = {}

    def do(
        self, task: str, read: Mapping[str, dict[str, str]], made: str, seconds: float, after: float = 0.0
    ) -> None:
        """One execution, which reads files of these names with their metadata, and makes one."""
        start = max([after, *(self._made[name][1] for name in read if name in self._made)])
        cid = f"doc-{len(self.executions):05}"
        self.executions[cid] = Execution(
            task=f"env.{task}",
            distribution="stargazer-tasks 0.1.0",
            inputs=[
                Entry(cid=f"bafk-{name}", keyvalues=pairs, provenance_cid=self._made.get(name, ("", 0.0))[0])
                for name, pairs in read.items()
            ],
            outputs=[Entry(cid=f"bafk-{made}", keyvalues={}, name=made)],
            started=(BEGAN + datetime.timedelta(seconds=start)).isoformat().replace("+00:00", "Z"),
            seconds=seconds,
            peak_memory=int(seconds * 1e9),
            cores=2,
        )
        self._made[made] = cid, start + seconds

    def sample(self, name: str, lanes: int, pieces: int, after: float = 0.0) -> None:
        of = {"sample": name}
        for lane in (f"L{number}" for number in range(lanes)):
            fastq = {f"{kind}-{name}-{lane}": {"asset": kind, **of, "lane": lane} for kind in ("r1", "r2")}
            self.do("align", {**fastq, **REFERENCE, "index": {}}, f"bam-{name}-{lane}", 5.0, after)
        self.do("markdup", {f"bam-{name}-L{number}": of for number in range(lanes)}, f"marked-{name}", 2.0)
        for piece in range(pieces):
            read = {f"marked-{name}": of, **REFERENCE, "pieces": {"name": f"piece {piece}"}}
            self.do("call", read, f"gvcf-{name}-{piece}", 3.0)

    def steps(self) -> list[dict[str, Any]]:
        in_order = sorted(self.executions.items(), key=lambda item: (item[1].started, item[0]))
        return _steps(dict(in_order))


REFERENCE = {"ref": {"asset": "reference", "build": "GRCh38"}}


def cohort(samples: int, lanes: int, pieces: int, days: float = 0.0) -> Cohort:
    """Samples of which each comes so many days after the one before."""
    made = Cohort()
    made.do("index", REFERENCE, "index", 8.0)
    made.do("split", REFERENCE, "pieces", 0.1)
    for number in range(samples):
        made.sample(f"NA{number}", lanes, pieces, after=number * days * DAY)
    gvcfs = {f"gvcf-NA{sample}-{piece}": {} for sample in range(samples) for piece in range(pieces)}
    made.do("join", {**gvcfs, **REFERENCE}, "vcf", 4.0)
    made.do("summarise", {"vcf": {}, **REFERENCE}, "summary", 1.0)
    return made


def drawn(svg: str) -> ET.Element:
    """A drawing, which is XML but for attributes without quotes."""
    return ET.fromstring(re.sub(r"(\s[\w-]+)=([^\s\"'>/]+)", r'\1="\2"', svg))


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in drawn(svg).iter("text")]


def nodes(steps: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    return {node["node"]: {**node, "task": step["task"]} for step in steps for node in step["nodes"]}


def test_each_of_few_executions_is_a_box_after_those_it_read_from() -> None:
    steps = cohort(samples=2, lanes=1, pieces=2).steps()
    found = nodes(steps)
    assert len(found) == 2 + 2 * 4 + 2
    after = {
        (node["task"], *node["on"]): sorted(
            " ".join((found[each]["task"], *found[each]["on"])) for each in node["after"]
        )
        for node in found.values()
    }
    assert after["env.align", "NA0"] == ["env.index"]
    assert after["env.call", "NA1", "piece 0"] == ["env.markdup NA1", "env.split"]
    assert after["env.summarise",] == ["env.join"]
    imported = {
        (files["of"], files["files"], *files["kinds"])
        for node in found.values()
        for files in node["imported"]
    }
    assert imported == {("GRCh38", 1, "reference"), ("", 4, "r1", "r2")}
    readers = [node["task"] for node in found.values() for files in node["imported"] if files["of"]]
    assert readers == ["env.index", "env.split"]  # of what comes after these it goes without saying
    shown = texts(graph(steps))
    assert shown.count("align") == 2
    assert {"NA0 piece 1", "reference", "GRCh38", "r1, r2", "4 files", "this page"} <= {*shown}


@pytest.mark.parametrize(("samples", "lanes", "pieces"), [(8, 3, 20), (40, 4, 120)])
def test_of_many_executions_those_of_a_task_are_one_box(samples: int, lanes: int, pieces: int) -> None:
    made = cohort(samples, lanes, pieces)
    steps = made.steps()
    found = nodes(steps)
    assert sum(node["calls"] for node in found.values()) == len(made.executions)
    assert len(found) <= MOST
    layers = [node["layer"] for node in found.values()]
    assert max(map(layers.count, layers)) <= BESIDE
    assert f"{samples * pieces:,} times" in texts(graph(steps))
    page = methods.steps(steps)
    assert len(page) < 150_000
    assert len(json.dumps(steps)) < 150_000
    spans = [step["spans"] for step in steps]
    assert max(map(len, spans)) <= LISTED
    assert sum(span["calls"] for each in spans for span in each) == len(made.executions)


def test_boxes_of_a_row_do_not_overlap_and_lie_within_the_drawing() -> None:
    svg = drawn(graph(cohort(samples=4, lanes=2, pieces=2).steps()))
    left, top, width, height = map(float, svg.attrib["viewBox"].split())
    rows: dict[float, list[tuple[float, float]]] = {}
    for box in svg.iter("rect"):
        x, y, wide, high = (float(box.attrib[name]) for name in ("x", "y", "width", "height"))
        assert left <= x <= x + wide <= left + width
        assert top <= y <= y + high <= top + height
        rows.setdefault(y, []).append((x, x + wide))
    for row in rows.values():
        row.sort()
        assert all(one[1] < other[0] for one, other in itertools.pairwise(row))


def test_each_execution_is_a_bar_where_it_ran() -> None:
    svg, caption = timeline(cohort(samples=2, lanes=1, pieces=2).steps())
    bars = {bar[0].text or "": bar for bar in drawn(svg).iter("rect")}
    assert len(bars) == 12
    assert caption == "Each bar is one execution. The first began on 2026-01-05 09:00 UTC."
    place = {name.partition(":")[0]: float(bar.attrib["x"]) for name, bar in bars.items()}
    wide = {name.partition(":")[0]: float(bar.attrib["width"]) for name, bar in bars.items()}
    assert place["index"] == place["split"] < place["align NA0 L0"] < place["markdup NA0"] < place["join"]
    assert wide["index"] / wide["markdup NA1"] == pytest.approx(4, rel=0.01)
    assert "index: 8.0 s, from 2026-01-05 09:00:00 UTC" in bars
    assert [text for text in texts(svg) if text.endswith(" s")] == [f"{mark} s" for mark in range(0, 21, 5)]


def test_pauses_between_runs_are_cut_and_each_part_has_its_date() -> None:
    svg, caption = timeline(cohort(samples=3, lanes=1, pieces=1, days=2.0).steps())
    dates = [text for text in texts(svg) if text.startswith("2026")]
    assert dates == ["2026-01-05 09:00", "2026-01-07 09:00", "2026-01-09 09:00"]
    assert "the axis is cut" in caption
    assert svg.count("nothing ran for 48.0 h") == 2
    places = [(float(bar.attrib["x"]), float(bar.attrib["width"])) for bar in drawn(svg).iter("rect")]
    assert max(x + width for x, width in places) < 1000
    assert min(width for _, width in places) >= 1.5


def test_months_of_additions_to_a_cohort_are_readable() -> None:
    svg, _ = timeline(cohort(samples=60, lanes=1, pieces=1, days=5.0).steps())
    places = [
        float(mark.attrib["x"]) for mark in drawn(svg).iter("text") if (mark.text or "").startswith("2026")
    ]
    assert 5 < len(places) < 10
    assert all(after - before > 100 for before, after in itertools.pairwise(places))


def test_times_that_nobody_can_read_are_left_out() -> None:
    made = cohort(samples=1, lanes=1, pieces=1)
    made.executions = {cid: attrs.evolve(each, started="yesterday") for cid, each in made.executions.items()}
    page = methods.steps(made.steps())
    assert "When each ran" not in page
    assert "From imported files to this page" in page


def test_bytes_that_were_made_from_each_other_have_a_drawing_too() -> None:
    """As of a file that was packed and unpacked, if the documents of what was read are not known."""
    made = Cohort()
    made.do("unpack", {"packed": {}}, "plain", 1.0)
    made.do("pack", {"plain": {}}, "packed", 1.0)
    forgotten = {
        cid: attrs.evolve(each, inputs=[attrs.evolve(entry, provenance_cid="") for entry in each.inputs])
        for cid, each in made.executions.items()
    }
    made.executions = forgotten
    assert {"unpack", "pack", "this page"} <= {*texts(graph(made.steps()))}


def test_a_file_that_is_handed_on_leads_back_to_its_maker() -> None:
    made = Cohort()
    made.do("align", {"r1": {"asset": "r1"}}, "bam", 1.0)
    made.do("check", {"bam": {}}, "bam", 1.0)  # the same bytes
    made.do("count", {"bam": {}}, "counts", 1.0)
    found = {node["task"]: node for node in nodes(made.steps()).values()}
    assert [found[f"env.{task}"]["layer"] for task in ("align", "check", "count")] == [1, 2, 3]


def test_nothing_that_was_done_is_nothing_to_draw() -> None:
    assert graph([]) == ""
    assert timeline([]) == ("", "")
