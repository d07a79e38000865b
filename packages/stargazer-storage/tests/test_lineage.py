"""why: from a file through executions back to imports, whatever the shape of the way."""

from __future__ import annotations

import pytest
from stargazer.assets import Asset, AssetNotFoundError
from stargazer.assets.catalogue import QcReport
from stargazer.assets.provenance import Entry, Execution, Import, ToolUse
from stargazer.storage.changes import amend, retract, supersede
from stargazer.storage.lineage import Step, render, why
from stargazer.storage.store import Addition, Store, open_store


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


def imported(store: Store, name: str) -> Asset:
    path = store.objects.work / name
    path.write_text(name)
    return Asset.from_record(store.add([Addition(path=path, asset=QcReport(kind="raw", sample=name))])[0])


def made(store: Store, name: str, *inputs: Asset, **fields: object) -> Asset:
    path = store.objects.work / name
    path.write_text(name)
    entries = [_entry(f"in{number}", asset) for number, asset in enumerate(inputs)]
    report = QcReport(path=path, kind="made", sample=name)
    store.commit(Execution(task=f"make_{name}", inputs=entries, **fields), [("report", report)])
    return report


def _entry(role: str, asset: Asset) -> Entry:
    pairs = asset.keyvalues
    provenance_cid = pairs.pop("provenance_cid", "")
    return Entry(role=role, cid=asset.cid or "", keyvalues=pairs, provenance_cid=provenance_cid)


def tasks(step: Step) -> dict[str, object]:
    """The tree of the samples that stand for names."""
    return {child.entry.keyvalues["sample"]: tasks(child) for child in step.inputs}


def test_it_walks_through_executions_to_imports(store):
    reads = imported(store, "reads")
    bam = made(store, "bam", reads)
    vcf = made(store, "vcf", bam)

    step = why(store, vcf.cid)

    assert step.document.task == "make_vcf"
    assert step.entry.name == "qc_report.txt"
    assert tasks(step) == {"bam": {"reads": {}}}
    last = step.inputs[0].inputs[0]
    assert isinstance(last.document, Import)
    assert (last.entry.origin, last.entry.role) == ("reads", "in0")


def test_every_step_names_its_document(store):
    reads = imported(store, "reads")
    bam = made(store, "bam", reads)

    step = why(store, bam.cid)

    assert step.provenance_cid == bam.provenance_cid
    assert step.inputs[0].provenance_cid == reads.provenance_cid


def test_what_is_used_on_several_ways_is_walked_and_shown_once(store):
    reads = imported(store, "reads")
    left, right = made(store, "left", reads), made(store, "right", reads)
    top = made(store, "top", left, right)

    step = why(store, top.cid)

    assert tasks(step) == {"left": {"reads": {}}, "right": {"reads": {}}}
    assert step.inputs[0].inputs[0] is step.inputs[1].inputs[0]
    text = render(step)
    assert text.count("imported from reads") == 1
    assert text.count("(its lineage is shown above)") == 1


def test_sixty_diamonds_on_top_of_each_other_are_sixty_documents(store):
    top = imported(store, "reads")
    for number in range(60):
        top = made(store, f"top{number}", top, top)

    text = render(why(store, top.cid))

    assert text.count("made by") == 60


def test_an_output_that_was_handed_on_is_what_made_it_first(store):
    reads = imported(store, "reads")
    handed = Execution(task="pass_on", inputs=[_entry("reads", reads)])
    store.commit(handed, [("reads", reads)])

    step = why(store, reads.cid)

    assert isinstance(step.document, Import)
    assert step.inputs == []
    assert [other.provenance_cid for other in step.others] == store.documents(reads.cid)[1:]
    assert f"  handed on by pass_on from qc_report reads ...{reads.cid[-9:]} at " in render(step)


def test_a_step_that_changed_no_byte_is_a_step(store):
    raw = imported(store, "raw")
    path = store.objects.work / "copy"
    path.write_text("raw")
    clean = QcReport(path=path, kind="clean", sample="raw")
    store.commit(Execution(task="clean", inputs=[_entry("in0", raw)]), [("report", clean)])
    result = made(store, "result", clean)

    step = why(store, result.cid)
    text = render(step)

    assert clean.cid == raw.cid
    assert step.inputs[0].document.task == "clean"
    assert isinstance(step.inputs[0].inputs[0].document, Import)
    assert "made by clean" in text
    assert "imported from raw" in text
    assert "also" not in text.partition("in0: qc_report raw")[0]


