"""The genome browser as Python has it: what a page may read, where it may go, and which files are refused, in words."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pysam
import pytest
from stargazer.assets import (
    Alignment,
    AlignmentIndex,
    Asset,
    AssetNotFoundError,
    FormatError,
    IntegrityError,
    InvalidAssetError,
    QcReport,
    Reference,
    ReferenceIndex,
    StorageError,
    Variants,
    VariantsIndex,
)
from stargazer.workflows.notebook import call_locus, calls_in_region, genome, genome_browser

pytest.importorskip("anywidget", reason="NOT TESTED: pip install 'stargazer-workflows[notebook]'")

ODD = "chr1:1-99"
"""A contig with the name of a region."""
CONTIGS = {"chr1": 3000, ODD: 2000}
SOURCE = (Path(__file__) / "../../genome_browser").resolve()


class Files:
    """Files of a small genome in a store; each is made where a test asks for it."""

    def __init__(self, lab: Any, folder: Path):
        self.lab, self.folder = lab, folder

    def reference(self, *, indexed: bool = True, contigs: dict[str, int] = CONTIGS) -> Reference:
        draw = random.Random(17)
        path = self.folder / f"{len(contigs)}-{sum(contigs.values())}.fa"
        path.write_text(
            "".join(f">{name}\n{''.join(draw.choices('ACGT', k=size))}\n" for name, size in contigs.items())
        )
        reference = self.lab.add(path, Reference(build="small"))
        if indexed:
            pysam.faidx(str(path))
            self.lab.add(path.with_name(path.name + ".fai"), ReferenceIndex(reference_cid=reference))
        return reference  # type: ignore[no-any-return]

    def alignment(
        self, *, indexed: bool = True, contigs: dict[str, int] = CONTIGS, on: str = "chr1", reads: int = 20
    ) -> Alignment:
        path = self.folder / f"{on.replace(':', '_')}-{len(contigs)}-{reads}.bam"
        header = {
            "HD": {"VN": "1.6", "SO": "coordinate"},
            "SQ": [{"SN": name, "LN": size} for name, size in contigs.items()],
            "RG": [{"ID": "1", "SM": "one"}],
        }
        with pysam.AlignmentFile(str(path), "wb", header=header) as bam:
            for number in range(reads):
                read = pysam.AlignedSegment(bam.header)
                read.query_name, read.query_sequence = f"r{number}", "ACGT" * 10
                read.query_qualities = pysam.qualitystring_to_array("I" * 40)
                read.reference_id, read.reference_start = list(contigs).index(on), 10 * number
                read.cigarstring, read.mapping_quality = "40M", 60
                bam.write(read)
        alignment = self.lab.add(path, Alignment(sample="one", sorted_by="coordinate"))
        if indexed:
            pysam.index(str(path))
            self.lab.add(path.with_name(path.name + ".bai"), AlignmentIndex(alignment_cid=alignment))
        return alignment  # type: ignore[no-any-return]

    def variants(self, *, indexed: bool = True, on: tuple[str, ...] = ("chr1", ODD)) -> Variants:
        path = self.folder / f"calls-{'-'.join(on).replace(':', '_')}.vcf"
        header = "".join(f"##contig=<ID={name},length={CONTIGS.get(name, 500)}>\n" for name in on)
        rows = "".join(f"{name}\t50\t.\tA\tG\t50\tPASS\t.\tGT\t0/1\n" for name in on)
        path.write_text(
            f'##fileformat=VCFv4.2\n{header}##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n'
            f"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tone\n{rows}"
        )
        if not indexed:
            return self.lab.add(path, Variants(samples=["one"]))  # type: ignore[no-any-return]
        packed = pysam.tabix_index(str(path), preset="vcf", force=True)
        variants = self.lab.add(Path(packed), Variants(samples=["one"]))
        self.lab.add(Path(f"{packed}.tbi"), VariantsIndex(variants_cid=variants))
        return variants  # type: ignore[no-any-return]

    def browser(self, *given: Asset | str, **options: str) -> Any:
        return self.lab.run(genome_browser, *given, **options)


@pytest.fixture
def files(lab: Any, tmp_path: Path) -> Files:
    folder = tmp_path / "files"
    folder.mkdir()
    return Files(lab, folder)


def test_the_page_is_told_of_files_by_number_and_reads_their_parts(files: Files) -> None:
    reference, alignment, variants = files.reference(), files.alignment(), files.variants()
    browser = files.browser(reference.cid or "", alignment, variants.cid or "", locus="chr1:1,000-1,100")

    assert [file["name"] for file in browser.files] == [
        "reference.fa", "reference.fa.fai", "alignment.bam", "alignment.bam.bai", "variants.vcf.gz",
        "variants.vcf.gz.tbi",
    ]  # fmt: skip
    assert browser.reference == {"fasta": 0, "fai": 1, "gzi": None, "name": "small"}
    assert [(track["type"], track["name"], track["file"], track["index"]) for track in browser.tracks] == [
        ("alignment", "one", 2, 3),
        ("variant", "calls of one", 4, 5),
    ]
    assert (browser.start, browser.note, browser.region) == ("chr1:1000-1100", "", "")
    assert read(browser, 2, 0, browser.files[2]["size"]) == files.lab.path(alignment).read_bytes()
    assert read(browser, 0, 6, 10) == files.lab.path(reference).read_bytes()[6:10]


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ((9, 0, 1), "no file 9"),
        ((-1, 0, 1), "no file -1"),
        (("../../etc/passwd", 0, 1), "no file"),
        ((None, 0, 1), "no file None"),
        ((0, -1, 1), "has no bytes -1 to 1"),
        ((0, 0, 10**9), "has no bytes 0 to 1000000000"),
        ((0, 5, 4), "has no bytes 5 to 4"),
        ((0, "0", 1), "has no bytes '0' to 1"),
    ],
)
def test_nothing_else_is_read(files: Files, part: tuple[Any, Any, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(files.browser(files.reference()), *part)


def test_a_part_has_a_limit(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = files.browser(files.reference())
    monkeypatch.setattr(genome, "MOST_PART", 100)
    assert len(read(browser, 0, 0, 100)) == 100
    with pytest.raises(ValueError, match="at most 100 bytes"):
        read(browser, 0, 0, 101)


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(b"other")])
def test_a_file_that_is_gone_or_changed_since_is_not_read(
    files: Files, change: Callable[[Path], Any]
) -> None:
    reference = files.reference()
    browser = files.browser(reference)
    path = files.lab.path(reference)
    path.chmod(0o644)
    change(path)
    with pytest.raises(
        ValueError, match=r"reference.fa.* (is not here any more|was changed).*run the cell .* again"
    ):
        read(browser, 0, 0, 5)


def test_a_corrupt_file_is_refused_before_anything_is_drawn(files: Files) -> None:
    reference, alignment = files.reference(), files.alignment()
    path = files.lab.path(alignment)
    path.chmod(0o644)
    path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises((IntegrityError, StorageError)):
        files.browser(reference, alignment)


def test_an_empty_file_is_refused(files: Files, tmp_path: Path) -> None:
    (tmp_path / "empty.bam").touch()
    with pytest.raises(InvalidAssetError, match=r"'empty.bam' is empty"):
        genome._Files().add(tmp_path / "empty.bam")


def test_a_reference_without_index(files: Files) -> None:
    with pytest.raises(
        AssetNotFoundError, match="no index here: `stargazer run prepare_reference build=small`"
    ):
        files.browser(files.reference(indexed=False))


def test_a_bam_without_index(files: Files) -> None:
    with pytest.raises(AssetNotFoundError, match=r"alignment of one .*no index.*`await index_alignment"):
        files.browser(files.reference(), files.alignment(indexed=False))


def test_a_small_vcf_without_index_is_read_as_a_whole(files: Files) -> None:
    browser = files.browser(files.reference(), files.variants(indexed=False))
    assert browser.tracks[0]["index"] is None


def test_a_large_vcf_without_index_is_not(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genome, "MOST_UNINDEXED", 100)
    with pytest.raises(AssetNotFoundError, match=r"no index, and .* MB are too much .*`await index_variants"):
        files.browser(files.reference(), files.variants(indexed=False))


def test_contigs_that_the_reference_lacks_are_said(files: Files) -> None:
    reference = files.reference(contigs={"chr1": 3000})
    browser = files.browser(reference, files.variants(on=("chr1", "chrM")))
    assert browser.note.startswith("The reference lacks chrM of the variants")
    with pytest.raises(
        InvalidAssetError, match=r"lacks every contig of .* has chrM, chrX, the reference chr1"
    ):
        files.browser(reference, files.variants(on=("chrM", "chrX")))
    with pytest.raises(InvalidAssetError, match="lacks every contig of the alignment of one"):
        files.browser(reference, files.alignment(contigs={"1": 3000}, on="1"))


def test_an_alignment_without_reads_can_be_drawn(files: Files) -> None:
    browser = files.browser(files.reference(), files.alignment(contigs={"other": 99}, on="other", reads=0))
    assert browser.note == ""


def test_a_contig_of_another_length_is_another_reference(files: Files) -> None:
    with pytest.raises(InvalidAssetError, match=r"another reference: its chr1 has 2,999 bases, .* 3,000"):
        files.browser(files.reference(), files.alignment(contigs={"chr1": 2999}))


def test_what_is_no_track_is_refused(files: Files, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{}")
    report = files.lab.add(tmp_path / "report.json", QcReport(kind="summary"))
    reference = files.reference()
    with pytest.raises(InvalidAssetError, match=r"qc_report.* cannot be drawn"):
        files.browser(reference, report)
    with pytest.raises(InvalidAssetError, match="is no reference"):
        files.browser(report)
    with pytest.raises(AssetNotFoundError, match="no record has the CID 'bafkrei"):
        files.browser(reference, "bafkreifv5r4l6ijxstlmbr5bg6wvfa7osvpc6ci6u6j2ybpjvvmmjya7gi")


def test_an_index_that_cannot_be_read(files: Files, tmp_path: Path) -> None:
    alignment = files.alignment(indexed=False)
    (tmp_path / "cut.bai").write_bytes(b"BAI\x01\x02")
    files.lab.add(tmp_path / "cut.bai", AlignmentIndex(alignment_cid=alignment), force=True)
    with pytest.raises(FormatError, match=r"'alignment.bam' or its index cannot be read"):
        files.browser(files.reference(), alignment)


@pytest.mark.parametrize(
    ("locus", "found"),
    [
        ("chr1", "chr1:1-3000"),
        ("chr1:1,000-1,100", "chr1:1000-1100"),
        ("chr1:100", "chr1:40-160"),
        ("chr1:1", "chr1:1-61"),
        ("chr1:2900-9999", "chr1:2900-3000"),
        (ODD, f"{ODD}:1-2000"),
        (f"{ODD}:7-9", f"{ODD}:7-9"),
        (" chr1:5-6 ", "chr1:5-6"),
        ("chr1:5-", "chr1:5-3000"),
    ],
)
def test_a_locus_as_people_write_it(locus: str, found: str) -> None:
    assert genome.parse_locus(locus, CONTIGS) == found


@pytest.mark.parametrize(
    "locus",
    [
        "chr2",
        "chr2:1-2",
        "TP53",
        "chr1:",
        "chr1:x-y",
        "chr1:0-5",
        "chr1:9-5",
        "chr1:3001-3002",
        "",
    ],
)
def test_no_such_locus(locus: str) -> None:
    with pytest.raises(InvalidAssetError, match=r"chr1"):
        genome.parse_locus(locus, CONTIGS)


def test_it_is_moved_from_python_within_the_reference_only(files: Files) -> None:
    browser = files.browser(files.reference())
    assert browser.start == "chr1:1-3000"
    browser.locus = "chr1:1,500"
    assert browser.locus == "chr1:1440-1560"
    with pytest.raises(InvalidAssetError, match="no region 'chr9:1'"):
        browser.locus = "chr9:1"
    assert browser.locus == "chr1:1440-1560"
    browser.locus = ""
    assert browser.locus == ""


def test_calls_and_regions() -> None:
    rows = [
        {"contig": contig, "position": position, "ref": "AT"} for contig in CONTIGS for position in (10, 200)
    ]
    assert [call_locus(row) for row in rows[1:3]] == ["chr1:140-261", f"{ODD}:1-71"]
    assert calls_in_region(rows, f"{ODD}:1-71") == [rows[2]]
    assert calls_in_region(rows, "chr1:10-200") == rows[:2]
    assert calls_in_region(rows, "") == []


@pytest.mark.skipif(not SOURCE.exists(), reason="the source of the bundle is in no wheel")
def test_the_bundle_is_made_of_its_source() -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("bundling", SOURCE.parents[2] / ".ci/genome_browser.py")
    assert spec is not None
    assert spec.loader is not None
    bundling = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bundling)
    recorded = bundling.DIGEST.read_text().split()
    made_of, made = bundling.digest(), hashlib.sha256(bundling.BUNDLE.read_bytes()).hexdigest()
    assert recorded == [made_of, made], "hatch run genome-browser makes it anew"
    assert "igv 3." in bundling.LICENCES.read_text()
    assert '"resolved"' not in (SOURCE / "package-lock.json").read_text(), "names a registry"


def read(browser: Any, number: Any, start: Any, end: Any) -> bytes:
    """What the page is answered that asks for a part of a file; a refusal is a ValueError."""
    answers: list[tuple[dict[str, Any], list[bytes]]] = []
    widget = browser.widget
    send, widget.send = widget.send, lambda content, buffers=(): answers.append((content, list(buffers)))
    try:
        widget._handle_custom_msg({"read": "7", "file": number, "start": start, "end": end}, [])
    finally:
        widget.send = send
    [(content, buffers)] = answers
    assert content["read"] == "7"
    if "error" in content:
        raise ValueError(content["error"])
    return buffers[0]