def test_an_output_only_known_as_handed_on_ends_there(store):
    reads = imported(store, "reads")
    store.commit(Execution(task="pass_on", inputs=[_entry("reads", reads)]), [("reads", reads)])
    store.ledger.remove(reads.provenance_cid)

    step = why(store, reads.cid)

    assert step.document.task == "pass_on"
    assert step.inputs == []


def test_what_else_made_the_same_bytes_is_one_line_that_can_be_followed(store):
    first, second = imported(store, "one"), imported(store, "two")
    same = made(store, "same", first)
    aligner = ToolUse(name="bwa", version="0.7.17")
    made(store, "same", first, second, tools=[aligner], started="2026-11-02T08:00:00.5Z")

    step = why(store, same.cid)
    (other,) = step.others
    (line,) = [line for line in render(step).splitlines() if "also made" in line]
    followed = why(store, other.provenance_cid)

    assert step.provenance_cid == same.provenance_cid
    assert line == (
        f"  also made by make_same (bwa 0.7.17) from qc_report two ...{second.cid[-9:]} at 2026-11-02T08:00:00: "
        f"stargazer why {store.documents(same.cid)[1]}"
    )
    assert tasks(followed) == {"one": {}, "two": {}}
    assert f"-> report: qc_report qc_report.txt {same.cid}" in render(followed)
    assert render(followed).count("imported from") == 2


def test_the_same_computed_again_is_summed(store):
    reads = imported(store, "reads")
    for hour in (1, 2, 3, 4):
        same = made(store, "same", reads, started=f"2026-11-02T0{hour}:00:00Z", seconds=hour)

    step = why(store, same.cid)

    assert step.others == []
    assert "  computed again 3 times, last at 2026-11-02T04:00:00" in render(step).splitlines()


def test_other_code_or_parameters_are_not_the_same_again(store):
    reads = imported(store, "reads")
    for number in (1, 2):
        same = made(store, "same", reads, code_digest=f"code {number}")
        made(store, "same", reads, code_digest=f"code {number}", parameters={"quality": number})

    step = why(store, same.cid)

    assert (step.again, len(step.others)) == ([], 3)
    assert render(step).count("from the same files") == 3


def test_the_same_bytes_imported_as_something_else_are_named(store):
    path = store.objects.work / "x.txt"
    path.write_text("x")
    for name in ("one", "two"):
        (record,) = store.add([Addition(path=path, asset=QcReport(kind="raw", sample=name))])

    text = render(why(store, record.cid))

    assert text.count("imported from x.txt") == 2
    assert "as kind=raw sample=two: stargazer why" in text


def test_bytes_with_two_meanings_keep_them_apart(store, tmp_path):
    path = tmp_path / "both.txt"
    path.write_text("both")
    one, two = store.add(
        [Addition(path=path, asset=QcReport(kind="raw", sample=name)) for name in ("one", "two")]
    )
    result = made(store, "result", Asset.from_record(two))

    assert why(store, result.cid).inputs[0].entry.keyvalues["sample"] == "two"
    assert why(store, one.cid).entry.keyvalues["sample"] == "one"


def test_a_missing_document_ends_the_way_and_says_so(store):
    reads = imported(store, "reads")
    bam = made(store, "bam", reads)
    store.ledger.remove(reads.provenance_cid)

    step = why(store, bam.cid)

    assert step.inputs[0].document is None
    assert step.inputs[0].entry.keyvalues["sample"] == "reads"
    assert f"not known here: no readable document {reads.provenance_cid}" in render(step)


def test_retracted_and_amended_files_are_still_explained(store):
    reads = imported(store, "reads")
    bam = made(store, "bam", reads)
    retract(store, reads.record)
    changed = amend(store, bam.record, {"sample": "renamed"})

    step = why(store, changed.cid)

    assert step.document.task == "make_bam"
    assert isinstance(step.inputs[0].document, Import)
    assert isinstance(why(store, reads.cid).document, Import)


def test_the_document_of_an_import_shows_what_it_brought(store):
    reads = imported(store, "reads")

    text = render(why(store, reads.provenance_cid))

    assert text.startswith("provenance import.json kind=import\n")
    assert f"-> qc_report reads {reads.cid}" in text


def test_documents_of_what_was_done_to_records_are_shown(store):
    reads = imported(store, "reads")
    amend(store, reads.record, {"sample": "renamed"})

    text = render(why(store, store.documents(reads.cid, "amended")[0]))

    assert f"of a record of {reads.cid}" in text


@pytest.mark.parametrize("cid", ["bafkrei" + "a" * 52, "nonsense", ""])
def test_what_the_store_does_not_know_is_an_error(store, cid):
    with pytest.raises(AssetNotFoundError, match="nothing is known"):
        why(store, cid)


def test_a_thousand_steps_are_walked_and_shown(store):
    """A chain that deep is past any recursion limit. Written as documents alone, in one transaction."""
    last = _entry("start", imported(store, "reads"))
    with store.arriving() as arrived, store.index.transaction():
        for number in range(1_000):
            output = Entry(role="out", cid=f"bafkrei{number:052d}", keyvalues={"asset": "qc_report"})
            document = Execution(task=f"step{number}", inputs=[last], outputs=[output])
            store.apply(store.write_document(document, arrived), document)
            last = output

    step = why(store, last.cid)
    text = render(step)

    assert text.count("made by") == 1_000
    assert "imported from reads" in text
    assert len(text) < 1_000_000


def test_a_lineage_reads_well(store):
    reads = imported(store, "reads")
    report = made(
        store, "stats", reads,
        distribution="stargazer-tasks 0.1.0", started="2026-11-02T08:00:00.000001Z", seconds=1.25,
        tools=[ToolUse(name="samtools", version="1.22", source="pysam 0.24.1"), ToolUse(name="x", version="1")],
        parameters={"quality": 20}, commands=[["samtools", "stats", "it's here.bam"]],
    )  # fmt: skip
    document = store.document(reads.provenance_cid)

    assert render(why(store, report.cid)).splitlines() == [
        "qc_report qc_report.txt kind=made sample=stats",
        f"  cid {report.cid}",
        "  made by make_stats (stargazer-tasks 0.1.0) at 2026-11-02T08:00:00, 1.2 s",
        "    tool samtools 1.22 (pysam 0.24.1)",
        "    tool x 1",
        "    quality = 20",
        "    $ samtools stats 'it'\"'\"'s here.bam'",
        "    in0: qc_report reads kind=raw sample=reads",
        f"      cid {reads.cid}",
        f"      imported from reads by {document.account} at {document.at[:19]} (add)",
    ]


@pytest.mark.parametrize(
    ("cell", "place"), [("counting", "cell counting of experiment.py"), ("", "a cell of experiment.py")]
)
def test_a_task_of_a_notebook_is_told_by_its_cell(store, cell, place):
    report = made(store, "stats", imported(store, "reads"), notebook="experiment.py", cell=cell)

    assert f"  made by make_stats ({place}) at " in render(why(store, report.cid))


def test_no_name_moves_the_terminal(store, tmp_path):
    path = tmp_path / "two\nlines\x1b[2J.txt"
    path.write_text("x")
    (record,) = store.add([Addition(path=path, asset=QcReport(kind="raw"))])

    text = render(why(store, record.cid))

    assert "\x1b" not in text
    assert "two\\nlines\\x1b[2J.txt" in text
    assert len(text.splitlines()) == 3


def test_a_supersession_says_what_counts_instead_and_why(store):
    old, new = imported(store, "old"), imported(store, "new")
    records = [store.query({"cid": asset.cid})[0] for asset in (old, new)]
    supersede(store, *records, "wrong chemistry")
    (cid,) = store.documents(old.cid, "superseded")

    lines = render(why(store, cid)).splitlines()

    assert lines[2].startswith(f"  a record of {old.cid} superseded by {new.cid}, by ")
    assert lines[3] == "    wrong chemistry"
    assert why(store, old.cid).document is not None
